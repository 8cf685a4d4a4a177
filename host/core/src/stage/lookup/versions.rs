//! What is known of each key, and from when on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::time::{EventTime, Watermark};

type KeyBytes = Arc<[u8]>;

/// About what a version costs beside its key and row, for `state_bytes`.
const VERSION_BYTES: usize = 12;

/// What is known of a key from some time on: a packed row, or that it was deleted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Version(Option<Box<[u8]>>);

impl Version {
    pub(super) fn new(row: Option<&Vec<u8>>) -> Version {
        Version(row.map(|row| row.as_slice().into()))
    }

    pub(super) fn row(&self) -> Option<&[u8]> {
        self.0.as_deref()
    }
}

#[derive(Debug, Default)]
pub(super) struct Versions {
    by_key: BTreeMap<KeyBytes, BTreeMap<EventTime, Version>>,
    /// For each version that may replace another one or say that a key was deleted: from when on nothing before it is needed.
    purges: BTreeSet<(EventTime, KeyBytes)>,
    dirty: BTreeSet<(KeyBytes, EventTime)>,
    /// Deletions that nothing needs but the record of them: what they ended was written down, so they have to be as well.
    unwritten: Vec<(EventTime, KeyBytes)>,
    n_bytes: usize,
}

impl Versions {
    /// Keeps a version. One of the same key and time is replaced.
    pub(super) fn add(&mut self, key: &[u8], at: EventTime, version: Version) {
        let id = self.put(key, at, version);
        self.dirty.insert((id, at));
    }

    /// As [`Versions::add`], of one that is already written down.
    pub(super) fn restore(&mut self, key: &[u8], at: EventTime, version: Version) {
        self.put(key, at, version);
    }

    fn put(&mut self, key: &[u8], at: EventTime, version: Version) -> KeyBytes {
        let id: KeyBytes = match self.by_key.get_key_value(key) {
            Some((id, _)) => id.clone(),
            None => key.into(),
        };
        self.n_bytes += n_bytes(&id, &version);
        if let Some(before) = self.by_key.entry(id.clone()).or_default().insert(at, version) {
            self.n_bytes -= n_bytes(&id, &before);
        }
        self.purges.insert((at, id.clone()));
        id
    }

    /// The row of the version of `key` that is valid at `at`.
    pub(super) fn as_of(&self, key: &[u8], at: EventTime) -> Option<&[u8]> {
        self.by_key.get(key)?.range(..=at).next_back()?.1.row()
    }

    /// Forgets what no row at or after `floor` needs: everything at the end. O(versions that came to be valid since the last time).
    pub(super) fn purge(&mut self, floor: Watermark) {
        if floor == Watermark::END {
            *self = Versions::default();
        }
        while let Some((at, _)) = self.purges.first()
            && floor.reached(*at)
        {
            let (at, key) = self.purges.pop_first().expect("it was just looked at");
            let Some(versions) = self.by_key.get_mut(&key) else { continue };
            let mut kept = versions.split_off(&at);
            if kept.get(&at).is_some_and(|version| version.row().is_none()) {
                match self.dirty.contains(&(key.clone(), at)) {
                    true => self.unwritten.push((at, key.clone())),
                    false => versions.extend(kept.pop_first()),
                }
            }
            let forgotten = std::mem::replace(versions, kept);
            let is_empty = versions.is_empty();
            self.n_bytes -= forgotten.values().map(|version| n_bytes(&key, version)).sum::<usize>();
            forgotten.into_keys().for_each(|at| {
                self.dirty.remove(&(key.clone(), at));
            });
            if is_empty {
                self.by_key.remove(&key);
            }
        }
    }

    /// The versions that came since the last call and are still there. No row before `floor` will be looked up.
    pub(super) fn take_dirty(&mut self, floor: Watermark) -> Vec<(KeyBytes, EventTime, Version)> {
        let dirty = std::mem::take(&mut self.dirty);
        let taken = dirty.into_iter().map(|(key, at)| (key.clone(), at, self.by_key[&key][&at].clone())).collect();
        self.purges.extend(std::mem::take(&mut self.unwritten));
        self.purge(floor);
        taken
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&[u8], EventTime, &Version)> {
        self.by_key.iter().flat_map(|(key, versions)| versions.iter().map(move |(at, version)| (&**key, *at, version)))
    }

    /// Bytes of all versions with their keys, and a little for each.
    pub(super) fn n_bytes(&self) -> usize {
        self.n_bytes
    }
}

fn n_bytes(key: &KeyBytes, version: &Version) -> usize {
    key.len() + version.row().map_or(0, <[u8]>::len) + VERSION_BYTES
}
