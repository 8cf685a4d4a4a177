//! A base as bytes of a store: see [`reelflow_core::checkpoint::stored`] for the form.

use std::io::{BufReader, Read, Write};

use reelflow_core::{checkpoint::stored::BaseHeader, state::StateError};

/// Compresses about half a GB in a second, and what it leaves is a little longer than that of higher levels.
const LEVEL: i32 = 1;
const NOT_WRITTEN: StateError = StateError::Damaged("a base that is not compressed");

/// The object of `chunks`, the whole state of a task. `header.n_bytes` is set here. Memory is given back chunk by chunk.
pub(super) fn encode(header: BaseHeader, chunks: Vec<Vec<u8>>) -> Vec<u8> {
    let n_bytes = chunks.iter().map(|chunk| LEN_BYTES + chunk.len()).sum::<usize>() as u64;
    let object = BaseHeader { n_bytes, ..header }.encode();
    let mut to = zstd::stream::Encoder::new(object, LEVEL).expect("the level is one of zstd's");
    for chunk in chunks {
        let len = u32::try_from(chunk.len()).expect("chunks are short").to_le_bytes();
        to.write_all(&len).and_then(|()| to.write_all(&chunk)).expect("memory takes bytes");
    }
    to.finish().expect("memory takes bytes")
}

const LEN_BYTES: usize = 4;

/// Gives the chunks of `object`, which was found to be what was written, one by one.
pub(crate) fn each_chunk(object: &[u8], mut each: impl FnMut(&[u8]) -> Result<(), StateError>) -> Result<(), StateError> {
    let (header, payload) = BaseHeader::decode(object)?;
    let decoder = zstd::stream::Decoder::new(payload).map_err(|_| NOT_WRITTEN)?;
    let mut from = BufReader::new(decoder.take(header.n_bytes));
    let mut left = header.n_bytes;
    let mut chunk = Vec::new();
    while left > 0 {
        let mut len = [0; LEN_BYTES];
        from.read_exact(&mut len).map_err(|_| NOT_WRITTEN)?;
        let len = u32::from_le_bytes(len);
        left = left.checked_sub(u64::from(len) + LEN_BYTES as u64).ok_or(NOT_WRITTEN)?;
        chunk.resize(len as usize, 0);
        from.read_exact(&mut chunk).map_err(|_| NOT_WRITTEN)?;
        each(&chunk)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> BaseHeader {
        BaseHeader { pipeline: "p".into(), fragment: "f".into(), partition: 1, epoch: 2, incarnation: 3, n_bytes: 0 }
    }

    fn chunks_of(object: &[u8]) -> Result<Vec<Vec<u8>>, StateError> {
        let mut chunks = Vec::new();
        each_chunk(object, |chunk| {
            chunks.push(chunk.to_vec());
            Ok(())
        })?;
        Ok(chunks)
    }

    #[test]
    fn chunks_come_back_and_a_cut_is_noticed() {
        for chunks in [vec![], vec![Vec::new()], vec![b"one".to_vec(), vec![7; 300_000], Vec::new()]] {
            let object = encode(header(), chunks.clone());
            assert_eq!(chunks_of(&object), Ok(chunks.clone()));
            let (header, _) = BaseHeader::decode(&object).unwrap();
            assert_eq!(header.n_bytes as usize, chunks.iter().map(|chunk| LEN_BYTES + chunk.len()).sum::<usize>());
        }
        let object = encode(header(), vec![vec![7; 300_000]]);
        assert!(object.len() < 1_000, "it is compressed");
        assert!(chunks_of(&object[..object.len() - 5]).is_err());
    }

    /// The stored form: objects outlive a build, so the bytes of each version must be read for ever (I-10).
    #[test]
    fn the_bytes_of_every_version() {
        let version_1 = b"reelbase\x01\x01p\x01f\x01\x02\x03\x0e\x28\xb5\x2f\xfd\x20\x0e\x71\0\0\x03\0\0\0one\x03\0\0\0two";
        assert_eq!(chunks_of(version_1), Ok(vec![b"one".to_vec(), b"two".to_vec()]));
    }
}
