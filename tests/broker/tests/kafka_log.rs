//! The Kafka log against a real broker: what the exactly-once claim rests on.

mod common;

use std::{
    sync::{Arc, Barrier},
    thread,
    time::Duration,
};

use common::{Life, log_on, poll_until, spec, text, topic};
use reelflow_broker_tests::{Broker, unique};
use reelflow_core::record::{Outgoing, Record};
use reelflow_kafka::{KafkaConfig, KafkaLog};
use reelflow_ports::log::{Commit, Guarantee, Log, LogError, NewTopic, Polled, Retention, Session, TopicPartition};

fn outgoing(topic: &Arc<str>, partition: u32, values: &[&str]) -> Outgoing {
    let mut records = Outgoing::new(topic.clone());
    for value in values {
        records.push(partition, 1, None, Some(value.as_bytes()), &[]);
    }
    records
}

#[test]
fn offsets_and_metadata_commit_with_the_records_and_an_abort_leaves_the_old_ones() {
    let log = log_on(Broker::shared());
    let (input, output) = (topic(&log, "in", 1), topic(&log, "out", 1));
    let at = TopicPartition { topic: input.clone(), partition: 0 };
    let out = TopicPartition { topic: output.clone(), partition: 0 };
    let spec = spec(&unique("group"), "m0", &[&input], Guarantee::ExactlyOnce);
    let metadata = "x".repeat(534);

    let mut life = Life::start(&log, &spec);
    life.session.append(&outgoing(&output, 0, &["a"])).unwrap();
    let deltas = life.session.append_deltas(&outgoing(&output, 0, &["b", "c"]));
    deltas.unwrap();
    let offsets: Vec<i64> = life.session.drain().unwrap().iter().map(|delta| delta.offset).collect();
    assert_eq!(offsets, [1, 2]);
    life.session.add_offsets(&[Commit { at: at.clone(), next: 0, metadata: metadata.clone() }]).unwrap();
    life.session.commit().unwrap();
    assert_eq!(
        log.committed(&spec.group, std::slice::from_ref(&input)).unwrap(),
        [Commit { at: at.clone(), next: 0, metadata: metadata.clone() }]
    );

    life.session.append(&outgoing(&output, 0, &["lost"])).unwrap();
    life.session.drain().unwrap();
    life.session.add_offsets(&[Commit { at: at.clone(), next: 0, metadata: "newer".to_owned() }]).unwrap();
    life.session.abort().unwrap();
    assert_eq!(log.committed(&spec.group, std::slice::from_ref(&input)).unwrap(), [Commit { at, next: 0, metadata }]);

    // The session goes on after an abort.
    life.session.append(&outgoing(&output, 0, &["d"])).unwrap();
    life.session.drain().unwrap();
    life.session.commit().unwrap();
    assert_eq!(text(&log, &out), ["a", "b", "c", "d"]);
}

#[test]
fn a_new_life_fences_the_old_one_whose_records_stay_hidden() {
    let log = log_on(Broker::shared());
    let (input, output) = (topic(&log, "in", 2), topic(&log, "out", 1));
    let at = TopicPartition { topic: input.clone(), partition: 0 };
    let out = TopicPartition { topic: output.clone(), partition: 0 };
    let spec = spec(&unique("group"), "m0", &[&input], Guarantee::ExactlyOnce);

    let mut zombie = Life::start(&log, &spec);
    zombie.session.append(&outgoing(&output, 0, &["zombie"])).unwrap();
    zombie.session.drain().unwrap();
    zombie.session.add_offsets(&[Commit { at: at.clone(), next: 0, metadata: "zombie".to_owned() }]).unwrap();

    let mut heir = Life::start(&log, &spec);
    assert!(matches!(zombie.session.commit(), Err(LogError::Fenced(_) | LogError::InDoubt(_))));
    heir.session.append(&outgoing(&output, 0, &["heir"])).unwrap();
    heir.session.drain().unwrap();
    heir.session.add_offsets(&[Commit { at: at.clone(), next: 0, metadata: "heir".to_owned() }]).unwrap();
    heir.session.commit().unwrap();
    assert_eq!(text(&log, &out), ["heir"]);
    let committed = log.committed(&spec.group, std::slice::from_ref(&input)).unwrap();
    assert_eq!(committed, [Commit { at, next: 0, metadata: "heir".to_owned() }]);

    // And the zombie's next poll, or one soon after, says that it was replaced.
    let ended = poll_until(&mut *zombie.session, |polled| polled.as_ref().err().cloned());
    assert!(matches!(ended, LogError::Fenced(_)), "{ended}");
}

