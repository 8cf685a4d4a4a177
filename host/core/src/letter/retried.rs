//! Which dead letters were put back: a set of offsets for each partition, and its stored form.
//!
//! A retry may skip letters, so a position is not enough; ranges are short where neighbours were put back. The set grows only, and is
//! stored as *marks*: each holds some ranges of one partition, and the set is the union of all marks, in any order. So a mark may be
//! written twice, and the whole set may be written again before what stands before it is forgotten.
//!
//! ```text
//! mark  = version u8 (1) | crc32 of the rest, u32 LE | partition varint | range*
//! range = gap varint (from the end of the range before, or 0) | length varint
//! ```

use std::collections::BTreeMap;

use crate::{
    record::{Offset, Partition},
    state::{ByteWriter, ChangeReader, StateError},
};

/// The format that this build writes.
const VERSION: u8 = 1;
/// Ranges of one mark, at most: it is then shorter than 256 KB.
const MARK_RANGES_MAX: usize = 10_000;

/// A set of dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retried {
    /// Begin to end of each range, of each partition. None is empty, and between two of them is a gap.
    ranges: BTreeMap<Partition, BTreeMap<Offset, Offset>>,
}

impl Retried {
    pub fn contains(&self, partition: Partition, offset: Offset) -> bool {
        let before = self.ranges.get(&partition).and_then(|ranges| ranges.range(..=offset).next_back());
        before.is_some_and(|(_, end)| offset < *end)
    }

    pub fn insert(&mut self, partition: Partition, offset: Offset) {
        self.insert_range(partition, offset, offset + 1);
    }

    fn insert_range(&mut self, partition: Partition, mut begin: Offset, mut end: Offset) {
        let ranges = self.ranges.entry(partition).or_default();
        if let Some((first, last)) = ranges.range(..=begin).next_back().filter(|(_, last)| **last >= begin) {
            (begin, end) = (*first, end.max(*last));
        }
        while let Some((first, last)) = ranges.range(begin..=end).next().map(|(first, last)| (*first, *last)) {
            ranges.remove(&first);
            end = end.max(last);
        }
        ranges.insert(begin, end);
    }

    /// Adds all of `other`.
    pub fn extend(&mut self, other: &Retried) {
        for (partition, ranges) in &other.ranges {
            ranges.iter().for_each(|(begin, end)| self.insert_range(*partition, *begin, *end));
        }
    }

    /// How many letters it holds.
    pub fn len(&self) -> u64 {
        self.ranges.values().flatten().map(|(begin, end)| (end - begin) as u64).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.n_ranges() == 0
    }

    /// What it costs to keep: about 30 bytes each.
    pub fn n_ranges(&self) -> usize {
        self.ranges.values().map(BTreeMap::len).sum()
    }

    /// One past the last letter of `partition`; `None` if there is none.
    pub fn end(&self, partition: Partition) -> Option<Offset> {
        self.ranges.get(&partition)?.last_key_value().map(|(_, end)| *end)
    }

    /// Forgets letters of `partition` before `offset`, which are not there any more.
    pub fn forget_before(&mut self, partition: Partition, offset: Offset) {
        let Some(ranges) = self.ranges.get_mut(&partition) else { return };
        let kept = ranges.split_off(&offset);
        let cut = ranges.last_key_value().map(|(_, end)| *end).filter(|end| *end > offset);
        *ranges = kept;
        if let Some(end) = cut {
            ranges.insert(offset, end);
        }
    }

    /// The marks of the whole set.
    pub fn marks(&self) -> Vec<Vec<u8>> {
        let mut marks = Vec::new();
        for (partition, ranges) in &self.ranges {
            let ranges: Vec<(Offset, Offset)> = ranges.iter().map(|(begin, end)| (*begin, *end)).collect();
            marks.extend(ranges.chunks(MARK_RANGES_MAX).map(|ranges| mark(*partition, ranges)));
        }
        marks
    }

