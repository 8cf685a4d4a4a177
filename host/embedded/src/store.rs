//! The store below the log: fjall's keyspaces, their keys, and one atomic batch for each transaction.

use std::{
    hash::{BuildHasher, RandomState},
    path::Path,
    time::SystemTime,
};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use reelflow_core::record::{Offset, Partition, RecordBatch};
use reelflow_ports::log::{Commit, LogError, TopicPartition};

use crate::block;

/// The number under which a topic's records are stored.
pub(crate) type TopicId = u32;

/// Which records of a partition exist: `[earliest, end)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) earliest: Offset,
    pub(crate) end: Offset,
}

pub(crate) struct Store {
    database: Database,
    topics: Keyspace,
    bounds: Keyspace,
    records: Keyspace,
    positions: Keyspace,
    about: Keyspace,
}

/// The key in `about` of the number that tells a log from all others.
const IDENTITY: &str = "identity";

/// A topic as stored: name, id, and the bounds of each partition.
pub(crate) struct StoredTopic {
    pub(crate) name: String,
    pub(crate) id: TopicId,
    pub(crate) bounds: Vec<Bounds>,
}

/// What one transaction writes.
pub(crate) struct Writes {
    batch: OwnedWriteBatch,
}

impl Store {
    pub(crate) fn open(folder: &Path) -> Result<Store, LogError> {
        std::fs::create_dir_all(folder)
            .map_err(|why| LogError::Refused(format!("the folder \"{}\" cannot be created: {why}", folder.display())))?;
        let database = Database::builder(folder).open().map_err(|why| opening(folder, why))?;
        let keyspace = |name: &str| database.keyspace(name, KeyspaceCreateOptions::default).map_err(error);
        Ok(Store {
            topics: keyspace("topics")?,
            bounds: keyspace("bounds")?,
            records: keyspace("records")?,
            positions: keyspace("positions")?,
            about: keyspace("about")?,
            database,
        })
    }

    /// Drawn when it is first asked for.
    pub(crate) fn identity(&self) -> Result<u64, LogError> {
        if let Some(value) = self.about.get(IDENTITY).map_err(error)? {
            return Ok(i64_at(&value, 0)?.cast_unsigned());
        }
        let drawn = RandomState::new().hash_one((SystemTime::now(), std::process::id()));
        let mut writes = self.writes();
        writes.batch.insert(&self.about, IDENTITY, drawn.to_be_bytes());
        writes.commit()?;
        Ok(drawn)
    }

    pub(crate) fn topics(&self) -> Result<Vec<StoredTopic>, LogError> {
        let mut topics = Vec::new();
        for entry in self.topics.iter() {
            let (name, value) = entry.into_inner().map_err(error)?;
            let name = String::from_utf8(name.to_vec()).map_err(|_| damaged("a topic's name"))?;
            let id = u32_at(&value, 0)?;
            let n_partitions = u32_at(&value, 4)?;
            let bounds = (0..n_partitions).map(|partition| self.bounds(id, partition)).collect::<Result<_, _>>()?;
            topics.push(StoredTopic { name, id, bounds });
        }
        Ok(topics)
    }

    fn bounds(&self, id: TopicId, partition: Partition) -> Result<Bounds, LogError> {
        match self.bounds.get(partition_key(id, partition)).map_err(error)? {
            None => Ok(Bounds { earliest: 0, end: 0 }),
            Some(value) => Ok(Bounds { earliest: i64_at(&value, 0)?, end: i64_at(&value, 8)? }),
        }
    }

    pub(crate) fn create_topic(&self, name: &str, id: TopicId, n_partitions: u32) -> Result<(), LogError> {
        let mut value = id.to_be_bytes().to_vec();
        value.extend_from_slice(&n_partitions.to_be_bytes());
        let mut writes = self.writes();
        writes.batch.insert(&self.topics, name, value);
        writes.commit()
    }

    /// Appends to `batch` the records of a partition with `from <= offset < to`, until it holds at least `n_bytes_max` bytes.
    pub(crate) fn read(
        &self,
        id: TopicId,
        partition: Partition,
        (from, to): (Offset, Offset),
        n_bytes_max: usize,
        batch: &mut RecordBatch,
    ) -> Result<(), LogError> {
        let last = block_key(id, partition, Offset::MAX);
        for entry in self.records.range(block_key(id, partition, from)..=last) {
            let block = entry.value().map_err(error)?;
            block::read(&block, from, to, batch).map_err(|why| LogError::Damaged(why.to_string()))?;
            let past_end = batch.len().checked_sub(1).is_some_and(|idx| batch.record(idx).offset + 1 >= to);
            if past_end || batch.n_bytes() >= n_bytes_max {
                break;
            }
        }
        Ok(())
    }

