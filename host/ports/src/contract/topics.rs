use super::{Bench, at};
use crate::log::{LogError, NewTopic, Retention};

pub(super) fn created_and_described(bench: &Bench<'_>) {
    let topic = bench.topic("plays", 3);
    assert_eq!(bench.log.n_partitions(&topic).expect("a topic is described"), Some(3));
    assert_eq!(bench.log.n_partitions("no.such.topic").expect("the answer is no, not an error"), None);
    let same = NewTopic { name: topic.clone(), n_partitions: 3, retention: Retention::UntilTrimmed };
    bench.log.create_topic(&same).expect("creating it again is fine");
    let other = NewTopic { n_partitions: 4, ..same };
    match bench.log.create_topic(&other) {
        Err(LogError::PartitionCount { found: 3, wanted: 4, .. }) => {}
        other => panic!("expected a wrong partition count, got {other:?}"),
    }
    let all = bench.log.topics().expect("topics are listed");
    assert!(all.contains(&(topic.clone(), 3)), "{all:?}");
    assert!(all.is_sorted(), "topics come by name: {all:?}");
    let identity = bench.log.identity().expect("a log knows which one it is");
    assert!(!identity.is_empty() && Ok(identity) == bench.log.identity(), "it is the same one");
    assert_eq!(bench.log.offsets(&at(&topic, 2)).expect("an empty partition has offsets"), (0, 0));
}

pub(super) fn scan_bounds(bench: &Bench<'_>) {
    let topic = bench.topic("plays", 1);
    bench.write(&topic, 0, &["a", "b", "c", "d"]);
    let here = at(&topic, 0);
    let mut seen = Vec::new();
    let part = bench.log.scan(&here, 1, 3, &mut |record| {
        seen.push(record.offset);
        true
    });
    part.expect("a part is scanned");
    assert_eq!(seen, [1, 2]);
    seen.clear();
    let stopped = bench.log.scan(&here, 0, 4, &mut |record| {
        seen.push(record.offset);
        seen.len() < 2
    });
    stopped.expect("a scan may be stopped");
    assert_eq!(seen, [0, 1], "nothing comes after the reader said stop");
    bench.log.scan(&here, 4, 4, &mut |_| panic!("an empty range holds nothing")).expect("an empty range at the end is fine");
    match bench.log.scan(&here, 2, 5, &mut |_| true) {
        Err(LogError::OffsetLost { end: 4, .. }) => {}
        other => panic!("expected the loss of what is past the end, got {other:?}"),
    }
}

pub(super) fn trimmed(bench: &Bench<'_>) {
    let topic = bench.topic("plays", 1);
    bench.write(&topic, 0, &["a", "b", "c", "d"]);
    let here = at(&topic, 0);
    bench.log.trim(&here, 2).expect("trimming may be ignored, not refused");
    if !bench.differences.trims {
        return;
    }
    assert_eq!(bench.log.offsets(&here).expect("it has offsets"), (2, 4));
    assert_eq!(bench.committed_values(&topic, 0), ["c", "d"]);
    match bench.log.scan(&here, 1, 4, &mut |_| true) {
        Err(LogError::OffsetLost { wanted: 1, earliest: 2, .. }) => {}
        other => panic!("expected the loss of a trimmed record, got {other:?}"),
    }
    let mut session = bench.join("m", std::slice::from_ref(&topic));
    assert_eq!(bench.assigned(&mut *session), std::slice::from_ref(&here));
    let lost = session
        .start(&[(here, 1)])
        .and_then(|()| (0..bench.differences.idle_polls_max).try_for_each(|_| session.poll(bench.differences.wait).map(drop)));
    assert!(matches!(lost, Err(LogError::OffsetLost { .. })), "reading a trimmed position is an error, not a reset: {lost:?}");
}
