//! Bases that lie in a store beside the log: how a recovery point names them, and what their objects hold.
//!
//! An object is written once, behind the commit of its epoch, and named by a later one. A point names at most two, and the changelog is kept from
//! the older one on: a base that is lost, or is not what was written, costs a longer chain and no state.
//!
//! ```text
//! object  = "reelbase" | version u8 (1) | pipeline | fragment | partition, epoch, incarnation varint | bytes of the payload varint
//!         | payload, compressed as one frame of zstd
//! payload = (length u32 LE | chunk)*                          (see `state`)
//! pipeline, fragment = bytes
//! ```
//!
//! Its name ends with a digest of all these bytes, which the point has as well.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use super::{Epoch, Incarnation, small, text};
use crate::{
    record::{Offset, Partition},
    state::{ByteWriter, ChangeReader, StateError},
    time::WallTime,
};

const MAGIC: &[u8] = b"reelbase";
const OBJECT_VERSION: u8 = 1;
const EXTENSION: &str = ".base";

/// A base in a store, as a recovery point names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedBase {
    /// It is the task's state at the end of this epoch.
    pub epoch: Epoch,
    /// Who sealed that.
    pub incarnation: Incarnation,
    /// Of the object's bytes: see [`digest`].
    pub digest: u128,
    /// One past the changelog offset of that epoch's last record: what follows is needed beside this base.
    pub after: Offset,
    pub taken: WallTime,
}

/// The bases that a recovery point names: the last two, or as many as there are since the last base in the changelog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredBases {
    older: Option<NamedBase>,
    newest: Option<NamedBase>,
}

impl StoredBases {
    pub const NONE: StoredBases = StoredBases { older: None, newest: None };

    /// Names `base`, which is newer than all of them, and forgets the oldest of three. Returns where the changelog is needed from, unless that is
    /// where it was before: as long as there was no other in a store, the base in the changelog is the older one.
    pub fn name(&mut self, base: NamedBase) -> Option<Offset> {
        assert!(
            self.newest.is_none_or(|newest| newest.epoch < base.epoch),
            "bases of a task are named in the order of their epochs"
        );
        self.older = self.newest.replace(base);
        self.start()
    }

    /// Where the changelog is needed from; `None`: from the base on that is in it.
    pub fn start(&self) -> Option<Offset> {
        self.older.map(|older| older.after)
    }

    pub fn newest(&self) -> Option<NamedBase> {
        self.newest
    }

    /// In the order in which a recovery tries them.
    pub fn newest_first(&self) -> impl Iterator<Item = NamedBase> + use<> {
        self.newest.into_iter().chain(self.older)
    }

    pub fn is_empty(&self) -> bool {
        self.newest.is_none()
    }

    /// `epoch:incarnation:digest:after:taken`, the older one first, with a comma between two.
    pub(super) fn to_text(self) -> String {
        let one = |base: NamedBase| {
            let NamedBase { epoch, incarnation, digest, after, taken } = base;
            format!("{epoch}:{incarnation}:{digest:032x}:{after}:{}", taken.0)
        };
        self.older.into_iter().chain(self.newest).map(one).collect::<Vec<_>>().join(",")
    }

    pub(super) fn of_text(text: &str) -> Option<StoredBases> {
        let one = |text: &str| {
            let mut parts = text.split(':');
            let mut part = || parts.next();
            let base = NamedBase {
                epoch: part()?.parse().ok()?,
                incarnation: part()?.parse().ok()?,
                digest: u128::from_str_radix(part()?, 16).ok()?,
                after: part()?.parse().ok()?,
                taken: WallTime(part()?.parse().ok()?),
            };
            parts.next().is_none().then_some(base)
        };
        StoredBases::of(&text.split(',').map(one).collect::<Option<Vec<_>>>()?)
    }

    pub(super) fn write(&self, to: &mut ByteWriter) {
        to.varint(self.newest_first().count() as u64);
        for base in self.older.into_iter().chain(self.newest) {
            to.varint(base.epoch);
            to.varint(base.incarnation);
            to.fixed(&base.digest.to_le_bytes());
            to.signed(base.after);
            to.signed(base.taken.0);
        }
    }

    pub(super) fn read(from: &mut ChangeReader<'_>) -> Result<StoredBases, StateError> {
        let n_bases = small(from)?;
        let one = |_| {
            let (epoch, incarnation) = (from.varint()?, from.varint()?);
            let digest = from.fixed(16)?.try_into().expect("it has as many bytes as were asked for");
            let (after, taken) = (from.signed()?, WallTime(from.signed()?));
            Ok(NamedBase { epoch, incarnation, digest: u128::from_le_bytes(digest), after, taken })
        };
        let bases = (0..n_bases.min(3)).map(one).collect::<Result<Vec<_>, StateError>>()?;
        StoredBases::of(&bases).ok_or(StateError::Damaged("bases in a store"))
    }

    /// The older one first.
    fn of(bases: &[NamedBase]) -> Option<StoredBases> {
        match bases {
            [] => Some(StoredBases::NONE),
            [newest] => Some(StoredBases { older: None, newest: Some(*newest) }),
            [older, newest] if older.epoch < newest.epoch => Some(StoredBases { older: Some(*older), newest: Some(*newest) }),
            _ => None,
        }
    }
}

