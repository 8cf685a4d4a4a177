//! What is written: the topics as they reach the log, the same without the broken records for a batch job, and the truth.
//!
//! | file | one line is |
//! | --- | --- |
//! | `topics/<topic>.tsv` | key, log timestamp (ms), value; separated by tabs, in the order of arrival |
//! | `batch/<topic>.ndjson` | the value of a record that is not broken, in the order of arrival |
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
    for (topic, lines) in
        [("catalog", people.catalog(model, &mut rng)), ("profile_changes", people.profile_changes(model, &mut rng))]
    {
        let mut log = create(&folder.join(format!("topics/{topic}.tsv")))?;
        let mut batch = create(&folder.join(format!("batch/{topic}.ndjson")))?;
        for (key, from, line) in lines {
            writeln!(log, "{key}\t{from}\t{line}")?;
            writeln!(batch, "{line}")?;
        }
        log.flush()?;
        batch.flush()?;
    }
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

fn create(path: &Path) -> Result<BufWriter<File>> {
    Ok(BufWriter::with_capacity(1 << 20, File::create(path).with_context(|| format!("create {}", path.display()))?))
}
