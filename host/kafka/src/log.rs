//! The log: topics, ranges, committed positions; and the door to sessions.

use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use rdkafka::{
    ClientContext, Message, Offset as KafkaOffset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
    metadata::MetadataTopic,
};
use reelflow_core::record::{Offset, Outgoing, Partition, Record};
use reelflow_ports::log::{Commit, Guarantee, Log, LogError, MemberSpec, NewTopic, Session, TopicPartition};

use crate::{
    admin::{Admin, kafka_partition, until},
    broker_version::BrokerVersions,
    config::KafkaConfig,
    error::{is_missing, is_moving, kafka_error, log_error, with_cause},
    native::{Health, producer::Producer},
    scan, sending,
    session::KafkaSession,
    visible::Visible,
};

/// Apache Kafka. Opening it connects to nobody; the first call does.
pub struct KafkaLog {
    config: KafkaConfig,
    inquirer: BaseConsumer<Inquiry>,
    admin: OnceLock<Admin>,
    uncommitted_inquirer: OnceLock<BaseConsumer<Inquiry>>,
    /// Who asks for a group's positions: the group that was asked for last, since opening a client takes longer than asking.
    group_inquirer: Mutex<Option<(String, Arc<BaseConsumer<Inquiry>>)>>,
    writer: Mutex<Option<Producer>>,
    visible: Arc<Visible>,
}

impl fmt::Debug for KafkaLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KafkaLog").field(&self.config).finish()
    }
}

/// The context of clients that ask: remembers what they report.
#[derive(Debug, Default)]
pub(crate) struct Inquiry {
    health: Health,
    versions: BrokerVersions,
}

impl ClientContext for Inquiry {
    fn error(&self, error: KafkaError, reason: &str) {
        self.health.note(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown), reason.to_owned());
    }

    fn log(&self, _: RDKafkaLogLevel, facility: &str, line: &str) {
        self.versions.logged(facility, line);
        tracing::debug!(facility, line, "kafka client log");
    }
}

impl ConsumerContext for Inquiry {}

impl KafkaLog {
    /// [`LogError::Refused`] for settings that the client does not know or take.
    pub fn new(config: KafkaConfig) -> Result<KafkaLog, LogError> {
        config.check()?;
        let inquirer = config.inquirer().create_with_context(Inquiry::default());
        let inquirer = inquirer.map_err(|error| kafka_error(&error, "cannot open a Kafka client"))?;
        Ok(KafkaLog {
            config,
            inquirer,
            admin: OnceLock::new(),
            uncommitted_inquirer: OnceLock::new(),
            group_inquirer: Mutex::new(None),
            writer: Mutex::new(None),
            visible: Arc::default(),
        })
    }

    /// What the cluster says of its topics.
    fn metadata<T>(&self, topic: Option<&str>, pick: impl FnOnce(&[MetadataTopic]) -> T) -> Result<T, LogError> {
        match self.inquirer.fetch_metadata(topic, self.config.wait_max) {
            Ok(metadata) => Ok(pick(metadata.topics())),
            Err(error) => {
                Err(explained(&self.inquirer, kafka_error(&error, &format!("cannot ask {} for its topics", self.describe()))))
            }
        }
    }

    /// The partition count of `topic` once each partition has a leader; `Some(None)` if there is no such topic.
    fn ready_partitions(&self, topic: &str) -> Result<Option<Option<u32>>, LogError> {
        self.metadata(Some(topic), |topics| {
            let Some(found) = topics.iter().find(|found| found.name() == topic) else { return Ok(Some(None)) };
            match found.error().map(RDKafkaErrorCode::from) {
                None if found.partitions().iter().all(|partition| partition.leader() >= 0) => {
                    Ok(Some(Some(found.partitions().len() as u32)))
                }
                None | Some(RDKafkaErrorCode::LeaderNotAvailable) => Ok(None),
                Some(code) if is_missing(code) => Ok(Some(None)),
                Some(code) => Err(log_error(code, &format!("cannot look up topic \"{topic}\""), &code.to_string())),
            }
        })?
    }

