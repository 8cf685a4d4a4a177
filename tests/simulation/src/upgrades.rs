//! Code that changes while everything else goes wrong: what processes are started with, what is proposed, and what must not be seen of it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reelflow_core::{
    column::{Rows, Value},
    letter::name,
    plan::StageKind,
    plugin::{Declaration, PluginFault, Reject, Request, Response, StateVersion},
    upgrade::{Entry, How, Ledger, Migration, Verdict},
};
use reelflow_ports::{
    clock::Clock,
    engine::{LoadError, Plugin, PluginInstance},
    log::Log,
    simulated::{SimulatedLog, VirtualClock},
};
use reelflow_runtime::{
    code::{Components, Loader, Program},
    control::{self, Control, Proposal, Started, Upgrader},
    error::RunError,
    worker::Job,
};

use crate::shape::Shape;

/// What a component of the simulation says: which version of the same logic it is.
const GOOD: [&str; 3] = ["v1", "v2", "v3"];
/// Breaks at every call, and as no other version does, until it was accepted for want of calls.
const BAD: &str = "bad";
/// Its transforms refuse rows with [`ODD`] in a column, which all others take.
const STRICT: &str = "strict";
const ODD: &[u8] = b"odd";

/// The pipeline's plugins in a version: all that a version changes is its digest, and whether it breaks.
pub struct Versions {
    shape: Shape,
    breaks: Arc<AtomicBool>,
}

impl Loader for Versions {
    fn load(&self, components: &Components) -> Result<Program, String> {
        let (mut plan, plugins) = self.shape.build();
        let newest = components.values().map(|component| state_version(component)).max_by_key(|state| state.version);
        for stage in &mut plan.stages {
            if matches!(stage.kind, StageKind::Aggregate { .. } | StageKind::Process { .. }) {
                stage.state = newest.clone();
            }
        }
        let names: Vec<Arc<str>> = (0..plugins.len()).map(|idx| format!("p{idx}").into()).collect();
        let versioned = |(name, inner): (&Arc<str>, Arc<dyn Plugin>)| -> Result<Arc<dyn Plugin>, String> {
            let component = components.get(name).ok_or_else(|| format!("no component {name}"))?;
            let version = String::from_utf8_lossy(component).into_owned();
            let breaks = (version == BAD).then(|| self.breaks.clone());
            let is_strict = version == STRICT;
            Ok(Arc::new(Versioned { digest: format!("{name}-{version}"), inner, breaks, is_strict }))
        };
        let plugins = names.iter().zip(plugins).map(versioned).collect::<Result<_, _>>()?;
        Ok(Program::new(plan, plugins, names))
    }
}

/// The first two read each other's state; nobody goes back from that of the third, which the bad one has as well.
fn state_version(component: &[u8]) -> StateVersion {
    let (version, reads) = match component {
        b"v1" => (1, vec![2]),
        b"v2" => (2, vec![1]),
        _ => (3, vec![1, 2]),
    };
    StateVersion { name: "S".to_owned(), version, reads }
}

struct Versioned {
    digest: String,
    inner: Arc<dyn Plugin>,
    breaks: Option<Arc<AtomicBool>>,
    is_strict: bool,
}

impl Plugin for Versioned {
    fn declaration(&self) -> &Declaration {
        self.inner.declaration()
    }

    fn digest(&self) -> &str {
        &self.digest
    }

    fn can_migrate(&self) -> bool {
        self.inner.can_migrate()
    }

    fn instance(&self) -> Result<Box<dyn PluginInstance>, LoadError> {
        let (breaks, is_strict) = (self.breaks.clone(), self.is_strict);
        Ok(Box::new(VersionedInstance { inner: self.inner.instance()?, breaks, is_strict }))
    }
}

struct VersionedInstance {
    inner: Box<dyn PluginInstance>,
    breaks: Option<Arc<AtomicBool>>,
    is_strict: bool,
}

impl PluginInstance for VersionedInstance {
    fn memory_bytes_max(&self) -> u64 {
        self.inner.memory_bytes_max()
    }

    fn call(&mut self, request: &Request) -> Result<Response, PluginFault> {
        if self.breaks.as_ref().is_some_and(|breaks| breaks.load(Ordering::Relaxed)) {
            return Err(PluginFault::Malformed("it is bad".to_owned()));
        }
        let response = self.inner.call(request)?;
        Ok(match request {
            Request::Transform { rows } if self.is_strict => without_odd(rows, response),
            _ => response,
        })
    }
}

