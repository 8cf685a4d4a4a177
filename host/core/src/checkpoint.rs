//! What an epoch leaves behind, and which of it a recovery may believe.
//!
//! A *recovery point* travels as the metadata of the committed offsets; the same facts stand in the *epoch records* of the
//! changelog, written in the same transaction. Storage reads facts, [`chain`] decides, the driver executes.

use std::{fmt, str::FromStr, sync::Arc};

use crate::{
    record::{Offset, Partition},
    state::{ChangeReader, StateError},
};
use stored::{NamedBase, StoredBases};

pub mod stored;

/// Counts the epochs of a task, from 1; 0 = nothing was ever sealed.
pub type Epoch = u64;
/// One life of a task's owner; greater than that of any earlier life.
pub type Incarnation = u64;

/// Where the state of a task that belongs to its committed offsets stands in the changelog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecoveryPoint {
    /// The last sealed epoch.
    pub epoch: Epoch,
    /// Who sealed it.
    pub incarnation: Incarnation,
    /// The changelog offset of the first record that may be needed: the newest base's, or what follows the older of those in a store.
    pub base: Offset,
    /// One past the changelog offset of the epoch's last record.
    pub end: Offset,
    /// Bases that are newer than the one in the changelog.
    pub stored: StoredBases,
}

impl RecoveryPoint {
    /// Where a task stands that has sealed nothing.
    pub const NOTHING: RecoveryPoint = RecoveryPoint { epoch: 0, incarnation: 0, base: 0, end: 0, stored: StoredBases::NONE };
}

impl fmt::Display for RecoveryPoint {
    /// The metadata string: `reel1 epoch=… incarnation=… base=… end=…`, and `stored=…` if there are such bases. Later versions may add pairs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RecoveryPoint { epoch, incarnation, base, end, stored } = self;
        write!(f, "reel1 epoch={epoch} incarnation={incarnation} base={base} end={end}")?;
        if stored.is_empty() { Ok(()) } else { write!(f, " stored={}", stored.to_text()) }
    }
}

/// The metadata of a committed offset is not one of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("committed offset metadata \"{0}\" is not a Reelflow recovery point")]
pub struct ForeignMetadata(pub String);

impl FromStr for RecoveryPoint {
    type Err = ForeignMetadata;

    fn from_str(text: &str) -> Result<RecoveryPoint, ForeignMetadata> {
        let foreign = || ForeignMetadata(text.to_owned());
        let mut words = text.split(' ');
        if words.next() != Some("reel1") {
            return Err(foreign());
        }
        let pairs: Vec<(&str, &str)> = words.filter_map(|word| word.split_once('=')).collect();
        let number = |name: &str| {
            let (_, digits) = pairs.iter().find(|(key, _)| *key == name).ok_or_else(foreign)?;
            digits.parse::<u64>().map_err(|_| foreign())
        };
        let offset = |name: &str| Offset::try_from(number(name)?).map_err(|_| foreign());
        let stored = match pairs.iter().find(|(key, _)| *key == "stored") {
            Some((_, text)) => StoredBases::of_text(text).ok_or_else(foreign)?,
            None => StoredBases::NONE,
        };
        Ok(RecoveryPoint {
            epoch: number("epoch")?,
            incarnation: number("incarnation")?,
            base: offset("base")?,
            end: offset("end")?,
            stored,
        })
    }
}

/// The header of one changelog record: which part of which epoch of which task its chunk is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochRecord {
    pub fragment: Arc<str>,
    pub epoch: Epoch,
    pub incarnation: Incarnation,
    /// Who sealed epoch − 1; 0 for the first epoch.
    pub parent: Incarnation,
    pub is_base: bool,
    /// This is chunk `part` of `n_parts` of the epoch, from 0.
    pub part: u32,
    pub n_parts: u32,
    /// The inputs' next offsets at the end of the epoch: (topic, partition, offset). Only on part 0.
    pub positions: Vec<(Arc<str>, Partition, Offset)>,
    /// Those of the recovery point that is committed with the epoch. Only on part 0.
    pub stored: StoredBases,
}

/// Version 1 had no `stored`, and is still written where there are none: builds that know no store can read that.
const EPOCH_RECORD_VERSION: u8 = 2;