#[test]
fn committed_offsets_wait_for_the_transaction_that_would_change_them() {
    let log = log_on(Broker::shared());
    let impatient = KafkaConfig { wait_max: Duration::from_secs(1), ..KafkaConfig::new(Broker::shared().bootstrap()) };
    let impatient = KafkaLog::new(impatient).unwrap();
    let input = topic(&log, "in", 1);
    let at = TopicPartition { topic: input.clone(), partition: 0 };
    let spec = spec(&unique("group"), "m0", &[&input], Guarantee::ExactlyOnce);
    let mut life = Life::start(&log, &spec);
    let commit = Commit { at, next: 9, metadata: "open".to_owned() };
    life.session.add_offsets(std::slice::from_ref(&commit)).unwrap();
    let asked = impatient.committed(&spec.group, std::slice::from_ref(&input));
    assert!(matches!(asked, Err(LogError::Unavailable(_))), "{asked:?}");
    life.session.commit().unwrap();
    assert_eq!(impatient.committed(&spec.group, std::slice::from_ref(&input)).unwrap(), [commit]);
}

#[test]
fn a_member_without_partitions_cannot_commit_offsets_of_the_new_owner() {
    let log = log_on(Broker::shared());
    let input = topic(&log, "in", 1);
    let at = TopicPartition { topic: input.clone(), partition: 0 };
    let group = unique("group");
    let first = Life::start(&log, &spec(&group, "m0", &[&input], Guarantee::ExactlyOnce));
    let second = spec(&group, "m1", &[&input], Guarantee::ExactlyOnce);
    let mut second = log.join(&second).unwrap();
    // The first one hears of it, and gives up without sealing: its later commit is of an old generation.
    let mut late = revoked_by(first, &mut *second);
    let refused = late.session.add_offsets(&[Commit { at, next: 0, metadata: String::new() }]);
    assert!(matches!(refused, Err(LogError::Fenced(_))), "{refused:?}");
}

#[test]
fn an_end_is_seen_past_markers_and_aborted_records() {
    let log = log_on(Broker::shared());
    let input = topic(&log, "in", 1);
    let at = TopicPartition { topic: input.clone(), partition: 0 };
    let writer_spec = spec(&unique("group"), "w", &[&topic(&log, "other", 1)], Guarantee::ExactlyOnce);
    let mut writer = log.join(&writer_spec).unwrap();
    writer.append(&outgoing(&input, 0, &["a", "b"])).unwrap();
    writer.drain().unwrap();
    writer.commit().unwrap(); // offsets 0, 1 and a marker
    writer.append(&outgoing(&input, 0, &["gone"])).unwrap();
    writer.drain().unwrap();
    writer.abort().unwrap(); // offset 3 and a marker
    assert_eq!(log.offsets(&at).unwrap(), (0, 5));
    assert_eq!(text(&log, &at), ["a", "b"]);

    let mut life = Life::start(&log, &spec(&unique("group"), "m0", &[&input], Guarantee::ExactlyOnce));
    let (records, next) = read_to_end(&mut life);
    assert_eq!((records, next), (vec!["a".to_owned(), "b".to_owned()], 5));

    // An open transaction holds the end back.
    writer.append(&outgoing(&input, 0, &["open"])).unwrap();
    writer.drain().unwrap();
    assert_eq!(log.offsets(&at).unwrap(), (0, 5));
    writer.commit().unwrap();
    assert_eq!(read_to_end(&mut life), (vec!["open".to_owned()], 7));
}

