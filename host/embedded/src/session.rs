//! One member of a group on the embedded log: its partitions, its reading positions and its open transaction.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use reelflow_core::record::{Offset, Outgoing, RecordBatch};
use reelflow_ports::{
    group::Life,
    log::{Appended, Commit, Fetched, LogError, MemberSpec, Polled, Session, TopicPartition},
};

use crate::{
    log::{Prepared, READ_BYTES, check_sizes},
    shared::{Inner, Shared},
};

/// A waiting member looks up at least so often: a sign of life for its group.
const HEARTBEAT: Duration = Duration::from_millis(200);

pub(crate) struct EmbeddedSession {
    shared: Arc<Shared>,
    group: Arc<str>,
    member: Arc<str>,
    life: Life,
    /// What is read, empty before `start` and after `give_up`.
    reading: BTreeMap<TopicPartition, Reading>,
    open: Open,
}

struct Reading {
    next: Offset,
    paused: bool,
    /// The end was reported at this position.
    told_end: Option<Offset>,
}

/// The open transaction.
#[derive(Default)]
struct Open {
    lists: Vec<Outgoing>,
    /// Which of `lists` are deltas.
    deltas: Vec<usize>,
    prepared: Option<Prepared>,
    commits: Vec<Commit>,
}

/// What there is to read, decided under the lock and done without it.
struct Due {
    at: TopicPartition,
    id: u32,
    from: Offset,
    to: Offset,
}

impl EmbeddedSession {
    pub(crate) fn new(shared: Arc<Shared>, spec: &MemberSpec, life: Life) -> EmbeddedSession {
        EmbeddedSession {
            shared,
            group: spec.group.clone(),
            member: spec.member.clone(),
            life,
            reading: BTreeMap::new(),
            open: Open::default(),
        }
    }

    /// What has records, or a new end to tell.
    fn due(&self, inner: &mut Inner) -> Result<Vec<Due>, LogError> {
        let mut due = Vec::new();
        for (at, reading) in self.reading.iter().filter(|(_, reading)| !reading.paused) {
            let (id, part) = inner.part(&at.topic, at.partition)?;
            let (earliest, end) = (part.bounds.earliest, part.stable_end());
            if reading.next < earliest || reading.next > end {
                return Err(LogError::OffsetLost { at: at.clone(), wanted: reading.next, earliest, end });
            }
            if reading.next < end || reading.told_end != Some(end) {
                due.push(Due { at: at.clone(), id, from: reading.next, to: end });
            }
        }
        Ok(due)
    }

    fn fetch(&mut self, due: Vec<Due>) -> Result<Polled, LogError> {
        let mut fetched = Vec::with_capacity(due.len());
        for Due { at, id, from, to } in due {
            let mut batch = RecordBatch::default();
            self.shared.store.read(id, at.partition, (from, to), READ_BYTES, &mut batch)?;
            // Without a record up to the end, only the offsets of aborted transactions are left.
            let read_all = batch.n_bytes() < READ_BYTES;
            let after_last = batch.len().checked_sub(1).map(|idx| batch.record(idx).offset + 1);
            let next = if read_all { to } else { after_last.unwrap_or(to) };
            let reading = self.reading.get_mut(&at).expect("only what is read is due");
            reading.next = next;
            let at_end = next == to;
            reading.told_end = at_end.then_some(next);
            fetched.push(Fetched { at, batch: Arc::new(batch), next, at_end });
        }
        Ok(Polled::Fetched(fetched))
    }

    fn lists(&mut self) -> Result<&mut Open, LogError> {
        match self.open.prepared {
            Some(_) => Err(LogError::Refused("records were appended after the transaction was drained".to_owned())),
            None => Ok(&mut self.open),
        }
    }
}

