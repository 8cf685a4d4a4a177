//! `reel reload`, `reel history`, and the loading of code by manifest that a running process needs for them.

use std::{collections::BTreeSet, sync::Arc, thread, time::Duration};

use reelflow_core::{
    plan::Difference,
    upgrade::{CodeSet, Entry, How, Ledger, Migration, Verdict, short},
};
use reelflow_ports::{
    clock::{Clock, SystemClock},
    log::Log,
};
use reelflow_runtime::{
    code::{Components, Loader, Program},
    control::{self, Answer, Proposal},
};
use serde_json::{Value, json};

use crate::{
    args::{Format, History, Reload},
    failure::{Exit, Failure},
    manifest::Manifest,
    output::{Output, print},
    outside, summary,
};

mod forgotten;

use forgotten::Forgotten;

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

/// A pipeline that runs somewhere, seen from outside.
struct Running {
    manifest: Manifest,
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    n_partitions: u32,
    ledger: Ledger,
}

impl Running {
    fn open(manifest: Manifest) -> Result<Running, Failure> {
        let log: Arc<dyn Log> = manifest.open_log()?.into();
        let name = manifest.config.pipeline.name.to_string();
        let failed = |error| manifest.log_failure(error);
        if log.n_partitions(&control::control_topics(&name)[0].name).map_err(failed)?.is_none() {
            let message = format!("pipeline \"{name}\" has never run on the {}", log.describe());
            return Err(
                Failure::new(Exit::User, message).help("Start it with `reel run`; it begins with the code that is there.")
            );
        }
        let n_partitions = outside::source_partitions(&manifest.config, &*log)
            .map_err(failed)?
            .map_err(|problems| manifest.failure(problems))?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let ledger = control::history(&log, &clock, (&name, n_partitions)).map_err(failed)?;
        Ok(Running { manifest, log, clock, n_partitions, ledger })
    }

    fn name(&self) -> (&str, u32) {
        (&self.manifest.config.pipeline.name, self.n_partitions)
    }
}

pub(crate) fn reload(args: &Reload) -> Result<(), Failure> {
    let running = Running::open(Manifest::load(&args.file.manifest)?)?;
    let components = running.manifest.components()?;
    let (new, warnings) = running.manifest.code(&components, running.n_partitions)?;
    super::run::warn(&running.manifest, &warnings);
    let Some(current) = running.ledger.current() else {
        return Err(
            Failure::new(Exit::User, "nothing is known of the code that the pipeline runs").help("Start it with `reel run`.")
        );
    };
    let failed = |error| running.manifest.log_failure(error);
    let components_now = control::components(&running.log, &running.clock, running.name().0, current).map_err(failed)?;
    let was = components_now.and_then(|components| {
        let loaded = running.manifest.code(&components, running.n_partitions);
        loaded.map(|(code, _)| code).map_err(|failure| failure.text())
    });
    let resets = super::state::keeping(&new.plan, &args.reset)?;
    let mut planned = Planned::new(&current.code, was.as_ref().map_err(String::as_str), &new);
    planned.forgotten = forgotten::count(&running.manifest, &*running.log, was.as_ref().ok(), &resets)?;
    if args.plan {
        return planned.print(args.format);
    }
    planned.refuse(args.allow_breaking)?;
    if args.format == Format::Text {
        planned.print(Format::Text)?;
    }
    let migration = if args.eager { Migration::Eager } else { Migration::Lazy };
    let by = args.by.as_str().into();
    let proposal = Proposal { components: &components, code: &new.set, migration, resets: &resets, by: &by };
    let proposal = control::propose(&running.log, &running.clock, running.name(), proposal).map_err(failed)?;
    let patience = Duration::from_secs(args.wait);
    let answer =
        control::follow(&running.log, &running.clock, running.name(), proposal, patience, &mut |wait| thread::sleep(wait));
    say(&answer.map_err(failed)?, args)
}

/// What came of the proposal.
fn say(answer: &Answer, args: &Reload) -> Result<(), Failure> {
    match answer {
        Answer::Undecided => Err(Failure::new(Exit::Environment, format!("no verdict within {} s", args.wait))
            .help("Does the pipeline run? The proposal stays: it is tried when the pipeline runs; `reel history` shows what came of it.")),
        Answer::Entry(entry) => {
            match args.format {
                Format::Text => print(&format!("{}: {}", verdict_name(&entry.verdict), entry.code))?,
                Format::Json => print(&of_entry(entry, false).to_string())?,
            }
            match &entry.verdict {
                Verdict::RolledBack { why, .. } | Verdict::Refused { why } => {
                    Err(Failure::new(Exit::Runtime, format!("the new code was not taken: {why}"))
                        .help("The pipeline goes on with the code that it had; nothing of the trial was committed."))
                }
                Verdict::Accepted | Verdict::Open { .. } => Ok(()),
            }
        }
    }
}

