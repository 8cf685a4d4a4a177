//! `reel reload`, `reel history`, and the loading of code by manifest that a running process needs for them.

use std::{collections::BTreeSet, sync::Arc, thread, time::Duration};

use reelflow_config::{Code, Problems};
use reelflow_core::{
    plan::Difference,
    record::Offset,
    upgrade::{self, CodeSet, Ledger, Migration, short},
};
use reelflow_ports::{
    clock::{Clock, SystemClock},
    log::{Log, LogError},
};
use reelflow_runtime::{
    code::{Components, Loader, Program},
    control::{self, Answer, Proposal},
};

use crate::{
    args::{Format, History, Reload, reload::Trying},
    failure::{Exit, Failure},
    manifest::Manifest,
    outside,
};
use forgotten::Forgotten;
use told::{Changed, Entry, Replaced};

mod forgotten;
mod remote;
pub(crate) mod told;

/// Makes code of components as this manifest says.
pub(crate) struct ManifestLoader {
    pub(crate) manifest: Manifest,
    pub(crate) n_partitions: u32,
}

impl Loader for ManifestLoader {
    fn load(&self, components: &Components) -> Result<Program, String> {
        self.manifest.code(components, self.n_partitions).map(|(code, _)| code).map_err(|failure| failure.text())
    }
}

/// A pipeline that runs, somewhere or in this process, as its log shows it.
pub(crate) struct Running {
    pub(crate) manifest: Manifest,
    pub(super) log: Arc<dyn Log>,
    pub(super) clock: Arc<dyn Clock>,
    n_partitions: u32,
    pub(crate) ledger: Ledger,
}

/// Code that somebody wants a pipeline to run.
pub(crate) struct Wanted {
    pub(crate) planned: Planned,
    /// Of the manifest with this code.
    pub(crate) warnings: Problems,
    components: Components,
    /// The stages whose state is forgotten.
    resets: BTreeSet<Arc<str>>,
    pub(super) new: Program,
    /// What the pipeline runs; or why this manifest has no use for it.
    pub(super) was: Result<Program, String>,
}

impl Running {
    pub(super) fn open(manifest: Manifest) -> Result<Running, Failure> {
        let log: Arc<dyn Log> = manifest.open_log().map_err(owned_by_a_run)?.into();
        let failed = |error| manifest.log_failure(error);
        if !has_begun(&*log, &manifest).map_err(failed)? {
            let message = format!("pipeline \"{}\" has never run on the {}", *manifest.config.pipeline.name, log.describe());
            return Err(
                Failure::new(Exit::Environment, message).help("Start it with `reel run`; it begins with the code that is there.")
            );
        }
        let n_partitions = outside::source_partitions(&manifest.config, &*log)
            .map_err(failed)?
            .map_err(|problems| manifest.failure(problems))?;
        Running::on(log, manifest, n_partitions)
    }

