//! A model broker in memory: what Kafka promises, with its transactions, fencing, in-doubt commits and isolation, and with faults
//! that a seed decides. Deterministic; its time is virtual.
//!
//! Modelled after Kafka: ends of transactions take offsets; a reader of committed records stops at the first open transaction and
//! never sees aborted ones; joining fences the earlier life of a member and aborts what it left open; positions are refused from
//! members that the group has moved on without; a transaction that is open for too long is aborted and its owner fenced; the
//! positions of a group cannot be read while a transaction that holds some is undecided (here: [`LogError::Unavailable`] at once).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use reelflow_core::{
    record::{Offset, Outgoing, Partition, Record},
    time::WallTime,
};

use crate::{
    clock::Clock,
    log::{Commit, Log, LogError, MemberSpec, NewTopic, Session, TopicPartition},
};

mod bases;
mod broker;
mod faults;
mod session;
mod topic;

pub use bases::{BaseCall, BaseFault, BaseFaults, SimulatedBases};
pub use faults::{Call, Fault, Faults, NoFaults};
pub use topic::StoredRecord;

use broker::Broker;
use session::SimulatedSession;
use topic::PartitionLog;

/// A clock that goes only when told to, or when a poll of the model waits.
#[derive(Debug)]
pub struct VirtualClock {
    now_ms: Mutex<i64>,
}

impl VirtualClock {
    pub fn starting_at(now: WallTime) -> Arc<VirtualClock> {
        Arc::new(VirtualClock { now_ms: Mutex::new(now.0) })
    }

    pub fn advance(&self, by: Duration) {
        *self.now_ms.lock().expect("nobody panics with this lock") +=
            i64::try_from(by.as_millis()).expect("a test takes no ages");
    }

    fn now_ms(&self) -> i64 {
        *self.now_ms.lock().expect("nobody panics with this lock")
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> WallTime {
        WallTime(self.now_ms())
    }

    fn since_start(&self) -> Duration {
        Duration::from_millis(self.now_ms().max(0).unsigned_abs())
    }

    /// Nothing: what a machine took would be part of a run that must be the same on all of them (I-2).
    fn thread_cpu(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep(&self, wait: Duration) {
        self.advance(wait);
    }
}

/// The log on the model broker. Clones share the broker.
#[derive(Clone)]
pub struct SimulatedLog {
    shared: Arc<Mutex<Broker>>,
    clock: Arc<VirtualClock>,
}

impl SimulatedLog {
    pub fn new(clock: Arc<VirtualClock>, faults: Box<dyn Faults>) -> SimulatedLog {
        SimulatedLog { shared: Arc::new(Mutex::new(Broker::new(faults))), clock }
    }

    /// Decides on faults from now on.
    pub fn set_faults(&self, faults: Box<dyn Faults>) {
        self.broker().faults = faults;
    }

    /// The committed records of every partition of `topic`, as a reader sees them.
    pub fn committed_records(&self, topic: &str) -> Vec<Vec<StoredRecord>> {
        let broker = self.broker();
        let all =
            |log: &PartitionLog| log.committed(log.earliest(), log.stable_end(&broker.fates), &broker.fates).cloned().collect();
        broker.topics.get(topic).map(|partitions| partitions.iter().map(all).collect()).unwrap_or_default()
    }

    /// The committed positions of `group`, with their metadata.
    pub fn commits(&self, group: &str) -> BTreeMap<TopicPartition, Commit> {
        self.broker().groups.get(group).map(|state| state.commits.clone()).unwrap_or_default()
    }

    /// Forgets all committed positions of `group`, as Kafka does with a group that was idle for long.
    pub fn expire_commits(&self, group: &str) {
        if let Some(state) = self.broker().groups.get_mut(group) {
            state.commits.clear();
        }
    }

    /// The members whose process died since the last call.
    pub fn take_crashed(&self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.broker().crashed)
    }

    /// A hash of everything that has happened: two runs with the same seed must agree.
    pub fn trace(&self) -> u64 {
        self.broker().trace()
    }

    /// The broker as it is now.
    fn broker(&self) -> MutexGuard<'_, Broker> {
        let mut broker = self.shared.lock().expect("a test that panicked is over");
        broker.pass_time(self.clock.now_ms());
        broker
    }

    /// The broker as it is now, or the fault of a call that no member makes.
    fn call(&self, call: Call) -> Result<MutexGuard<'_, Broker>, LogError> {
        let mut broker = self.broker();
        match broker.decide("", call) {
            Fault::None => Ok(broker),
            fault => Err(LogError::Unavailable(format!("simulated: {fault:?} of {call:?}"))),
        }
    }
}

