//! `reel topic`: the log's topics by hand, NDJSON in and out.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
    sync::Arc,
};

use reelflow_core::record::{END_KEY, Outgoing, Record, partition_of};
use reelflow_ports::{
    clock::{Clock, SystemClock},
    log::{Log, LogError, NewTopic, Retention, TopicPartition},
};
use serde_json::{Value, json};

use crate::{
    args::{Format, LineFormat, ReadFormat, Topic, TopicRead, TopicWrite},
    failure::{Exit, Failure},
    json_bytes,
    manifest::Manifest,
    output::{Output, print},
};

/// Records are written in batches of about this many bytes.
const WRITE_BYTES: usize = 1 << 20;

pub(crate) fn topic(command: &Topic) -> Result<(), Failure> {
    match command {
        Topic::List { log, format } => list(&*open(&log.manifest)?, *format),
        Topic::Create { topic, partitions, log } => {
            let log = open(&log.manifest)?;
            log.create_topic(&NewTopic {
                name: topic.as_str().into(),
                n_partitions: *partitions,
                retention: Retention::FromTimestamp,
            })?;
            print(&format!("topic \"{topic}\" has {partitions} partitions on the {}", log.describe()))
        }
        Topic::Write(args) => write(&*open(&args.log.manifest)?, args),
        Topic::Read(args) => read(&*open(&args.log.manifest)?, args),
    }
}

fn open(manifest: &Path) -> Result<Box<dyn Log>, Failure> {
    Manifest::load(manifest)?.open_log()
}

fn list(log: &dyn Log, format: Format) -> Result<(), Failure> {
    let mut topics = Vec::new();
    for (name, n_partitions) in log.topics()? {
        let mut n_offsets = 0;
        for partition in 0..n_partitions {
            let (earliest, end) = log.offsets(&TopicPartition { topic: name.clone(), partition })?;
            n_offsets += end - earliest;
        }
        topics.push((name, n_partitions, n_offsets));
    }
    match format {
        Format::Json => {
            let one = |(name, n_partitions, n_offsets): &(Arc<str>, u32, i64)| json!({"topic": **name, "partitions": n_partitions, "offsets": n_offsets});
            print(&json!({"format": 1, "topics": topics.iter().map(one).collect::<Vec<_>>()}).to_string())
        }
        Format::Text => {
            let mut output = Output::new();
            output.line(&format!("{:<44}{:>11}{:>13}", "topic", "partitions", "offsets"))?;
            for (name, n_partitions, n_offsets) in topics {
                output.line(&format!("{name:<44}{n_partitions:>11}{n_offsets:>13}"))?;
            }
            output.finish()
        }
    }
}

fn write(log: &dyn Log, args: &TopicWrite) -> Result<(), Failure> {
    let topic: Arc<str> = args.topic.as_str().into();
    let n_partitions = match (log.n_partitions(&topic)?, args.partitions) {
        (Some(found), Some(wanted)) if found != wanted => {
            return Err(LogError::PartitionCount { topic, found, wanted }.into());
        }
        (Some(found), _) => found,
        (None, Some(n_partitions)) => {
            log.create_topic(&NewTopic { name: topic.clone(), n_partitions, retention: Retention::FromTimestamp })?;
            n_partitions
        }
        (None, None) => {
            return Err(Failure::from(LogError::TopicMissing(topic)).help("Give --partitions N to create it while writing."));
        }
    };
    let mut writer = Writer { log, n_partitions, next: 0, pending: Outgoing::new(topic.clone()), n_records: 0 };
    for file in &args.files {
        let name = file.display().to_string();
        let unreadable = |why: io::Error| Failure::new(Exit::Environment, format!("\"{name}\" cannot be read: {why}"));
        let lines: Box<dyn BufRead> = if name == "-" {
            Box::new(io::stdin().lock())
        } else {
            Box::new(BufReader::with_capacity(1 << 20, File::open(file).map_err(unreadable)?))
        };
        write_lines(&mut writer, lines, &name, args)?;
    }
    writer.flush()?;
    if args.end {
        let mut end = Outgoing::new(topic.clone());
        (0..n_partitions).for_each(|partition| end.push(partition, SystemClock.now().0, Some(END_KEY), Some(b""), &[]));
        log.write(&end)?;
    }
    let ended = if args.end { ", and ended every partition" } else { "" };
    print(&format!("wrote {} records to topic \"{topic}\" ({n_partitions} partitions){ended}", writer.n_records))
}

fn write_lines(writer: &mut Writer<'_>, mut lines: Box<dyn BufRead>, name: &str, args: &TopicWrite) -> Result<(), Failure> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let n_bytes = lines
            .read_until(b'\n', &mut line)
            .map_err(|why| Failure::new(Exit::Environment, format!("\"{name}\" cannot be read: {why}")))?;
        if n_bytes == 0 {
            break;
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        let at = |why: String| Failure::new(Exit::User, format!("{name}:{number}: {why}"));
        match args.lines {
            LineFormat::Ndjson => write_json(writer, &line, args).map_err(|why| why.map_message(at))?,
            LineFormat::Tsv => {
                let mut parts = line.splitn(3, |byte| *byte == b'\t');
                let (key, timestamp, value) = (parts.next(), parts.next(), parts.next());
                let timestamp_ms = timestamp.and_then(|text| std::str::from_utf8(text).ok()).and_then(|text| text.parse().ok());
                match (key, timestamp_ms) {
                    (Some(key), Some(timestamp_ms)) if value.is_some() || !key.is_empty() => {
                        writer.push((!key.is_empty()).then_some(key), timestamp_ms, value)?;
                    }
                    _ => return Err(at("not key, timestamp and value separated by tabs".to_owned())),
                }
            }
        }
    }
    Ok(())
}

