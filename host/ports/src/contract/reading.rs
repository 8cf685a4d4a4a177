use std::sync::Arc;

use reelflow_core::record::{Header, Outgoing};

use super::{Bench, at, records, text};
use crate::log::{Polled, Session};

pub(super) fn everything_is_kept(bench: &Bench<'_>) {
    let topic = bench.topic("plays", 2);
    let headers: Vec<Header> = vec![(Arc::from("why"), b"because".to_vec()), (Arc::from("empty"), Vec::new())];
    let mut outgoing = Outgoing::new(topic.clone());
    outgoing.push(1, 1_700_000_000_001, Some(b"k"), Some(b"value"), &headers);
    outgoing.push(0, 1_700_000_000_002, None, Some(b"no key"), &[]);
    outgoing.push(1, 1_700_000_000_003, Some(b"k"), None, &[]);
    outgoing.push(1, 1_700_000_000_004, Some(b"k"), Some(b""), &[]);
    outgoing.push(1, 1_700_000_000_005, Some(&[0xff, 0]), Some(&[0, 0xfe]), &[]);
    bench.log.write(&outgoing).expect("records are written");

    let mut session = bench.join_and_start("m", std::slice::from_ref(&topic));
    let mut seen = Vec::new();
    while seen.len() < 5 {
        let fetched = bench.until(&mut *session, "records", |polled| match polled {
            Polled::Fetched(fetched) => Some(fetched),
            _ => None,
        });
        for one in fetched {
            for record in one.batch.iter() {
                let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
                seen.push((
                    one.at.partition,
                    record.offset,
                    record.timestamp_ms,
                    owned(record.key),
                    owned(record.value),
                    record.headers.to_vec(),
                ));
            }
        }
    }
    seen.sort_by_key(|(partition, offset, ..)| (*partition, *offset));
    let key = Some(b"k".to_vec());
    let expected = vec![
        (0, 0, 1_700_000_000_002, None, Some(b"no key".to_vec()), vec![]),
        (1, 0, 1_700_000_000_001, key.clone(), Some(b"value".to_vec()), headers),
        (1, 1, 1_700_000_000_003, key.clone(), None, vec![]),
        (1, 2, 1_700_000_000_004, key, Some(Vec::new()), vec![]),
        (1, 3, 1_700_000_000_005, Some(vec![0xff, 0]), Some(vec![0, 0xfe]), vec![]),
    ];
    assert_eq!(seen, expected);
}

pub(super) fn resumes(bench: &Bench<'_>) {
    let topic = bench.topic("plays", 1);
    let values: Vec<String> = (0..1_000).map(|n| format!("value {n}")).collect();
    bench.write(&topic, 0, &values.iter().map(String::as_str).collect::<Vec<_>>());
    let mut session = bench.join("m", std::slice::from_ref(&topic));
    assert_eq!(bench.assigned(&mut *session), [at(&topic, 0)]);
    session.start(&[(at(&topic, 0), 700)]).expect("reading starts at a position");
    let rows = bench.read(&mut *session, 300);
    for ((_, (offset, _, value)), expected) in rows.into_iter().zip(700..) {
        assert_eq!((offset, text(value)), (expected, format!("value {expected}")));
    }
    bench.write(&topic, 0, &["fresh"]);
    let rows = bench.read(&mut *session, 1);
    assert_eq!(rows[0].1.0, 1_000, "what is written later comes later");
}

