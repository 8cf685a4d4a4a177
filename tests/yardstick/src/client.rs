//! Reading and writing in librdkafka's own batches. The unsafe code of this program.

#![allow(unsafe_code)]

use std::{
    collections::BTreeSet,
    ffi::{CString, c_void},
    ptr, slice,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    bindings::{self, rd_kafka_message_t, rd_kafka_queue_t, rd_kafka_resp_err_t, rd_kafka_topic_t},
    consumer::{BaseConsumer, CommitMode, Consumer},
    producer::{BaseProducer, Producer},
};

use crate::{Guarantee, Job};

/// The key of the record that ends a partition.
pub(crate) const END_KEY: &[u8] = b"__end";
/// Below what a broker takes in one record.
pub(crate) const CHANGELOG_RECORD_BYTES_MAX: usize = 900_000;
const WAIT: Duration = Duration::from_secs(30);
const COMMIT_EVERY: Duration = Duration::from_secs(1);
const N_MESSAGES_MAX: usize = 4_096;

pub(crate) fn producer_settings(config: &mut ClientConfig, brokers: &str) {
    config
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("linger.ms", "20")
        .set("batch.size", "1000000")
        .set("batch.num.messages", "100000")
        .set("queue.buffering.max.messages", "1000000")
        .set("queue.buffering.max.kbytes", "131072")
        .set("partitioner", "murmur2_random");
}

/// A record that was read. Its bytes live until the next poll.
pub(crate) struct Message<'a> {
    pub partition: i32,
    pub value: &'a [u8],
}

/// What a program does with what it reads.
pub(crate) trait Program {
    fn message(&mut self, message: &Message<'_>, writer: &mut Writer) -> Result<()>;
    /// A partition has ended.
    fn end(&mut self, partition: i32, writer: &mut Writer) -> Result<()>;
    /// Last chance to write before a commit.
    fn seal(&mut self, writer: &mut Writer) -> Result<()>;
}

/// Reads the job's topic to its end, with a commit a second. `topics`: what the program writes to. Gives how many records were read.
pub(crate) fn run(job: &Job, topics: &[&str], program: &mut impl Program) -> Result<u64> {
    let exactly_once = job.guarantee == Guarantee::ExactlyOnce;
    let mut config = ClientConfig::new();
    producer_settings(&mut config, &job.input.brokers);
    if exactly_once {
        config.set("transactional.id", &job.out);
    }
    let mut writer = Writer::new(&config, topics)?;
    let mut reader = Reader::new(job)?;
    if exactly_once {
        writer.producer.init_transactions(WAIT)?;
        writer.producer.begin_transaction()?;
    }
    let mut sealed = Instant::now();
    loop {
        let is_at_end = reader.poll(program, &mut writer)?;
        if is_at_end || sealed.elapsed() >= COMMIT_EVERY {
            program.seal(&mut writer)?;
            writer.drain()?;
            let offsets = reader.offsets()?;
            if exactly_once {
                let group = reader.consumer.group_metadata().context("the consumer has a group")?;
                writer.producer.send_offsets_to_transaction(&offsets, &group, WAIT)?;
                writer.producer.commit_transaction(WAIT)?;
                writer.producer.begin_transaction()?;
            } else {
                reader.consumer.commit(&offsets, CommitMode::Sync)?;
            }
            sealed = Instant::now();
        }
        if is_at_end {
            return Ok(reader.n_read);
        }
    }
}

struct Reader {
    consumer: BaseConsumer,
    queue: *mut rd_kafka_queue_t,
    buffer: Vec<*mut rd_kafka_message_t>,
    topic: String,
    /// By partition: the next offset.
    next: Vec<i64>,
    ended: BTreeSet<i32>,
    n_read: u64,
}

impl Reader {
    fn new(job: &Job) -> Result<Reader> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &job.input.brokers)
            .set("group.id", &job.out)
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("fetch.message.max.bytes", "4194304")
            .set("fetch.min.bytes", "262144")
            .set("fetch.wait.max.ms", "20")
            .set("fetch.queue.backoff.ms", "1")
            .set("queued.max.messages.kbytes", "65536")
            .create()?;
        let mut assignment = TopicPartitionList::new();
        for partition in 0..job.input.partitions {
            assignment.add_partition_offset(&job.input.topic, partition, Offset::Beginning)?;
        }
        consumer.assign(&assignment)?;
        // SAFETY: a live consumer with a group has a consumer queue; the reference is given back in `drop`, before the consumer.
        let queue = unsafe { bindings::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
        let next = vec![0; usize::try_from(job.input.partitions)?];
        let buffer = vec![ptr::null_mut(); N_MESSAGES_MAX];
        Ok(Reader { consumer, queue, buffer, topic: job.input.topic.clone(), next, ended: BTreeSet::new(), n_read: 0 })
    }