/// Why one line was not written.
enum LineError {
    /// The line is wrong.
    Line(String),
    /// The log failed.
    Log(Failure),
}

impl LineError {
    fn map_message(self, at: impl FnOnce(String) -> Failure) -> Failure {
        match self {
            LineError::Line(why) => at(why),
            LineError::Log(failure) => failure,
        }
    }
}

impl From<Failure> for LineError {
    fn from(failure: Failure) -> LineError {
        LineError::Log(failure)
    }
}

fn write_json(writer: &mut Writer<'_>, line: &[u8], args: &TopicWrite) -> Result<(), LineError> {
    let needs_fields = args.key.is_some() || args.timestamp.is_some();
    let fields: Value = if needs_fields {
        serde_json::from_slice(line).map_err(|why| LineError::Line(format!("not JSON: {why}")))?
    } else {
        Value::Null
    };
    let key = match &args.key {
        None => None,
        Some(name) => Some(match &fields[name.as_str()] {
            Value::String(text) => text.clone(),
            Value::Null => return Err(LineError::Line(format!("no field \"{name}\" for the key"))),
            other => other.to_string(),
        }),
    };
    let timestamp_ms = match &args.timestamp {
        None => SystemClock.now().0,
        Some(name) => {
            fields[name.as_str()].as_i64().ok_or_else(|| LineError::Line(format!("field \"{name}\" is not a timestamp in ms")))?
        }
    };
    Ok(writer.push(key.as_deref().map(str::as_bytes), timestamp_ms, Some(line))?)
}

/// Collects records and writes them in batches.
struct Writer<'a> {
    log: &'a dyn Log,
    n_partitions: u32,
    /// Where the next record without a key goes.
    next: u32,
    pending: Outgoing,
    n_records: u64,
}

impl Writer<'_> {
    fn push(&mut self, key: Option<&[u8]>, timestamp_ms: i64, value: Option<&[u8]>) -> Result<(), Failure> {
        let partition = match key {
            Some(key) => partition_of(key, self.n_partitions),
            None => {
                self.next = (self.next + 1) % self.n_partitions;
                self.next
            }
        };
        self.pending.push(partition, timestamp_ms, key, value, &[]);
        self.n_records += 1;
        if self.pending.records.n_bytes() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let topic = self.pending.topic.clone();
        let full = std::mem::replace(&mut self.pending, Outgoing::new(topic));
        if full.is_empty() { Ok(()) } else { Ok(self.log.write(&full)?) }
    }
}

fn read(log: &dyn Log, args: &TopicRead) -> Result<(), Failure> {
    let topic: Arc<str> = args.topic.as_str().into();
    let n_partitions = log.n_partitions(&topic)?.ok_or_else(|| LogError::TopicMissing(topic.clone()))?;
    let partitions = match args.partition {
        None => 0..n_partitions,
        Some(one) if one < n_partitions => one..one + 1,
        Some(one) => {
            return Err(Failure::new(
                Exit::User,
                format!("topic \"{topic}\" has {n_partitions} partitions, there is no partition {one}"),
            ));
        }
    };
    let mut output = Output::new();
    let mut left = args.limit.unwrap_or(u64::MAX);
    let mut failure = None;
    for partition in partitions {
        let at = TopicPartition { topic: topic.clone(), partition };
        let (earliest, end) = log.offsets(&at)?;
        log.scan(&at, earliest, end, &mut |record| {
            if left == 0 {
                return false;
            }
            // A control record is no data.
            if args.format == ReadFormat::Value && record.key == Some(END_KEY) {
                return true;
            }
            left -= 1;
            let written = match args.format {
                ReadFormat::Value => output.bytes(record.value.unwrap_or(b"null")).and_then(|()| output.bytes(b"\n")),
                ReadFormat::Json => output.line(&json_of(partition, &record).to_string()),
            };
            failure = written.err();
            failure.is_none()
        })?;
        if let Some(failure) = failure {
            return Err(failure);
        }
    }
    output.finish()
}

fn json_of(partition: u32, record: &Record<'_>) -> Value {
    let mut object = json!({ "partition": partition, "offset": record.offset, "timestamp": record.timestamp_ms });
    let fields = object.as_object_mut().expect("it was made as an object");
    for (name, bytes) in [("key", record.key), ("value", record.value)] {
        json_bytes::insert(fields, name, bytes);
    }
    if !record.headers.is_empty() {
        let mut headers = serde_json::Map::new();
        record.headers.iter().for_each(|(name, bytes)| json_bytes::insert(&mut headers, name, Some(bytes)));
        fields.insert("headers".to_owned(), Value::Object(headers));
    }
    object
}