#[test]
fn a_scan_gives_its_range_and_refuses_what_is_not_there() {
    let log = log_on(Broker::shared());
    let input = topic(&log, "in", 3);
    let at = TopicPartition { topic: input.clone(), partition: 2 };
    let mut records = Outgoing::new(input.clone());
    records.push(2, 7, Some(b"k"), None, &[("why".into(), b"because".to_vec()), ("".into(), Vec::new())]);
    for number in 1..5_000 {
        records.push(2, 1_700_000_000_000 + number, None, Some(number.to_string().as_bytes()), &[]);
    }
    log.write(&records).unwrap();

    let scanned = |from, to| {
        let mut found = Vec::new();
        log.scan(&at, from, to, &mut |record| {
            found.push((record.offset, record.timestamp_ms, record.value.map(<[u8]>::to_vec), record.headers.to_vec()));
            true
        })
        .map(|()| found)
    };
    let all = scanned(0, 5_000).unwrap();
    assert_eq!(all.len(), 4_999 + 1);
    assert_eq!(all[0], (0, 7, None, vec![("why".into(), b"because".to_vec()), ("".into(), Vec::new())]));
    assert_eq!(all[4_321], (4_321, 1_700_000_004_321, Some(b"4321".to_vec()), Vec::new()));
    assert_eq!(scanned(10, 20).unwrap(), all[10..20]);
    assert_eq!(scanned(4_999, 5_000).unwrap(), all[4_999..]);
    assert_eq!(scanned(5_000, 5_000).unwrap(), []);
    let lost = |wanted, earliest| LogError::OffsetLost { at: at.clone(), wanted, earliest, end: 5_000 };
    assert_eq!(scanned(10, 5_001), Err(lost(5_001, 0)));

    let mut n_seen = 0;
    log.scan(&at, 0, 5_000, &mut |_| {
        n_seen += 1;
        n_seen < 3
    })
    .unwrap();
    assert_eq!(n_seen, 3);

    log.trim(&at, 100).unwrap();
    assert_eq!(log.offsets(&at).unwrap(), (100, 5_000));
    assert_eq!(scanned(99, 200), Err(lost(99, 100)));
    assert_eq!(scanned(100, 200).unwrap(), all[100..200]);
}

#[test]
fn a_position_that_retention_took_is_an_error_and_not_a_jump() {
    let log = log_on(Broker::shared());
    let input = topic(&log, "in", 1);
    let at = TopicPartition { topic: input.clone(), partition: 0 };
    log.write(&outgoing(&input, 0, &["a", "b", "c"])).unwrap();
    log.trim(&at, 2).unwrap();
    for wanted in [1, 4] {
        let member = spec(&unique("group"), "m0", &[&input], Guarantee::ExactlyOnce);
        let mut life = Life::start_at(&log, &member, |_| wanted);
        let ended = poll_until(&mut *life.session, |polled| polled.as_ref().err().cloned());
        assert_eq!(ended, LogError::OffsetLost { at: at.clone(), wanted, earliest: 2, end: 3 });
    }
}

#[test]
fn topics_are_found_created_and_checked() {
    let log = log_on(Broker::shared());
    let name: Arc<str> = unique("created").into();
    let missing: Arc<str> = unique("missing").into();
    let wanted = NewTopic { name: name.clone(), n_partitions: 3, retention: Retention::UntilTrimmed };
    assert_eq!(log.n_partitions(&name).unwrap(), None);
    log.create_topic(&wanted).unwrap();
    log.create_topic(&wanted).unwrap();
    assert_eq!(log.n_partitions(&name).unwrap(), Some(3));
    assert!(log.topics().unwrap().contains(&(name.clone(), 3)));
    assert_eq!(
        log.create_topic(&NewTopic { n_partitions: 4, ..wanted }),
        Err(LogError::PartitionCount { topic: name.clone(), found: 3, wanted: 4 })
    );
    let gone = LogError::TopicMissing(missing.clone());
    assert_eq!(log.offsets(&TopicPartition { topic: missing.clone(), partition: 0 }), Err(gone.clone()));
    assert_eq!(log.offsets(&TopicPartition { topic: name.clone(), partition: 3 }), Err(LogError::TopicMissing(name.clone())));
    let member = spec(&unique("group"), "m0", &[&name, &missing], Guarantee::ExactlyOnce);
    assert_eq!(log.join(&member).map(drop), Err(gone.clone()));
    assert_eq!(log.committed("nobody", std::slice::from_ref(&name)).unwrap(), []);
    let mut writer = log.join(&spec(&unique("group"), "m0", &[&name], Guarantee::ExactlyOnce)).unwrap();
    let written = writer.append(&outgoing(&missing, 0, &["x"])).and_then(|()| writer.drain());
    assert_eq!(written, Err(gone));
}

