//! What a pipeline runs, and what it is about to run: shared by the control of a process with its workers.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use reelflow_core::{
    letter::name,
    plan::{Consumer, FragmentInput, Plan, PluginIdx, SinkIdx, StageIdx},
    record::{Header, Offset, Partition},
    task::Stamps,
    upgrade::{CodeSet, Migration, follower::Decided, tally::OnTrial},
};
use reelflow_ports::engine::Plugin;

/// Digits of a digest in a stamp: 64 bits.
const DIGITS: usize = 16;

/// The components of a pipeline, by the plugins' names.
pub type Components = BTreeMap<Arc<str>, Arc<[u8]>>;

/// A plan and the plugins that it was made for.
#[derive(Clone)]
pub struct Program {
    pub plan: Arc<Plan>,
    /// In the order of the plan's [`PluginIdx`].
    pub plugins: Vec<Arc<dyn Plugin>>,
    /// Their names in the manifest.
    pub names: Vec<Arc<str>>,
    pub set: CodeSet,
    /// The stages that it begins anew: see [`Ledger::resets`](reelflow_core::upgrade::Ledger::resets).
    pub resets: BTreeMap<Arc<str>, Offset>,
    pub stamps: Arc<Stamps>,
}

/// Makes code of components, as the process itself would have been started with them. Compiling takes its time.
pub trait Loader: Send + Sync {
    /// An error is a text for whoever asked for these components.
    fn load(&self, components: &Components) -> Result<Program, String>;
}

impl Program {
    /// `names`: of the plugins, as the manifest calls them.
    pub fn new(plan: Plan, plugins: Vec<Arc<dyn Plugin>>, names: Vec<Arc<str>>) -> Program {
        let digests = plugins.iter().map(|plugin| Arc::from(plugin.digest()));
        let set = CodeSet(names.iter().cloned().zip(digests).collect());
        let header = |plugin: PluginIdx| -> Header {
            (name::PLUGIN.into(), made_by(&names[plugin], plugins[plugin].digest()).into_bytes())
        };
        let stamps = Stamps {
            sinks: (0..plan.sinks.len()).map(|sink| maker(&plan, sink).map(header).into_iter().collect()).collect(),
            stages: plan.stages.iter().map(|stage| stage.kind.plugin().map(header)).collect(),
        };
        Program { plan: Arc::new(plan), plugins, names, set, resets: BTreeMap::new(), stamps: Arc::new(stamps) }
    }

    /// This program, which begins the stages of `resets` anew. What the plan does not have is left out: a manifest may be newer than a reset.
    pub(crate) fn with_resets(self, resets: BTreeMap<Arc<str>, Offset>) -> Program {
        let mut plan = (*self.plan).clone();
        let place = |name: &str| plan.stages.iter().position(|stage| *stage.name == *name);
        plan.resets = resets.iter().filter_map(|(name, offset)| Some((place(name)?, *offset))).collect();
        Program { plan: Arc::new(plan), resets, ..self }
    }

    /// Whether it is what the pipeline runs with `code` and `resets`.
    pub(crate) fn is(&self, code: &CodeSet, resets: &BTreeMap<Arc<str>, Offset>) -> bool {
        self.set == *code && self.resets == *resets
    }

    /// Which plugins are others than in `before`.
    pub(crate) fn changed_from(&self, before: &Program) -> Vec<bool> {
        let changed = |name: &Arc<str>| before.set.0.get(name) != self.set.0.get(name);
        self.names.iter().map(changed).collect()
    }

    /// The plugins that are tried where this program is to replace `before`.
    pub(crate) fn on_trial(&self, before: &Program) -> Vec<OnTrial> {
        let replaced = |name: &Arc<str>| before.names.iter().position(|old| old == name);
        let new = self.changed_from(before).into_iter().enumerate().filter(|(_, is_new)| *is_new);
        new.map(|(plugin, _)| {
            let name = self.names[plugin].clone();
            OnTrial { plugin, before: replaced(&name), name }
        })
        .collect()
    }
}