/// `response` to `rows`, with those refused that are odd and were not.
fn without_odd(rows: &Rows, mut response: Response) -> Response {
    let Response::Rows { outputs, rejects } = &mut response else { return response };
    let is_odd = |row: u32| rows.columns().iter().any(|column| column.at(row as usize) == Value::Bytes(ODD));
    for routed in outputs {
        let odd = routed.origins.iter().filter(|row| is_odd(**row));
        rejects.extend(odd.map(|row| Reject { row: *row, code: 8, message: "a row is odd".to_owned() }));
        let kept: Vec<u32> = (0..).zip(&routed.origins).filter(|(_, row)| !is_odd(**row)).map(|(at, _)| at).collect();
        routed.rows = routed.rows.take(&kept);
        routed.origins.retain(|row| !is_odd(*row));
    }
    rejects.sort_by_key(|reject| reject.row);
    response
}

/// The upgrades of one run.
pub struct Upgrades {
    rng: ChaCha8Rng,
    loader: Arc<Versions>,
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    pipeline: (String, u32),
    /// By the slot of their process.
    controls: BTreeMap<usize, Control>,
    pub n_accepted: usize,
    pub n_rolled_back: usize,
    n_proposed: usize,
    /// Whether anybody wants other code.
    pub are_wanted: bool,
    /// What the next process that begins is to forget, as `reel run --reset` says.
    at_start: Option<Arc<str>>,
}

impl Upgrades {
    pub fn new(seed: u64, shape: Shape, log: &SimulatedLog, clock: &Arc<VirtualClock>) -> Upgrades {
        let (plan, _) = shape.build();
        Upgrades {
            rng: ChaCha8Rng::seed_from_u64(seed ^ 0x0dd_c0de),
            loader: Arc::new(Versions { shape, breaks: Arc::new(AtomicBool::new(true)) }),
            log: Arc::new(log.clone()),
            clock: clock.clone(),
            pipeline: (plan.name.to_string(), plan.n_partitions),
            controls: BTreeMap::new(),
            n_accepted: 0,
            n_rolled_back: 0,
            n_proposed: 0,
            are_wanted: true,
            at_start: None,
        }
    }

    /// The next process that begins has `stage` forget what it keeps. Those that begin after the log knows it do not say so again.
    pub fn reset_at_start(&mut self, stage: &str) {
        self.at_start = Some(stage.into());
    }

    /// How often a start has said that a stage is to forget.
    pub fn n_resets_at_start(&self) -> usize {
        let Some(ledger) = self.ledger() else { return 0 };
        ledger.entries().filter(|entry| entry.how == How::Started && !entry.resets.is_empty()).count()
    }

    /// What the process of `slot` runs, which begins now; `None` while the log fails.
    pub fn enter(&mut self, slot: usize, job: &Job) -> Option<Job> {
        let components = self.components("v1");
        let program = Arc::new(self.loader.load(&components).expect("the first version loads"));
        let loader = self.loader.clone();
        let resets = self.at_start.iter().cloned().collect();
        let started = Started { code: program, components, loader, resets };
        let mut job = Job { settings: job.settings.clone(), ..job.clone() };
        let entered = control::enter(&mut job, &started, Upgrader::default());
        // A start that failed may have said it, and one that says it again forgets again.
        if self.at_start.is_some() && self.n_resets_at_start() > 0 {
            self.at_start = None;
        }
        match entered {
            Ok(control) => {
                self.controls.insert(slot, control);
                Some(job)
            }
            Err(RunError::Log(error)) if error.ends_only_the_session() => None,
            Err(error) => panic!("a process cannot begin: {error}"),
        }
    }

    /// The process of `slot` is gone.
    pub fn leave(&mut self, slot: usize) {
        self.controls.remove(&slot);
    }

