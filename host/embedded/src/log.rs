//! [`EmbeddedLog`]: the log port on the store.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use reelflow_core::record::{Offset, Outgoing, Partition, Record, RecordBatch};
use reelflow_ports::log::{Appended, Commit, Log, LogError, MemberSpec, NewTopic, Session, TopicPartition};

use crate::{
    block::BlockWriter,
    session::EmbeddedSession,
    shared::{Inner, Shared},
    store::{Bounds, Store, TopicId, Writes},
};

/// A record larger than this is refused: what a Kafka broker takes by default.
const RECORD_BYTES_MAX: usize = 1_048_588;
/// How many bytes a read asks the store for at a time.
pub(crate) const READ_BYTES: usize = 1 << 20;

/// A log in a folder on local disk, for one process at a time.
pub struct EmbeddedLog {
    folder: PathBuf,
    shared: Arc<Shared>,
}

impl EmbeddedLog {
    /// Opens the log in `folder`, which is created if it does not exist.
    ///
    /// [`LogError::Refused`] when another process has it open or the folder cannot be used.
    pub fn open(folder: &Path) -> Result<EmbeddedLog, LogError> {
        Ok(EmbeddedLog { folder: folder.to_owned(), shared: Arc::new(Shared::open(Store::open(folder)?)?) })
    }
}

impl Log for EmbeddedLog {
    fn describe(&self) -> String {
        format!("embedded log in {}", self.folder.display())
    }

    fn identity(&self) -> Result<String, LogError> {
        Ok(format!("embedded log {:016x}", self.shared.store.identity()?))
    }

    fn topics(&self) -> Result<Vec<(Arc<str>, u32)>, LogError> {
        Ok(self.shared.lock().topics.iter().map(|(name, topic)| (name.clone(), topic.partitions.len() as u32)).collect())
    }

    fn n_partitions(&self, topic: &str) -> Result<Option<u32>, LogError> {
        Ok(self.shared.lock().topics.get(topic).map(|topic| topic.partitions.len() as u32))
    }

    fn create_topic(&self, topic: &NewTopic) -> Result<(), LogError> {
        if topic.n_partitions == 0 {
            return Err(LogError::Refused(format!("topic \"{}\" cannot have 0 partitions", topic.name)));
        }
        let mut inner = self.shared.lock();
        match inner.topics.get(&topic.name).map(|found| found.partitions.len() as u32) {
            None => self.shared.create_topic(&mut inner, &topic.name, topic.n_partitions),
            Some(found) if found == topic.n_partitions => Ok(()),
            Some(found) => Err(LogError::PartitionCount { topic: topic.name.clone(), found, wanted: topic.n_partitions }),
        }
    }

    fn offsets(&self, at: &TopicPartition) -> Result<(Offset, Offset), LogError> {
        let mut inner = self.shared.lock();
        let (_, part) = inner.part(&at.topic, at.partition)?;
        Ok((part.bounds.earliest, part.stable_end()))
    }

    fn scan(
        &self,
        at: &TopicPartition,
        from: Offset,
        to: Offset,
        each: &mut dyn FnMut(Record<'_>) -> bool,
    ) -> Result<(), LogError> {
        let (id, earliest, end) = {
            let mut inner = self.shared.lock();
            let (id, part) = inner.part(&at.topic, at.partition)?;
            (id, part.bounds.earliest, part.stable_end())
        };
        if from < earliest || to > end {
            let wanted = if from < earliest { from } else { to };
            return Err(LogError::OffsetLost { at: at.clone(), wanted, earliest, end });
        }
        let mut next = from;
        let mut batch = RecordBatch::default();
        loop {
            batch.clear();
            self.shared.store.read(id, at.partition, (next, to), READ_BYTES, &mut batch)?;
            for record in batch.iter() {
                if !each(record) {
                    return Ok(());
                }
                next = record.offset + 1;
            }
            if batch.is_empty() || next >= to {
                return Ok(());
            }
        }
    }

    fn committed(&self, group: &str, topics: &[Arc<str>]) -> Result<Vec<Commit>, LogError> {
        let mut commits = Vec::new();
        for topic in topics {
            for partition in 0..self.n_partitions(topic)?.unwrap_or(0) {
                let at = TopicPartition { topic: topic.clone(), partition };
                commits.extend(self.shared.store.position(group, &at)?);
            }
        }
        Ok(commits)
    }

    fn trim(&self, at: &TopicPartition, before: Offset) -> Result<(), LogError> {
        let mut inner = self.shared.lock();
        let (id, part) = inner.part(&at.topic, at.partition)?;
        let before = before.min(part.stable_end());
        if before <= part.bounds.earliest {
            return Ok(());
        }
        let mut writes = self.shared.store.writes();
        self.shared.store.remove_before(&mut writes, id, at.partition, before)?;
        let bounds = Bounds { earliest: before, ..part.bounds };
        self.shared.store.set_bounds(&mut writes, id, at.partition, bounds);
        writes.commit()?;
        part.bounds = bounds;
        Ok(())
    }

    fn join(&self, spec: &MemberSpec) -> Result<Box<dyn Session>, LogError> {
        let mut inner = self.shared.lock();
        if let Some(topic) = spec.topics.iter().find(|topic| !inner.topics.contains_key(*topic)) {
            return Err(LogError::TopicMissing(topic.clone()));
        }
        let now_ms = self.shared.now_ms();
        let life = inner.with_group(&spec.group, |group, _| group.join(spec, now_ms));
        drop(inner);
        self.shared.news.notify_all();
        Ok(Box::new(EmbeddedSession::new(self.shared.clone(), spec, life)))
    }

    fn write(&self, records: &Outgoing) -> Result<(), LogError> {
        check_sizes(records)?;
        let mut prepared = Prepared::begin(&self.shared);
        prepared.reserve(&self.shared, std::slice::from_ref(records))?;
        prepared.commit(&self.shared, std::slice::from_ref(records), None, &|_| Ok(()))
    }
}

/// [`LogError::RecordTooLarge`] for the first record that is.
pub(crate) fn check_sizes(records: &Outgoing) -> Result<(), LogError> {
    let size = |record: Record<'_>| record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
    match records.records.iter().map(size).find(|n_bytes| *n_bytes > RECORD_BYTES_MAX) {
        Some(n_bytes) => Err(LogError::RecordTooLarge { topic: records.topic.clone(), n_bytes }),
        None => Ok(()),
    }
}

/// One past the last offset that a transaction wrote to each partition.
type Ends = BTreeMap<(Arc<str>, Partition), Offset>;

/// Records with offsets, on their way into the store.
pub(crate) struct Prepared {
    reservation: u64,
    /// For each list of records that was prepared: the offset of each record.
    offsets: Vec<Vec<Offset>>,
    /// The partitions that hold a promise to settle.
    touched: BTreeMap<(Arc<str>, Partition), TopicId>,
}

impl Prepared {
    pub(crate) fn begin(shared: &Shared) -> Prepared {
        Prepared { reservation: shared.lock().reservation(), offsets: Vec::new(), touched: BTreeMap::new() }
    }

