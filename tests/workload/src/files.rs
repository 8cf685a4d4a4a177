//! What is written: the topics as they reach the log, the same without the broken records for a batch job, and the truth.
//!
//! | file | one line is |
//! | --- | --- |
//! | `topics/<topic>.tsv` | key, log timestamp (ms), value; separated by tabs, in the order of arrival. Of a table: no value where the key is deleted |
//! | `batch/<topic>.ndjson` | the value of a record that is not broken, in the order of arrival; of one without a value only key and time |
//! | `truth.ndjson` | `{"topic","line","event_id","fate","reason"}`: what must become of line `line` (from 0) of the topic file |
//! | `truth.json` | the same as counts per topic, fate and reason |

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::{Context, Result};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::{
    disturb::{Arrival, Fate, arrivals},
    model::Model,
    people::People,
    sessions::{Topic, events},
    tables::{self, Change},
};

/// How many records were written, by topic, fate and reason.
pub type Truth = BTreeMap<String, BTreeMap<String, u64>>;

/// Generates `model` and writes all of its files below `folder`, which is created.
pub fn write(model: &Model, folder: &Path) -> Result<Truth> {
    let mut rng = ChaCha8Rng::seed_from_u64(model.seed);
    let people = People::new(model, &mut rng);
    let events = events(model, &people, &mut rng);
    let arrivals = arrivals(model, &events, &mut rng);
    for sub in ["topics", "batch"] {
        fs::create_dir_all(folder.join(sub)).with_context(|| format!("create {}", folder.join(sub).display()))?;
    }
    write_table("catalog", "title_id", &tables::catalog(model, &people, &mut rng), folder)?;
    write_table("profile_changes", "profile_id", &tables::profile_changes(model, &people, &mut rng), folder)?;
    let mut truth_lines = create(&folder.join("truth.ndjson"))?;
    let mut truth = Truth::new();
    for topic in Topic::ALL {
        let of_topic = arrivals.iter().filter(|arrival| arrival.topic == topic);
        write_topic(topic, of_topic, folder, &mut truth_lines, truth.entry(topic.name().to_owned()).or_default())?;
    }
    truth_lines.flush()?;
    fs::write(folder.join("truth.json"), serde_json::to_string_pretty(&truth)?)?;
    Ok(truth)
}

fn write_topic<'a>(
    topic: Topic,
    arrivals: impl Iterator<Item = &'a Arrival>,
    folder: &Path,
    truth: &mut impl Write,
    counts: &mut BTreeMap<String, u64>,
) -> Result<()> {
    let mut log = create(&folder.join(format!("topics/{}.tsv", topic.name())))?;
    let mut batch = create(&folder.join(format!("batch/{}.ndjson", topic.name())))?;
    for (line, arrival) in arrivals.enumerate() {
        write!(log, "{}\t{}\t", arrival.profile_id, arrival.sent_ms)?;
        log.write_all(&arrival.value)?;
        log.write_all(b"\n")?;
        let (fate, reason) = match arrival.fate {
            Fate::Accepted => ("accepted", ""),
            Fate::Filtered => ("filtered", ""),
            Fate::Duplicate { conflicting: false } => ("duplicate", ""),
            Fate::Duplicate { conflicting: true } => ("duplicate", "conflicting"),
            Fate::Dead(reason) => ("dead", reason),
        };
        if fate != "dead" {
            batch.write_all(&arrival.value)?;
            batch.write_all(b"\n")?;
        }
        writeln!(
            truth,
            r#"{{"topic":"{}","line":{line},"event_id":"{}","fate":"{fate}","reason":"{reason}"}}"#,
            topic.name(),
            arrival.event_id
        )?;
        *counts.entry(fate.to_owned()).or_default() += 1;
        *counts.entry("records".to_owned()).or_default() += 1;
        if !reason.is_empty() {
            *counts.entry(format!("{fate}:{reason}")).or_default() += 1;
        }
    }
    log.flush()?;
    batch.flush()?;
    Ok(())
}

/// `key`: what the field is called that identifies what changed.
fn write_table(topic: &str, key: &str, changes: &[Change], folder: &Path) -> Result<()> {
    let mut log = create(&folder.join(format!("topics/{topic}.tsv")))?;
    let mut batch = create(&folder.join(format!("batch/{topic}.ndjson")))?;
    for Change { id, from_ms, value } in changes {
        match value {
            Some(value) => {
                writeln!(log, "{id}\t{from_ms}\t{value}")?;
                writeln!(batch, "{value}")?;
            }
            None => {
                writeln!(log, "{id}\t{from_ms}")?;
                writeln!(batch, r#"{{"{key}":{id},"valid_from":{from_ms}}}"#)?;
            }
        }
    }
    log.flush()?;
    batch.flush()?;
    Ok(())
}

fn create(path: &Path) -> Result<BufWriter<File>> {
    Ok(BufWriter::with_capacity(1 << 20, File::create(path).with_context(|| format!("create {}", path.display()))?))
}