    /// Gives what has arrived to `program`. Returns whether all partitions have ended.
    fn poll(&mut self, program: &mut impl Program, writer: &mut Writer) -> Result<bool> {
        // SAFETY: a live queue and room for as many pointers as are said.
        let n = unsafe { bindings::rd_kafka_consume_batch_queue(self.queue, 100, self.buffer.as_mut_ptr(), self.buffer.len()) };
        let mut outcome = Ok(());
        for idx in 0..usize::try_from(n).context("the queue cannot be read")? {
            let pointer = self.buffer[idx];
            if outcome.is_ok() {
                // SAFETY: librdkafka gave this pointer; it is valid until it is destroyed below.
                outcome = self.message(unsafe { &*pointer }, program, writer);
            }
            // SAFETY: given once, given back once.
            unsafe { bindings::rd_kafka_message_destroy(pointer) };
        }
        outcome?;
        writer.serve();
        Ok(self.ended.len() == self.next.len())
    }

    fn message(&mut self, message: &rd_kafka_message_t, program: &mut impl Program, writer: &mut Writer) -> Result<()> {
        match message.err {
            rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {}
            error => bail!("cannot consume: {error:?}"),
        }
        self.next[usize::try_from(message.partition)?] = message.offset + 1;
        if bytes(message.key, message.key_len) == END_KEY {
            self.ended.insert(message.partition);
            return program.end(message.partition, writer);
        }
        self.n_read += 1;
        program.message(&Message { partition: message.partition, value: bytes(message.payload, message.len) }, writer)
    }

    fn offsets(&self) -> Result<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for (partition, next) in (0..).zip(&self.next) {
            list.add_partition_offset(&self.topic, partition, Offset::Offset(*next))?;
        }
        Ok(list)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // SAFETY: the reference taken in `new`.
        unsafe { bindings::rd_kafka_queue_destroy(self.queue) };
    }
}

fn bytes<'a>(start: *const c_void, len: usize) -> &'a [u8] {
    if start.is_null() {
        return b"";
    }
    // SAFETY: part of a message that outlives the slice: `poll` destroys it after the program has seen it.
    unsafe { slice::from_raw_parts(start.cast(), len) }
}

/// Writes by topic handle, without a lookup or a callback of our own per record.
pub(crate) struct Writer {
    producer: BaseProducer,
    topics: Vec<*mut rd_kafka_topic_t>,
}

impl Writer {
    pub(crate) fn new(config: &ClientConfig, topics: &[&str]) -> Result<Writer> {
        let producer: BaseProducer = config.create()?;
        let mut handles = Vec::new();
        for topic in topics {
            let name = CString::new(*topic)?;
            // SAFETY: a live client and a C string, which is copied; the default topic configuration.
            let handle = unsafe { bindings::rd_kafka_topic_new(producer.client().native_ptr(), name.as_ptr(), ptr::null_mut()) };
            ensure!(!handle.is_null(), "no topic \"{topic}\"");
            handles.push(handle);
        }
        Ok(Writer { producer, topics: handles })
    }

    /// Sends a copy of `key` and `value` to the topic of that index; the partition by the key unless it is given.
    pub(crate) fn send(&mut self, topic: usize, partition: Option<i32>, key: &[u8], value: &[u8]) -> Result<()> {
        const UNASSIGNED: i32 = -1;
        loop {
            // SAFETY: a live topic; with F_COPY librdkafka only reads key and value, before it returns.
            let code = unsafe {
                bindings::rd_kafka_produce(
                    self.topics[topic],
                    partition.unwrap_or(UNASSIGNED),
                    bindings::RD_KAFKA_MSG_F_COPY,
                    value.as_ptr().cast_mut().cast(),
                    value.len(),
                    key.as_ptr().cast(),
                    key.len(),
                    ptr::null_mut(),
                )
            };
            if code == 0 {
                return Ok(());
            }
            // SAFETY: reads this thread's last error.
            match unsafe { bindings::rd_kafka_last_error() } {
                rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__QUEUE_FULL => self.producer.poll(Duration::from_millis(5)),
                error => bail!("cannot produce: {error:?}"),
            }
        }
    }

    fn serve(&self) {
        self.producer.poll(Duration::ZERO);
    }

    /// Waits until all records are acknowledged.
    pub(crate) fn drain(&self) -> Result<()> {
        let started = Instant::now();
        while self.producer.in_flight_count() > 0 {
            ensure!(started.elapsed() < WAIT, "records are not acknowledged");
            self.producer.poll(Duration::from_millis(1));
        }
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // SAFETY: the handles of `new`, given back once, before their client.
        self.topics.iter().for_each(|topic| unsafe { bindings::rd_kafka_topic_destroy(*topic) });
    }
}
