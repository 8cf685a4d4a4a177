//! A process's view of the control topic: which code the pipeline runs, and what it is asked to try.
//!
//! `reel.<pipeline>.control` has one partition, whose order decides ([`Ledger`]). Everybody may write to it outside of transactions: who runs the
//! pipeline, and who asks for other code. It is never cut, as a verdict depends on all that came before. The components travel beside it, in
//! `reel.<pipeline>.components`, which is; so a process that has never seen a file can run it.
//!
//! Compiling happens here, beside the workers, which learn of new code by the [`Board`] when it is ready.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use reelflow_core::{
    record::{Offset, Outgoing},
    time::WallTime,
    upgrade::{CodeSet, Digest, Entry, How, Ledger, Migration, Said, Verdict, follower::Decided},
};
use reelflow_ports::{
    clock::Clock,
    log::{Log, LogError, NewTopic, Retention, TopicPartition},
};
use tracing::{info, warn};

use crate::{
    code::{Board, Components, Loader, Program, Report, Trial},
    error::RunError,
    observe::{Event, Observer},
};

mod ask;
mod thread;
mod wire;

pub use ask::{Answer, Proposal, Upgrader, components, follow, history, propose};
pub use thread::enter;
pub(crate) use thread::{spawn, start};

/// How often the topic is looked at, and how often while something is under way.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const LOOK_OFTEN: Duration = Duration::from_millis(20);

/// What a process was started with.
pub struct Started {
    pub code: Arc<Program>,
    pub components: Components,
    pub loader: Arc<dyn Loader>,
    /// The stages whose state shall be forgotten.
    pub resets: BTreeSet<Arc<str>>,
}

/// One process's control.
pub struct Control {
    topic: ControlTopic,
    ledger: Ledger,
    loader: Arc<dyn Loader>,
    board: Arc<Board>,
    observer: Arc<dyn Observer>,
    upgrader: Upgrader,
    /// Who speaks.
    by: Arc<str>,
    /// The last trial that this process has looked at.
    looked_at: Option<Offset>,
    /// What became of proposals up to this one was told to whoever watches, or was known before this process began.
    told: Offset,
    /// What workers have said and the log does not know yet.
    unsaid: Vec<Said>,
}

/// The topic, read from its beginning on.
pub(crate) struct ControlTopic {
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    at: TopicPartition,
    components_at: TopicPartition,
    next: Offset,
}

/// The topics of the pipeline `name` that control it, and hold its components.
pub fn control_topics(name: &str) -> [NewTopic; 2] {
    ["control", "components"].map(|what| NewTopic {
        name: format!("reel.{name}.{what}").into(),
        n_partitions: 1,
        retention: Retention::UntilTrimmed,
    })
}

/// Whether `log` holds more of the control topic of the pipeline `name` than was read up to `to`.
pub(crate) fn has_news(log: &dyn Log, name: &str, to: Offset) -> Result<bool, LogError> {
    let [control, _] = control_topics(name);
    Ok(log.offsets(&TopicPartition { topic: control.name, partition: 0 })?.1 > to)
}

impl ControlTopic {
    pub(crate) fn new(log: Arc<dyn Log>, clock: Arc<dyn Clock>, pipeline: &str) -> ControlTopic {
        let [at, components_at] = control_topics(pipeline).map(|topic| TopicPartition { topic: topic.name, partition: 0 });
        ControlTopic { log, clock, at, components_at, next: 0 }
    }

    /// Applies what has come since the last time. Gives whether anything did.
    pub(crate) fn read(&mut self, ledger: &mut Ledger) -> Result<bool, LogError> {
        let (earliest, end) = self.log.offsets(&self.at)?;
        let from = self.next.max(earliest);
        if from >= end {
            return Ok(false);
        }
        let mut next = from;
        self.log.scan(&self.at, from, end, &mut |record| {
            next = record.offset + 1;
            match wire::read(&record) {
                Some(said) => ledger.apply(record.offset, WallTime(record.timestamp_ms), said),
                None => warn!(offset = record.offset, "a record of the control topic says nothing that this build knows"),
            }
            true
        })?;
        self.next = end.max(next);
        Ok(true)
    }