    /// On a log that is open already, where the pipeline [has begun](has_begun).
    pub(crate) fn on(log: Arc<dyn Log>, manifest: Manifest, n_partitions: u32) -> Result<Running, Failure> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let ledger = control::history(&log, &clock, (&manifest.config.pipeline.name, n_partitions))
            .map_err(|error| manifest.log_failure(error))?;
        Ok(Running { manifest, log, clock, n_partitions, ledger })
    }

    fn name(&self) -> (&str, u32) {
        (&self.manifest.config.pipeline.name, self.n_partitions)
    }

    /// The components that the pipeline runs. An error within says which one is not whole.
    pub(crate) fn components(&self) -> Result<Result<Components, String>, Failure> {
        let current = self.current()?;
        control::components(&self.log, &self.clock, self.name().0, current).map_err(|error| self.manifest.log_failure(error))
    }

    fn current(&self) -> Result<&upgrade::Entry, Failure> {
        self.ledger.current().ok_or_else(|| {
            Failure::new(Exit::User, "nothing is known of the code that the pipeline runs").help("Start it with `reel run`.")
        })
    }

    /// Compiles `components` and compares them with what runs. `resets`: the stages that are to begin anew.
    pub(crate) fn weigh(&self, components: Components, resets: &[String]) -> Result<Wanted, Failure> {
        let (new, warnings) = self.manifest.code(&components, self.n_partitions)?;
        let was = self.components()?.and_then(|components| {
            let loaded = self.manifest.code(&components, self.n_partitions);
            loaded.map(|(code, _)| code).map_err(|failure| failure.text())
        });
        let resets = super::state::keeping(&new.plan, resets)?;
        let mut planned = Planned::new(&self.current()?.code, was.as_ref().map_err(String::as_str), &new);
        planned.forgotten = forgotten::count(&self.manifest, &*self.log, was.as_ref().ok(), &resets)?;
        Ok(Wanted { planned, warnings, components, resets, new, was })
    }

    /// Asks the pipeline to try it.
    pub(crate) fn propose(&self, wanted: &Wanted, migration: Migration, by: &str) -> Result<Offset, Failure> {
        let Wanted { components, resets, new, .. } = wanted;
        let proposal = Proposal { components, code: &new.set, migration, resets, by: &by.into() };
        control::propose(&self.log, &self.clock, self.name(), proposal).map_err(|error| self.manifest.log_failure(error))
    }

    /// Asks the pipeline to try it, and says what came of that. `command`: who asks, if nobody else is named.
    pub(super) fn try_out(&self, wanted: &Wanted, args: &Trying, command: &str, format: Format) -> Result<(), Failure> {
        let proposal = self.propose(wanted, args.migration(), args.by.as_deref().unwrap_or(command))?;
        let entry = self.follow(proposal, Duration::from_secs(args.wait))?;
        told::say_verdict(entry.as_ref(), format, args.wait)
    }

    /// Waits for the verdict. `None`: there was none in time.
    pub(crate) fn follow(&self, proposal: Offset, patience: Duration) -> Result<Option<Entry>, Failure> {
        let answer = control::follow(&self.log, &self.clock, self.name(), proposal, patience, &mut |wait| thread::sleep(wait));
        match answer.map_err(|error| self.manifest.log_failure(error))? {
            Answer::Undecided => Ok(None),
            Answer::Entry(entry) => Ok(Some(Entry::of(&entry, false))),
        }
    }

    /// The code that the pipeline runs by now, if it is another one than when this was opened.
    pub(super) fn other_code(&self) -> Result<Option<CodeSet>, Failure> {
        let ledger = control::history(&self.log, &self.clock, self.name()).map_err(|error| self.manifest.log_failure(error))?;
        let [was, is] = [&self.ledger, &ledger].map(|ledger| ledger.current().map(|entry| &entry.code));
        Ok(is.filter(|is| Some(*is) != was).cloned())
    }

    /// All that is remembered, oldest first.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let current = self.ledger.current().map(|entry| entry.proposal);
        self.ledger.entries().map(|entry| Entry::of(entry, Some(entry.proposal) == current)).collect()
    }
}

/// A log on disk that cannot be opened is most often that of a run, which can be asked.
fn owned_by_a_run(failure: Failure) -> Failure {
    let Failure::Manifest { file, text, problems } = failure else { return failure };
    let mut told = Problems::default();
    for problem in problems.iter().cloned() {
        told.push(match problem.code {
            Code::LogUnusable => {
                problem.help("if a run has it open, ask that: start it with `reel run --admin PORT`, and give --admin PORT here")
            }
            _ => problem,
        });
    }
    Failure::Manifest { file, text, problems: told }
}

/// Whether the manifest's pipeline has ever run on `log`.
pub(crate) fn has_begun(log: &dyn Log, manifest: &Manifest) -> Result<bool, LogError> {
    let [control, _] = control::control_topics(&manifest.config.pipeline.name);
    Ok(log.n_partitions(&control.name)?.is_some())
}

