//! Stateful: count per profile while its rows are at most a gap apart; a session is written when the watermark of its partition is past its
//! end. Profiles that changed since the last commit are written to a changelog in the same transaction, so that a restart would find them.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    mem,
};

use anyhow::Result;
use foldhash::fast::FixedState;
use serde::Deserialize;

use crate::{
    Figures, Job,
    client::{self, CHANGELOG_RECORD_BYTES_MAX, Message, Program, Writer},
};

const GAP_MS: i64 = 2_000;
const BOUND_MS: i64 = 2_000;
const OUT: usize = 0;
const CHANGELOG: usize = 1;

#[derive(Deserialize)]
struct Impression {
    event_ts: i64,
    profile_id: i64,
}

struct Session {
    first: i64,
    last: i64,
    count: u64,
    /// Its end when it was queued; each session is queued once.
    queued: i64,
}

#[derive(Default)]
struct Profile {
    /// In no order, seldom more than two.
    sessions: Vec<Session>,
    /// Whether the changelog has yet to hear of it.
    is_dirty: bool,
}

#[derive(Default)]
struct Partition {
    profiles: HashMap<i64, Profile, FixedState>,
    /// (end, profile): when a session may be over.
    queue: BinaryHeap<Reverse<(i64, i64)>>,
    dirty: Vec<i64>,
    max_ts: i64,
}

#[derive(Default)]
struct Sessions {
    partitions: Vec<Partition>,
    rows_out: u64,
    n_late: u64,
    key: Vec<u8>,
    value: Vec<u8>,
}

pub(crate) fn run(job: &Job) -> Result<Figures> {
    let changelog = format!("{}.changelog", job.out);
    let partitions = (0..job.input.partitions).map(|_| Partition::default()).collect();
    let mut sessions = Sessions { partitions, ..Sessions::default() };
    let records_read = client::run(job, &[&job.out, &changelog], &mut sessions)?;
    anyhow::ensure!(sessions.n_late == 0, "{} records came late", sessions.n_late);
    Ok(Figures { records_read, rows_out: sessions.rows_out })
}

impl Program for Sessions {
    fn message(&mut self, message: &Message<'_>, writer: &mut Writer) -> Result<()> {
        let Impression { event_ts, profile_id } = serde_json::from_slice(message.value)?;
        let partition = &mut self.partitions[message.partition as usize];
        if event_ts < partition.max_ts - BOUND_MS {
            self.n_late += 1;
            return Ok(());
        }
        partition.add(event_ts, profile_id);
        if event_ts <= partition.max_ts {
            return Ok(());
        }
        partition.max_ts = event_ts;
        self.close_due(message.partition, event_ts - BOUND_MS, writer)
    }

    fn end(&mut self, partition: i32, writer: &mut Writer) -> Result<()> {
        self.close_due(partition, i64::MAX, writer)
    }

    fn seal(&mut self, writer: &mut Writer) -> Result<()> {
        for (idx, partition) in (0..).zip(&mut self.partitions) {
            let mut record = Vec::new();
            for profile_id in partition.dirty.drain(..) {
                let Some(profile) = partition.profiles.get_mut(&profile_id) else { continue };
                profile.is_dirty = false;
                record.extend(profile_id.to_le_bytes());
                record.extend((profile.sessions.len() as u32).to_le_bytes());
                for Session { first, last, count, .. } in &profile.sessions {
                    record.extend(first.to_le_bytes());
                    record.extend(last.to_le_bytes());
                    record.extend(count.to_le_bytes());
                }
                if profile.sessions.is_empty() {
                    partition.profiles.remove(&profile_id);
                }
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

impl Partition {
    fn add(&mut self, ts: i64, profile_id: i64) {
        let profile = self.profiles.entry(profile_id).or_default();
        if !mem::replace(&mut profile.is_dirty, true) {
            self.dirty.push(profile_id);
        }
        let sessions = &mut profile.sessions;
        let touches = |session: &Session| session.first - GAP_MS <= ts && ts <= session.last + GAP_MS;
        let Some(idx) = sessions.iter().position(touches) else {
            let end = ts + GAP_MS;
            sessions.push(Session { first: ts, last: ts, count: 1, queued: end });
            self.queue.push(Reverse((end, profile_id)));
            return;
        };
        // A row between two sessions makes them one; what was queued for the second one will find nothing.
        let second = sessions[idx + 1..].iter().position(touches).map(|behind| sessions.swap_remove(idx + 1 + behind));
        let session = &mut sessions[idx];
        session.count += 1;
        (session.first, session.last) = (session.first.min(ts), session.last.max(ts));
        if let Some(second) = second {
            session.count += second.count;
            (session.first, session.last) = (session.first.min(second.first), session.last.max(second.last));
        }
    }

    /// The next session that is over, with its profile.
    fn close_next(&mut self, watermark: i64) -> Option<(i64, Session)> {
        while let Some(Reverse((end, profile_id))) = self.queue.peek().copied().filter(|Reverse((end, _))| *end < watermark) {
            self.queue.pop();
            let Some(profile) = self.profiles.get_mut(&profile_id) else { continue };
            let Some(idx) = profile.sessions.iter().position(|session| session.queued == end) else { continue };
            let session = &mut profile.sessions[idx];
            if session.last + GAP_MS > end {
                session.queued = session.last + GAP_MS;
                self.queue.push(Reverse((session.queued, profile_id)));
                continue;
            }
            if !mem::replace(&mut profile.is_dirty, true) {
                self.dirty.push(profile_id);
            }
            return Some((profile_id, profile.sessions.swap_remove(idx)));
        }
        None
    }
}

impl Sessions {
    fn close_due(&mut self, partition: i32, watermark: i64, writer: &mut Writer) -> Result<()> {
        use std::io::Write;
        while let Some((profile_id, session)) = self.partitions[partition as usize].close_next(watermark) {
            let Session { first, count, .. } = session;
            self.key.clear();
            self.value.clear();
            write!(self.key, "{profile_id}")?;
            write!(self.value, r#"{{"key":{profile_id},"w_start":{first},"count":{count}}}"#)?;
            writer.send(OUT, None, &self.key, &self.value)?;
            self.rows_out += 1;
        }
        Ok(())
    }
}