    pub(crate) fn say(&self, said: &Said) -> Result<(), LogError> {
        let mut to = Outgoing::new(self.at.topic.clone());
        wire::push(&mut to, self.clock.now().0, said);
        self.log.write(&to)
    }

    /// Writes the components and, once they are there, that they should be used, with the state of `resets` forgotten.
    pub(crate) fn propose(
        &self,
        components: &Components,
        code: &CodeSet,
        how: How,
        resets: &BTreeSet<Arc<str>>,
        by: &Arc<str>,
    ) -> Result<(), LogError> {
        let now_ms = self.clock.now().0;
        let (_, components_from) = self.log.offsets(&self.components_at)?;
        for (name, component) in components {
            // A list of its own for each: together they may be longer than a log takes at once.
            let mut to = Outgoing::new(self.components_at.topic.clone());
            wire::push_component(&mut to, now_ms, &code.0[name], component);
            self.log.write(&to)?;
        }
        self.say(&Said::Proposed { code: code.clone(), how, resets: resets.clone(), by: by.clone(), components_from })
    }

    /// The components of a proposal, read back. An error says which one is not whole.
    pub(crate) fn components(&self, entry: &Entry) -> Result<Result<Components, String>, LogError> {
        let (earliest, end) = self.log.offsets(&self.components_at)?;
        let mut assemblies: BTreeMap<&str, wire::Assembly> = BTreeMap::new();
        entry.code.0.values().for_each(|digest| drop(assemblies.insert(digest, wire::Assembly::default())));
        self.log.scan(&self.components_at, entry.components_from.max(earliest), end, &mut |record| {
            let part = record.key.and_then(|key| std::str::from_utf8(key).ok()).and_then(wire::part);
            if let (Some(part), Some(bytes)) = (part, record.value)
                && let Some(assembly) = assemblies.get_mut(part.digest)
            {
                assembly.add(&part, bytes);
            }
            !assemblies.values().all(wire::Assembly::is_whole)
        })?;
        let whole = |(name, digest): (&Arc<str>, &Digest)| match assemblies.get(&**digest).and_then(wire::Assembly::whole) {
            Some(component) => Ok((name.clone(), component)),
            None => Err(format!("the component of plugin \"{name}\" is not whole in topic \"{}\"", self.components_at.topic)),
        };
        Ok(entry.code.0.iter().map(whole).collect())
    }
}

impl Control {
    /// Reads the topic, which exists, and decides what this process runs: what it was started with, which the pipeline then runs as well, unless
    /// that is [stale](Ledger::is_stale).
    pub(crate) fn begin(
        mut topic: ControlTopic,
        n_partitions: u32,
        started: &Started,
        by: &Arc<str>,
        observer: Arc<dyn Observer>,
        upgrader: Upgrader,
    ) -> Result<Control, RunError> {
        let Started { code, components, loader, resets } = started;
        let mut ledger = Ledger::new(n_partitions);
        topic.read(&mut ledger)?;
        let code = match stale(&topic, &ledger, &code.set, &**loader)? {
            Some(_) if !resets.is_empty() => {
                let why =
                    "its components were replaced by a reload; forget state with `reel reload --reset`, or bring those that run";
                return Err(RunError::Code { why: why.to_owned() });
            }
            Some((running, event)) => {
                observer.event(&event);
                Arc::new(running)
            }
            None => {
                if ledger.current().is_none_or(|current| current.code != code.set) || !resets.is_empty() {
                    topic.propose(components, &code.set, How::Started, resets, by)?;
                    topic.read(&mut ledger)?;
                }
                Arc::new(Program::clone(code).with_resets(ledger.resets().clone()))
            }
        };
        let board = Arc::new(Board::new(code));
        board.has_read(topic.next);
        let (by, loader) = (by.clone(), loader.clone());
        let is_decided = |entry: &&Entry| !matches!(entry.verdict, Verdict::Open { .. });
        let told = ledger.entries().filter(is_decided).map(|entry| entry.proposal).max().unwrap_or(-1);
        Ok(Control { topic, ledger, loader, board, observer, upgrader, by, looked_at: None, told, unsaid: Vec::new() })
    }