impl Log for SimulatedLog {
    fn describe(&self) -> String {
        "the simulated log".to_owned()
    }

    fn identity(&self) -> Result<String, LogError> {
        // Of those that live; clones are the same one.
        Ok(format!("simulated log {:p}", Arc::as_ptr(&self.shared)))
    }

    fn topics(&self) -> Result<Vec<(Arc<str>, u32)>, LogError> {
        let broker = self.broker();
        Ok(broker.topics.iter().map(|(name, partitions)| (name.clone(), partitions.len() as u32)).collect())
    }

    fn n_partitions(&self, topic: &str) -> Result<Option<u32>, LogError> {
        Ok(self.broker().topics.get(topic).map(|partitions| partitions.len() as u32))
    }

    fn create_topic(&self, topic: &NewTopic) -> Result<(), LogError> {
        let mut broker = self.broker();
        let fresh = || (0..topic.n_partitions).map(|_| PartitionLog::default()).collect();
        let found = broker.topics.entry(topic.name.clone()).or_insert_with(fresh).len() as u32;
        match found == topic.n_partitions {
            true => Ok(()),
            false => Err(LogError::PartitionCount { topic: topic.name.clone(), found, wanted: topic.n_partitions }),
        }
    }

    fn offsets(&self, at: &TopicPartition) -> Result<(Offset, Offset), LogError> {
        let broker = self.call(Call::Offsets)?;
        Ok((broker.partition(at)?.earliest(), broker.stable_end(at)?))
    }

    fn is_undecided(&self, at: &TopicPartition) -> Result<bool, LogError> {
        let broker = self.call(Call::Offsets)?;
        let log = broker.partition(at)?;
        Ok(log.stable_end(&broker.fates) < log.end())
    }

    fn scan(
        &self,
        at: &TopicPartition,
        from: Offset,
        to: Offset,
        each: &mut dyn FnMut(Record<'_>) -> bool,
    ) -> Result<(), LogError> {
        let broker = self.call(Call::Scan)?;
        let log = broker.partition(at)?;
        let (earliest, end) = (log.earliest(), log.stable_end(&broker.fates));
        if to > end && to <= log.end() {
            return Err(LogError::Unavailable(format!("{at} is hidden behind an open transaction from offset {end} on")));
        }
        if from < earliest || to > end {
            return Err(LogError::OffsetLost { at: at.clone(), wanted: if from < earliest { from } else { to }, earliest, end });
        }
        for record in log.committed(from, to, &broker.fates) {
            if !each(record.as_record()) {
                break;
            }
        }
        Ok(())
    }

    fn committed(&self, group: &str, topics: &[Arc<str>]) -> Result<Vec<Commit>, LogError> {
        let broker = self.call(Call::Committed)?;
        if broker.is_undecided(group) {
            return Err(LogError::Unavailable(format!("a transaction of group \"{group}\" is in flight")));
        }
        let Some(state) = broker.groups.get(group) else { return Ok(Vec::new()) };
        Ok(state.commits.values().filter(|commit| topics.contains(&commit.at.topic)).cloned().collect())
    }

    fn trim(&self, at: &TopicPartition, before: Offset) -> Result<(), LogError> {
        let mut broker = self.broker();
        let before = before.min(broker.stable_end(at)?);
        broker.topics.get_mut(&at.topic).expect("just seen")[at.partition as usize].trim(before);
        Ok(())
    }

    fn join(&self, spec: &MemberSpec) -> Result<Box<dyn Session>, LogError> {
        let mut broker = self.broker();
        let now_ms = self.clock.now_ms();
        let fault = broker.decide(&spec.member, Call::Join);
        let lost = || LogError::Unavailable(format!("simulated: {fault:?} of a join"));
        if fault == Fault::FailBefore {
            return Err(lost());
        }
        let life = broker.join(spec, now_ms);
        if fault != Fault::None {
            return Err(lost());
        }
        Ok(Box::new(SimulatedSession {
            log: self.clone(),
            spec: spec.clone(),
            life,
            reading: BTreeMap::new(),
            paused: Default::default(),
            appended: Vec::new(),
            offsets: Vec::new(),
            is_deaf: false,
            is_over: false,
        }))
    }

    fn write(&self, records: &Outgoing) -> Result<(), LogError> {
        self.broker().write(records, None).map(drop)
    }
}

/// The partition that a test writes to, spelled briefly.
pub fn at(topic: &str, partition: Partition) -> TopicPartition {
    TopicPartition { topic: topic.into(), partition }
}