impl EpochRecord {
    /// The record's value: version, header, and then `chunk` (which may be empty: an epoch that changed no state).
    pub fn encode(&self, chunk: &[u8]) -> Vec<u8> {
        let mut writer = crate::state::ByteWriter::default();
        writer.u8(if self.stored.is_empty() { 1 } else { EPOCH_RECORD_VERSION });
        writer.bytes(self.fragment.as_bytes());
        writer.varint(self.epoch);
        writer.varint(self.incarnation);
        writer.varint(self.parent);
        writer.bool(self.is_base);
        writer.varint(self.part.into());
        writer.varint(self.n_parts.into());
        writer.varint(self.positions.len() as u64);
        for (topic, partition, offset) in &self.positions {
            writer.bytes(topic.as_bytes());
            writer.varint((*partition).into());
            writer.signed(*offset);
        }
        if !self.stored.is_empty() {
            self.stored.write(&mut writer);
        }
        writer.bytes(chunk);
        writer.into_bytes()
    }

    /// The header and the chunk in a changelog record's value.
    pub fn decode(value: &[u8]) -> Result<(EpochRecord, &[u8]), StateError> {
        let mut reader = ChangeReader::new(value);
        let version = reader.u8()?;
        if !(1..=EPOCH_RECORD_VERSION).contains(&version) {
            return Err(StateError::Version { found: version, reads: EPOCH_RECORD_VERSION });
        }
        let fragment = text(&mut reader)?;
        let (epoch, incarnation, parent) = (reader.varint()?, reader.varint()?, reader.varint()?);
        let is_base = reader.bool()?;
        let (part, n_parts) = (small(&mut reader)?, small(&mut reader)?);
        let n_positions = small(&mut reader)?;
        let positions = (0..n_positions)
            .map(|_| Ok((text(&mut reader)?, small(&mut reader)?, reader.signed()?)))
            .collect::<Result<Vec<_>, StateError>>()?;
        let stored = if version > 1 { StoredBases::read(&mut reader)? } else { StoredBases::NONE };
        let chunk = reader.bytes()?;
        Ok((EpochRecord { fragment, epoch, incarnation, parent, is_base, part, n_parts, positions, stored }, chunk))
    }
}

fn text(reader: &mut ChangeReader<'_>) -> Result<Arc<str>, StateError> {
    std::str::from_utf8(reader.bytes()?).map(Arc::from).map_err(|_| StateError::Damaged("a name"))
}

fn small(reader: &mut ChangeReader<'_>) -> Result<u32, StateError> {
    u32::try_from(reader.varint()?).map_err(|_| StateError::Damaged("a count"))
}

/// Fewer bytes of changes than this are worth no base.
pub const BASE_AFTER_BYTES: usize = 64 * 1024;

/// Whether a base is worth it: `n_bytes` of the changelog lie behind the last one, more than `least`, and a new one takes about `state_bytes`.
///
/// So bases take at most half of what changes take, and a changelog has at most about three times the state. It holds for a task and its
/// own changes, and for a partition of the changelog and all that tasks write there: it is cut at the oldest of their bases.
pub fn is_base_due(n_bytes: usize, state_bytes: usize, least: usize) -> bool {
    n_bytes > least.max(2 * state_bytes)
}

/// The changelog lacks something that a committed recovery point needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the changelog lacks epoch {epoch} of task \"{fragment}\"")]
pub struct ChangelogGap {
    pub fragment: Arc<str>,
    pub epoch: Epoch,
}

