//! What every implementation of a port must do, as tests that run against each of them.
//!
//! A broken promise panics with its story. [`log`] is the contract of logs; an implementation's test calls it, or runs [`LOG_CASES`]
//! one by one. [`bases`] is that of stores of bases.

use std::{cell::Cell, sync::Arc, time::Duration};

use reelflow_core::record::{Header, Offset, Outgoing, Partition};

use crate::log::{Commit, Guarantee, Log, LogError, MemberSpec, NewTopic, Polled, Retention, Session, TopicPartition};

mod bases;
mod groups;
mod reading;
mod topics;
mod transactions;

pub use bases::bases;

/// What may differ from log to log.
#[derive(Clone, Debug)]
pub struct Differences {
    /// Makes names unique where several runs share a log.
    pub run: String,
    pub session_timeout: Duration,
    pub transaction_timeout: Duration,
    /// How long one poll waits,
    pub wait: Duration,
    /// and how many polls in a row may bring nothing before a test gives up.
    pub idle_polls_max: usize,
    /// Bytes of a record that the log does not take.
    pub too_large_bytes: usize,
    /// Whether `trim` forgets records at once; it may be ignored.
    pub trims: bool,
}

impl Differences {
    /// For logs without a network.
    pub fn local() -> Differences {
        Differences {
            run: "local".to_owned(),
            session_timeout: Duration::from_secs(10),
            transaction_timeout: Duration::from_secs(10),
            wait: Duration::from_millis(20),
            idle_polls_max: 200,
            too_large_bytes: 8 << 20,
            trims: true,
        }
    }
}

/// One promise, tried on a log. Panics when it is broken.
pub type Case = fn(&Bench<'_>);

/// The contract of logs, case by case.
pub const LOG_CASES: &[(&str, Case)] = &[
    ("topics_are_created_once_and_described", topics::created_and_described),
    ("a_scan_keeps_to_its_bounds", topics::scan_bounds),
    ("trimmed_records_are_lost_loudly", topics::trimmed),
    ("what_is_written_is_read", reading::everything_is_kept),
    ("reading_resumes_at_a_position", reading::resumes),
    ("the_end_of_a_partition_is_reported", reading::end_is_reported),
    ("a_paused_partition_gives_nothing", reading::paused),
    ("reading_starts_again_elsewhere", reading::started_again),
    ("a_partition_paused_at_its_end_loses_nothing", reading::paused_at_its_end),
    ("outputs_changes_and_positions_commit_together", transactions::atomic),
    ("an_abort_leaves_no_trace", transactions::aborted),
    ("positions_commit_without_outputs", transactions::positions_alone),
    ("a_record_too_large_is_refused", transactions::too_large),
    ("at_least_once_writes_at_once_and_commits_positions", transactions::at_least_once),
    ("a_second_life_fences_the_first", transactions::zombie),
    ("a_dropped_session_leaves_nothing", transactions::dropped),
    ("two_members_share_the_partitions", groups::shared),
    ("what_is_sealed_on_revocation_is_committed", groups::sealed_on_revocation),
    ("leaving_frees_the_partitions", groups::left),
    ("groups_do_not_know_each_other", groups::apart),
];

/// Runs all of [`LOG_CASES`], each on a log of its own.
pub fn log(make: &mut dyn FnMut() -> Box<dyn Log>, differences: &Differences) {
    for (name, case) in LOG_CASES {
        case(&Bench::new(make(), name, differences));
    }
}

/// A log under test, with the few words that the cases are written in.
pub struct Bench<'a> {
    pub log: Box<dyn Log>,
    differences: &'a Differences,
    name: String,
}

/// A record as the cases compare it: (offset, key, value).
type Row = (Offset, Option<Vec<u8>>, Option<Vec<u8>>);