    /// Adds what `mark` says.
    pub fn apply(&mut self, mark: &[u8]) -> Result<(), StateError> {
        let (&version, rest) = mark.split_first().ok_or(StateError::Damaged("no version"))?;
        if version != VERSION {
            return Err(StateError::Version { found: version, reads: VERSION });
        }
        let (crc, rest) = rest.split_first_chunk::<4>().ok_or(StateError::Damaged("no checksum"))?;
        if crc32fast::hash(rest) != u32::from_le_bytes(*crc) {
            return Err(StateError::Damaged("checksum"));
        }
        let mut reader = ChangeReader::new(rest);
        let number = |reader: &mut ChangeReader<'_>| {
            i64::try_from(reader.varint()?).map_err(|_| StateError::Damaged("a number of a mark"))
        };
        let partition = Partition::try_from(reader.varint()?).map_err(|_| StateError::Damaged("a partition"))?;
        let mut at: Offset = 0;
        while !reader.is_empty() {
            let (gap, len) = (number(&mut reader)?, number(&mut reader)?);
            let begin = at.checked_add(gap).ok_or(StateError::Damaged("a range"))?;
            at = begin.checked_add(len).filter(|end| *end > begin).ok_or(StateError::Damaged("a range"))?;
            self.insert_range(partition, begin, at);
        }
        Ok(())
    }
}

fn mark(partition: Partition, ranges: &[(Offset, Offset)]) -> Vec<u8> {
    let mut body = ByteWriter::default();
    body.varint(u64::from(partition));
    let mut at = 0;
    for (begin, end) in ranges {
        body.varint((begin - at) as u64);
        body.varint((end - begin) as u64);
        at = *end;
    }
    let body = body.into_bytes();
    [&[VERSION][..], &crc32fast::hash(&body).to_le_bytes(), &body].concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn of(letters: &[(Partition, Offset)]) -> Retried {
        let mut retried = Retried::default();
        letters.iter().for_each(|(partition, offset)| retried.insert(*partition, *offset));
        retried
    }

    fn read(marks: &[Vec<u8>]) -> Result<Retried, StateError> {
        let mut retried = Retried::default();
        marks.iter().try_for_each(|mark| retried.apply(mark))?;
        Ok(retried)
    }

    /// A stored form: the bytes of each version must be read for ever (I-10).
    #[test]
    fn the_bytes_of_every_version() {
        let retried = of(&[(3, 5), (3, 6), (3, 300)]);
        let version_1 = [b"\x01\x69\x59\x3d\xcf\x03\x05\x02\xa5\x02\x01".to_vec()];
        assert_eq!(retried.marks(), version_1);
        assert_eq!(read(&version_1), Ok(retried));
    }

    #[test]
    fn damage_is_found() {
        let whole = of(&[(0, 5)]).marks().remove(0);
        for len in 0..whole.len() {
            assert!(read(&[whole[..len].to_vec()]).is_err(), "{len}");
        }
        let mut newer = whole.clone();
        newer[0] = 2;
        assert_eq!(read(&[newer]), Err(StateError::Version { found: 2, reads: 1 }));
        for body in [&b"\x00\x00\x00"[..], b"\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x00\x05"] {
            let crc = crc32fast::hash(body).to_le_bytes();
            assert!(read(&[[&[1][..], &crc, body].concat()]).is_err(), "{body:?}");
        }
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let mut retried = of(&[(0, 1), (0, 2), (0, 3), (0, 9), (1, 1)]);
        retried.forget_before(0, 2);
        assert_eq!(retried, of(&[(0, 2), (0, 3), (0, 9), (1, 1)]));
        assert_eq!((retried.len(), retried.n_ranges(), retried.end(0), retried.end(2)), (4, 3, Some(10), None));
        retried.forget_before(0, 100);
        retried.forget_before(2, 100);
        assert!(retried.contains(1, 1) && !retried.contains(0, 9));
    }

    proptest! {
        #[test]
        fn it_is_a_set(letters in prop::collection::vec((0..3_u32, 0..40_i64), 0..80), cut in 0..80_usize) {
            let retried = of(&letters);
            let expected: BTreeSet<_> = letters.iter().copied().collect();
            prop_assert_eq!(retried.len(), expected.len() as u64);
            for partition in 0..3 {
                for offset in 0..41 {
                    prop_assert_eq!(retried.contains(partition, offset), expected.contains(&(partition, offset)));
                }
            }
            let (first, second) = letters.split_at(cut.min(letters.len()));
            let mut both = of(second);
            both.extend(&of(first));
            prop_assert_eq!(&both, &retried);
            let marks = [of(second).marks(), of(first).marks(), of(second).marks()].concat();
            prop_assert_eq!(read(&marks).unwrap(), retried);
        }
    }
}
