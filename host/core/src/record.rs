//! Records as the log gives and takes them: bytes in arenas, many at a time.

use std::{ops::Range, sync::Arc};

/// A position in one partition of a topic.
pub type Offset = i64;
/// A partition number, from 0.
pub type Partition = u32;

/// The key of a control record that says: nothing more will come on this partition (watermark +∞).
pub const END_KEY: &[u8] = b"__end";

/// The key of a control record whose value says, as a decimal number of ms: nothing with an event time below it will come on this partition.
pub const WATERMARK_KEY: &[u8] = b"__watermark";

/// A header of a record: name and bytes.
pub type Header = (Arc<str>, Vec<u8>);

/// Consecutive records of one partition, in offset order; their bytes lie in one arena.
#[derive(Clone, Debug, Default)]
pub struct RecordBatch {
    bytes: Vec<u8>,
    records: Vec<Meta>,
    /// Sparse: (record index, its headers), for the few records that have any.
    headers: Vec<(u32, Vec<Header>)>,
    /// Of all others.
    common_headers: Arc<[Header]>,
}

#[derive(Clone, Debug)]
struct Meta {
    offset: Offset,
    timestamp_ms: i64,
    key: Option<Range<u32>>,
    value: Option<Range<u32>>,
}

/// One record, borrowed from its batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record<'a> {
    pub offset: Offset,
    /// What the log says of its time (Kafka's record timestamp), in ms since 1970.
    pub timestamp_ms: i64,
    pub key: Option<&'a [u8]>,
    /// `None` is a tombstone; `Some(b"")` is an empty value.
    pub value: Option<&'a [u8]>,
    pub headers: &'a [Header],
}

impl RecordBatch {
    pub fn len(&self) -> usize {
        self.records.len()
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The bytes of all keys and values.
    pub fn n_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets all records and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
        self.headers.clear();
    }

    /// Appends a copy of `record`. Offsets must rise. Panics past 4 GiB of bytes in one batch.
    pub fn push(&mut self, record: Record<'_>) {
        let key = record.key.map(|bytes| push_bytes(&mut self.bytes, bytes));
        let value = record.value.map(|bytes| push_bytes(&mut self.bytes, bytes));
        if !record.headers.is_empty() {
            let all = self.common_headers.iter().chain(record.headers).cloned().collect();
            self.headers.push((self.records.len() as u32, all));
        }
        self.records.push(Meta { offset: record.offset, timestamp_ms: record.timestamp_ms, key, value });
    }

    /// The record at `record_idx`. Panics outside of `0..len()`.
    pub fn record(&self, record_idx: usize) -> Record<'_> {
        let meta = &self.records[record_idx];
        let headers = match self.headers.binary_search_by_key(&(record_idx as u32), |(idx, _)| *idx) {
            Ok(at) => self.headers[at].1.as_slice(),
            Err(_) => &self.common_headers,
        };
        Record {
            offset: meta.offset,
            timestamp_ms: meta.timestamp_ms,
            key: meta.key.as_ref().map(|range| &self.bytes[range.start as usize..range.end as usize]),
            value: meta.value.as_ref().map(|range| &self.bytes[range.start as usize..range.end as usize]),
            headers,
        }
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = Record<'_>> {
        (0..self.len()).map(|record_idx| self.record(record_idx))
    }
}

/// Records on their way into one topic, with the partition of each.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub topic: Arc<str>,
    /// Which partition each record goes to, one for each record of `records`.
    pub partitions: Vec<Partition>,
    /// Keys, values, timestamps and headers; the offsets are not used.
    pub records: RecordBatch,
}

impl Outgoing {
    pub fn new(topic: Arc<str>) -> Outgoing {
        Outgoing { topic, partitions: Vec::new(), records: RecordBatch::default() }
    }

    /// Records that all have `headers`, before those of their own.
    pub fn with_headers(topic: Arc<str>, headers: Arc<[Header]>) -> Outgoing {
        let records = RecordBatch { common_headers: headers, ..RecordBatch::default() };
        Outgoing { topic, partitions: Vec::new(), records }
    }

    /// No records yet, for the same topic and with the same headers.
    pub fn next(&self) -> Outgoing {
        Outgoing::with_headers(self.topic.clone(), self.records.common_headers.clone())
    }

    pub fn len(&self) -> usize {
        self.partitions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    pub fn push(
        &mut self,
        partition: Partition,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) {
        self.records.push(Record { offset: self.partitions.len() as Offset, timestamp_ms, key, value, headers });
        self.partitions.push(partition);
    }
}

fn push_bytes(arena: &mut Vec<u8>, bytes: &[u8]) -> Range<u32> {
    let start = u32::try_from(arena.len()).expect("a batch holds less than 4 GiB: polls are bounded");
    arena.extend_from_slice(bytes);
    start..u32::try_from(arena.len()).expect("a batch holds less than 4 GiB: polls are bounded")
}

/// The partition that Kafka's Java producer would choose for `key` among `n_partitions`.
///
/// Source: Apache Kafka, `org.apache.kafka.common.utils.Utils.murmur2` and `BuiltInPartitioner.partitionForKey`.
pub fn partition_of(key: &[u8], n_partitions: u32) -> Partition {
    (murmur2(key) & 0x7fff_ffff) % n_partitions
}

fn murmur2(bytes: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash: u32 = 0x9747_b28c ^ bytes.len() as u32;
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes(word.try_into().expect("chunks of four")).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (byte_idx, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * byte_idx);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of Kafka's own UtilsTest.testMurmur2.
    #[test]
    fn murmur2_equals_the_java_client() {
        for (text, expected) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()) as i32, expected, "{text}");
        }
    }

    #[test]
    fn a_batch_gives_back_what_was_pushed() {
        let mut batch = RecordBatch::default();
        let headers: Vec<Header> = vec![("why".into(), b"because".to_vec())];
        batch.push(Record { offset: 3, timestamp_ms: 1, key: None, value: Some(b""), headers: &[] });
        batch.push(Record { offset: 7, timestamp_ms: 2, key: Some(b"k"), value: None, headers: &headers });
        assert_eq!(batch.record(0), Record { offset: 3, timestamp_ms: 1, key: None, value: Some(b""), headers: &[] });
        assert_eq!(batch.record(1), Record { offset: 7, timestamp_ms: 2, key: Some(b"k"), value: None, headers: &headers });
    }

    #[test]
    fn headers_of_all_come_before_those_of_one() {
        let header = |name: &str| -> Header { (name.into(), b"x".to_vec()) };
        let mut outgoing = Outgoing::with_headers("t".into(), [header("all")].into());
        outgoing.push(0, 1, None, None, &[]);
        outgoing.push(0, 1, None, None, &[header("own")]);
        assert_eq!(outgoing.records.record(0).headers, [header("all")]);
        assert_eq!(outgoing.records.record(1).headers, [header("all"), header("own")]);
        let mut next = outgoing.next();
        next.push(0, 1, None, None, &[]);
        assert_eq!((next.len(), next.records.record(0).headers), (1, &[header("all")][..]));
    }
}