impl<'a> Bench<'a> {
    /// A bench for the case `name`.
    pub fn new(log: Box<dyn Log>, name: &str, differences: &'a Differences) -> Bench<'a> {
        Bench { log, differences, name: format!("{}.{name}", differences.run) }
    }

    /// A fresh topic.
    fn topic(&self, name: &str, n_partitions: u32) -> Arc<str> {
        let name: Arc<str> = format!("{}.{name}", self.name).into();
        self.log
            .create_topic(&NewTopic { name: name.clone(), n_partitions, retention: Retention::UntilTrimmed })
            .expect("a new topic is created");
        name
    }

    fn group(&self) -> String {
        format!("{}.group", self.name)
    }

    fn spec(&self, member: &str, topics: &[Arc<str>], guarantee: Guarantee) -> MemberSpec {
        MemberSpec {
            group: self.group().into(),
            member: format!("{}.{member}", self.name).into(),
            topics: topics.to_vec(),
            guarantee,
            session_timeout: self.differences.session_timeout,
            transaction_timeout: self.differences.transaction_timeout,
        }
    }

    fn join(&self, member: &str, topics: &[Arc<str>]) -> Box<dyn Session> {
        self.log.join(&self.spec(member, topics, Guarantee::ExactlyOnce)).expect("a member joins")
    }

    /// Joins alone, and starts reading everything from the earliest records.
    fn join_and_start(&self, member: &str, topics: &[Arc<str>]) -> Box<dyn Session> {
        let mut session = self.join(member, topics);
        let assigned = self.assigned(&mut *session);
        self.start(&mut *session, &assigned);
        session
    }

    fn start(&self, session: &mut dyn Session, assigned: &[TopicPartition]) {
        let earliest = |at: &TopicPartition| (at.clone(), self.log.offsets(at).expect("an assigned partition exists").0);
        session.start(&assigned.iter().map(earliest).collect::<Vec<_>>()).expect("reading starts at the earliest records");
    }

    /// Polls until `wanted` gives something.
    fn until<T>(&self, session: &mut dyn Session, what: &str, mut wanted: impl FnMut(Polled) -> Option<T>) -> T {
        let n_idle = Cell::new(0);
        while n_idle.get() < self.differences.idle_polls_max {
            let polled = session.poll(self.differences.wait).unwrap_or_else(|error| panic!("while waiting for {what}: {error}"));
            n_idle.set(if matches!(polled, Polled::Idle) { n_idle.get() + 1 } else { 0 });
            if let Some(found) = wanted(polled) {
                return found;
            }
        }
        panic!("waited in vain for {what}")
    }

    fn assigned(&self, session: &mut dyn Session) -> Vec<TopicPartition> {
        self.until(session, "an assignment", |polled| match polled {
            Polled::Assigned(mut partitions) => {
                partitions.sort();
                Some(partitions)
            }
            Polled::Idle => None,
            other => panic!("expected an assignment, got {other:?}"),
        })
    }

    /// Reads until `n_rows` records came. Gives them in the order in which they came.
    fn read(&self, session: &mut dyn Session, n_rows: usize) -> Vec<(TopicPartition, Row)> {
        let mut rows: Vec<(TopicPartition, Row)> = Vec::new();
        while rows.len() < n_rows {
            let fetched = self.until(session, "records", |polled| match polled {
                Polled::Fetched(fetched) => Some(fetched),
                Polled::Idle => None,
                other => panic!("expected records, got {other:?}"),
            });
            for one in fetched {
                let row = |record: reelflow_core::record::Record<'_>| {
                    (one.at.clone(), (record.offset, record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec)))
                };
                assert!(one.batch.iter().all(|record| record.offset < one.next), "the next position is past every record");
                rows.extend(one.batch.iter().map(row));
            }
        }
        assert_eq!(rows.len(), n_rows, "more records came than there should be: {rows:?}");
        rows
    }

    /// All committed records of a partition, by scanning it.
    fn committed(&self, topic: &Arc<str>, partition: Partition) -> Vec<Row> {
        let at = at(topic, partition);
        let (earliest, end) = self.log.offsets(&at).expect("the topic exists");
        let mut rows = Vec::new();
        let scanned = self.log.scan(&at, earliest, end, &mut |record| {
            rows.push((record.offset, record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec)));
            true
        });
        scanned.expect("what lies between earliest and end can be scanned");
        rows
    }

    fn committed_values(&self, topic: &Arc<str>, partition: Partition) -> Vec<String> {
        self.committed(topic, partition).into_iter().map(|(_, _, value)| text(value)).collect()
    }

    fn positions(&self, topics: &[Arc<str>]) -> Vec<Commit> {
        let mut commits = self.log.committed(&self.group(), topics).expect("positions can be read");
        commits.sort_by(|a, b| a.at.cmp(&b.at));
        commits
    }

    fn write(&self, topic: &Arc<str>, partition: Partition, values: &[&str]) {
        self.log.write(&records(topic, partition, values)).expect("records are written");
    }
}

fn at(topic: &Arc<str>, partition: Partition) -> TopicPartition {
    TopicPartition { topic: topic.clone(), partition }
}

fn records(topic: &Arc<str>, partition: Partition, values: &[&str]) -> Outgoing {
    let mut outgoing = Outgoing::new(topic.clone());
    let none: &[Header] = &[];
    values.iter().for_each(|value| outgoing.push(partition, 1_000, Some(b"key"), Some(value.as_bytes()), none));
    outgoing
}

fn text(value: Option<Vec<u8>>) -> String {
    String::from_utf8(value.expect("a value")).expect("these cases write text")
}

/// That a session is over, and that a new one may do better.
fn assert_session_over<T>(result: Result<T, LogError>, when: &str) {
    match result {
        Ok(_) => panic!("{when}: succeeded"),
        Err(error) => assert!(error.ends_only_the_session(), "{when}: {error}"),
    }
}
