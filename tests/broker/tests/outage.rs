//! What the Kafka log says when the cluster is away, dies in the middle, or refuses. Each test has a broker of its own.

mod common;

use std::time::Duration;

use common::{Life, log_on, poll_until, spec, text, topic};
use reelflow_broker_tests::{Broker, Release};
use reelflow_core::record::Outgoing;
use reelflow_kafka::{KafkaConfig, KafkaLog};
use reelflow_ports::log::{Commit, Guarantee, Log, LogError, NewTopic, Polled, Retention, TopicPartition};

/// A log that soon gives up waiting for a broker that is not there; still long for one that is there and busy.
fn impatient(bootstrap: String) -> KafkaLog {
    KafkaLog::new(KafkaConfig { wait_max: Duration::from_secs(4), ..KafkaConfig::new(bootstrap) }).unwrap()
}

#[test]
fn nobody_at_the_address_is_unavailable_and_says_where() {
    let log = impatient("127.0.0.1:1".to_owned());
    let mut records = Outgoing::new("somewhere".into());
    records.push(0, 0, None, Some(b"x"), &[]);
    let errors = [
        log.topics().map(drop),
        log.n_partitions("somewhere").map(drop),
        log.create_topic(&NewTopic { name: "somewhere".into(), n_partitions: 1, retention: Retention::FromTimestamp }),
        log.write(&records),
        log.join(&spec("group", "m0", &[&"somewhere".into()], Guarantee::ExactlyOnce)).map(drop),
    ];
    for error in errors {
        match error {
            Err(LogError::Unavailable(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    let text = log.topics().unwrap_err().to_string();
    assert!(text.contains("127.0.0.1:1") && text.contains("refused"), "{text}");
}

/// The broker dies at each of two places: the outcome of the epoch is unknown or it is lost, and in either case the log that
/// comes back holds all of it or nothing.
#[test]
fn a_broker_that_dies_in_the_middle_leaves_all_of_an_epoch_or_nothing() {
    let mut broker = Broker::start().unwrap();
    let (patient, log) = (log_on(&broker), impatient(broker.bootstrap()));
    let (input, output) = (topic(&patient, "in", 1), topic(&patient, "out", 1));
    let (at, out) =
        (TopicPartition { topic: input.clone(), partition: 0 }, TopicPartition { topic: output.clone(), partition: 0 });
    let spec = spec("group", "m0", &[&input], Guarantee::ExactlyOnce);
    let mut expected: Vec<String> = Vec::new();
    let mut epochs = ["first", "second", "third"].iter().enumerate();
    let mut seal = |life: &mut Life, dies_before: &str, broker: &mut Broker| -> Result<(), LogError> {
        let (epoch_idx, name) = epochs.next().unwrap();
        let mut records = Outgoing::new(output.clone());
        records.push(0, 1, None, Some(name.as_bytes()), &[]);
        life.session.append(&records)?;
        life.session.drain()?;
        if dies_before == "add_offsets" {
            broker.kill().unwrap();
        }
        life.session.add_offsets(&[Commit { at: at.clone(), next: epoch_idx as i64, metadata: (*name).to_owned() }])?;
        if dies_before == "commit" {
            broker.kill().unwrap();
        }
        life.session.commit()
    };
    for dies_before in ["add_offsets", "commit"] {
        let mut life = Life::start(&log, &spec);
        let error = seal(&mut life, dies_before, &mut broker).unwrap_err();
        assert!(error.ends_only_the_session(), "{error}");
        assert_eq!(matches!(error, LogError::InDoubt(_)), dies_before == "commit", "{error}");
        drop(life);
        broker.restart().unwrap();
    }
    let mut life = Life::start(&patient, &spec); // ends the transaction of the life before
    let committed = patient.committed(&spec.group, std::slice::from_ref(&input)).unwrap();
    expected.extend(committed.iter().map(|commit| commit.metadata.clone()));
    assert_eq!(text(&patient, &out), expected);
    seal(&mut life, "", &mut broker).unwrap();
    expected.push("third".to_owned());
    assert_eq!(text(&patient, &out), expected);
    let [committed] = &patient.committed(&spec.group, &[input]).unwrap()[..] else { panic!("one partition, one commit") };
    assert_eq!(committed.metadata, "third");
}

#[test]
fn a_session_survives_its_broker_or_has_an_heir_and_ends_when_no_broker_comes() {
    let mut broker = Broker::start().unwrap();
    let log = impatient(broker.bootstrap());
    let input = topic(&log_on(&broker), "in", 1);
    let write = |value: &str| {
        let mut records = Outgoing::new(input.clone());
        records.push(0, 1, None, Some(value.as_bytes()), &[]);
        write_patiently(&log, &records);
    };
    let spec = spec("group", "m0", &[&input], Guarantee::ExactlyOnce);
    let mut life = Life::start(&log, &spec);
    write("before");
    assert_eq!(first_record(&mut life), Ok("before".to_owned()));
    broker.restart().unwrap();
    write("after");
    let after = first_record(&mut life).or_else(|error| {
        // The broker may have lost its answer to the member's return, and then takes its second try for somebody else's.
        assert!(error.ends_only_the_session(), "{error}");
        life = Life::start_at(&log, &spec, |_| 1);
        first_record(&mut life)
    });
    assert_eq!(after, Ok("after".to_owned()));
    broker.kill().unwrap();
    let ended = poll_until(&mut *life.session, |polled| polled.as_ref().err().cloned());
    assert!(matches!(ended, LogError::Unavailable(_)), "{ended}");
}

fn first_record(life: &mut Life) -> Result<String, LogError> {
    poll_until(&mut *life.session, |polled| match polled {
        Ok(Polled::Fetched(fetched)) => {
            let record = fetched.iter().flat_map(|part| part.batch.iter()).next()?;
            Some(Ok(String::from_utf8_lossy(record.value?).into_owned()))
        }
        Ok(_) => None,
        Err(error) => Some(Err(error.clone())),
    })
}

/// A write outside of transactions may fail while a broker returns: then it is unavailable, and worth another try.
fn write_patiently(log: &KafkaLog, records: &Outgoing) {
    loop {
        match log.write(records) {
            Ok(()) => return,
            Err(LogError::Unavailable(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn bad_credentials_are_refused_and_never_printed() {
    let broker = Broker::start_with_login("reel", "the-right-one").unwrap();
    let with_password = |password: &str| {
        let mut config = KafkaConfig { wait_max: Duration::from_secs(5), ..KafkaConfig::new(broker.bootstrap()) };
        for (name, value) in [
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", "reel"),
            ("sasl.password", password),
        ] {
            config.client.insert(name.to_owned(), value.to_owned());
        }
        KafkaLog::new(config).unwrap()
    };
    assert_eq!(with_password("the-right-one").topics(), Ok(Vec::new()));
    let log = with_password("the-wrong-one");
    match log.topics() {
        Err(LogError::Denied(text)) => assert!(text.contains("uthentication") && !text.contains("the-wrong-one"), "{text}"),
        other => panic!("{other:?}"),
    }
    assert!(!format!("{log:?}").contains("the-wrong-one"));

    let mut config = KafkaConfig::new(broker.bootstrap());
    config.client.insert("sasl.pasword".to_owned(), "the-wrong-one".to_owned());
    match KafkaLog::new(config) {
        Err(LogError::Refused(text)) => assert!(text.contains("sasl.pasword") && !text.contains("the-wrong-one"), "{text}"),
        other => panic!("{other:?}"),
    }
}

/// From 4.0 on brokers verify on their side that a record belongs to an open transaction; exactly-once rests on it.
#[test]
fn an_older_broker_is_refused_for_exactly_once_alone() {
    let broker = Broker::start_release(Release::Older).unwrap();
    let log = log_on(&broker);
    let input = topic(&log, "in", 1);
    let error = log.join(&spec("group", "m0", &[&input], Guarantee::ExactlyOnce)).map(drop).unwrap_err();
    assert!(matches!(&error, LogError::TooOld(reason) if reason.contains("4.0 or newer")), "{error:?}");
    drop(Life::start(&log, &spec("group", "m0", &[&input], Guarantee::AtLeastOnce)));
}