    fn admin(&self) -> Result<&Admin, LogError> {
        get_or_open(&self.admin, || Admin::new(&self.config))
    }

    /// Earliest offset and end of `at` as `client` sees it.
    fn watermarks(&self, client: &BaseConsumer<Inquiry>, at: &TopicPartition) -> Result<(Offset, Offset), LogError> {
        let doing = format!("cannot ask for the offsets of {at}");
        let ask = || match client.fetch_watermarks(&at.topic, kafka_partition(at), self.config.wait_max) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.rdkafka_error_code().is_some_and(is_moving) => Ok(None),
            Err(error) => Err(explained(client, kafka_error(&error, &doing))),
        };
        until(self.config.wait_max, ask)?.ok_or_else(|| LogError::Unavailable(format!("{doing}: it has no leader")))
    }

    /// The end of `at` for readers that read everything: records of open transactions are before it.
    fn uncommitted_end(&self, at: &TopicPartition) -> Result<Offset, LogError> {
        let client = get_or_open(&self.uncommitted_inquirer, || {
            let client = self.config.uncommitted_inquirer().create_with_context(Inquiry::default());
            client.map_err(|error| kafka_error(&error, "cannot open a Kafka client"))
        })?;
        Ok(self.watermarks(client, at)?.1)
    }

    /// Like [`Log::offsets`], with an end of at least `end_min` if the log holds so much: waits for the markers of a transaction
    /// that was committed but is not visible yet.
    fn offsets_from(&self, at: &TopicPartition, end_min: Offset) -> Result<(Offset, Offset), LogError> {
        let (earliest, end) = self.watermarks(&self.inquirer, at)?;
        if end >= end_min || self.uncommitted_end(at)? < end_min {
            return Ok((earliest, end));
        }
        let found = until(self.config.wait_max, || {
            let (earliest, end) = self.watermarks(&self.inquirer, at)?;
            Ok((end >= end_min).then_some((earliest, end)))
        })?;
        found.ok_or_else(|| LogError::Unavailable(format!("a transaction holds {at} back at offset {end}, {end_min} is wanted")))
    }

    fn group_inquirer(&self, group: &str) -> Result<Arc<BaseConsumer<Inquiry>>, LogError> {
        let mut place = self.group_inquirer.lock().unwrap_or_else(PoisonError::into_inner);
        match &*place {
            Some((known, client)) if known == group => Ok(client.clone()),
            _ => {
                let client = self.config.group_inquirer(group).create_with_context(Inquiry::default());
                let client: BaseConsumer<Inquiry> = client.map_err(|error| kafka_error(&error, "cannot open a Kafka client"))?;
                let client = Arc::new(client);
                *place = Some((group.to_owned(), client.clone()));
                Ok(client)
            }
        }
    }

    /// Refuses brokers that cannot keep the promise of exactly-once. The topics were just asked for, so a broker has introduced itself.
    fn check_versions(&self) -> Result<(), LogError> {
        const REASON: &str =
            "exactly-once needs Apache Kafka 4.0 or newer, whose brokers verify transactions on their side (KIP-890)";
        serve_reports(&self.inquirer);
        match self.inquirer.context().versions.are_too_old() {
            false => Ok(()),
            true => Err(LogError::TooOld(REASON.to_owned())),
        }
    }

    fn check_exists(&self, at: &TopicPartition) -> Result<(), LogError> {
        match self.n_partitions(&at.topic)? {
            Some(n_partitions) if at.partition < n_partitions => Ok(()),
            _ => Err(LogError::TopicMissing(at.topic.clone())),
        }
    }

    fn partition_counts(&self, topics: &[Arc<str>]) -> Result<Vec<u32>, LogError> {
        topics.iter().map(|topic| self.n_partitions(topic)?.ok_or_else(|| LogError::TopicMissing(topic.clone()))).collect()
    }
}

