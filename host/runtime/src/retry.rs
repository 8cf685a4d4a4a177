//! Puts the records of dead letters back into the topics that they came from, each once.
//!
//! Which letters were put back is a set ([`Retried`]), kept as marks in a topic of its own, `reel.<pipeline>.retried`. Records and their marks
//! are committed by one transaction ([`seal::load`]), so wherever a crash comes:
//! - before the commit neither is there, and the records will be put back by the next life;
//! - after it both are, and no later life puts them back again;
//! - during it nobody knows, but the log does: the session is dropped, and the next one reads the marks only when nothing is in flight.
//!
//! A second retry at the same time has the same member name, so joining fences the first: its open transaction is aborted, and it must join
//! and read the marks anew. Two at once take turns, and double nothing.
//!
//! Why not committed positions: a retry may skip letters, so each partition needs a set, of which no bound is known and metadata holds
//! 4 KB; and Kafka forgets the positions of a group that is idle for a week. The position that is committed with the marks, how
//! many letters they name, is for people. Marks are united and written anew once there are many; those of letters that
//! are gone are forgotten then.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use reelflow_core::{
    letter::retried::Retried,
    plan::Plan,
    record::{Header, Offset, Outgoing, Partition},
    state::StateError,
};
use reelflow_ports::{
    clock::Clock,
    log::{Commit, Guarantee, Log, LogError, MemberSpec, NewTopic, Polled, Retention, Session, TopicPartition},
};
use tracing::info;

use crate::{
    error::RunError,
    patience::{Patience, Wait},
    seal,
    settings::Settings,
};

/// More ranges of letters than this are not kept in memory: about 30 MB.
const RANGES_MAX: usize = 1_000_000;
/// More marks than this are written anew as few.
const MARKS_MAX: usize = 256;
/// The wait for the group to decide.
const PAUSE: Duration = Duration::from_millis(100);

/// The record of one letter, on its way back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutBack {
    /// Partition and offset of the letter.
    pub letter: (Partition, Offset),
    pub topic: Arc<str>,
    pub partition: Partition,
    pub timestamp_ms: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<Header>,
}

/// Why it cannot be told which letters were put back, or not be remembered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RetriedError {
    #[error("{at}, offset {offset}: {why}")]
    Unreadable { at: TopicPartition, offset: Offset, why: StateError },
    #[error("letter {retried} of {at} was, but the topic ends at {end}: it was created anew; delete topic \"{marks}\" as well")]
    Replaced { at: TopicPartition, retried: Offset, end: Offset, marks: Arc<str> },
    #[error("they lie in more than {limit} separate ranges; put back more of those in between")]
    TooMany { limit: usize },
}

/// What a step came to.
#[derive(Debug)]
pub enum Step {
    /// All that was given is put back, now or before.
    Done,
    /// Call again with the same letters.
    Again,
    /// The session ended by an error; call again with the same letters after this wait.
    Trouble { error: LogError, after: Duration },
}

/// Puts letters of one pipeline back.
pub struct Retrier {
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    letters: Arc<str>,
    marks: TopicPartition,
    spec: MemberSpec,
    life: Option<Life>,
    patience: Patience,
}

/// One session with the log.
struct Life {
    session: Box<dyn Session>,
    /// `None` until the session owns the marks.
    known: Option<Known>,
}

/// What the marks say.
struct Known {
    retried: Retried,
    n_marks: usize,
    /// One past the last mark when they were read.
    end: Offset,
}

impl Retrier {
    /// Touches nothing yet.
    pub fn new(log: Arc<dyn Log>, clock: Arc<dyn Clock>, plan: &Plan, settings: &Settings) -> Retrier {
        let group: Arc<str> = format!("reel.{}.retry", plan.name).into();
        let marks = marks_of(&plan.name);
        let spec = MemberSpec {
            member: group.clone(),
            group,
            topics: vec![marks.topic.clone()],
            guarantee: Guarantee::ExactlyOnce,
            session_timeout: settings.session_timeout,
            transaction_timeout: settings.transaction_timeout,
        };
        let (letters, patience) = (plan.dead_letter_topic.clone(), Patience::new(settings.outage));
        Retrier { log, clock, letters, marks, spec, life: None, patience }
    }

    /// Which letters were put back, by anybody; `None` before the first [`Step::Done`] of a session.
    pub fn retried(&self) -> Option<&Retried> {
        self.life.as_ref()?.known.as_ref().map(|known| &known.retried)
    }

    /// Joins, or puts back what of `letters` was not before, in one transaction. An error is final.
    pub fn step(&mut self, letters: &[PutBack]) -> Result<Step, RunError> {
        let result = match self.life.take() {
            Some(mut life) => self.live(&mut life, letters).map(|step| (step, life)),
            None => self.join().map(|life| (Step::Again, life)).map_err(RunError::from),
        };
        match result {
            Ok((step, life)) => {
                self.life = Some(life);
                Ok(step)
            }
            Err(RunError::Log(error)) if error.ends_only_the_session() => {
                let Wait { after, .. } = self.patience.failed(self.clock.now(), &error)?;
                Ok(Step::Trouble { error, after })
            }
            Err(error) => Err(error),
        }
    }

    /// Leaves the group.
    pub fn stop(self) -> Result<(), LogError> {
        self.life.map_or(Ok(()), |life| life.session.leave())
    }

    fn join(&self) -> Result<Life, LogError> {
        let topic = NewTopic { name: self.marks.topic.clone(), n_partitions: 1, retention: Retention::UntilTrimmed };
        self.log.create_topic(&topic)?;
        Ok(Life { session: self.log.join(&self.spec)?, known: None })
    }

