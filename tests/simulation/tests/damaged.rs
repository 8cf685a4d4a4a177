//! A record of the changelog that is not what was written is found, and named, before anything goes on from it.

use reelflow_core::{checkpoint::EpochRecord, plan::Emission, record::Outgoing};
use reelflow_ports::{
    log::{Guarantee, Log},
    simulated::at,
};
use reelflow_runtime::inspect::inspect;
use reelflow_simulation::{
    input::{self, Event},
    shape::{Kind, Shape},
    undisturbed::run,
};

/// Writes what `of` makes of the last changes to the changelog, and reads the state back. `expected` follows the record's place.
fn check(of: impl Fn(EpochRecord, Vec<u8>) -> Vec<u8>, task: &str, expected: &str) {
    let shape = Shape { kind: Kind::Tumbling, n_partitions: 1, lateness_ms: 1_000, horizon_ms: 1_000, emission: Emission::Final };
    let events: Vec<Event> = (0..50).map(|nth| input::of_profile(&shape, "plays", format!("p{nth}"), 1_000 * nth)).collect();
    let given = run(&shape, &[&events], None);
    let topic = given.plan.changelog_topic.clone();
    let records = given.log.committed_records(&topic).remove(0);
    let last = records.last().and_then(|record| record.value.as_deref()).expect("epochs were sealed");
    let (header, chunk) = EpochRecord::decode(last).expect("it is whole");
    assert!(!chunk.is_empty() && header.n_parts == 1, "the last epoch changed something");
    let (_, offset) = given.log.offsets(&at(&topic, 0)).expect("the model answers");
    let mut forged = Outgoing::new(topic);
    let next = EpochRecord { epoch: header.epoch + 1, parent: header.incarnation, ..header };
    forged.push(0, 0, Some(b"plays"), Some(&of(next, chunk.to_vec())), &[]);
    given.log.write(&forged).expect("the model takes records");
    // Without positions recovery goes by the changelog alone, to its end.
    given.log.expire_commits("reel.sim");
    let error =
        inspect(&given.log, None, &given.plan, Guarantee::ExactlyOnce).expect_err("nobody goes on from damage").to_string();
    assert_eq!(error, format!("the state of {task} cannot be recovered: reel.sim.changelog[0], offset {offset}: {expected}"));
}

#[test]
fn a_damaged_change_is_named() {
    let flipped = |header: EpochRecord, mut chunk: Vec<u8>| {
        *chunk.last_mut().expect("it is not empty") ^= 1;
        header.encode(&chunk)
    };
    check(flipped, "task \"plays\" [0]", "state bytes are damaged: checksum");
    let of_a_later_build = |header: EpochRecord, mut chunk: Vec<u8>| {
        chunk[0] = 9;
        header.encode(&chunk)
    };
    check(of_a_later_build, "task \"plays\" [0]", "state of format version 9, this build reads version 1");
    let cut = |header: EpochRecord, chunk: Vec<u8>| {
        let mut record = header.encode(&chunk);
        record.truncate(record.len() - 1);
        record
    };
    check(cut, "reel.sim.changelog", "state bytes are damaged: end of bytes");
}