    /// The control of some process looks at the log.
    pub fn step(&mut self) {
        let slots: Vec<usize> = self.controls.keys().copied().collect();
        let Some(slot) = (!slots.is_empty()).then(|| slots[self.rng.random_range(0..slots.len())]) else { return };
        match self.controls.get_mut(&slot).expect("it was just seen").step() {
            Ok(_) => {}
            Err(RunError::Log(error)) if error.ends_only_the_session() => {}
            Err(error) => panic!("a control stopped for good: {error}"),
        }
        // Nobody can act on a verdict before its control has read it.
        if let Some(ledger) = self.ledger() {
            let is_bad = |entry: &&Entry| entry.code.0.values().any(|digest| digest.ends_with(BAD));
            if ledger.entries().filter(is_bad).any(|entry| entry.verdict == Verdict::Accepted) {
                self.loader.breaks.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Somebody wants other code, if anybody does.
    pub fn propose(&mut self) {
        if !self.are_wanted {
            return;
        }
        let version = if self.rng.random_bool(0.4) { BAD } else { GOOD[self.rng.random_range(0..GOOD.len())] };
        self.propose_version(version, &[]);
    }

    /// Somebody wants `stage` to forget what it keeps, unless it is being tried: with the same code, newer one, or older one that could not read it.
    pub fn propose_reset(&mut self, stage: &str) {
        if self.ledger().is_some_and(|ledger| ledger.trial().is_none()) {
            let version = GOOD[self.rng.random_range(0..GOOD.len())];
            self.propose_version(version, &[stage]);
        }
    }

    /// Whether a reset was accepted; `None`: none has been tried to its end.
    pub fn reset_verdict(&self) -> Option<bool> {
        let ledger = self.ledger()?;
        let verdict = |entry: &Entry| match entry.verdict {
            Verdict::Accepted => Some(true),
            Verdict::RolledBack { .. } => Some(false),
            Verdict::Open { .. } | Verdict::Refused { .. } => None,
        };
        ledger.entries().filter(|entry| !entry.resets.is_empty()).find_map(verdict)
    }

    /// Somebody wants `version`, with the state of `resets` forgotten.
    pub fn propose_version(&mut self, version: &str, resets: &[&str]) {
        let resets = resets.iter().map(|stage| Arc::from(*stage)).collect();
        let components = self.components(version);
        let set = self.loader.load(&components).expect("every version loads").set;
        let (name, n_partitions) = (self.pipeline.0.as_str(), self.pipeline.1);
        self.n_proposed += 1;
        let by = format!("proposer {}", self.n_proposed).into();
        let proposal = Proposal { components: &components, code: &set, migration: Migration::Lazy, resets: &resets, by: &by };
        match control::propose(&self.log, &self.clock, (name, n_partitions), proposal) {
            Ok(_) => {}
            Err(error) if error.ends_only_the_session() || matches!(error, reelflow_ports::log::LogError::TopicMissing(_)) => {}
            Err(error) => panic!("a proposal cannot be written: {error}"),
        }
    }

    /// Checks what readers see of all this, and counts how the trials ended.
    pub fn check(&mut self, outputs: &SimulatedLog) {
        let Some(ledger) = self.ledger() else { return };
        for entry in ledger.entries() {
            match entry.verdict {
                Verdict::Accepted => self.n_accepted += 1,
                Verdict::RolledBack { .. } => self.n_rolled_back += 1,
                Verdict::Open { .. } | Verdict::Refused { .. } => {}
            }
        }
        let bad_may_show = !self.loader.breaks.load(Ordering::Relaxed);
        for record in outputs.committed_records("out").iter().flatten() {
            let made_by = record.headers.iter().find(|(header, _)| **header == *name::PLUGIN);
            let made_by = made_by.map(|(_, value)| String::from_utf8_lossy(value).into_owned());
            let made_by = made_by.expect("every record says which code made it");
            assert!(bad_may_show || !made_by.ends_with(BAD), "a trial that failed is seen: {made_by}");
        }
    }

    /// `None`: there is no topic yet. Whoever judges the run is not stopped by what fails in it.
    fn ledger(&self) -> Option<Ledger> {
        loop {
            match control::history(&self.log, &self.clock, (&self.pipeline.0, self.pipeline.1)) {
                Ok(ledger) => return Some(ledger),
                Err(error) if error.ends_only_the_session() => {}
                Err(_) => return None,
            }
        }
    }

    fn components(&self, version: &str) -> Components {
        let n_plugins = self.loader.shape.build().1.len();
        (0..n_plugins).map(|idx| (format!("p{idx}").into(), version.as_bytes().into())).collect()
    }
}