/// A plugin as the header [`name::PLUGIN`] has it.
pub fn made_by(plugin: &str, digest: &str) -> String {
    format!("{plugin}@{}", digest.get(..DIGITS).unwrap_or(digest))
}

/// The last plugin that a sink's rows went through. `None`: none, from the source on.
fn maker(plan: &Plan, sink: SinkIdx) -> Option<PluginIdx> {
    let mut stage = stage_before(plan, Consumer::Sink(sink))?;
    loop {
        match plan.stages[stage].kind.plugin() {
            Some(plugin) => return Some(plugin),
            None => stage = stage_before(plan, Consumer::Stage { stage, port: 0 })?,
        }
    }
}

/// The stage that gives `consumer` its rows, maybe through a shuffle.
fn stage_before(plan: &Plan, consumer: Consumer) -> Option<StageIdx> {
    let gives = |stage: &StageIdx| plan.stages[*stage].outputs.iter().any(|output| output.consumers.contains(&consumer));
    let direct = (0..plan.stages.len()).find(gives);
    let through = || {
        let shuffle = plan.shuffles.iter().position(|shuffle| shuffle.stream.consumers.contains(&consumer))?;
        debug_assert!(plan.fragments.iter().any(|fragment| fragment.inputs.contains(&FragmentInput::Shuffle(shuffle))));
        stage_before(plan, Consumer::Shuffle(shuffle))
    };
    direct.or_else(through)
}

/// What the workers of a process are to run. Its control posts, its workers look.
pub struct Board {
    posted: Mutex<Posted>,
    /// Rises with every posting, so that workers look at the rest only when something is new.
    version: AtomicU64,
    /// Up to where of its topic the control has read and posted.
    read_to: AtomicI64,
}

/// What stands on a [`Board`].
#[derive(Clone)]
pub(crate) struct Posted {
    pub current: Arc<Program>,
    pub trial: Option<Trial>,
    /// The last trial that is over.
    pub decided: Option<Decided>,
    reports: Vec<Report>,
}

impl Posted {
    /// What is tried, for whoever has seen that something is.
    pub fn trial(&self) -> &Trial {
        self.trial.as_ref().expect("a trial was posted")
    }
}

/// Program that every worker is to try.
#[derive(Clone)]
pub(crate) struct Trial {
    pub proposal: Offset,
    pub code: Arc<Program>,
    pub migration: Migration,
}

/// What a worker has to say of a trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    Passed { proposal: Offset, partitions: Vec<Partition> },
    Failed { proposal: Offset, why: String },
}

impl Board {
    pub(crate) fn new(current: Arc<Program>) -> Board {
        let posted = Posted { current, trial: None, decided: None, reports: Vec::new() };
        Board { posted: Mutex::new(posted), version: AtomicU64::new(1), read_to: AtomicI64::new(0) }
    }

    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(crate) fn read_to(&self) -> Offset {
        self.read_to.load(Ordering::Acquire)
    }

    pub(crate) fn has_read(&self, to: Offset) {
        self.read_to.store(to, Ordering::Release);
    }

    pub(crate) fn look(&self) -> Posted {
        Posted { reports: Vec::new(), ..self.lock().clone() }
    }

    pub(crate) fn current(&self) -> Arc<Program> {
        self.lock().current.clone()
    }

    pub(crate) fn post(&self, change: impl FnOnce(&mut Posted)) {
        change(&mut self.lock());
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Leaves `report` for the control. At most one of a kind for each worker and trial, so there are few (I-9).
    pub(crate) fn report(&self, report: Report) {
        self.lock().reports.push(report);
    }

    pub(crate) fn take_reports(&self) -> Vec<Report> {
        std::mem::take(&mut self.lock().reports)
    }

    fn lock(&self) -> MutexGuard<'_, Posted> {
        self.posted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