pub(crate) fn reload(args: &Reload) -> Result<(), Failure> {
    let manifest = Manifest::load(&args.file.manifest)?;
    if let Some(address) = args.ask.admin {
        return remote::reload(address, &manifest, args);
    }
    let running = Running::open(manifest)?;
    let wanted = running.weigh(running.manifest.components()?, &args.reset)?;
    super::run::warn(&running.manifest, &wanted.warnings);
    let planned = wanted.planned.told();
    if args.plan {
        return planned.print(args.format);
    }
    wanted.planned.refuse(args.allow_breaking)?;
    if args.format == Format::Text {
        planned.print(Format::Text)?;
    }
    running.try_out(&wanted, &args.trying, "reel reload", args.format)
}

pub(crate) fn history(args: &History) -> Result<(), Failure> {
    let entries = match args.ask.admin {
        Some(address) => remote::history(address)?,
        None => Running::open(Manifest::load(&args.file.manifest)?)?.entries(),
    };
    told::say_history(&entries, args.format)
}

/// What other code would change.
pub(crate) struct Planned {
    plugins: Vec<(Arc<str>, String, String)>,
    differences: Vec<Difference>,
    /// Why the pipeline's own code cannot be compared.
    incomparable: Option<String>,
    /// What the stages keep that begin anew.
    forgotten: Vec<Forgotten>,
}

impl Planned {
    fn new(current: &CodeSet, was: Result<&Program, &str>, new: &Program) -> Planned {
        let of_plugin = |(name, was, is): (&Arc<str>, Option<&Arc<str>>, &Arc<str>)| {
            (name.clone(), was.map_or("none", |digest| short(digest)).to_owned(), short(is).to_owned())
        };
        let plugins = new.set.changed_from(current).map(of_plugin).collect();
        let differences = was.map(|was| was.plan.differences(&new.plan)).unwrap_or_default();
        Planned { plugins, differences, incomparable: was.err().map(str::to_owned), forgotten: Vec::new() }
    }

    fn resets(&self) -> BTreeSet<Arc<str>> {
        self.forgotten.iter().map(|one| one.stage.clone()).collect()
    }

    pub(crate) fn told(&self) -> told::Plan {
        let resets = self.resets();
        let plugin = |(name, was, is): &(Arc<str>, String, String)| Replaced {
            plugin: name.to_string(),
            was: was.clone(),
            is: is.clone(),
        };
        told::Plan {
            plugins: self.plugins.iter().map(plugin).collect(),
            differences: self.differences.iter().map(|one| Changed::of(one, &resets)).collect(),
            incomparable: self.incomparable.clone(),
            resets: self.forgotten.iter().map(Forgotten::told).collect(),
        }
    }

    /// An error for what should not even be tried.
    pub(crate) fn refuse(&self, is_breaking_allowed: bool) -> Result<(), Failure> {
        let resets = self.resets();
        if self.plugins.is_empty() && resets.is_empty() {
            return Err(
                Failure::new(Exit::User, "the pipeline runs this code already").help("Build the plugin first: `reel build`.")
            );
        }
        if let Some((one, instead)) = self.differences.iter().find_map(|one| Some((one, one.blocks(&resets)?))) {
            return Err(Failure::new(Exit::User, format!("a running pipeline cannot take this: {one}")).help(instead));
        }
        let breaking = |one: &&Difference| one.is_breaking(&resets);
        match self.differences.iter().find(breaking) {
            Some(one @ Difference::State { stage, .. }) => Err(Failure::new(Exit::User, format!("the state that is kept would be unreadable: {one}"))
                .help(format!("Let the new plugin migrate it (docs/plugins.md), start a pipeline of another name from the beginning of its topics, or forget it: `--reset {stage}`."))),
            Some(one) if !is_breaking_allowed => Err(Failure::new(Exit::User, format!("readers of the results may break: {one}"))
                .help("If they are ready for it, give --allow-breaking.")),
            _ => Ok(()),
        }
    }
}
