//! What a shadow costs the pipeline that it stands beside: how long its readers wait for a row. Told, and never judged: it depends on the machine.

use std::{
    fs,
    process::Stdio,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    producer::{BaseProducer, BaseRecord, Producer},
};
use reelflow_broker_tests::Broker;
use reelflow_pipelines::variant;

use crate::project::{Project, Running, event_ms, play};

/// Plays that are sent at once, and how often.
const AT_ONCE: i64 = 40;
const EVERY: Duration = Duration::from_millis(20);

/// How long it takes, in ms and sorted, until what was sent stands in the topic `copy` for a reader of committed records; of `n` plays of the
/// profiles from `first` on.
fn latencies(brokers: &str, first: i64, n: i64) -> Result<Vec<u128>> {
    let reader: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "latencies")
        .set("isolation.level", "read_committed")
        .create()?;
    let mut from = TopicPartitionList::new();
    (0..2).try_for_each(|partition| from.add_partition_offset("copy", partition, Offset::End))?;
    reader.assign(&from)?;
    let ready = Instant::now() + Duration::from_secs(3);
    while Instant::now() < ready {
        drop(reader.poll(Duration::from_millis(100)));
    }
    let sent: Mutex<Vec<Instant>> = Mutex::new(Vec::new());
    let mut took = Vec::new();
    thread::scope(|scope| -> Result<()> {
        let sending = scope.spawn(|| send(brokers, first, n, &sent));
        let begin = Instant::now();
        while took.len() < n as usize {
            ensure!(begin.elapsed() < Duration::from_secs(120), "{} of {n} rows came", took.len());
            let Some(record) = reader.poll(Duration::from_millis(100)) else { continue };
            let now = Instant::now();
            let record = record?;
            let profile: i64 = std::str::from_utf8(record.key().context("a key")?)?.parse()?;
            if let Ok(nth) = usize::try_from(profile - first) {
                let of = sent.lock().expect("nobody panics with it").get(nth).copied();
                took.push((now - of.context("it was sent before it came")?).as_millis());
            }
        }
        sending.join().expect("the sender does not panic")
    })?;
    took.sort_unstable();
    Ok(took)
}

fn send(brokers: &str, first: i64, n: i64, sent: &Mutex<Vec<Instant>>) -> Result<()> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "5")
        .create()?;
    let begin = Instant::now();
    for nth in 0..n {
        let profile = first + nth;
        sent.lock().expect("nobody panics with it").push(Instant::now());
        let (key, value) = (profile.to_string(), play(profile));
        let record = BaseRecord::to("plays").key(&key).payload(&value).timestamp(event_ms(profile));
        producer.send(record).map_err(|(error, _)| error)?;
        if (nth + 1) % AT_ONCE == 0 {
            producer.poll(Duration::ZERO);
            let next = begin + EVERY * u32::try_from((nth + 1) / AT_ONCE)?;
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }
    producer.flush(Duration::from_secs(20))?;
    Ok(())
}

/// 2,000 plays a second go through a pipeline, with and without a shadow beside it, turn by turn. For figures that mean something:
/// `REEL_SHADOW_PLAYS=90000 cargo test --workspace --test shadow readers_wait -- --nocapture`
#[test]
fn readers_wait_as_long_as_without_it() -> Result<()> {
    const N_TURNS: i64 = 3;
    let n_plays =
        std::env::var("REEL_SHADOW_PLAYS").map_or(Ok(6_000), |text| text.parse::<i64>()).context("a number of plays")?;
    let n_of_turn = n_plays / N_TURNS;
    let broker = Broker::start()?;
    let brokers = broker.bootstrap();
    let project = Project::new(&brokers)?;
    let manifest = project.path().join("reel.toml");
    let copy = "[sink.copy]\ninput = \"plays\"\ntopic = \"copy\"\nkey = [\"profile_id\"]\n";
    fs::write(&manifest, format!("{}\n{copy}", fs::read_to_string(&manifest)?))?;
    project.edit(&[])?;
    fs::write(project.path().join("same.wasm"), variant(&fs::read(project.path().join("swapped.wasm"))?, 1))?;
    project.write_plays(1..2_000)?;
    let running = project.start()?;
    project.wait_for("stop with ctrl-c")?;
    let mut next = 10_000;
    let mut measure = || {
        next += n_of_turn;
        latencies(&brokers, next, n_of_turn)
    };
    measure()?;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..N_TURNS {
        alone.extend(measure()?);
        let mut command = project.command(&project.path(), &["shadow", "--plugin", "same.wasm", "--for", "1h"]);
        let shadow = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
        thread::sleep(Duration::from_secs(2));
        beside.extend(measure()?);
        // It ends well only if nothing differs.
        shadow.leave()?;
    }
    for (name, mut took) in [("alone", alone), ("beside a shadow", beside)] {
        took.sort_unstable();
        let at = |percent: usize| took[(took.len() * percent).div_ceil(100) - 1];
        println!("{name}: {} rows, median {} ms, p99 {} ms, most {} ms", took.len(), at(50), at(99), at(100));
    }
    running.leave()
}