impl Log for KafkaLog {
    fn describe(&self) -> String {
        format!("Kafka at {}", self.config.brokers)
    }

    fn identity(&self) -> Result<String, LogError> {
        let id = self.inquirer.client().fetch_cluster_id(self.config.wait_max);
        let id = id.ok_or_else(|| LogError::Unavailable(format!("{} does not say which cluster it is", self.describe())))?;
        Ok(format!("Kafka cluster {id}"))
    }

    fn topics(&self) -> Result<Vec<(Arc<str>, u32)>, LogError> {
        let mut found = self.metadata(None, |topics| -> Vec<(Arc<str>, u32)> {
            let visible = topics.iter().filter(|topic| !topic.name().starts_with("__") && topic.error().is_none());
            visible.map(|topic| (Arc::from(topic.name()), topic.partitions().len() as u32)).collect()
        })?;
        found.sort();
        Ok(found)
    }

    fn n_partitions(&self, topic: &str) -> Result<Option<u32>, LogError> {
        let found = until(self.config.wait_max, || self.ready_partitions(topic))?;
        found.ok_or_else(|| LogError::Unavailable(format!("topic \"{topic}\" has partitions without a leader")))
    }

    fn create_topic(&self, topic: &NewTopic) -> Result<(), LogError> {
        self.admin()?.create(topic)?;
        // Brokers hear of a new topic one after the other, of one that somebody else is creating just now as well.
        let found = until(self.config.wait_max, || Ok(self.ready_partitions(&topic.name)?.flatten()))?;
        match found {
            Some(found) if found == topic.n_partitions => Ok(()),
            Some(found) => Err(LogError::PartitionCount { topic: topic.name.clone(), found, wanted: topic.n_partitions }),
            None => Err(LogError::Unavailable(format!("topic \"{}\" was created and does not appear", topic.name))),
        }
    }

    /// The end is the last stable offset: librdkafka asks with the client's isolation level, which is read_committed. Records
    /// of a transaction that is still open are past it; those of a commit of this process are before it.
    fn offsets(&self, at: &TopicPartition) -> Result<(Offset, Offset), LogError> {
        self.check_exists(at)?;
        let end_min = self.visible.end_of(at);
        let (earliest, end) = self.offsets_from(at, end_min)?;
        if end < end_min {
            self.visible.forget(at);
        }
        Ok((earliest, end))
    }

    fn is_undecided(&self, at: &TopicPartition) -> Result<bool, LogError> {
        self.check_exists(at)?;
        // In this order: records that come in between are taken for undecided, never the other way.
        let (_, end) = self.watermarks(&self.inquirer, at)?;
        Ok(self.uncommitted_end(at)? > end)
    }