    /// Gives every record its offset. Topics that do not exist are an error; nothing is written yet.
    pub(crate) fn reserve(&mut self, shared: &Shared, lists: &[Outgoing]) -> Result<(), LogError> {
        let mut inner = shared.lock();
        for list in lists {
            let mut offsets = Vec::with_capacity(list.len());
            for partition in &list.partitions {
                let (id, part) = inner.part(&list.topic, *partition)?;
                offsets.push(part.reserve(self.reservation, 1));
                self.touched.entry((list.topic.clone(), *partition)).or_insert(id);
            }
            self.offsets.push(offsets);
        }
        Ok(())
    }

    /// The partition and offset of each record of the `list_idx`-th list.
    pub(crate) fn appended(&self, list_idx: usize, list: &Outgoing) -> Vec<Appended> {
        let offsets = self.offsets[list_idx].iter();
        list.partitions
            .iter()
            .zip(offsets)
            .map(|(partition, offset)| Appended { partition: *partition, offset: *offset })
            .collect()
    }

    /// Writes `lists`, as prepared, and the positions of `group` in one atomic batch, if `may` says so under the same lock:
    /// nobody takes the group's partitions over between the question and the commit.
    pub(crate) fn commit(
        self,
        shared: &Shared,
        lists: &[Outgoing],
        positions: Option<(&str, &[Commit])>,
        may: &dyn Fn(&mut Inner) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        let mut writes = shared.store.writes();
        let mut blocks: BTreeMap<(&str, Partition), Vec<(Offset, Record<'_>)>> = BTreeMap::new();
        for (list, offsets) in lists.iter().zip(&self.offsets) {
            for ((partition, offset), record) in list.partitions.iter().zip(offsets).zip(list.records.iter()) {
                blocks.entry((&list.topic, *partition)).or_default().push((*offset, record));
            }
        }
        let mut ends: Ends = BTreeMap::new();
        for ((topic, partition), mut records) in blocks {
            // Two lists of one topic may have been appended in turns.
            records.sort_by_key(|(offset, _)| *offset);
            let key = (Arc::<str>::from(topic), partition);
            let id = self.touched[&key];
            ends.insert(key, records.last().expect("a group has a record").0 + 1);
            write_blocks(shared, &mut writes, (id, partition), &records);
        }
        if let Some((group, commits)) = positions {
            commits.iter().for_each(|commit| shared.store.set_position(&mut writes, group, commit));
        }
        let mut inner = shared.lock();
        let outcome =
            may(&mut inner).and_then(|()| store_ends(shared, &mut inner, &mut writes, &ends)).and_then(|()| writes.commit());
        self.settle(&mut inner, outcome.is_ok().then_some(&ends));
        drop(inner);
        shared.news.notify_all();
        outcome
    }

    /// Drops the promise: the offsets stay unused.
    pub(crate) fn abort(self, shared: &Shared) {
        self.settle(&mut shared.lock(), None);
        shared.news.notify_all();
    }

    fn settle(&self, inner: &mut Inner, ends: Option<&Ends>) {
        for key in self.touched.keys() {
            let (_, part) = inner.part(&key.0, key.1).expect("a topic that was reserved in is never removed");
            part.settle(self.reservation, ends.and_then(|ends| ends.get(key).copied()));
        }
    }
}

fn store_ends(shared: &Shared, inner: &mut Inner, writes: &mut Writes, ends: &Ends) -> Result<(), LogError> {
    for ((topic, partition), end) in ends {
        let (id, part) = inner.part(topic, *partition)?;
        let bounds = Bounds { end: part.bounds.end.max(*end), ..part.bounds };
        shared.store.set_bounds(writes, id, *partition, bounds);
    }
    Ok(())
}

fn write_blocks(shared: &Shared, writes: &mut Writes, at: (TopicId, Partition), records: &[(Offset, Record<'_>)]) {
    let mut block = BlockWriter::default();
    for (offset, record) in records {
        block.push(*offset, *record);
        if block.is_full() {
            let (last, bytes) = std::mem::take(&mut block).finish();
            shared.store.block(writes, at.0, at.1, last, bytes);
        }
    }
    if !block.is_empty() {
        let (last, bytes) = block.finish();
        shared.store.block(writes, at.0, at.1, last, bytes);
    }
}