/// The position reaches the end even where the end of a transaction takes the last offset.
pub(super) fn end_is_reported(bench: &Bench<'_>) {
    let topic = bench.topic("plays", 1);
    let mut writer = bench.join("writer", &[bench.topic("nothing", 1)]);
    let assigned = bench.assigned(&mut *writer);
    bench.start(&mut *writer, &assigned);
    writer.append(&records(&topic, 0, &["a", "b"])).expect("records are appended");
    writer.drain().expect("records are acknowledged");
    writer.commit().expect("a transaction commits");
    writer.leave().expect("a member leaves");

    let mut spec = bench.spec("reader", std::slice::from_ref(&topic), crate::log::Guarantee::ExactlyOnce);
    spec.group = format!("{}.readers", bench.name).into();
    let mut session = bench.log.join(&spec).expect("a member joins");
    let assigned = bench.assigned(&mut *session);
    bench.start(&mut *session, &assigned);
    let mut n_records = 0;
    let next = bench.until(&mut *session, "the end of the partition", |polled| match polled {
        Polled::Fetched(fetched) => {
            n_records += fetched.iter().map(|one| one.batch.len()).sum::<usize>();
            fetched.iter().find(|one| one.at_end).map(|one| one.next)
        }
        _ => None,
    });
    let (_, end) = bench.log.offsets(&at(&topic, 0)).expect("it has offsets");
    assert_eq!((n_records, next), (2, end));
}

pub(super) fn paused(bench: &Bench<'_>) {
    let topic = bench.topic("plays", 2);
    let mut session = bench.join_and_start("m", std::slice::from_ref(&topic));
    session.pause(&at(&topic, 0), true).expect("a partition is paused");
    bench.write(&topic, 0, &["paused"]);
    bench.write(&topic, 1, &["not paused"]);
    let rows = bench.read(&mut *session, 1);
    assert_eq!(rows[0].0, at(&topic, 1));
    for _ in 0..3 {
        if let Polled::Fetched(fetched) = session.poll(bench.differences.wait).expect("the member polls while paused") {
            assert!(fetched.iter().all(|one| one.at != at(&topic, 0)), "{fetched:?}");
        }
    }
    session.pause(&at(&topic, 0), false).expect("a partition is resumed");
    assert_eq!(bench.read(&mut *session, 1)[0].0, at(&topic, 0));
}

/// A client may have gone past the end when it told it.
pub(super) fn paused_at_its_end(bench: &Bench<'_>) {
    let topic = bench.topic("plays", 1);
    let mut session = bench.join_and_start("m", std::slice::from_ref(&topic));
    for round in 0..5 {
        let values = ["a", "b"].map(|value| format!("{value}{round}"));
        bench.write(&topic, 0, &values.each_ref().map(String::as_str));
        let rows = bench.read(&mut *session, 2);
        let read: Vec<String> = rows.into_iter().map(|(_, (_, _, value))| text(value)).collect();
        assert_eq!(read, values, "round {round}");
        // Until its end is told, and for a moment longer.
        for _ in 0..3 {
            session.poll(bench.differences.wait).expect("nothing is wrong at the end");
        }
        session.pause(&at(&topic, 0), true).expect("a partition is paused");
        session.pause(&at(&topic, 0), false).expect("a partition is resumed");
        if round % 2 == 0 {
            session.poll(bench.differences.wait).expect("nothing is wrong at the end");
        }
    }
}

/// After an abort a member reads again what it has read already, without leaving its group; a pause is forgotten.
pub(super) fn started_again(bench: &Bench<'_>) {
    let topic = bench.topic("plays", 2);
    let mut session = bench.join_and_start("m", std::slice::from_ref(&topic));
    bench.write(&topic, 0, &["a", "b", "c"]);
    bench.write(&topic, 1, &["x"]);
    let read = |session: &mut dyn Session, n_rows| {
        let mut values: Vec<String> = bench.read(session, n_rows).into_iter().map(|(_, (_, _, value))| text(value)).collect();
        values.sort();
        values
    };
    assert_eq!(read(&mut *session, 4), ["a", "b", "c", "x"]);
    for _ in 0..3 {
        session.append(&records(&topic, 0, &["never seen"])).expect("a record is sent");
        session.pause(&at(&topic, 0), true).expect("a partition is paused");
        session.abort().expect("the epoch is dropped");
        session.start(&[(at(&topic, 0), 1), (at(&topic, 1), 0)]).expect("reading starts again");
        assert_eq!(read(&mut *session, 3), ["b", "c", "x"]);
    }
}