/// A topic's retention counts from its records' timestamps, and those of results are event times.
#[test]
fn results_about_long_ago_are_kept_from_their_arrival_on() {
    let log = log_on(Broker::shared());
    for (retention, is_replaced) in [(Retention::FromTimestamp, false), (Retention::FromArrival, true)] {
        let name: Arc<str> = unique("old").into();
        log.create_topic(&NewTopic { name: name.clone(), n_partitions: 1, retention }).unwrap();
        let mut records = Outgoing::new(name.clone());
        records.push(0, 1_000, None, Some(b"x"), &[]);
        log.write(&records).unwrap();
        let mut times = Vec::new();
        let mut note = |record: Record<'_>| {
            times.push(record.timestamp_ms);
            true
        };
        log.scan(&TopicPartition { topic: name, partition: 0 }, 0, 1, &mut note).unwrap();
        assert!(matches!(times[..], [time] if (time > 1_000) == is_replaced), "{retention:?}: {times:?}");
    }
}

#[test]
fn a_record_that_is_too_large_leaves_the_transaction_as_it_was() {
    let log = log_on(Broker::shared());
    let output = topic(&log, "out", 1);
    let out = TopicPartition { topic: output.clone(), partition: 0 };
    let mut session = log.join(&spec(&unique("group"), "m0", &[&output], Guarantee::ExactlyOnce)).unwrap();
    session.append(&outgoing(&output, 0, &["before"])).unwrap();
    let large = "x".repeat(1_000_001);
    assert_eq!(
        session.append(&outgoing(&output, 0, &["half", &large])),
        Err(LogError::RecordTooLarge { topic: output.clone(), n_bytes: 1_000_001 })
    );
    session.append(&outgoing(&output, 0, &["after"])).unwrap();
    session.drain().unwrap();
    session.commit().unwrap();
    assert_eq!(text(&log, &out), ["before", "after"]);
}

#[test]
fn without_transactions_offsets_commit_with_metadata_and_an_abort_drops_them() {
    let log = log_on(Broker::shared());
    let (input, output) = (topic(&log, "in", 1), topic(&log, "out", 1));
    let at = TopicPartition { topic: input.clone(), partition: 0 };
    let out = TopicPartition { topic: output.clone(), partition: 0 };
    let spec = spec(&unique("group"), "m0", &[&input], Guarantee::AtLeastOnce);
    let mut life = Life::start(&log, &spec);
    let commit = |next, metadata: &str| [Commit { at: at.clone(), next, metadata: metadata.to_owned() }];
    life.session.append_deltas(&outgoing(&output, 0, &["a"])).unwrap();
    assert_eq!(life.session.drain().unwrap()[0].offset, 0);
    life.session.add_offsets(&commit(3, "first")).unwrap();
    life.session.commit().unwrap();
    life.session.append_deltas(&outgoing(&output, 0, &["b"])).unwrap();
    life.session.add_offsets(&commit(4, "second")).unwrap();
    life.session.abort().unwrap();
    assert_eq!(log.committed(&spec.group, std::slice::from_ref(&input)).unwrap(), commit(3, "first"));
    life.session.append_deltas(&outgoing(&output, 0, &["c"])).unwrap();
    assert_eq!(life.session.drain().unwrap()[0].offset, 2);
    assert_eq!(text(&log, &out), ["a", "b", "c"]);

    let mut heir = Life::start(&log, &spec);
    life.session.add_offsets(&commit(5, "zombie")).unwrap();
    assert!(matches!(life.session.commit(), Err(LogError::Fenced(_))));
    heir.session.add_offsets(&commit(6, "heir")).unwrap();
    heir.session.commit().unwrap();
    assert_eq!(log.committed(&spec.group, std::slice::from_ref(&input)).unwrap(), commit(6, "heir"));
}

