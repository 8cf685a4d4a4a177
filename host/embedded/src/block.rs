//! A block: consecutive records of one partition as one value of the store.
//!
//! ```text
//! block  = version u8 (1) | crc32 of the rest, u32 LE | count varint | record*
//! record = offset signed | timestamp signed | key | value | header count varint | (name bytes | value bytes)*
//! key, value = 0 u8, or 1 u8 and bytes
//! ```
//! Integers and bytes are those of [`reelflow_core::state::ByteWriter`].

use std::sync::Arc;

use reelflow_core::{
    record::{Header, Offset, Record, RecordBatch},
    state::{ByteWriter, ChangeReader, StateError},
};

const BLOCK_VERSION: u8 = 1;

/// A block is closed once its records have this many bytes.
pub(crate) const BLOCK_BYTES: usize = 128 * 1024;

/// Collects records into a block.
#[derive(Default)]
pub(crate) struct BlockWriter {
    body: ByteWriter,
    n_records: u64,
    n_bytes: usize,
    last: Offset,
}

impl BlockWriter {
    pub(crate) fn push(&mut self, offset: Offset, record: Record<'_>) {
        self.body.signed(offset);
        self.body.signed(record.timestamp_ms);
        optional(&mut self.body, record.key);
        optional(&mut self.body, record.value);
        self.body.varint(record.headers.len() as u64);
        for (name, value) in record.headers {
            self.body.bytes(name.as_bytes());
            self.body.bytes(value);
        }
        self.n_records += 1;
        self.n_bytes += record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        self.last = offset;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.n_records == 0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.n_bytes >= BLOCK_BYTES
    }

    /// The last record's offset and the block's bytes.
    pub(crate) fn finish(self) -> (Offset, Vec<u8>) {
        let mut count = ByteWriter::default();
        count.varint(self.n_records);
        let (count, body) = (count.into_bytes(), self.body.into_bytes());
        let mut crc = crc32fast::Hasher::new();
        crc.update(&count);
        crc.update(&body);
        let mut bytes = Vec::with_capacity(5 + count.len() + body.len());
        bytes.push(BLOCK_VERSION);
        bytes.extend_from_slice(&crc.finalize().to_le_bytes());
        bytes.extend_from_slice(&count);
        bytes.extend_from_slice(&body);
        (self.last, bytes)
    }
}

fn optional(to: &mut ByteWriter, bytes: Option<&[u8]>) {
    to.bool(bytes.is_some());
    if let Some(bytes) = bytes {
        to.bytes(bytes);
    }
}

/// Appends the block's records with `from <= offset < to` to `batch`.
pub(crate) fn read(block: &[u8], from: Offset, to: Offset, batch: &mut RecordBatch) -> Result<(), StateError> {
    let (&version, rest) = block.split_first().ok_or(StateError::Damaged("no version"))?;
    if version != BLOCK_VERSION {
        return Err(StateError::Version { found: version, reads: BLOCK_VERSION });
    }
    let (crc, rest) = rest.split_first_chunk::<4>().ok_or(StateError::Damaged("no checksum"))?;
    if crc32fast::hash(rest) != u32::from_le_bytes(*crc) {
        return Err(StateError::Damaged("checksum"));
    }
    let mut reader = ChangeReader::new(rest);
    for _ in 0..reader.varint()? {
        let (offset, timestamp_ms) = (reader.signed()?, reader.signed()?);
        let key = if reader.bool()? { Some(reader.bytes()?) } else { None };
        let value = if reader.bool()? { Some(reader.bytes()?) } else { None };
        let headers = headers(&mut reader)?;
        if (from..to).contains(&offset) {
            batch.push(Record { offset, timestamp_ms, key, value, headers: &headers });
        }
    }
    Ok(())
}

fn headers(reader: &mut ChangeReader<'_>) -> Result<Vec<Header>, StateError> {
    let n_headers = reader.varint()?;
    (0..n_headers)
        .map(|_| {
            let name = std::str::from_utf8(reader.bytes()?).map_err(|_| StateError::Damaged("a header's name"))?;
            Ok((Arc::from(name), reader.bytes()?.to_vec()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block() -> (Offset, Vec<u8>) {
        let mut writer = BlockWriter::default();
        let headers: Vec<Header> = vec![("why".into(), b"so".to_vec())];
        writer.push(4, Record { offset: 0, timestamp_ms: -1, key: None, value: Some(b""), headers: &[] });
        writer.push(9, Record { offset: 0, timestamp_ms: 7, key: Some(b"k"), value: None, headers: &headers });
        writer.finish()
    }

    #[test]
    fn a_block_gives_back_its_records() {
        let (last, bytes) = block();
        assert_eq!(last, 9);
        let mut batch = RecordBatch::default();
        read(&bytes, 0, 100, &mut batch).unwrap();
        assert_eq!(batch.len(), 2);
        assert_eq!(batch.record(0), Record { offset: 4, timestamp_ms: -1, key: None, value: Some(b""), headers: &[] });
        assert_eq!((batch.record(1).offset, batch.record(1).key, batch.record(1).headers.len()), (9, Some(&b"k"[..]), 1));
        let mut part = RecordBatch::default();
        read(&bytes, 5, 9, &mut part).unwrap();
        assert!(part.is_empty());
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let (_, bytes) = block();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&damaged, 0, 100, &mut RecordBatch::default()).is_err(), "bit {bit}");
        }
    }
}
