//! Stateful: count per profile and window; a window is written when the watermark of its partition has passed its end. What changed
//! since the last commit is written to a changelog in the same transaction, so that a restart would find it.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
};

use anyhow::Result;
use foldhash::fast::FixedState;
use serde::Deserialize;

use crate::{
    Figures, Job,
    client::{self, CHANGELOG_RECORD_BYTES_MAX, Message, Program, Writer},
};

const WINDOW_MS: i64 = 10_000;
const BOUND_MS: i64 = 2_000;
const OUT: usize = 0;
const CHANGELOG: usize = 1;

#[derive(Deserialize)]
struct Impression {
    event_ts: i64,
    profile_id: i64,
}

/// Per profile: the count, and whether the changelog has yet to hear of it.
type Window = HashMap<i64, (u64, bool), FixedState>;

#[derive(Default)]
struct Partition {
    windows: BTreeMap<i64, Window>,
    /// (window, profile) that changed since the last commit.
    dirty: Vec<(i64, i64)>,
    closed: Vec<i64>,
    max_ts: i64,
}

#[derive(Default)]
struct Count {
    partitions: Vec<Partition>,
    rows_out: u64,
    n_late: u64,
    key: Vec<u8>,
    value: Vec<u8>,
}

pub(crate) fn run(job: &Job) -> Result<Figures> {
    let changelog = format!("{}.changelog", job.out);
    let partitions = (0..job.input.partitions).map(|_| Partition::default()).collect();
    let mut count = Count { partitions, ..Count::default() };
    let records_read = client::run(job, &[&job.out, &changelog], &mut count)?;
    anyhow::ensure!(count.n_late == 0, "{} records came late", count.n_late);
    Ok(Figures { records_read, rows_out: count.rows_out })
}

impl Program for Count {
    fn message(&mut self, message: &Message<'_>, writer: &mut Writer) -> Result<()> {
        let Impression { event_ts, profile_id } = serde_json::from_slice(message.value)?;
        let partition = &mut self.partitions[message.partition as usize];
        let start = event_ts.div_euclid(WINDOW_MS) * WINDOW_MS;
        if start + WINDOW_MS <= partition.max_ts - BOUND_MS {
            self.n_late += 1;
            return Ok(());
        }
        let window = partition.windows.entry(start).or_default();
        let (count, is_dirty) = window.entry(profile_id).or_default();
        *count += 1;
        if !mem::replace(is_dirty, true) {
            partition.dirty.push((start, profile_id));
        }
        if event_ts <= partition.max_ts {
            return Ok(());
        }
        partition.max_ts = event_ts;
        self.fire_due(message.partition, event_ts - BOUND_MS, writer)
    }

    fn end(&mut self, partition: i32, writer: &mut Writer) -> Result<()> {
        self.fire_due(partition, i64::MAX, writer)
    }

    fn seal(&mut self, writer: &mut Writer) -> Result<()> {
        for (idx, partition) in (0..).zip(&mut self.partitions) {
            let mut record = Vec::new();
            for start in partition.closed.drain(..) {
                record.extend(start.to_le_bytes());
            }
            for (start, profile_id) in partition.dirty.drain(..) {
                let Some((count, is_dirty)) = partition.windows.get_mut(&start).and_then(|window| window.get_mut(&profile_id))
                else {
                    continue; // closed meanwhile
                };
                *is_dirty = false;
                record.extend(start.to_le_bytes());
                record.extend(profile_id.to_le_bytes());
                record.extend(count.to_le_bytes());
                if record.len() >= CHANGELOG_RECORD_BYTES_MAX {
                    writer.send(CHANGELOG, Some(idx), b"delta", &record)?;
                    record.clear();
                }
            }
            if !record.is_empty() {
                writer.send(CHANGELOG, Some(idx), b"delta", &record)?;
            }
        }
        Ok(())
    }
}

impl Count {
    fn fire_due(&mut self, partition: i32, watermark: i64, writer: &mut Writer) -> Result<()> {
        loop {
            let partition = &mut self.partitions[partition as usize];
            let Some(first) = partition.windows.first_entry().filter(|first| first.key() + WINDOW_MS <= watermark) else {
                return Ok(());
            };
            let (start, window) = first.remove_entry();
            partition.closed.push(start);
            self.fire(start, window, writer)?;
        }
    }

    fn fire(&mut self, start: i64, window: Window, writer: &mut Writer) -> Result<()> {
        use std::io::Write;
        for (profile_id, (count, _)) in window {
            self.key.clear();
            self.value.clear();
            write!(self.key, "{profile_id}")?;
            write!(self.value, r#"{{"key":{profile_id},"w_start":{start},"count":{count}}}"#)?;
            writer.send(OUT, None, &self.key, &self.value)?;
            self.rows_out += 1;
        }
        Ok(())
    }
}