    pub(crate) fn board(&self) -> Arc<Board> {
        self.board.clone()
    }

    /// Reads, decides, and says what there is to say. Afterwards, how long to wait before the next time.
    pub fn step(&mut self) -> Result<Duration, RunError> {
        self.topic.read(&mut self.ledger)?;
        self.reconcile()?;
        self.board.has_read(self.topic.next);
        self.answer_requests()?;
        let report = |report| match report {
            Report::Passed { proposal, partitions } => Said::Passed { proposal, partitions },
            Report::Failed { proposal, why } => Said::Failed { proposal, why: why.into(), by: self.by.clone() },
        };
        self.unsaid.extend(self.board.take_reports().into_iter().map(report));
        while let Some(said) = self.unsaid.first() {
            self.topic.say(said)?;
            self.unsaid.remove(0);
        }
        let is_quiet = self.ledger.trial().is_none();
        Ok(if is_quiet { LOOK_EVERY } else { LOOK_OFTEN })
    }

    /// Makes the board show what the ledger says.
    fn reconcile(&mut self) -> Result<(), RunError> {
        let posted = self.board.look();
        let decided = posted.trial.as_ref().and_then(|trial| self.verdict(trial.proposal));
        let current = match self.ledger.current() {
            Some(entry) if !posted.current.is(&entry.code, self.ledger.resets()) => {
                let resets = self.ledger.resets();
                let tried = posted.trial.as_ref().filter(|trial| trial.code.is(&entry.code, resets));
                match tried {
                    Some(trial) => Some(trial.code.clone()),
                    None => {
                        let program = self.load(entry)?.map_err(|why| RunError::Code { why })?;
                        Some(Arc::new(program.with_resets(resets.clone())))
                    }
                }
            }
            _ => None,
        };
        if decided.is_some() || current.is_some() {
            self.board.post(|board| {
                if let Some(decided) = decided {
                    (board.trial, board.decided) = (None, Some(decided));
                }
                if let Some(current) = &current {
                    board.current = current.clone();
                }
            });
        }
        if decided.is_some() {
            self.trim();
        }
        let was_started = self.ledger.current().is_some_and(|entry| entry.how == How::Started);
        if let (Some(current), None, true) = (&current, decided, was_started) {
            self.observer.event(&Event::CodeStarted { code: current.set.clone() });
        }
        self.tell();
        self.try_new()
    }

    /// Tells whoever watches which trials have ended, and how: also those that were over before this process saw them, or could not try them.
    fn tell(&mut self) {
        let told = self.told;
        let is_news = |entry: &&Entry| entry.proposal > told && matches!(entry.how, How::Reloaded { .. });
        for entry in self.ledger.entries().filter(is_news) {
            let (proposal, code) = (entry.proposal, entry.code.clone());
            let event = match &entry.verdict {
                Verdict::Open { .. } => break,
                Verdict::Refused { .. } => continue,
                Verdict::Accepted => {
                    info!(proposal, %code, "accepted new code");
                    Event::CodeAccepted { proposal, code }
                }
                Verdict::RolledBack { why, by } => {
                    warn!(proposal, %code, %why, failed_at = %by, "rolled back new code");
                    Event::CodeRolledBack { proposal, code, why: why.clone(), by: by.clone() }
                }
            };
            self.told = proposal;
            self.observer.event(&event);
        }
    }

    /// How the posted trial of `proposal` has ended, if it has.
    fn verdict(&self, proposal: Offset) -> Option<Decided> {
        let entry = self.ledger.entry(proposal);
        let is_accepted = match entry.map(|entry| &entry.verdict) {
            Some(Verdict::Open { .. }) => return None,
            Some(Verdict::Accepted) => true,
            // What is forgotten ended long ago.
            Some(Verdict::RolledBack { .. } | Verdict::Refused { .. }) | None => false,
        };
        Some(Decided { proposal, is_accepted })
    }

