//! Where the brokers are and how the client behaves.

use std::{collections::BTreeMap, fmt, time::Duration};

use rdkafka::{ClientConfig, config::RDKafkaLogLevel};
use reelflow_ports::log::{Guarantee, LogError, MemberSpec};

/// How to reach a Kafka cluster.
#[derive(Clone)]
pub struct KafkaConfig {
    /// `host:port,host:port`: some of the brokers.
    pub brokers: String,
    /// Further settings by librdkafka's names, for every client that is opened: TLS, SASL, tuning. Values may be secret, they
    /// are never printed. Those that the guarantees rest on are refused, see [`KafkaConfig::check`].
    pub client: BTreeMap<String, String>,
    /// How long a call may wait for the cluster before it is [`LogError::Unavailable`].
    pub wait_max: Duration,
}

impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.client.keys().collect();
        f.debug_struct("KafkaConfig")
            .field("brokers", &self.brokers)
            .field("client", &names)
            .field("wait_max", &self.wait_max)
            .finish()
    }
}

/// Settings that are decided here, since correctness rests on them.
const OURS: [&str; 18] = [
    "acks",
    "allow.auto.create.topics",
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "isolation.level",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "request.required.acks",
    "retry.backoff.ms",
    "transactional.id",
    "transaction.timeout.ms",
];

impl KafkaConfig {
    /// A cluster without security, with 10 s for a call.
    pub fn new(brokers: impl Into<String>) -> KafkaConfig {
        KafkaConfig { brokers: brokers.into(), client: BTreeMap::new(), wait_max: Duration::from_secs(10) }
    }

    /// [`LogError::Refused`] for settings that are not the user's to make.
    pub fn check(&self) -> Result<(), LogError> {
        match self.client.keys().find(|name| OURS.contains(&name.as_str())) {
            Some(name) => Err(LogError::Refused(format!("client setting \"{name}\" is decided by Reelflow"))),
            None => Ok(()),
        }
    }

    /// A client that only asks questions, and logs what brokers say of themselves.
    pub(crate) fn inquirer(&self) -> ClientConfig {
        let mut config = self.finish(self.consumer());
        config.set("debug", "feature").set_log_level(RDKafkaLogLevel::Debug);
        config
    }

    /// A client that asks about records whether they are committed or not.
    pub(crate) fn uncommitted_inquirer(&self) -> ClientConfig {
        let mut config = self.consumer();
        config.set("isolation.level", "read_uncommitted");
        self.finish(config)
    }

    /// A client that asks what `group` committed. Without its transactions in flight: read_committed asks for stable offsets.
    pub(crate) fn group_inquirer(&self, group: &str) -> ClientConfig {
        let mut config = self.consumer();
        config.set("group.id", group);
        self.finish(config)
    }

    /// A client that reads a range of one partition.
    pub(crate) fn reader(&self) -> ClientConfig {
        let mut config = self.consumer();
        config.set("fetch.wait.max.ms", "10"); // the end is known from an empty answer, which the broker holds back so long
        self.finish(config)
    }

    /// A member of a group.
    pub(crate) fn member(&self, spec: &MemberSpec) -> ClientConfig {
        let mut config = self.consumer();
        let session_ms = spec.session_timeout.as_millis();
        config.set("group.id", &*spec.group);
        config.set("group.instance.id", &*spec.member);
        config.set("session.timeout.ms", session_ms.to_string());
        config.set("heartbeat.interval.ms", (session_ms / 4).clamp(1, 3000).to_string());
        // Eager, and partition p of each topic on one member.
        config.set("partition.assignment.strategy", "range");
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        self.finish(config)
    }

    fn consumer(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("isolation.level", "read_committed");
        config.set("enable.partition.eof", "true");
        config.set("auto.offset.reset", "error"); // a position that is gone is data loss, never a reason to jump
        config.set("allow.auto.create.topics", "false");
        config.set("fetch.message.max.bytes", "4194304");
        config.set("fetch.min.bytes", "262144");
        // What a quiet partition waits for these bytes: the price of large answers is paid in latency, so it is kept small.
        config.set("fetch.wait.max.ms", "20");
        // The default of 1 s throttles catch-up to a seventh: it is slept whenever the local queue was full for a moment.
        config.set("fetch.queue.backoff.ms", "1");
        config.set("queued.max.messages.kbytes", "65536");
        config
    }

    /// A producer: transactional for exactly-once, idempotent in any case.
    pub(crate) fn producer(&self, spec: &MemberSpec) -> ClientConfig {
        let mut config = self.writer_settings();
        if spec.guarantee == Guarantee::ExactlyOnce {
            config.set("transactional.id", format!("{}.{}", spec.group, spec.member));
            config.set("transaction.timeout.ms", spec.transaction_timeout.as_millis().to_string());
        }
        self.finish(config)
    }

    /// A producer of records that belong to no group.
    pub(crate) fn writer(&self) -> ClientConfig {
        self.finish(self.writer_settings())
    }

    fn writer_settings(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("enable.idempotence", "true");
        config.set("acks", "all");
        config.set("compression.type", "lz4");
        config.set("linger.ms", "20");
        config.set("batch.size", "1000000");
        config.set("batch.num.messages", "100000");
        config.set("queue.buffering.max.messages", "1000000");
        config.set("queue.buffering.max.kbytes", "131072");
        // Applies to clients that hash keys; ours name the partition, computed the same way.
        config.set("partitioner", "murmur2_random");
        config
    }

    /// The user's settings win over our tuning; `check` keeps them from winning over what must be.
    fn finish(&self, mut config: ClientConfig) -> ClientConfig {
        config.set("bootstrap.servers", &self.brokers);
        config.set("client.id", "reelflow");
        config.set("reconnect.backoff.max.ms", "1000");
        config.set("socket.nagle.disable", "true");
        // How long a topic that nobody knows may still be a new one. Half of what we wait, so that there is an answer in time.
        config.set("topic.metadata.propagation.max.ms", (self.wait_max.as_millis() / 2).to_string());
        for (name, value) in &self.client {
            config.set(name, value);
        }
        config.set_log_level(RDKafkaLogLevel::Info);
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_printed() {
        let mut config = KafkaConfig::new("broker:9092");
        config.client.insert("sasl.password".to_owned(), "hunter2".to_owned());
        let text = format!("{config:?}");
        assert!(text.contains("sasl.password") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn settings_that_guarantees_rest_on_are_refused() {
        let mut config = KafkaConfig::new("broker:9092");
        config.client.insert("linger.ms".to_owned(), "5".to_owned());
        assert_eq!(config.check(), Ok(()));
        config.client.insert("isolation.level".to_owned(), "read_uncommitted".to_owned());
        assert_eq!(
            config.check(),
            Err(LogError::Refused("client setting \"isolation.level\" is decided by Reelflow".to_owned()))
        );
    }
}
