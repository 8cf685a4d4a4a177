use std::sync::Arc;

use reelflow_core::record::Outgoing;

use super::{Bench, assert_session_over, at, records};
use crate::log::{Appended, Commit, Guarantee, LogError, Session, TopicPartition};

struct Topics {
    input: Arc<str>,
    output: Arc<str>,
    changes: Arc<str>,
}

fn topics(bench: &Bench<'_>) -> Topics {
    Topics { input: bench.topic("input", 1), output: bench.topic("output", 2), changes: bench.topic("changes", 2) }
}

fn commit(at: TopicPartition, next: i64, metadata: &str) -> Commit {
    Commit { at, next, metadata: metadata.to_owned() }
}

/// One whole transaction: an output, positions.
fn one_epoch(session: &mut dyn Session, topics: &Topics, value: &str, next: i64, metadata: &str) {
    session.append(&records(&topics.output, 0, &[value])).expect("an output is appended");
    session.append_deltas(&records(&topics.changes, 0, &[value])).expect("a change is appended");
    assert_eq!(session.drain().expect("records are acknowledged").len(), 1);
    session.add_offsets(&[commit(at(&topics.input, 0), next, metadata)]).expect("positions are added");
    session.commit().expect("a transaction commits");
}

pub(super) fn atomic(bench: &Bench<'_>) {
    let topics = topics(bench);
    bench.write(&topics.input, 0, &["a", "b", "c"]);
    let mut session = bench.join_and_start("m", std::slice::from_ref(&topics.input));
    bench.read(&mut *session, 3);
    let metadata = "m".repeat(600);
    for epoch in 0..2 {
        session.append(&records(&topics.output, 0, &["x", "y"])).expect("outputs are appended");
        session.append(&records(&topics.output, 1, &["z"])).expect("outputs are appended");
        let mut deltas = Outgoing::new(topics.changes.clone());
        for (n, partition) in [0, 1, 0, 0].into_iter().enumerate() {
            deltas.push(partition, 0, None, Some(format!("change {epoch} {n}").as_bytes()), &[]);
        }
        session.append_deltas(&deltas).expect("changes are appended");
        let appended = session.drain().expect("records are acknowledged");
        assert_eq!(bench.committed(&topics.output, 0).len(), 2 * epoch, "nothing is visible before the commit");
        session.add_offsets(&[commit(at(&topics.input, 0), epoch as i64 + 2, &metadata)]).expect("positions are added");
        session.commit().expect("a transaction commits");

        let found: Vec<String> = appended.iter().map(|one| value_at(bench, &topics.changes, one)).collect();
        let expected: Vec<String> = (0..4).map(|n| format!("change {epoch} {n}")).collect();
        assert_eq!(found, expected, "the offsets of the changes come in the order of appending: {appended:?}");
        assert_eq!(bench.committed(&topics.output, 0).len(), 2 * (epoch + 1));
        assert_eq!(bench.committed(&topics.output, 1).len(), epoch + 1);
        let positions = bench.positions(std::slice::from_ref(&topics.input));
        assert_eq!(positions, [commit(at(&topics.input, 0), epoch as i64 + 2, &metadata)]);
    }
}

fn value_at(bench: &Bench<'_>, topic: &Arc<str>, appended: &Appended) -> String {
    let rows = bench.committed(topic, appended.partition);
    let row = rows.iter().find(|(offset, ..)| *offset == appended.offset).expect("a change is where its acknowledgement said");
    super::text(row.2.clone())
}

pub(super) fn aborted(bench: &Bench<'_>) {
    let topics = topics(bench);
    bench.write(&topics.input, 0, &["a", "b", "c"]);
    let mut session = bench.join_and_start("m", std::slice::from_ref(&topics.input));
    one_epoch(&mut *session, &topics, "first", 1, "first");
    session.append(&records(&topics.output, 0, &["gone"])).expect("an output is appended");
    session.append_deltas(&records(&topics.changes, 0, &["gone"])).expect("a change is appended");
    session.drain().expect("records are acknowledged");
    session.add_offsets(&[commit(at(&topics.input, 0), 3, "gone")]).expect("positions are added");
    session.abort().expect("a transaction is aborted");
    assert_eq!(bench.committed_values(&topics.output, 0), ["first"]);
    assert_eq!(bench.positions(std::slice::from_ref(&topics.input)), [commit(at(&topics.input, 0), 1, "first")]);
    session.abort().expect("aborting nothing is fine");
    one_epoch(&mut *session, &topics, "second", 2, "second");
    assert_eq!(bench.committed_values(&topics.output, 0), ["first", "second"], "the session goes on after an abort");
    assert_eq!(bench.positions(std::slice::from_ref(&topics.input)), [commit(at(&topics.input, 0), 2, "second")]);
}

