//! A record of the changelog: header and chunk. What is read can be written again, and a reader of its sections comes to an end.

use reelflow_core::{
    checkpoint::EpochRecord,
    state::{ChangeReader, sections},
};

/// The record is read as it is; and the bytes also as the body of a chunk whose checksum is right.
pub fn run(bytes: &[u8]) -> bool {
    if let Ok(found) = sections(&crate::sealed(1, bytes)) {
        assert!(found.iter().map(|(name, _)| name.len()).sum::<usize>() <= bytes.len());
        found.into_iter().for_each(|(_, reader)| read_all(reader));
    }
    let Ok((record, chunk)) = EpochRecord::decode(bytes) else { return false };
    let again = record.encode(chunk);
    assert_eq!(EpochRecord::decode(&again), Ok((record, chunk)));
    drop(sections(chunk));
    true
}

/// Reads as a stage does until something is wrong.
fn read_all(mut reader: ChangeReader<'_>) {
    while !reader.is_empty() {
        let change = reader.varint().and_then(|_| reader.signed()).and_then(|_| reader.bool()).and_then(|_| reader.bytes());
        if change.is_err() {
            return;
        }
    }
}
