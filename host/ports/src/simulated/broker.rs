//! The model broker: topics, groups, transactions. Every method is atomic; time comes in as data.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use reelflow_core::record::{Offset, Outgoing, Record};

use super::{
    faults::{Call, Fault, Faults},
    topic::{Fates, PartitionLog, TransactionId},
};
use crate::{
    group::{Group, Life},
    log::{Appended, Commit, Guarantee, LogError, MemberSpec, TopicPartition},
};

/// What a default broker takes.
pub(super) const RECORD_BYTES_MAX: usize = 1_000_000;

pub(super) struct Broker {
    pub topics: BTreeMap<Arc<str>, Vec<PartitionLog>>,
    pub groups: BTreeMap<Arc<str>, GroupState>,
    pub fates: Fates,
    pub faults: Box<dyn Faults>,
    /// Members whose process died, in order.
    pub crashed: Vec<Arc<str>>,
    producers: BTreeMap<Arc<str>, Producer>,
    last_transaction: TransactionId,
    /// FNV-1a over everything that happened: two runs of one seed must agree.
    trace: u64,
}

#[derive(Default)]
pub(super) struct GroupState {
    pub group: Group,
    pub commits: BTreeMap<TopicPartition, Commit>,
}

/// The transactions of one member.
struct Producer {
    life: Life,
    open: Option<Transaction>,
    /// The commit that will be done at this time, if its transaction is still open.
    delayed: Option<(i64, TransactionId)>,
}

struct Transaction {
    id: TransactionId,
    expires_ms: i64,
    group: Arc<str>,
    partitions: BTreeSet<TopicPartition>,
    commits: Vec<Commit>,
}

impl Broker {
    pub fn new(faults: Box<dyn Faults>) -> Broker {
        Broker {
            topics: BTreeMap::new(),
            groups: BTreeMap::new(),
            fates: Fates::default(),
            faults,
            crashed: Vec::new(),
            producers: BTreeMap::new(),
            last_transaction: 0,
            trace: 0xcbf2_9ce4_8422_2325,
        }
    }

    pub fn trace(&self) -> u64 {
        self.trace
    }

    pub fn note(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub fn decide(&mut self, member: &str, call: Call) -> Fault {
        let fault = self.faults.decide(member, call);
        self.note(format!("{member} {call:?} {fault:?}").as_bytes());
        fault
    }

    pub fn partition(&self, at: &TopicPartition) -> Result<&PartitionLog, LogError> {
        let partitions = self.topics.get(&at.topic).ok_or_else(|| LogError::TopicMissing(at.topic.clone()))?;
        partitions.get(at.partition as usize).ok_or_else(|| LogError::Refused(format!("there is no partition {at}")))
    }

    /// Does what is due: delayed commits, transactions that were open for too long, silent members.
    pub fn pass_time(&mut self, now_ms: i64) {
        let due = |producer: &Producer| {
            let (at, id) = producer.delayed?;
            (at <= now_ms && producer.open.as_ref().is_some_and(|open| open.id == id)).then_some(())
        };
        let members: Vec<Arc<str>> = self.producers.keys().cloned().collect();
        for member in members {
            let producer = self.producers.get_mut(&member).expect("members are not removed");
            if due(producer).is_some() {
                let transaction = producer.open.take().expect("it is due");
                self.end(transaction, true);
            } else if producer.open.as_ref().is_some_and(|open| open.expires_ms < now_ms) {
                // What comes later from this life is refused: the coordinator bumped the epoch.
                producer.life = 0;
                let transaction = producer.open.take().expect("it has expired");
                self.end(transaction, false);
            }
        }
        let Broker { groups, topics, .. } = self;
        groups.values_mut().for_each(|state| state.group.pass_time(now_ms, &|topic| count(topics, topic)));
    }

    /// A new life of a member: the one before is fenced, and its open transaction is aborted.
    pub fn join(&mut self, spec: &MemberSpec, now_ms: i64) -> Life {
        let life = self.groups.entry(spec.group.clone()).or_default().group.join(spec, now_ms);
        let before = self.producers.insert(spec.member.clone(), Producer { life, open: None, delayed: None });
        if let Some(transaction) = before.and_then(|producer| producer.open) {
            self.end(transaction, false);
        }
        life
    }

    pub fn append(&mut self, spec: &MemberSpec, life: Life, records: &Outgoing, now_ms: i64) -> Result<Vec<Appended>, LogError> {
        let transaction = match spec.guarantee {
            Guarantee::ExactlyOnce => Some(self.transaction(spec, life, now_ms)?.id),
            Guarantee::AtLeastOnce => None,
        };
        let appended = self.write(records, transaction)?;
        if transaction.is_some() {
            let touched =
                records.partitions.iter().map(|partition| TopicPartition { topic: records.topic.clone(), partition: *partition });
            self.transaction(spec, life, now_ms)?.partitions.extend(touched);
        }
        Ok(appended)
    }

    /// Appends records; all or none.
    pub fn write(&mut self, records: &Outgoing, transaction: Option<TransactionId>) -> Result<Vec<Appended>, LogError> {
        let n_bytes = |record: &Record<'_>| record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        if let Some(record) = records.records.iter().find(|record| n_bytes(record) > RECORD_BYTES_MAX) {
            return Err(LogError::RecordTooLarge { topic: records.topic.clone(), n_bytes: n_bytes(&record) });
        }
        for partition in &records.partitions {
            self.partition(&TopicPartition { topic: records.topic.clone(), partition: *partition })?;
        }
        let mut appended = Vec::new();
        for (partition, record) in records.partitions.iter().zip(records.records.iter()) {
            self.note(record.key.unwrap_or_default());
            self.note(record.value.unwrap_or_default());
            let log = &mut self.topics.get_mut(&records.topic).expect("just seen")[*partition as usize];
            appended.push(Appended { partition: *partition, offset: log.push(record, transaction) });
        }
        Ok(appended)
    }

