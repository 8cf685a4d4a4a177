//! Stateful: each impression of every second profile with all impressions of that profile up to a second before it, as two inputs of a join. Rows
//! are kept until the watermark of their partition says that no partner can come. Those that are new since the last commit, and still
//! kept, are written to a changelog in the same transaction, so that a restart would find them.

use std::{
    collections::{HashMap, VecDeque},
    mem,
};

use anyhow::Result;
use foldhash::fast::FixedState;
use serde::Deserialize;

use crate::{
    Figures, Job,
    client::{self, CHANGELOG_RECORD_BYTES_MAX, Message, Program, Writer},
};

const WITHIN_MS: i64 = 1_000;
const BOUND_MS: i64 = 2_000;
const OUT: usize = 0;
const CHANGELOG: usize = 1;

#[derive(Deserialize)]
struct Impression<'a> {
    event_id: &'a str,
    event_ts: i64,
    profile_id: i64,
}

struct Row {
    ts: i64,
    event_id: Box<str>,
    /// Whether the changelog has yet to hear of it.
    is_dirty: bool,
}

/// By time.
#[derive(Default)]
struct Side(VecDeque<Row>);

impl Side {
    fn add(&mut self, ts: i64, event_id: &str) {
        let at = self.0.partition_point(|row| row.ts <= ts);
        self.0.insert(at, Row { ts, event_id: event_id.into(), is_dirty: true });
    }

    fn between(&self, first: i64, last: i64) -> impl Iterator<Item = &Row> {
        self.0.range(self.0.partition_point(|row| row.ts < first)..).take_while(move |row| row.ts <= last)
    }

    fn forget_before(&mut self, ts: i64) {
        while self.0.front().is_some_and(|row| row.ts < ts) {
            self.0.pop_front();
        }
    }
}

#[derive(Default)]
struct Profile {
    lefts: Side,
    rights: Side,
    is_dirty: bool,
}

impl Profile {
    fn forget(&mut self, watermark: i64) {
        self.lefts.forget_before(watermark);
        self.rights.forget_before(watermark - WITHIN_MS);
    }
}

#[derive(Default)]
struct Partition {
    profiles: HashMap<i64, Profile, FixedState>,
    dirty: Vec<i64>,
    max_ts: i64,
}

#[derive(Default)]
struct Pairs {
    partitions: Vec<Partition>,
    rows_out: u64,
    n_late: u64,
    key: Vec<u8>,
    value: Vec<u8>,
}

pub(crate) fn run(job: &Job) -> Result<Figures> {
    let changelog = format!("{}.changelog", job.out);
    let partitions = (0..job.input.partitions).map(|_| Partition::default()).collect();
    let mut pairs = Pairs { partitions, ..Pairs::default() };
    let records_read = client::run(job, &[&job.out, &changelog], &mut pairs)?;
    anyhow::ensure!(pairs.n_late == 0, "{} records came late", pairs.n_late);
    Ok(Figures { records_read, rows_out: pairs.rows_out })
}

impl Program for Pairs {
    fn message(&mut self, message: &Message<'_>, writer: &mut Writer) -> Result<()> {
        let Impression { event_id, event_ts, profile_id } = serde_json::from_slice(message.value)?;
        let partition = &mut self.partitions[message.partition as usize];
        if event_ts < partition.max_ts - BOUND_MS {
            self.n_late += 1;
            return Ok(());
        }
        partition.max_ts = partition.max_ts.max(event_ts);
        // The other half has no left row to meet.
        if profile_id % 2 != 0 {
            return Ok(());
        }
        let profile = partition.profiles.entry(profile_id).or_default();
        if !mem::replace(&mut profile.is_dirty, true) {
            partition.dirty.push(profile_id);
        }
        // The row comes on the right, and then on the left.
        let out = &mut Output { writer, key: &mut self.key, value: &mut self.value, n_rows: &mut self.rows_out };
        for left in profile.lefts.between(event_ts, event_ts + WITHIN_MS) {
            out.pair(profile_id, &left.event_id, event_id, left.ts - event_ts)?;
        }
        profile.rights.add(event_ts, event_id);
        for right in profile.rights.between(event_ts - WITHIN_MS, event_ts) {
            out.pair(profile_id, event_id, &right.event_id, event_ts - right.ts)?;
        }
        profile.lefts.add(event_ts, event_id);
        profile.forget(partition.max_ts - BOUND_MS);
        Ok(())
    }

    fn end(&mut self, partition: i32, _: &mut Writer) -> Result<()> {
        let partition = &mut self.partitions[partition as usize];
        partition.profiles.clear();
        partition.dirty.clear();
        Ok(())
    }

    fn seal(&mut self, writer: &mut Writer) -> Result<()> {
        for (idx, Partition { profiles, dirty, max_ts }) in (0..).zip(&mut self.partitions) {
            let watermark = *max_ts - BOUND_MS;
            let mut record = watermark.to_le_bytes().to_vec();
            for profile_id in dirty.drain(..) {
                let Some(profile) = profiles.get_mut(&profile_id) else { continue };
                profile.is_dirty = false;
                profile.forget(watermark);
                for (side, Side(rows)) in [(0, &mut profile.lefts), (1, &mut profile.rights)] {
                    for row in rows.iter_mut().filter(|row| row.is_dirty) {
                        row.is_dirty = false;
                        record.push(side);
                        record.extend(profile_id.to_le_bytes());
                        record.extend(row.ts.to_le_bytes());
                        record.push(row.event_id.len() as u8);
                        record.extend(row.event_id.as_bytes());
                    }
                }
                if record.len() >= CHANGELOG_RECORD_BYTES_MAX {
                    writer.send(CHANGELOG, Some(idx), b"delta", &record)?;
                    record.clear();
                }
            }
            if !record.is_empty() {
                writer.send(CHANGELOG, Some(idx), b"delta", &record)?;
            }
            // Of those that nothing came for.
            profiles.retain(|_, profile| {
                profile.forget(watermark);
                !profile.rights.0.is_empty()
            });
        }
        Ok(())
    }
}

struct Output<'a> {
    writer: &'a mut Writer,
    key: &'a mut Vec<u8>,
    value: &'a mut Vec<u8>,
    n_rows: &'a mut u64,
}

impl Output<'_> {
    fn pair(&mut self, profile_id: i64, left: &str, right: &str, age_ms: i64) -> Result<()> {
        use std::io::Write;
        self.key.clear();
        self.value.clear();
        write!(self.key, "{profile_id}")?;
        // Ids that could be borrowed have no escapes, so they are written as they were read.
        write!(self.value, r#"{{"profile_id":{profile_id},"left_id":"{left}","right_id":"{right}","age_ms":{age_ms}}}"#)?;
        self.writer.send(OUT, None, self.key, self.value)?;
        *self.n_rows += 1;
        Ok(())
    }
}