/// What other code would change.
struct Planned {
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

    fn print(&self, format: Format) -> Result<(), Failure> {
        let resets = self.resets();
        if format == Format::Json {
            let plugins: Vec<Value> =
                self.plugins.iter().map(|(name, was, is)| json!({"plugin": **name, "was": was, "is": is})).collect();
            let difference = |one: &Difference| json!({"text": one.to_string(), "breaking": one.is_breaking(&resets), "blocks": one.blocks(&resets)});
            let differences: Vec<Value> = self.differences.iter().map(difference).collect();
            let forgotten: Vec<Value> = self.forgotten.iter().map(Forgotten::json).collect();
            let whole = json!({
                "plugins": plugins, "differences": differences, "incomparable": self.incomparable, "resets": forgotten,
            });
            return print(&whole.to_string());
        }
        let mut output = Output::new();
        if self.plugins.is_empty() {
            output.line("the pipeline runs this code already")?;
        }
        for (name, was, is) in &self.plugins {
            output.line(&format!("plugin \"{name}\" {was} → {is}"))?;
        }
        for one in &self.differences {
            let mark = match (one.blocks(&resets), one.is_breaking(&resets)) {
                (Some(_), _) => "✗ ",
                (None, true) => "! ",
                (None, false) => "",
            };
            output.line(&format!("{mark}{one}"))?;
            if let Some(instead) = one.blocks(&resets) {
                output.line(&format!("  a running pipeline cannot take this: {instead}"))?;
            }
        }
        if let Some(why) = &self.incomparable {
            output.line(&format!("the code that runs cannot be compared: {why}"))?;
        }
        for one in &self.forgotten {
            output.line(&one.to_string())?;
        }
        if !self.plugins.is_empty() && self.differences.is_empty() && self.incomparable.is_none() {
            output.line("nothing else changes: fields, outputs and state are the same")?;
        }
        output.finish()
    }

    /// An error for what should not even be tried.
    fn refuse(&self, is_breaking_allowed: bool) -> Result<(), Failure> {
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

pub(crate) fn history(args: &History) -> Result<(), Failure> {
    let running = Running::open(Manifest::load(&args.file.manifest)?)?;
    let current = running.ledger.current().map(|entry| entry.proposal);
    if args.format == Format::Json {
        let all: Vec<Value> = running.ledger.entries().map(|entry| of_entry(entry, Some(entry.proposal) == current)).collect();
        return print(&Value::Array(all).to_string());
    }
    let mut output = Output::new();
    for entry in running.ledger.entries() {
        let mark = if Some(entry.proposal) == current { "*" } else { " " };
        let how = match entry.how {
            How::Started => "started",
            How::Reloaded { .. } => verdict_name(&entry.verdict),
        };
        let at = summary::date(reelflow_core::time::Watermark(entry.at.0));
        output.line(&format!("{mark} {at}  {how:<12} {}  by {}", entry.code, entry.by))?;
        if let Verdict::RolledBack { why, .. } | Verdict::Refused { why } = &entry.verdict {
            output.line(&format!("    {why}"))?;
        }
        for stage in &entry.resets {
            output.line(&format!("    the state of stage \"{stage}\" is forgotten"))?;
        }
    }
    output.finish()
}

fn verdict_name(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Open { .. } => "on trial",
        Verdict::Accepted => "accepted",
        Verdict::RolledBack { .. } => "rolled back",
        Verdict::Refused { .. } => "refused",
    }
}

fn of_entry(entry: &Entry, is_current: bool) -> Value {
    let plugins: serde_json::Map<String, Value> =
        entry.code.0.iter().map(|(name, digest)| (name.to_string(), Value::from(&**digest))).collect();
    let (why, failed_at) = match &entry.verdict {
        Verdict::RolledBack { why, by } => (Some(&**why), Some(&**by)),
        Verdict::Refused { why } => (Some(&**why), None),
        Verdict::Accepted | Verdict::Open { .. } => (None, None),
    };
    let how = match entry.how {
        How::Started => "started",
        How::Reloaded { .. } => "reloaded",
    };
    json!({
        "proposal": entry.proposal, "at_ms": entry.at.0, "decided_at_ms": entry.decided_at.0, "plugins": plugins, "how": how,
        "resets": entry.resets.iter().map(|stage| &**stage).collect::<Vec<_>>(), "by": &*entry.by, "verdict": verdict_name(&entry.verdict), "why": why, "failed_at": failed_at, "current": is_current,
    })
}
