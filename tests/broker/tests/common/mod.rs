//! What the tests of the Kafka log share.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use reelflow_broker_tests::{Broker, unique};
use reelflow_core::record::Offset;
use reelflow_kafka::{KafkaConfig, KafkaLog};
use reelflow_ports::log::{Guarantee, Log, LogError, MemberSpec, NewTopic, Polled, Retention, Session, TopicPartition};

/// What a test waits for anything before it fails.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn log_on(broker: &Broker) -> KafkaLog {
    // Longer than the default, since tests share a machine with compilers.
    let config = KafkaConfig { wait_max: Duration::from_secs(30), ..KafkaConfig::new(broker.bootstrap()) };
    KafkaLog::new(config).expect("a log without settings")
}

/// A new topic of a name of its own.
pub fn topic(log: &KafkaLog, stem: &str, n_partitions: u32) -> Arc<str> {
    let name: Arc<str> = unique(stem).into();
    log.create_topic(&NewTopic { name: name.clone(), n_partitions, retention: Retention::FromTimestamp }).expect("a new topic");
    name
}

pub fn spec(group: &str, member: &str, topics: &[&Arc<str>], guarantee: Guarantee) -> MemberSpec {
    MemberSpec {
        group: group.into(),
        member: member.into(),
        topics: topics.iter().map(|topic| (*topic).clone()).collect(),
        guarantee,
        session_timeout: Duration::from_secs(6),
        transaction_timeout: Duration::from_secs(20),
    }
}

/// All committed values of a partition.
pub fn text(log: &KafkaLog, at: &TopicPartition) -> Vec<String> {
    let (earliest, end) = log.offsets(at).expect("the partition's offsets");
    let mut values = Vec::new();
    log.scan(at, earliest, end, &mut |record| {
        values.push(String::from_utf8(record.value.expect("a value").to_vec()).expect("text"));
        true
    })
    .expect("the partition's records");
    values
}

/// Polls until `pick` finds what it looks for.
pub fn poll_until<T>(session: &mut dyn Session, mut pick: impl FnMut(&Result<Polled, LogError>) -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let polled = session.poll(Duration::from_millis(50));
        if let Some(found) = pick(&polled) {
            return found;
        }
        polled.expect("a session that goes on");
        assert!(Instant::now() < deadline, "what the test waits for does not happen");
    }
}

/// A session that has its partitions.
pub struct Life {
    pub session: Box<dyn Session>,
    pub assigned: Vec<TopicPartition>,
}

impl Life {
    /// Joins, waits for partitions, and starts them at the beginning.
    pub fn start(log: &dyn Log, spec: &MemberSpec) -> Life {
        Life::start_at(log, spec, |_| 0)
    }

    pub fn start_at(log: &dyn Log, spec: &MemberSpec, position: impl Fn(&TopicPartition) -> Offset) -> Life {
        let mut life = Life::assigned(log, spec);
        let positions: Vec<(TopicPartition, Offset)> = life.assigned.iter().map(|at| (at.clone(), position(at))).collect();
        life.session.start(&positions).expect("positions are taken on");
        life
    }

    fn assigned(log: &dyn Log, spec: &MemberSpec) -> Life {
        let deadline = Instant::now() + PATIENCE;
        let mut session = loop {
            match log.join(spec) {
                Ok(session) => break session,
                Err(error) => assert!(error.ends_only_the_session() && Instant::now() < deadline, "no group to join: {error}"),
            }
        };
        let assigned = poll_until(&mut *session, |polled| match polled {
            Ok(Polled::Assigned(partitions)) if !partitions.is_empty() => Some(partitions.clone()),
            _ => None,
        });
        Life { session, assigned }
    }
}
