//! What a reader of results sees of a swap: how long nothing comes.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};

/// Records that come closer together are of one commit.
const OF_ONE_COMMIT: Duration = Duration::from_millis(10);
const WAIT: Duration = Duration::from_secs(60);
/// Commits come a few times a second while something is fed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads what is committed of a topic, as it comes.
pub struct Reader {
    seen: Arc<Mutex<Seen>>,
    is_over: Arc<AtomicBool>,
    reading: JoinHandle<Result<()>>,
}

/// When something came, by partition: the first record of each commit.
#[derive(Clone, Default)]
pub struct Seen {
    commits: BTreeMap<i32, Vec<Instant>>,
    last: BTreeMap<i32, Instant>,
}

impl Reader {
    pub fn start(brokers: &str, topic: &str) -> Result<Reader> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", "reader")
            .set("isolation.level", "read_committed")
            .set("fetch.wait.max.ms", "20")
            .create()?;
        let metadata = consumer.fetch_metadata(Some(topic), WAIT)?;
        let mut assigned = TopicPartitionList::new();
        for partition in metadata.topics()[0].partitions() {
            assigned.add_partition_offset(topic, partition.id(), Offset::Beginning)?;
        }
        ensure!(assigned.count() > 0, "topic {topic} is not there");
        consumer.assign(&assigned)?;
        let (seen, is_over) = (Arc::new(Mutex::new(Seen::default())), Arc::new(AtomicBool::new(false)));
        let reading = thread::spawn({
            let (seen, is_over) = (seen.clone(), is_over.clone());
            move || {
                while !is_over.load(Ordering::Relaxed) {
                    if let Some(record) = consumer.poll(Duration::from_millis(50)) {
                        seen.lock().unwrap_or_else(PoisonError::into_inner).came(record?.partition(), Instant::now());
                    }
                }
                Ok(())
            }
        });
        Ok(Reader { seen, is_over, reading })
    }

    fn n_commits(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).commits.values().map(Vec::len).min().unwrap_or(0)
    }

    /// Waits until that many more commits were seen in each partition that has any, or for a while: all may have been fed by then.
    pub fn await_commits(&self, n: usize) {
        let (begin, wanted) = (Instant::now(), self.n_commits() + n);
        while self.n_commits() < wanted && begin.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn stop(self) -> Result<Seen> {
        self.is_over.store(true, Ordering::Relaxed);
        self.reading.join().ok().context("the reader does not panic")??;
        Ok(self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl Seen {
    fn came(&mut self, partition: i32, at: Instant) {
        let before = self.last.insert(partition, at);
        if before.is_none_or(|before| at - before > OF_ONE_COMMIT) {
            self.commits.entry(partition).or_default().push(at);
        }
    }

    /// Prints how long readers of a partition wait from one commit to the next: the longest wait of each swap, and all waits that no swap touches.
    pub fn print(&self, swaps: &[(Instant, Instant)]) {
        let touches = |(from, to): (Instant, Instant), swap: &(Instant, Instant)| from < swap.1 && swap.0 < to;
        let (mut around, mut elsewhere) = (Vec::new(), Vec::new());
        for commits in self.commits.values() {
            let waits: Vec<(Instant, Instant)> = commits.windows(2).map(|pair| (pair[0], pair[1])).collect();
            let length = |(from, to): &(Instant, Instant)| *to - *from;
            around.extend(swaps.iter().filter_map(|swap| waits.iter().filter(|wait| touches(**wait, swap)).map(length).max()));
            elsewhere.extend(waits.iter().filter(|wait| !swaps.iter().any(|swap| touches(**wait, swap))).map(length));
        }
        println!("readers wait, for each swap and partition: {}", figures(around));
        println!("readers wait, elsewhere: {}", figures(elsewhere));
    }
}

fn figures(mut all: Vec<Duration>) -> String {
    all.sort_unstable();
    let Some(max) = all.last() else { return "nothing was seen".to_owned() };
    let at = |percent: usize| all[(all.len() * percent).div_ceil(100) - 1].as_millis();
    format!("{} waits, median {} ms, p99 {} ms, at most {} ms", all.len(), at(50), at(99), max.as_millis())
}
