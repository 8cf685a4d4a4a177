//! Records of the changelog with damage behind a right checksum: read or refused, never a panic, and what is read can be written again.
//!
//! `PROPTEST_CASES=100000 cargo test -p reelflow-core --test damaged_changelog` tries more.

use proptest::prelude::*;
use reelflow_core::{
    checkpoint::EpochRecord,
    state::{ChangeReader, ChangeWriter, sections},
};

/// A change of one byte, or a byte less or more, at a place that is taken modulo the length.
type Damage = (usize, u8, u8);

fn damaged(mut bytes: Vec<u8>, damage: &[Damage]) -> Vec<u8> {
    for (at, how, byte) in damage {
        let at = at % (bytes.len() + 1);
        match how % 3 {
            0 => bytes.insert(at, *byte),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            _ if at < bytes.len() => bytes[at] = *byte,
            _ => bytes.push(*byte),
        }
    }
    bytes
}

fn any_damage() -> impl Strategy<Value = Vec<Damage>> {
    prop::collection::vec((any::<usize>(), any::<u8>(), any::<u8>()), 1..5)
}

fn record() -> EpochRecord {
    let positions = vec![("plays".into(), 2, 41), ("beats".into(), 0, -1)];
    EpochRecord { fragment: "plays".into(), epoch: 300, incarnation: 9, parent: 8, is_base: true, part: 0, n_parts: 2, positions }
}

/// A chunk with the changes of two stages, without version and checksum.
fn body() -> Vec<u8> {
    let mut writer = ChangeWriter::default();
    writer.stage("counts");
    (0..20).for_each(|key| {
        writer.body().varint(key << key);
        writer.body().signed(-(key as i64));
        writer.body().bool(key % 2 == 0);
        writer.body().bytes(b"state");
    });
    writer.stage("pairs");
    writer.body().bytes(b"xyz");
    writer.finish().remove(0).split_off(5)
}

/// `body` behind the version and its right checksum.
fn sealed(body: &[u8]) -> Vec<u8> {
    [&[1][..], &crc32fast::hash(body).to_le_bytes(), body].concat()
}

/// Reads as a stage does until something is wrong; a reader must always come to an end.
fn read_all(mut reader: ChangeReader<'_>) -> bool {
    while !reader.is_empty() {
        let change = reader.varint().and_then(|_| reader.signed()).and_then(|_| reader.bool()).and_then(|_| reader.bytes());
        if change.is_err() {
            return false;
        }
    }
    true
}

#[test]
fn without_damage_all_is_read() {
    let chunk = sealed(&body());
    let found = sections(&chunk).unwrap();
    assert_eq!(found.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["counts", "pairs"]);
    assert!(read_all(found[0].1.clone()) && !read_all(found[1].1.clone()));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_epoch_record_is_read_or_refused(damage in any_damage(), chunk: Vec<u8>) {
        let bytes = damaged(record().encode(&chunk), &damage);
        if let Ok((found, chunk)) = EpochRecord::decode(&bytes) {
            let again = found.encode(chunk);
            prop_assert_eq!(EpochRecord::decode(&again), Ok((found, chunk)));
        }
    }

    #[test]
    fn a_chunk_is_read_or_refused(damage in any_damage()) {
        let body = damaged(body(), &damage);
        let chunk = sealed(&body);
        if let Ok(found) = sections(&chunk) {
            let n_bytes: usize = found.iter().map(|(name, _)| name.len()).sum();
            prop_assert!(n_bytes <= body.len());
            found.into_iter().for_each(|(_, reader)| { read_all(reader); });
        }
    }

    #[test]
    fn noise_is_read_or_refused(noise: Vec<u8>) {
        let record = EpochRecord::decode(&noise);
        prop_assert!(record.is_err() || noise[0] == 1);
        if let Ok(found) = sections(&sealed(&noise)) {
            found.into_iter().for_each(|(_, reader)| { read_all(reader); });
        }
    }
}