#[test]
fn a_paused_partition_is_silent_and_goes_on_where_it_was() {
    let log = log_on(Broker::shared());
    let input = topic(&log, "in", 2);
    let paused = TopicPartition { topic: input.clone(), partition: 0 };
    for partition in [0, 1] {
        log.write(&outgoing(&input, partition, &["a", "b", "c"])).unwrap();
    }
    let mut life = Life::start(&log, &spec(&unique("group"), "m0", &[&input], Guarantee::ExactlyOnce));
    life.session.pause(&paused, true).unwrap();
    // Partition 1 comes to its end, which takes a few round trips, and partition 0 has given nothing.
    let seen = read_until_end_of(&mut life, 1);
    assert_eq!(seen, [(1, "a".to_owned()), (1, "b".to_owned()), (1, "c".to_owned())]);
    life.session.pause(&paused, false).unwrap();
    let seen = read_until_end_of(&mut life, 0);
    assert_eq!(seen, [(0, "a".to_owned()), (0, "b".to_owned()), (0, "c".to_owned())]);
}

#[test]
fn leaving_hands_the_partitions_over_at_once() {
    let log = log_on(Broker::shared());
    let input = topic(&log, "in", 1);
    let group = unique("group");
    // A session that lasts longer than the test may: the heir cannot get its partition from a time-out.
    let mut patient = spec(&group, "m0", &[&input], Guarantee::ExactlyOnce);
    patient.session_timeout = Duration::from_secs(120);
    let life = Life::start(&log, &patient);
    life.session.leave().unwrap();
    patient.member = "m1".into();
    let heir = Life::start(&log, &patient);
    assert_eq!(heir.assigned.len(), 1);
}

/// Gives up when `other` makes the group rebalance, and waits until `other` or this one has partitions again.
fn revoked_by(mut life: Life, other: &mut dyn Session) -> Life {
    poll_until(&mut *life.session, |polled| {
        other.poll(Duration::ZERO).expect("the other session goes on");
        matches!(polled, Ok(Polled::Revoked | Polled::Lost)).then_some(())
    });
    life.session.give_up().expect("partitions are given up");
    life
}

/// Records with their partitions, up to the end of `partition`.
fn read_until_end_of(life: &mut Life, partition: u32) -> Vec<(u32, String)> {
    let mut records = Vec::new();
    poll_until(&mut *life.session, |polled| {
        let Ok(Polled::Fetched(fetched)) = polled else { return None };
        for part in fetched {
            let values = part.batch.iter().map(|record| String::from_utf8_lossy(record.value.expect("a value")).into_owned());
            records.extend(values.map(|value| (part.at.partition, value)));
        }
        fetched.iter().any(|part| part.at.partition == partition && part.at_end).then_some(())
    });
    records
}

/// All records up to the ends of all partitions, and the last partition's position.
fn read_to_end(life: &mut Life) -> (Vec<String>, i64) {
    let mut records = Vec::new();
    let next = poll_until(&mut *life.session, |polled| {
        let Ok(Polled::Fetched(fetched)) = polled else { return None };
        let mut end = None;
        for part in fetched {
            records.extend(part.batch.iter().map(|record| String::from_utf8_lossy(record.value.expect("a value")).into_owned()));
            end = part.at_end.then_some(part.next);
        }
        end
    });
    (records, next)
}

/// As processes of one pipeline do that start together: one of them creates a topic, the others are told that it exists before the
/// broker shows it.
#[test]
fn several_may_create_the_same_topics_at_once() {
    const N_CLIENTS: usize = 4;
    let logs: Vec<KafkaLog> = (0..N_CLIENTS).map(|_| log_on(Broker::shared())).collect();
    let topics: Vec<NewTopic> = (0..20)
        .map(|_| NewTopic { name: unique("together").into(), n_partitions: 4, retention: Retention::UntilTrimmed })
        .collect();
    let together = Barrier::new(N_CLIENTS);
    let create_all = |log: &KafkaLog| -> Vec<LogError> {
        let create = |topic| {
            together.wait();
            log.create_topic(topic).err()
        };
        topics.iter().filter_map(create).collect()
    };
    let failures: Vec<LogError> = thread::scope(|scope| {
        let threads: Vec<_> = logs.iter().map(|log| scope.spawn(|| create_all(log))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("creating a topic does not panic")).collect()
    });
    assert_eq!(failures, [], "each topic is there, whoever made it");
}