    pub(crate) fn position(&self, group: &str, at: &TopicPartition) -> Result<Option<Commit>, LogError> {
        let Some(value) = self.positions.get(position_key(group, at)).map_err(error)? else { return Ok(None) };
        let metadata = std::str::from_utf8(value.get(8..).unwrap_or_default()).map_err(|_| damaged("a position's metadata"))?;
        Ok(Some(Commit { at: at.clone(), next: i64_at(&value, 0)?, metadata: metadata.to_owned() }))
    }

    pub(crate) fn writes(&self) -> Writes {
        Writes { batch: self.database.batch().durability(Some(PersistMode::SyncData)) }
    }

    pub(crate) fn block(&self, writes: &mut Writes, id: TopicId, partition: Partition, last: Offset, block: Vec<u8>) {
        writes.batch.insert(&self.records, block_key(id, partition, last).to_vec(), block);
    }

    pub(crate) fn set_bounds(&self, writes: &mut Writes, id: TopicId, partition: Partition, bounds: Bounds) {
        let mut value = bounds.earliest.to_be_bytes().to_vec();
        value.extend_from_slice(&bounds.end.to_be_bytes());
        writes.batch.insert(&self.bounds, partition_key(id, partition).to_vec(), value);
    }

    pub(crate) fn set_position(&self, writes: &mut Writes, group: &str, commit: &Commit) {
        let mut value = commit.next.to_be_bytes().to_vec();
        value.extend_from_slice(commit.metadata.as_bytes());
        writes.batch.insert(&self.positions, position_key(group, &commit.at), value);
    }

    /// Removes the blocks that hold nothing at or after `before`.
    pub(crate) fn remove_before(
        &self,
        writes: &mut Writes,
        id: TopicId,
        partition: Partition,
        before: Offset,
    ) -> Result<(), LogError> {
        for entry in self.records.range(block_key(id, partition, 0)..block_key(id, partition, before)) {
            writes.batch.remove(&self.records, entry.key().map_err(error)?);
        }
        Ok(())
    }
}

impl Writes {
    /// All of it or nothing; on disk when it returns.
    pub(crate) fn commit(self) -> Result<(), LogError> {
        self.batch.commit().map_err(error)
    }
}

fn partition_key(id: TopicId, partition: Partition) -> [u8; 8] {
    let mut key = [0; 8];
    key[..4].copy_from_slice(&id.to_be_bytes());
    key[4..].copy_from_slice(&partition.to_be_bytes());
    key
}

fn block_key(id: TopicId, partition: Partition, last: Offset) -> [u8; 16] {
    assert!(last >= 0, "offsets start at 0: {last}");
    let mut key = [0; 16];
    key[..8].copy_from_slice(&partition_key(id, partition));
    key[8..].copy_from_slice(&last.to_be_bytes());
    key
}

fn position_key(group: &str, at: &TopicPartition) -> Vec<u8> {
    let mut key = group.as_bytes().to_vec();
    key.push(0);
    key.extend_from_slice(at.topic.as_bytes());
    key.push(0);
    key.extend_from_slice(&at.partition.to_be_bytes());
    key
}

fn u32_at(bytes: &[u8], start: usize) -> Result<u32, LogError> {
    let four = bytes.get(start..start + 4).ok_or_else(|| damaged("a number"))?;
    Ok(u32::from_be_bytes(four.try_into().expect("four bytes")))
}

fn i64_at(bytes: &[u8], start: usize) -> Result<i64, LogError> {
    let eight = bytes.get(start..start + 8).ok_or_else(|| damaged("a number"))?;
    Ok(i64::from_be_bytes(eight.try_into().expect("eight bytes")))
}

fn damaged(what: &str) -> LogError {
    LogError::Damaged(format!("{what} in the embedded log cannot be read"))
}

fn opening(folder: &Path, why: fjall::Error) -> LogError {
    match why {
        fjall::Error::Locked => LogError::Refused(format!(
            "another process has the embedded log \"{}\" open; an embedded log serves one process at a time",
            folder.display()
        )),
        other => error(other),
    }
}

fn error(why: fjall::Error) -> LogError {
    use std::io::ErrorKind;
    let io = match &why {
        fjall::Error::Io(io) => Some(io),
        fjall::Error::Storage(fjall::LsmError::Io(io)) => Some(io),
        _ => None,
    };
    match (io, &why) {
        (Some(io), _) if matches!(io.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge) => {
            LogError::DiskFull(io.to_string())
        }
        (Some(io), _) => LogError::Refused(format!("the embedded log cannot be read or written: {io}")),
        // What follows on a failed write: what was not synced is not believed, and nothing more is written.
        (None, fjall::Error::Poisoned) => LogError::DiskFull("an earlier write failed".to_owned()),
        (None, other) => LogError::Damaged(format!("{other:?}")),
    }
}