    /// Compiles what is newly proposed, and lets the workers try it.
    fn try_new(&mut self) -> Result<(), RunError> {
        let Some(entry) = self.ledger.trial() else { return Ok(()) };
        if self.looked_at == Some(entry.proposal) {
            return Ok(());
        }
        let proposal = entry.proposal;
        let migration = match entry.how {
            How::Reloaded { migration } => migration,
            How::Started => Migration::Lazy,
        };
        self.observer.event(&Event::TrialBegan { proposal, code: entry.code.clone(), by: entry.by.clone() });
        let fitting = self.load(entry)?.and_then(|code| fits(&self.board.current(), code, &entry.resets));
        let fitting = fitting.map(|code| code.with_resets(self.ledger.resets_with(entry)));
        match fitting {
            Ok(code) => self.board.post(|board| board.trial = Some(Trial { proposal, code: Arc::new(code), migration })),
            Err(why) => self.unsaid.push(Said::Failed { proposal, why: why.into(), by: self.by.clone() }),
        }
        self.looked_at = Some(proposal);
        Ok(())
    }

    fn answer_requests(&mut self) -> Result<(), RunError> {
        let Some(request) = self.upgrader.wanted() else { return Ok(()) };
        if self.ledger.trial().is_some() {
            return Ok(()); // its turn comes
        }
        if let Some(code) = request.set_beside(&self.board.current().set) {
            let how = How::Reloaded { migration: request.migration };
            self.topic.propose(&request.components, &code, how, &BTreeSet::new(), &self.by)?;
        }
        self.upgrader.done(&request);
        Ok(())
    }

    fn load(&self, entry: &Entry) -> Result<Result<Program, String>, RunError> {
        load(&self.topic, entry, &*self.loader)
    }

    /// Deletes the components that nobody can ask for any more. A failure costs space.
    fn trim(&self) {
        if let Some(before) = self.ledger.components_needed_from()
            && let Err(error) = self.topic.log.trim(&self.topic.components_at, before)
        {
            warn!(%error, "the topic of components cannot be trimmed");
        }
    }
}

/// What runs instead of `files`, if these are stale and what runs fits this process's manifest; and the event that says so.
fn stale(
    topic: &ControlTopic,
    ledger: &Ledger,
    files: &CodeSet,
    loader: &dyn Loader,
) -> Result<Option<(Program, Event)>, RunError> {
    let Some(current) = ledger.current().filter(|_| ledger.is_stale(files)) else { return Ok(None) };
    match load(topic, current, loader)? {
        Ok(code) => {
            let event = Event::FilesStale { files: files.clone(), running: current.code.clone() };
            Ok(Some((code.with_resets(ledger.resets().clone()), event)))
        }
        Err(why) => {
            warn!(%why, "the pipeline's code does not fit this manifest, so the manifest's own files are used");
            Ok(None)
        }
    }
}

fn load(topic: &ControlTopic, entry: &Entry, loader: &dyn Loader) -> Result<Result<Program, String>, RunError> {
    let loaded = topic.components(entry)?.and_then(|components| loader.load(&components));
    // Names and digests come from outside: what was compiled must be what was asked for.
    Ok(loaded.and_then(|program| match program.set == entry.code {
        true => Ok(program),
        false => Err(format!("the log holds {} where {} was proposed", program.set, entry.code)),
    }))
}

/// Whether a running pipeline can take `new` in place of `current`, when the state of `resets` is forgotten.
fn fits(current: &Program, new: Program, resets: &BTreeSet<Arc<str>>) -> Result<Program, String> {
    let has = |name: &&Arc<str>| new.plan.stages.iter().any(|stage| stage.name == **name);
    if let Some(unknown) = resets.iter().find(|name| !has(name)) {
        return Err(format!("the pipeline has no stage \"{unknown}\" whose state could be forgotten"));
    }
    let differences = current.plan.differences(&new.plan);
    let blocking = differences.iter().find_map(|one| one.blocks(resets).map(|instead| format!("{one}; {instead}")));
    blocking.map_or(Ok(new), Err)
}
