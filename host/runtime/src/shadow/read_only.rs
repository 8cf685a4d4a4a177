//! The log as a shadow has it: there is no way to write to it.

use std::sync::Arc;

use reelflow_core::record::{Offset, Outgoing, Record};
use reelflow_ports::log::{Commit, Log, LogError, MemberSpec, NewTopic, Session, TopicPartition};

/// A log that is read and nothing else (I-15): what would leave something in it, or in its groups, is refused before it is reached.
pub(super) struct ReadOnly(pub Arc<dyn Log>);

fn refused<T>(what: &str) -> Result<T, LogError> {
    Err(LogError::Refused(format!("a shadow only reads: it cannot {what}")))
}

impl Log for ReadOnly {
    fn describe(&self) -> String {
        self.0.describe()
    }

    fn identity(&self) -> Result<String, LogError> {
        self.0.identity()
    }

    fn topics(&self) -> Result<Vec<(Arc<str>, u32)>, LogError> {
        self.0.topics()
    }

    fn n_partitions(&self, topic: &str) -> Result<Option<u32>, LogError> {
        self.0.n_partitions(topic)
    }

    fn create_topic(&self, _: &NewTopic) -> Result<(), LogError> {
        refused("create a topic")
    }

    fn offsets(&self, at: &TopicPartition) -> Result<(Offset, Offset), LogError> {
        self.0.offsets(at)
    }

    fn is_undecided(&self, at: &TopicPartition) -> Result<bool, LogError> {
        self.0.is_undecided(at)
    }

    fn scan(
        &self,
        at: &TopicPartition,
        from: Offset,
        to: Offset,
        each: &mut dyn FnMut(Record<'_>) -> bool,
    ) -> Result<(), LogError> {
        self.0.scan(at, from, to, each)
    }

    fn committed(&self, group: &str, topics: &[Arc<str>]) -> Result<Vec<Commit>, LogError> {
        self.0.committed(group, topics)
    }

    fn trim(&self, _: &TopicPartition, _: Offset) -> Result<(), LogError> {
        refused("cut a topic")
    }

    fn join(&self, _: &MemberSpec) -> Result<Box<dyn Session>, LogError> {
        refused("join a group")
    }

    fn write(&self, _: &Outgoing) -> Result<(), LogError> {
        refused("write records")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reelflow_core::time::WallTime;
    use reelflow_ports::{
        log::{Guarantee, Retention},
        simulated::{NoFaults, SimulatedLog, VirtualClock, at},
    };

    use super::*;

    /// I-15: whatever is tried, the log stays as it was.
    #[test]
    fn i_15_the_log_of_a_shadow_refuses_what_would_leave_something() {
        let log = SimulatedLog::new(VirtualClock::starting_at(WallTime(0)), Box::new(NoFaults));
        let topic = |name: &str| NewTopic { name: name.into(), n_partitions: 1, retention: Retention::UntilTrimmed };
        let mut records = Outgoing::new("plays".into());
        records.push(0, 7, None, Some(b"{}"), &[]);
        log.create_topic(&topic("plays")).unwrap();
        log.write(&records).unwrap();
        let of_shadow = ReadOnly(Arc::new(log.clone()));
        let member = MemberSpec {
            group: "reel.sim".into(),
            member: "shadow".into(),
            topics: vec!["plays".into()],
            guarantee: Guarantee::ExactlyOnce,
            session_timeout: Duration::from_secs(1),
            transaction_timeout: Duration::from_secs(1),
        };
        let before = log.trace();
        for refused in [
            of_shadow.create_topic(&topic("other")),
            of_shadow.trim(&at("plays", 0), 1),
            of_shadow.join(&member).map(drop),
            of_shadow.write(&records),
        ] {
            assert!(matches!(&refused, Err(LogError::Refused(why)) if why.contains("a shadow only reads")), "{refused:?}");
        }
        assert_eq!(log.trace(), before);
        assert_eq!(log.topics().unwrap().len(), 1);
        assert_eq!(of_shadow.offsets(&at("plays", 0)).unwrap(), (0, 1), "what it asks for it is told");
    }
}
