//! How somebody asks for other code, and hears what came of it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use reelflow_core::{
    record::Offset,
    upgrade::{CodeSet, Entry, How, Ledger, Migration, Verdict},
};
use reelflow_ports::{
    clock::Clock,
    log::{Log, LogError},
};

use super::ControlTopic;
use crate::code::Components;

/// Asks the pipeline of this process to take other components. Cheap to clone.
#[derive(Clone, Default)]
pub struct Upgrader {
    wanted: Arc<Mutex<Option<Arc<Request>>>>,
}

/// What somebody in this process wants: the newest wish counts.
pub(crate) struct Request {
    pub components: Components,
    pub digests: CodeSet,
    pub migration: Migration,
}

impl Upgrader {
    /// The pipeline tries `components` as soon as no other trial is under way. `digests`: of each of them.
    pub fn ask(&self, components: Components, digests: CodeSet, migration: Migration) {
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(Request { components, digests, migration }));
    }

    pub(crate) fn wanted(&self) -> Option<Arc<Request>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// `request` is in the log. A newer wish stays.
    pub(crate) fn done(&self, request: &Arc<Request>) {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.take_if(|wanted| Arc::ptr_eq(wanted, request));
    }
}

impl Request {
    /// The code with the wanted components, or `None` if it is `current`.
    pub fn set_beside(&self, current: &CodeSet) -> Option<CodeSet> {
        (self.digests != *current).then(|| self.digests.clone())
    }
}

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Entry(Entry),
    /// Nobody has decided in time: is the pipeline running?
    Undecided,
}

/// What somebody proposes to a pipeline that others run.
#[derive(Clone, Copy)]
pub struct Proposal<'a> {
    pub components: &'a Components,
    /// The digests of the components.
    pub code: &'a CodeSet,
    pub migration: Migration,
    /// The stages whose state is forgotten if it is accepted.
    pub resets: &'a BTreeSet<Arc<str>>,
    pub by: &'a Arc<str>,
}

/// Proposes other code to the pipeline `name`. Gives where the proposal lies.
pub fn propose(
    log: &Arc<dyn Log>,
    clock: &Arc<dyn Clock>,
    (name, n_partitions): (&str, u32),
    proposal: Proposal<'_>,
) -> Result<Offset, LogError> {
    let Proposal { components, code, migration, resets, by } = proposal;
    let mut topic = ControlTopic::new(log.clone(), clock.clone(), name);
    let mut ledger = Ledger::new(n_partitions);
    topic.read(&mut ledger)?;
    topic.propose(components, code, How::Reloaded { migration }, resets, by)?;
    topic.read(&mut ledger)?;
    let is_ours = |entry: &&Entry| entry.code == *code && entry.resets == *resets && entry.by == *by;
    let found = ledger.entries().rev().find(is_ours).map(|entry| entry.proposal);
    found.ok_or_else(|| LogError::Unavailable("the proposal does not show in the control topic yet".to_owned()))
}

/// Waits for the verdict on `proposal`, for at most `patience`; `wait` sleeps between two looks.
pub fn follow(
    log: &Arc<dyn Log>,
    clock: &Arc<dyn Clock>,
    (name, n_partitions): (&str, u32),
    proposal: Offset,
    patience: Duration,
    wait: &mut dyn FnMut(Duration),
) -> Result<Answer, LogError> {
    let mut topic = ControlTopic::new(log.clone(), clock.clone(), name);
    let mut ledger = Ledger::new(n_partitions);
    let begin = clock.now();
    loop {
        topic.read(&mut ledger)?;
        let entry = ledger.entry(proposal);
        if let Some(entry) = entry.filter(|entry| !matches!(entry.verdict, Verdict::Open { .. })) {
            return Ok(Answer::Entry(entry.clone()));
        }
        if clock.now().0 - begin.0 > i64::try_from(patience.as_millis()).unwrap_or(i64::MAX) {
            return Ok(Answer::Undecided);
        }
        wait(super::LOOK_OFTEN * 5);
    }
}

/// The components of a proposal to the pipeline `name`. An error says which one is not whole.
pub fn components(
    log: &Arc<dyn Log>,
    clock: &Arc<dyn Clock>,
    name: &str,
    entry: &Entry,
) -> Result<Result<Components, String>, LogError> {
    ControlTopic::new(log.clone(), clock.clone(), name).components(entry)
}

/// The proposals that the pipeline `name` remembers, and the offset of the one that it runs.
pub fn history(log: &Arc<dyn Log>, clock: &Arc<dyn Clock>, (name, n_partitions): (&str, u32)) -> Result<Ledger, LogError> {
    let mut topic = ControlTopic::new(log.clone(), clock.clone(), name);
    let mut ledger = Ledger::new(n_partitions);
    topic.read(&mut ledger)?;
    Ok(ledger)
}