    fn scan(
        &self,
        at: &TopicPartition,
        from: Offset,
        to: Offset,
        each: &mut dyn FnMut(Record<'_>) -> bool,
    ) -> Result<(), LogError> {
        self.check_exists(at)?;
        let (earliest, end) = self.offsets_from(at, to)?;
        if from < earliest || to > end {
            return Err(LogError::OffsetLost { at: at.clone(), wanted: if from < earliest { from } else { to }, earliest, end });
        }
        if from >= to {
            return Ok(());
        }
        scan::scan(&self.config, at, from, to, each)
    }

    fn committed(&self, group: &str, topics: &[Arc<str>]) -> Result<Vec<Commit>, LogError> {
        let mut wanted = TopicPartitionList::new();
        for (topic, n_partitions) in topics.iter().zip(self.partition_counts(topics)?) {
            wanted.add_partition_range(topic, 0, n_partitions.saturating_sub(1) as i32);
        }
        let doing = format!("cannot ask what group \"{group}\" has committed");
        let consumer = self.group_inquirer(group)?;
        let found = until(self.config.wait_max, || match consumer.committed_offsets(wanted.clone(), self.config.wait_max) {
            Ok(list) => commits(&list, topics, &doing),
            Err(error) if error.rdkafka_error_code().is_some_and(is_moving) => Ok(None),
            Err(error) => Err(explained(&consumer, kafka_error(&error, &doing))),
        })?;
        found.ok_or_else(|| {
            LogError::Unavailable(format!("{doing}: its coordinator, or a transaction that would change it, is not done"))
        })
    }

    fn trim(&self, at: &TopicPartition, before: Offset) -> Result<(), LogError> {
        self.check_exists(at)?;
        let trimmed = until(self.config.wait_max, || self.admin()?.trim(at, before))?;
        trimmed.ok_or_else(|| LogError::Unavailable(format!("cannot delete records of {at}: it has no leader")))
    }

    fn join(&self, spec: &MemberSpec) -> Result<Box<dyn Session>, LogError> {
        let counts = self.partition_counts(&spec.topics)?;
        for (topic, found) in spec.topics.iter().zip(&counts) {
            if *found != counts[0] {
                return Err(LogError::PartitionCount { topic: topic.clone(), found: *found, wanted: counts[0] });
            }
        }
        if spec.guarantee == Guarantee::ExactlyOnce {
            self.check_versions()?;
        }
        Ok(Box::new(KafkaSession::join(&self.config, spec, self.visible.clone())?))
    }

    fn write(&self, records: &Outgoing) -> Result<(), LogError> {
        // A panic of another writer leaves a producer that is as good as any; errors below leave none.
        let mut place = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut producer = match place.take() {
            Some(producer) => producer,
            None => Producer::new(&self.config.writer()).map_err(|error| kafka_error(&error, "cannot open a producer"))?,
        };
        sending::check_sizes(&producer, records)?;
        sending::send(&mut producer, records, None, self.config.wait_max)?;
        sending::settle(&producer, self.config.wait_max)?;
        *place = Some(producer);
        Ok(())
    }
}

/// What `place` holds, opened on first use. Of two who come at once, one drops what nobody has used.
fn get_or_open<T>(place: &OnceLock<T>, open: impl FnOnce() -> Result<T, LogError>) -> Result<&T, LogError> {
    match place.get() {
        Some(opened) => Ok(opened),
        None => {
            let opened = open()?;
            Ok(place.get_or_init(|| opened))
        }
    }
}

/// The positions in `list`, or `None` if one of them is not stable yet.
fn commits(list: &TopicPartitionList, topics: &[Arc<str>], doing: &str) -> Result<Option<Vec<Commit>>, LogError> {
    let mut found = Vec::new();
    for element in list.elements() {
        match element.error() {
            Ok(()) => {}
            // A transaction in flight may still change it.
            Err(error) if error.rdkafka_error_code().is_some_and(is_moving) => return Ok(None),
            Err(error) => return Err(kafka_error(&error, doing)),
        }
        let KafkaOffset::Offset(next) = element.offset() else { continue };
        let topic = topics.iter().find(|topic| &***topic == element.topic()).cloned();
        let topic = topic.unwrap_or_else(|| Arc::from(element.topic()));
        let at = TopicPartition { topic, partition: element.partition() as Partition };
        found.push(Commit { at, next, metadata: element.metadata().to_owned() });
    }
    found.sort_by(|a, b| a.at.cmp(&b.at));
    Ok(Some(found))
}

/// `error` with what `client` has to say about it: its reports come only to those who poll.
fn explained(client: &BaseConsumer<Inquiry>, error: LogError) -> LogError {
    serve_reports(client);
    with_cause(error, &client.context().health)
}

/// Has a client that only asks deliver what it has to report: errors, and lines of its log.
fn serve_reports(client: &BaseConsumer<Inquiry>) {
    const REPORTS_MAX: usize = 1_000;
    for _ in 0..REPORTS_MAX {
        if let Some(Ok(message)) = client.poll(std::time::Duration::ZERO) {
            tracing::debug!(topic = message.topic(), "a client that only asks was given a record");
        }
    }
}
