//! Writes the workload as its producers would: transactionally, with one batch in two hundred aborted and sent again; tables as far as the time of
//! the events has come, with beats that say so.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    producer::{BaseProducer, BaseRecord, Producer},
};
use reelflow_pipelines::{TABLES, TOPICS};

const BATCH: usize = 500;
const N_PARTITIONS: i32 = 4;
const WAIT: Duration = Duration::from_secs(30);
/// The consumer group of the pipeline.
const GROUP: &str = "reel.personalization";
/// How long the pipeline may take for what was fed.
const READ_WITHIN: Duration = Duration::from_secs(120);

/// Feeds the topic files of a workload, side by side and in order.
pub struct Feeder {
    producer: BaseProducer,
    /// Asks how far the pipeline has come; no member of its group.
    inquirer: BaseConsumer,
    /// Of each topic: its lines, and how many of them were fed.
    files: Vec<(&'static str, Vec<Line>, usize)>,
    /// The same of tables.
    tables: Vec<(&'static str, Vec<Line>, usize)>,
    /// The greatest log timestamp of an event that was fed.
    reached_ms: i64,
    rng: ChaCha8Rng,
}

struct Line {
    key: Vec<u8>,
    timestamp_ms: i64,
    /// `None`: it deletes its key.
    value: Option<Vec<u8>>,
}

impl Feeder {
    pub fn new(brokers: &str, data: &Path) -> Result<Feeder> {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("transactional.id", "feeder")
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "5")
            .set("compression.type", "lz4")
            .create()?;
        producer.init_transactions(WAIT)?;
        let inquirer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", GROUP)
            // Not to be refused while the pipeline has a transaction open.
            .set("isolation.level", "read_uncommitted")
            .create()?;
        let read = |topic: &'static str| -> Result<(&'static str, Vec<Line>, usize)> {
            let bytes = fs::read(data.join(format!("topics/{topic}.tsv")))?;
            let lines = bytes.strip_suffix(b"\n").unwrap_or(&bytes).split(|byte| *byte == b'\n').map(line);
            Ok((topic, lines.collect::<Result<_>>()?, 0))
        };
        let files = TOPICS.into_iter().map(read).collect::<Result<_>>()?;
        let tables = TABLES.into_iter().map(read).collect::<Result<_>>()?;
        Ok(Feeder { producer, inquirer, files, tables, reached_ms: i64::MIN, rng: ChaCha8Rng::seed_from_u64(3) })
    }

    /// Everything.
    pub fn feed_all(&mut self) -> Result<()> {
        while self.feed_slice(50_000)? {}
        Ok(())
    }

    /// About `n` more records over all topics, each in proportion, so that event times run side by side. Gives whether more is left;
    /// after the last record every partition is ended.
    pub fn feed_slice(&mut self, n: usize) -> Result<bool> {
        let total: usize = self.files.iter().map(|(_, lines, _)| lines.len()).sum();
        let mut more = false;
        for idx in 0..self.files.len() {
            let (_, lines, fed) = &self.files[idx];
            let share = (lines.len() * n).div_ceil(total).max(1);
            let (start, end) = (*fed, (*fed + share).min(lines.len()));
            self.reached_ms = lines[start..end].iter().map(|line| line.timestamp_ms).fold(self.reached_ms, i64::max);
            for batch_start in (start..end).step_by(BATCH) {
                self.batch(idx, batch_start, (batch_start + BATCH).min(end))?;
            }
            self.files[idx].2 = end;
            more |= end < self.files[idx].1.len();
        }
        if more {
            self.tables(self.reached_ms)?;
            self.control("__watermark", &self.reached_ms.to_string(), &TABLES)?;
        } else {
            self.tables(i64::MAX)?;
            self.control("__end", "", &[&TOPICS[..], &TABLES].concat())?;
        }
        Ok(more)
    }

    /// Feeds what holds from `until_ms` on or earlier.
    fn tables(&mut self, until_ms: i64) -> Result<()> {
        self.producer.begin_transaction()?;
        for (topic, lines, fed) in &mut self.tables {
            while let Some(line) = lines.get(*fed).filter(|line| line.timestamp_ms <= until_ms) {
                send(&self.producer, topic, line)?;
                *fed += 1;
            }
        }
        Ok(self.producer.commit_transaction(WAIT)?)
    }

    /// Waits until the pipeline has committed the results of all that was fed so far: records that are fed next meet its watermark, however
    /// fast this machine is.
    pub fn wait_until_read(&self) -> Result<()> {
        let began = Instant::now();
        loop {
            let unread = self.unread()?;
            if unread.is_empty() {
                return Ok(());
            }
            let unread = unread.join(", ");
            ensure!(began.elapsed() < READ_WITHIN, "the pipeline has not read what was fed {READ_WITHIN:?} ago: {unread}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// The partitions whose records are not all committed, with how far the pipeline came.
    fn unread(&self) -> Result<Vec<String>> {
        let mut asked = TopicPartitionList::new();
        for topic in TOPICS {
            asked.add_partition_range(topic, 0, N_PARTITIONS - 1);
        }
        let mut unread = Vec::new();
        for element in self.inquirer.committed_offsets(asked, WAIT)?.elements() {
            let (topic, partition) = (element.topic(), element.partition());
            let (_, end) = self.inquirer.fetch_watermarks(topic, partition, WAIT)?;
            let read = if let Offset::Offset(read) = element.offset() { read } else { 0 };
            // The last thing in a partition is the marker of a transaction: it has an offset, and is never read.
            if read + 1 < end {
                unread.push(format!("{topic}[{partition}] at {read} of {end}"));
            }
        }
        Ok(unread)
    }

    /// One transaction; one in two hundred is aborted first.
    fn batch(&mut self, file: usize, start: usize, end: usize) -> Result<()> {
        let aborted_first = self.rng.random_bool(0.005);
        for commit in if aborted_first { vec![false, true] } else { vec![true] } {
            self.producer.begin_transaction()?;
            let (topic, lines, _) = &self.files[file];
            for line in &lines[start..end] {
                send(&self.producer, topic, line)?;
            }
            if commit {
                self.producer.commit_transaction(WAIT)?;
            } else {
                self.producer.flush(WAIT)?;
                self.producer.abort_transaction(WAIT)?;
            }
        }
        Ok(())
    }

    /// A record in each partition of `topics` that says how far it has come.
    fn control(&self, key: &str, value: &str, topics: &[&str]) -> Result<()> {
        self.producer.begin_transaction()?;
        for topic in topics {
            for partition in 0..N_PARTITIONS {
                let record = BaseRecord::to(topic).key(key).payload(value).partition(partition);
                self.producer.send(record).map_err(|(why, _)| why)?;
            }
        }
        Ok(self.producer.commit_transaction(WAIT)?)
    }
}

fn send(producer: &BaseProducer, topic: &str, line: &Line) -> Result<()> {
    let mut record = BaseRecord::<[u8], [u8]>::to(topic).key(&line.key).timestamp(line.timestamp_ms);
    record.payload = line.value.as_deref();
    Ok(producer.send(record).map_err(|(why, _)| why)?)
}

fn line(bytes: &[u8]) -> Result<Line> {
    let mut parts = bytes.splitn(3, |byte| *byte == b'\t');
    let (key, timestamp, value) = (parts.next(), parts.next(), parts.next());
    let timestamp_ms = std::str::from_utf8(timestamp.context("a timestamp")?)?.parse()?;
    Ok(Line { key: key.context("a key")?.to_vec(), timestamp_ms, value: value.map(<[u8]>::to_vec) })
}