/// Whose state an object holds, and as of when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseHeader {
    pub pipeline: Arc<str>,
    pub fragment: Arc<str>,
    pub partition: Partition,
    pub epoch: Epoch,
    pub incarnation: Incarnation,
    /// Of the payload, before it is compressed.
    pub n_bytes: u64,
}

impl BaseHeader {
    /// What an object begins with; the compressed payload follows.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = ByteWriter::default();
        to.fixed(MAGIC);
        to.u8(OBJECT_VERSION);
        to.bytes(self.pipeline.as_bytes());
        to.bytes(self.fragment.as_bytes());
        to.varint(self.partition.into());
        to.varint(self.epoch);
        to.varint(self.incarnation);
        to.varint(self.n_bytes);
        to.into_bytes()
    }

    /// The header of `object`, and its compressed payload.
    pub fn decode(object: &[u8]) -> Result<(BaseHeader, &[u8]), StateError> {
        let mut from = ChangeReader::new(object);
        if from.fixed(MAGIC.len())? != MAGIC {
            return Err(StateError::Damaged("no base"));
        }
        match from.u8()? {
            OBJECT_VERSION => {}
            found => return Err(StateError::Version { found, reads: OBJECT_VERSION }),
        }
        let (pipeline, fragment) = (text(&mut from)?, text(&mut from)?);
        let partition = small(&mut from)?;
        let (epoch, incarnation, n_bytes) = (from.varint()?, from.varint()?, from.varint()?);
        Ok((BaseHeader { pipeline, fragment, partition, epoch, incarnation, n_bytes }, from.rest()))
    }
}

/// What tells one object from another, and from what a disk has made of it: XXH3, 128 bits.
pub fn digest(object: &[u8]) -> u128 {
    xxh3_128(object)
}

/// Where the bases of one task lie: what the names of all of them begin with.
pub fn folder(pipeline: &str, fragment: &str, partition: Partition) -> String {
    format!("{pipeline}/{fragment}/{partition}/")
}

/// The name of a base in `folder`. No two bases share one, whoever writes them.
pub fn object_name(folder: &str, base: &NamedBase) -> String {
    let NamedBase { epoch, incarnation, digest, .. } = base;
    format!("{folder}{epoch:020}-{incarnation:016x}-{digest:032x}{EXTENSION}")
}

/// The epoch of the base called `name`; `None`: that is no name of a base.
pub fn epoch_of(name: &str) -> Option<Epoch> {
    let (_, file) = name.rsplit_once('/')?;
    file.strip_suffix(EXTENSION)?.split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(epoch: Epoch) -> NamedBase {
        NamedBase { epoch, incarnation: 7, digest: 0xabc, after: epoch as i64 * 10, taken: WallTime(-1) }
    }

    #[test]
    fn the_last_two_are_named_and_the_changelog_starts_behind_the_older() {
        let mut stored = StoredBases::NONE;
        assert_eq!((stored.name(base(4)), stored.name(base(9)), stored.name(base(12))), (None, Some(40), Some(90)));
        assert_eq!(stored.newest_first().map(|base| base.epoch).collect::<Vec<_>>(), [12, 9]);
    }

    #[test]
    fn names_survive_text_and_bytes() {
        let mut stored = StoredBases::NONE;
        for epoch in [3, 5, 8] {
            let mut bytes = ByteWriter::default();
            stored.write(&mut bytes);
            let bytes = bytes.into_bytes();
            assert_eq!(StoredBases::read(&mut ChangeReader::new(&bytes)), Ok(stored));
            stored.name(base(epoch));
            assert_eq!(StoredBases::of_text(&stored.to_text()), Some(stored));
        }
        let one = "3:7:00000000000000000000000000000abc:30:-1";
        for bad in ["", "3:7:x:30:-1", "3:7:0:30", "3:7:0:30:-1:0", &format!("{one},{one}"), &format!("{one},{one},{one}")] {
            assert_eq!(StoredBases::of_text(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_object_says_whose_it_is_in_its_name_and_its_header() {
        let name = object_name(&folder("p", "plays", 3), &base(300));
        assert_eq!(name, "p/plays/3/00000000000000000300-0000000000000007-00000000000000000000000000000abc.base");
        assert_eq!((epoch_of(&name), epoch_of("p/plays/3/x.base"), epoch_of("p/plays/3/300.tmp")), (Some(300), None, None));
    }

    /// The stored form: objects outlive a build, so the bytes of each version must be read for ever (I-10).
    #[test]
    fn the_bytes_of_every_version() {
        let header =
            BaseHeader { pipeline: "p".into(), fragment: "plays".into(), partition: 2, epoch: 300, incarnation: 9, n_bytes: 128 };
        let version_1 = b"reelbase\x01\x01p\x05plays\x02\xac\x02\x09\x80\x01frame";
        assert_eq!(BaseHeader::decode(version_1), Ok((header.clone(), &b"frame"[..])));
        assert_eq!([&header.encode()[..], b"frame"].concat(), version_1);
        assert_eq!(digest(version_1), 207_822_397_556_568_338_603_365_120_340_111_661_542);
        assert!(BaseHeader::decode(&version_1[..20]).is_err() && BaseHeader::decode(b"somebody else's").is_err());
        let later = [&version_1[..8], b"\x02", &version_1[9..]].concat();
        assert_eq!(BaseHeader::decode(&later).unwrap_err(), StateError::Version { found: 2, reads: 1 });
    }
}