    pub fn add_offsets(&mut self, spec: &MemberSpec, life: Life, commits: &[Commit], now_ms: i64) -> Result<(), LogError> {
        self.may_commit(spec, life)?;
        self.transaction(spec, life, now_ms)?.commits.extend_from_slice(commits);
        Ok(())
    }

    /// Commits the open transaction, if there is one.
    pub fn commit(&mut self, spec: &MemberSpec, life: Life) -> Result<(), LogError> {
        if let Some(transaction) = self.producer(spec, life)?.open.take() {
            self.end(transaction, true);
        }
        Ok(())
    }

    /// The commit of the open transaction will be done at `at_ms`, unless it is over by then.
    pub fn commit_later(&mut self, spec: &MemberSpec, life: Life, at_ms: i64) -> Result<(), LogError> {
        let producer = self.producer(spec, life)?;
        producer.delayed = producer.open.as_ref().map(|open| (at_ms, open.id));
        Ok(())
    }

    pub fn abort(&mut self, spec: &MemberSpec, life: Life) -> Result<(), LogError> {
        if let Some(transaction) = self.producer(spec, life)?.open.take() {
            self.end(transaction, false);
        }
        Ok(())
    }

    /// Commits positions without a transaction.
    pub fn commit_offsets(&mut self, spec: &MemberSpec, life: Life, commits: &[Commit]) -> Result<(), LogError> {
        self.may_commit(spec, life)?;
        self.keep(&spec.group, commits);
        Ok(())
    }

    /// Whether a transaction holds positions of `group` that may still be committed.
    pub fn is_undecided(&self, group: &str) -> bool {
        let holds = |open: &Transaction| *open.group == *group && !open.commits.is_empty();
        self.producers.values().filter_map(|producer| producer.open.as_ref()).any(holds)
    }

    pub fn may_commit(&mut self, spec: &MemberSpec, life: Life) -> Result<(), LogError> {
        self.groups.entry(spec.group.clone()).or_default().group.may_commit(&spec.member, life)
    }

    pub fn stable_end(&self, at: &TopicPartition) -> Result<Offset, LogError> {
        Ok(self.partition(at)?.stable_end(&self.fates))
    }

    fn producer(&mut self, spec: &MemberSpec, life: Life) -> Result<&mut Producer, LogError> {
        let fenced =
            || LogError::Fenced(format!("the transactions of member \"{}\" have a new owner, or took too long", spec.member));
        self.producers.get_mut(&spec.member).filter(|producer| producer.life == life).ok_or_else(fenced)
    }

    /// The open transaction, which begins here if there is none.
    fn transaction(&mut self, spec: &MemberSpec, life: Life, now_ms: i64) -> Result<&mut Transaction, LogError> {
        let id = self.last_transaction + 1;
        let producer = self.producer(spec, life)?;
        if producer.open.is_none() {
            let timeout_ms = i64::try_from(spec.transaction_timeout.as_millis()).unwrap_or(i64::MAX);
            let (group, partitions, commits) = (spec.group.clone(), BTreeSet::new(), Vec::new());
            producer.open = Some(Transaction { id, expires_ms: now_ms.saturating_add(timeout_ms), group, partitions, commits });
            self.last_transaction = id;
            self.fates.open.insert(id);
        }
        Ok(self.producer(spec, life)?.open.as_mut().expect("it was just begun"))
    }

    fn end(&mut self, transaction: Transaction, is_committed: bool) {
        self.note(format!("end {} {is_committed}", transaction.id).as_bytes());
        self.fates.open.remove(&transaction.id);
        if is_committed {
            self.keep(&transaction.group, &transaction.commits);
        } else {
            self.fates.aborted.insert(transaction.id);
        }
        for at in transaction.partitions {
            self.topics.get_mut(&at.topic).expect("it was written to")[at.partition as usize].push_marker();
        }
    }

    fn keep(&mut self, group: &Arc<str>, commits: &[Commit]) {
        for commit in commits {
            self.note(format!("{} {} {}", commit.at, commit.next, commit.metadata).as_bytes());
        }
        let state = self.groups.entry(group.clone()).or_default();
        state.commits.extend(commits.iter().map(|commit| (commit.at.clone(), commit.clone())));
    }
}

pub(super) fn count(topics: &BTreeMap<Arc<str>, Vec<PartitionLog>>, topic: &str) -> u32 {
    topics.get(topic).map_or(0, |partitions| partitions.len() as u32)
}