    fn live(&mut self, life: &mut Life, letters: &[PutBack]) -> Result<Step, RunError> {
        let wait = if life.known.is_some() { Duration::ZERO } else { PAUSE };
        match life.session.poll(wait)? {
            // Nothing is read in this group, only marked.
            Polled::Idle | Polled::Fetched(_) => {}
            Polled::Assigned(partitions) => life.known = self.assigned(&mut *life.session, &partitions)?,
            Polled::Revoked | Polled::Lost => {
                life.known = None;
                seal::discard(&mut *life.session)?;
                life.session.give_up()?;
            }
        }
        let Some(known) = &mut life.known else { return Ok(Step::Again) };
        self.put(&mut *life.session, known, letters)?;
        self.patience.succeeded();
        Ok(Step::Done)
    }

    /// Takes the marks on, if they are among `partitions`.
    fn assigned(&self, session: &mut dyn Session, partitions: &[TopicPartition]) -> Result<Option<Known>, RunError> {
        let ends = partitions.iter().map(|at| Ok((at.clone(), self.log.offsets(at)?.1)));
        session.start(&ends.collect::<Result<Vec<_>, LogError>>()?)?;
        partitions.iter().try_for_each(|at| session.pause(at, true))?;
        if !partitions.contains(&self.marks) {
            return Ok(None);
        }
        // The life before may have ended in the middle of a commit.
        if self.log.is_undecided(&self.marks)? {
            return Err(LogError::Unavailable("an earlier retry is still being decided".to_owned()).into());
        }
        known(&*self.log, &self.letters, &self.marks).map(Some)
    }

    fn put(&self, session: &mut dyn Session, known: &mut Known, letters: &[PutBack]) -> Result<(), RunError> {
        let mut fresh = Retried::default();
        let mut lists: BTreeMap<Arc<str>, Outgoing> = BTreeMap::new();
        for put in letters {
            let (partition, offset) = put.letter;
            if known.retried.contains(partition, offset) || fresh.contains(partition, offset) {
                continue;
            }
            fresh.insert(partition, offset);
            let list = lists.entry(put.topic.clone()).or_insert_with(|| Outgoing::new(put.topic.clone()));
            list.push(put.partition, put.timestamp_ms, put.key.as_deref(), put.value.as_deref(), &put.headers);
        }
        if fresh.is_empty() {
            return Ok(());
        }
        if known.retried.n_ranges() + fresh.n_ranges() > RANGES_MAX {
            return Err(RetriedError::TooMany { limit: RANGES_MAX }.into());
        }
        let count = known.retried.len() + fresh.len();
        let is_tidying = known.n_marks >= MARKS_MAX;
        let bytes = if is_tidying { known.retried.marks().into_iter().chain(fresh.marks()).collect() } else { fresh.marks() };
        let mut marks = Outgoing::new(self.marks.topic.clone());
        let now = self.clock.now();
        bytes.iter().for_each(|mark| marks.push(0, now.0, None, Some(mark), &[]));
        let lists: Vec<Outgoing> = lists.into_values().chain([marks]).collect();
        let commit = Commit { at: self.marks.clone(), next: count as Offset, metadata: String::new() };
        seal::load(session, &lists, &commit)?;
        known.n_marks = if is_tidying { bytes.len() } else { known.n_marks + bytes.len() };
        known.retried.extend(&fresh);
        info!(records = fresh.len(), "put records back");
        if is_tidying {
            self.log.trim(&self.marks, known.end)?;
        }
        Ok(())
    }
}

/// Which letters in topic `letters` of `pipeline` were put back so far, as it is committed. Changes nothing.
pub fn retried(log: &dyn Log, pipeline: &str, letters: &Arc<str>) -> Result<Retried, RunError> {
    let marks = marks_of(pipeline);
    match log.n_partitions(&marks.topic)? {
        None => Ok(Retried::default()),
        Some(_) => known(log, letters, &marks).map(|known| known.retried),
    }
}

fn marks_of(pipeline: &str) -> TopicPartition {
    TopicPartition { topic: format!("reel.{pipeline}.retried").into(), partition: 0 }
}

fn known(log: &dyn Log, letters: &Arc<str>, marks: &TopicPartition) -> Result<Known, RunError> {
    let (earliest, end) = log.offsets(marks)?;
    let mut known = Known { retried: Retried::default(), n_marks: 0, end };
    let mut damaged = None;
    log.scan(marks, earliest, end, &mut |record| {
        known.n_marks += 1;
        let applied = known.retried.apply(record.value.unwrap_or_default());
        damaged = applied.err().map(|why| RetriedError::Unreadable { at: marks.clone(), offset: record.offset, why });
        damaged.is_none()
    })?;
    if let Some(why) = damaged {
        return Err(why.into());
    }
    for partition in 0..log.n_partitions(letters)?.unwrap_or(0) {
        let at = TopicPartition { topic: letters.clone(), partition };
        let (earliest, end) = log.offsets(&at)?;
        match known.retried.end(partition) {
            Some(behind) if behind > end => {
                let marks = marks.topic.clone();
                return Err(RetriedError::Replaced { at, retried: behind - 1, end, marks }.into());
            }
            _ => known.retried.forget_before(partition, earliest),
        }
    }
    match known.retried.n_ranges() > RANGES_MAX {
        true => Err(RetriedError::TooMany { limit: RANGES_MAX }.into()),
        false => Ok(known),
    }
}