impl Session for EmbeddedSession {
    fn poll(&mut self, wait: Duration) -> Result<Polled, LogError> {
        let deadline = Instant::now() + wait;
        let shared = self.shared.clone();
        let mut inner = shared.lock();
        loop {
            let now_ms = shared.now_ms();
            let news = inner.with_group(&self.group, |group, counts| group.poll(&self.member, self.life, now_ms, counts))?;
            if let Some(news) = news {
                drop(inner);
                shared.news.notify_all();
                return Ok(news);
            }
            let due = self.due(&mut inner)?;
            if !due.is_empty() {
                drop(inner);
                return self.fetch(due);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Polled::Idle);
            }
            (inner, _) = shared.news.wait_timeout(inner, left.min(HEARTBEAT)).expect("no thread panics while it holds the lock");
        }
    }

    fn start(&mut self, positions: &[(TopicPartition, Offset)]) -> Result<(), LogError> {
        let reading = |next: &Offset| Reading { next: *next, paused: false, told_end: None };
        self.reading = positions.iter().map(|(at, next)| (at.clone(), reading(next))).collect();
        Ok(())
    }

    fn give_up(&mut self) -> Result<(), LogError> {
        self.reading.clear();
        self.abort()?;
        let mut inner = self.shared.lock();
        let now_ms = self.shared.now_ms();
        inner.with_group(&self.group, |group, counts| group.give_up(&self.member, self.life, now_ms, counts))?;
        self.shared.news.notify_all();
        Ok(())
    }

    fn pause(&mut self, at: &TopicPartition, paused: bool) -> Result<(), LogError> {
        let reading = self.reading.get_mut(at).ok_or_else(|| LogError::Refused(format!("{at} is not read by this member")))?;
        reading.paused = paused;
        Ok(())
    }

    fn append(&mut self, records: &Outgoing) -> Result<(), LogError> {
        check_sizes(records)?;
        self.lists()?.lists.push(records.clone());
        Ok(())
    }

    fn append_deltas(&mut self, deltas: &Outgoing) -> Result<(), LogError> {
        check_sizes(deltas)?;
        let open = self.lists()?;
        open.deltas.push(open.lists.len());
        open.lists.push(deltas.clone());
        Ok(())
    }

    fn drain(&mut self) -> Result<Vec<Appended>, LogError> {
        if self.open.prepared.is_none() {
            let mut prepared = Prepared::begin(&self.shared);
            let reserved = prepared.reserve(&self.shared, &self.open.lists);
            if let Err(why) = reserved {
                prepared.abort(&self.shared);
                return Err(why);
            }
            self.open.prepared = Some(prepared);
        }
        let prepared = self.open.prepared.as_ref().expect("it was just made");
        let of_list = |list_idx: &usize| prepared.appended(*list_idx, &self.open.lists[*list_idx]);
        Ok(self.open.deltas.iter().flat_map(of_list).collect())
    }

    fn add_offsets(&mut self, commits: &[Commit]) -> Result<(), LogError> {
        self.open.commits.extend_from_slice(commits);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), LogError> {
        self.drain()?;
        let open = std::mem::take(&mut self.open);
        let prepared = open.prepared.expect("drain prepares");
        let may = |inner: &mut Inner| inner.with_group(&self.group, |group, _| group.may_commit(&self.member, self.life));
        prepared.commit(&self.shared, &open.lists, Some((&self.group, &open.commits)), &may)
    }

    fn abort(&mut self) -> Result<(), LogError> {
        if let Some(prepared) = std::mem::take(&mut self.open).prepared {
            prepared.abort(&self.shared);
        }
        Ok(())
    }

    fn leave(mut self: Box<Self>) -> Result<(), LogError> {
        self.reading.clear();
        self.abort()?;
        let mut inner = self.shared.lock();
        let now_ms = self.shared.now_ms();
        inner.with_group(&self.group, |group, counts| group.leave(&self.member, self.life, now_ms, counts));
        self.shared.news.notify_all();
        Ok(())
    }
}

impl Drop for EmbeddedSession {
    /// A session that ends without `leave` is a crash to its group, but its promised offsets must not hold readers back.
    fn drop(&mut self) {
        if let Some(prepared) = self.open.prepared.take() {
            prepared.abort(&self.shared);
        }
    }
}