pub(super) fn positions_alone(bench: &Bench<'_>) {
    let topics = topics(bench);
    bench.write(&topics.input, 0, &["a"]);
    let mut session = bench.join_and_start("m", std::slice::from_ref(&topics.input));
    session.drain().expect("draining nothing is fine");
    session.add_offsets(&[commit(at(&topics.input, 0), 1, "alone")]).expect("positions are added");
    session.commit().expect("a transaction of positions alone commits");
    assert_eq!(bench.positions(std::slice::from_ref(&topics.input)), [commit(at(&topics.input, 0), 1, "alone")]);
}

pub(super) fn too_large(bench: &Bench<'_>) {
    let topics = topics(bench);
    let mut session = bench.join_and_start("m", std::slice::from_ref(&topics.input));
    let large = "x".repeat(bench.differences.too_large_bytes);
    let refused = session.append(&records(&topics.output, 0, &[&large])).and_then(|()| session.drain().map(drop));
    assert!(matches!(refused, Err(LogError::RecordTooLarge { .. })), "{refused:?}");
    session.abort().expect("the session outlives its reader's mistake");
    one_epoch(&mut *session, &topics, "small", 0, "small");
    assert_eq!(bench.committed_values(&topics.output, 0), ["small"]);
}

pub(super) fn at_least_once(bench: &Bench<'_>) {
    let topics = topics(bench);
    bench.write(&topics.input, 0, &["a"]);
    let spec = bench.spec("m", std::slice::from_ref(&topics.input), Guarantee::AtLeastOnce);
    let mut session = bench.log.join(&spec).expect("a member joins");
    let assigned = bench.assigned(&mut *session);
    bench.start(&mut *session, &assigned);
    session.append(&records(&topics.output, 0, &["early"])).expect("an output is appended");
    session.append_deltas(&records(&topics.changes, 1, &["change"])).expect("a change is appended");
    let appended = session.drain().expect("records are acknowledged");
    assert_eq!(appended, [Appended { partition: 1, offset: 0 }]);
    assert_eq!(bench.committed_values(&topics.output, 0), ["early"], "what is acknowledged is visible");
    session.add_offsets(&[commit(at(&topics.input, 0), 1, "one")]).expect("positions are added");
    assert_eq!(bench.positions(std::slice::from_ref(&topics.input)), [], "positions wait for the commit");
    session.commit().expect("positions are committed");
    assert_eq!(bench.positions(std::slice::from_ref(&topics.input)), [commit(at(&topics.input, 0), 1, "one")]);
}

pub(super) fn zombie(bench: &Bench<'_>) {
    let topics = topics(bench);
    bench.write(&topics.input, 0, &["a", "b"]);
    let mut zombie = bench.join_and_start("m", std::slice::from_ref(&topics.input));
    zombie.append(&records(&topics.output, 0, &["of the zombie"])).expect("an output is appended");
    zombie.append_deltas(&records(&topics.changes, 0, &["of the zombie"])).expect("a change is appended");
    zombie.drain().expect("records are acknowledged");
    let mut session = bench.join_and_start("m", std::slice::from_ref(&topics.input));
    let sealed = zombie.add_offsets(&[commit(at(&topics.input, 0), 2, "of the zombie")]).and_then(|()| zombie.commit());
    assert_session_over(sealed, "the commit of a zombie");
    drop(zombie);
    one_epoch(&mut *session, &topics, "of the living", 1, "of the living");
    assert_eq!(bench.committed_values(&topics.output, 0), ["of the living"]);
    assert_eq!(bench.committed_values(&topics.changes, 0), ["of the living"]);
    assert_eq!(bench.positions(std::slice::from_ref(&topics.input)), [commit(at(&topics.input, 0), 1, "of the living")]);
}

pub(super) fn dropped(bench: &Bench<'_>) {
    let topics = topics(bench);
    bench.write(&topics.input, 0, &["a", "b"]);
    let mut first = bench.join_and_start("m", std::slice::from_ref(&topics.input));
    one_epoch(&mut *first, &topics, "kept", 1, "kept");
    first.append(&records(&topics.output, 0, &["gone"])).expect("an output is appended");
    first.drain().expect("records are acknowledged");
    first.add_offsets(&[commit(at(&topics.input, 0), 2, "gone")]).expect("positions are added");
    drop(first);
    let mut second = bench.join_and_start("m", std::slice::from_ref(&topics.input));
    assert_eq!(bench.positions(std::slice::from_ref(&topics.input)), [commit(at(&topics.input, 0), 1, "kept")]);
    one_epoch(&mut *second, &topics, "again", 2, "again");
    assert_eq!(bench.committed_values(&topics.output, 0), ["kept", "again"]);
}
