//! What the sessions of one process share: topics, groups, and which offsets are promised to transactions in flight.
//!
//! A transaction gets its offsets when it is drained, before it commits, because the recovery point must name them. Until it
//! commits or aborts, readers stop before its first offset: the *stable end*, Kafka's last stable offset. Offsets of an aborted
//! transaction stay unused, as they do in Kafka.

use std::{
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::Instant,
};

use reelflow_core::record::{Offset, Partition};
use reelflow_ports::{group::Group, log::LogError};

use crate::store::{Bounds, Store, TopicId};

pub(crate) struct Shared {
    pub(crate) store: Store,
    inner: Mutex<Inner>,
    /// Told whenever there may be news: records, members, positions.
    pub(crate) news: Condvar,
    started: Instant,
}

pub(crate) struct Inner {
    pub(crate) topics: BTreeMap<Arc<str>, Topic>,
    pub(crate) groups: BTreeMap<Arc<str>, Group>,
    next_reservation: u64,
}

pub(crate) struct Topic {
    pub(crate) id: TopicId,
    pub(crate) partitions: Vec<Part>,
}

/// One partition.
pub(crate) struct Part {
    /// What is stored.
    pub(crate) bounds: Bounds,
    /// One past the last offset that was given to anybody.
    next: Offset,
    /// First offset of each reservation in flight, by reservation.
    reserved: BTreeMap<u64, Offset>,
}

impl Part {
    fn new(bounds: Bounds) -> Part {
        Part { bounds, next: bounds.end, reserved: BTreeMap::new() }
    }

    /// Where readers stop.
    pub(crate) fn stable_end(&self) -> Offset {
        self.reserved.values().copied().min().unwrap_or(self.bounds.end).min(self.bounds.end)
    }

    /// Promises `n` offsets to `reservation`; gives the first.
    pub(crate) fn reserve(&mut self, reservation: u64, n: usize) -> Offset {
        let first = self.next;
        self.next += n as Offset;
        self.reserved.entry(reservation).or_insert(first);
        first
    }

    /// The promise is kept (`end`: one past its last offset) or dropped (`None`).
    pub(crate) fn settle(&mut self, reservation: u64, end: Option<Offset>) {
        self.reserved.remove(&reservation);
        if let Some(end) = end {
            self.bounds.end = self.bounds.end.max(end);
        }
    }
}

impl Inner {
    pub(crate) fn part(&mut self, topic: &str, partition: Partition) -> Result<(TopicId, &mut Part), LogError> {
        let found = self.topics.get_mut(topic).ok_or_else(|| LogError::TopicMissing(topic.into()))?;
        let n_partitions = found.partitions.len() as u32;
        let part = found.partitions.get_mut(partition as usize).ok_or_else(|| LogError::PartitionCount {
            topic: topic.into(),
            found: n_partitions,
            wanted: partition + 1,
        })?;
        Ok((found.id, part))
    }

    /// A number for one transaction or write.
    pub(crate) fn reservation(&mut self) -> u64 {
        self.next_reservation += 1;
        self.next_reservation
    }

    /// Has `act` done to the group, with the partition counts that it deals over.
    pub(crate) fn with_group<T>(&mut self, group: &Arc<str>, act: impl FnOnce(&mut Group, &dyn Fn(&str) -> u32) -> T) -> T {
        let Inner { topics, groups, .. } = self;
        let n_partitions = |topic: &str| topics.get(topic).map_or(0, |topic| topic.partitions.len() as u32);
        act(groups.entry(group.clone()).or_default(), &n_partitions)
    }
}

impl Shared {
    pub(crate) fn open(store: Store) -> Result<Shared, LogError> {
        let topics = store
            .topics()?
            .into_iter()
            .map(|stored| {
                let partitions = stored.bounds.into_iter().map(Part::new).collect();
                (Arc::from(stored.name), Topic { id: stored.id, partitions })
            })
            .collect();
        let inner = Mutex::new(Inner { topics, groups: BTreeMap::new(), next_reservation: 0 });
        Ok(Shared { store, inner, news: Condvar::new(), started: Instant::now() })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no thread panics while it holds the lock: nothing in between can")
    }

    /// Creates a topic that does not exist, under the lock that the caller holds.
    pub(crate) fn create_topic(&self, inner: &mut Inner, name: &Arc<str>, n_partitions: u32) -> Result<(), LogError> {
        let id = inner.topics.values().map(|topic| topic.id + 1).max().unwrap_or(0);
        self.store.create_topic(name, id, n_partitions)?;
        let partitions = (0..n_partitions).map(|_| Part::new(Bounds { earliest: 0, end: 0 })).collect();
        inner.topics.insert(name.clone(), Topic { id, partitions });
        Ok(())
    }

    /// Ms since this process opened the log: the groups' time.
    pub(crate) fn now_ms(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_millis()).expect("no process runs for 292 million years")
    }
}