/// Which of the changelog's records of one task, in log order, make up the state at `point`: indices into `records`, in the
/// order in which to apply them.
///
/// Walks from the point's (epoch, incarnation) to its parent and so on back to the newest base, because without transactions a
/// crashed or fenced owner may have left records of epochs that were never committed; they are on no committed chain. `upon`: a base in a store, upon
/// which they are applied, unless the first of them is a base itself.
pub fn chain(
    fragment: &Arc<str>,
    point: &RecoveryPoint,
    upon: Option<&NamedBase>,
    records: &[EpochRecord],
) -> Result<Vec<usize>, ChangelogGap> {
    let mut chain: Vec<usize> = Vec::new();
    let (mut epoch, mut incarnation) = (point.epoch, point.incarnation);
    while epoch > 0 && upon.is_none_or(|base| (base.epoch, base.incarnation) != (epoch, incarnation)) {
        let gap = || ChangelogGap { fragment: fragment.clone(), epoch };
        let parts: Vec<usize> = (0..records.len())
            .filter(|idx| {
                let record = &records[*idx];
                record.fragment == *fragment && record.epoch == epoch && record.incarnation == incarnation
            })
            .collect();
        let first = &records[*parts.first().ok_or_else(gap)?];
        if parts.len() != first.n_parts as usize {
            return Err(gap());
        }
        chain.extend(parts.iter().rev());
        if first.is_base {
            break;
        }
        (epoch, incarnation) = (epoch - 1, first.parent);
    }
    chain.reverse();
    Ok(chain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(epoch: Epoch, incarnation: Incarnation, parent: Incarnation, is_base: bool) -> EpochRecord {
        EpochRecord {
            fragment: "plays".into(),
            epoch,
            incarnation,
            parent,
            is_base,
            part: 0,
            n_parts: 1,
            positions: Vec::new(),
            stored: StoredBases::NONE,
        }
    }

    fn stored() -> StoredBases {
        let mut stored = StoredBases::NONE;
        stored.name(NamedBase { epoch: 3, incarnation: 9, digest: 1, after: 7, taken: crate::time::WallTime(1) });
        stored
    }

    #[test]
    fn a_point_survives_its_text() {
        let point = RecoveryPoint { epoch: 218, incarnation: 77, base: 5, end: 900, stored: StoredBases::NONE };
        assert_eq!(point.to_string(), "reel1 epoch=218 incarnation=77 base=5 end=900");
        for point in [point, RecoveryPoint { stored: stored(), ..point }] {
            assert_eq!(point.to_string().parse(), Ok(point));
        }
        assert!("reel1 epoch=1 incarnation=2 base=0 end=3 stored=4".parse::<RecoveryPoint>().is_err());
        assert!("somebody else's".parse::<RecoveryPoint>().is_err());
        assert!("reel1 epoch=1".parse::<RecoveryPoint>().is_err());
    }

    #[test]
    fn an_epoch_record_survives_its_bytes() {
        let mut header = record(3, 9, 8, true);
        header.positions.push(("plays".into(), 2, 41));
        let bytes = header.encode(b"chunk");
        assert_eq!(EpochRecord::decode(&bytes), Ok((header, &b"chunk"[..])));
        assert!(EpochRecord::decode(&bytes[..bytes.len() - 1]).is_err());
    }

    /// The stored form: changelogs outlive a build, so the bytes of each version must be read for ever (I-10).
    #[test]
    fn the_bytes_of_every_version() {
        let mut header = record(300, 9, 8, true);
        header.positions.push(("plays".into(), 2, -1));
        let version_1 = b"\x01\x05plays\xac\x02\x09\x08\x01\x00\x01\x01\x05plays\x02\x01\x05chunk";
        assert_eq!(EpochRecord::decode(version_1), Ok((header.clone(), &b"chunk"[..])));
        assert_eq!(header.encode(b"chunk"), version_1);
        header.stored = stored();
        let version_2 =
            b"\x02\x05plays\xac\x02\x09\x08\x01\x00\x01\x01\x05plays\x02\x01\x01\x03\x09\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x0e\x02\x05chunk";
        assert_eq!(EpochRecord::decode(version_2), Ok((header.clone(), &b"chunk"[..])));
        assert_eq!(header.encode(b"chunk"), version_2);
    }

    /// At-least-once leaves records of epochs that were never committed: here epoch 2 of incarnation 1.
    #[test]
    fn an_epoch_that_was_never_committed_is_not_on_the_chain() {
        let records = [record(1, 1, 0, false), record(2, 1, 1, false), record(2, 5, 1, false), record(3, 5, 5, false)];
        let point = RecoveryPoint { epoch: 3, incarnation: 5, end: 4, ..RecoveryPoint::NOTHING };
        assert_eq!(chain(&"plays".into(), &point, None, &records), Ok(vec![0, 2, 3]));
    }

    #[test]
    fn a_base_ends_the_chain_and_a_gap_is_an_error() {
        let records = [record(7, 1, 1, true), record(8, 1, 1, false)];
        let point = RecoveryPoint { epoch: 8, incarnation: 1, end: 2, ..RecoveryPoint::NOTHING };
        assert_eq!(chain(&"plays".into(), &point, None, &records), Ok(vec![0, 1]));
        let gap = chain(&"plays".into(), &point, None, &records[1..]).unwrap_err();
        assert_eq!(gap, ChangelogGap { fragment: "plays".into(), epoch: 7 });
    }

    #[test]
    fn changes_upon_a_stored_base_are_those_behind_its_epoch() {
        let records = [record(3, 9, 1, false), record(4, 9, 9, false), record(4, 2, 9, false), record(5, 9, 9, false)];
        let point = RecoveryPoint { epoch: 5, incarnation: 9, end: 4, stored: stored(), ..RecoveryPoint::NOTHING };
        let upon = |base: &NamedBase| chain(&"plays".into(), &point, Some(base), &records);
        let newest = point.stored.newest().expect("it was just named");
        assert_eq!(upon(&newest), Ok(vec![1, 3]));
        let of_a_zombie = NamedBase { incarnation: 2, ..newest };
        assert_eq!(upon(&of_a_zombie).map_err(|gap| gap.epoch), Err(2), "it is on no committed chain");
    }
}
