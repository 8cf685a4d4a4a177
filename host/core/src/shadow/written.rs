//! What a task writes, row by row: frames are opened, so that rows of a shuffle or of files are compared like records.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    frame::{self, CombinedFrame, Frame},
    json::encode,
    letter::name,
    plan::{Plan, ShuffleIdx, ShuffleTo, SinkIdx, StageIdx},
    record::{Header, Outgoing, Record},
    schema::Schema,
    stage::Batch,
};

/// Where a task writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outlet {
    Sink(SinkIdx),
    /// Rows on their way to another key.
    Shuffle(ShuffleIdx),
    /// Rows that came too late for a stage.
    Late(StageIdx),
    DeadLetters,
}

/// One row or record that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub at: Outlet,
    /// As a record's key is written.
    pub key: Option<Vec<u8>>,
    /// The record's log timestamp, which is the event time of rows.
    pub time_ms: i64,
    /// Of a dead letter: what it says, but for the places in the plugin's code.
    pub headers: Vec<Header>,
    /// JSON, but of dead letters. `None`: a tombstone.
    pub value: Option<Vec<u8>>,
}

/// The outlets of a plan by their topics.
#[derive(Clone, Debug)]
pub struct Outlets {
    plan: Arc<Plan>,
    by_topic: BTreeMap<Arc<str>, Outlet>,
}

impl Outlets {
    pub fn of(plan: &Arc<Plan>) -> Outlets {
        let mut by_topic = BTreeMap::new();
        by_topic.insert(plan.dead_letter_topic.clone(), Outlet::DeadLetters);
        for (idx, stage) in plan.stages.iter().enumerate() {
            by_topic.extend(stage.late_topic.iter().map(|topic| (topic.clone(), Outlet::Late(idx))));
        }
        by_topic.extend(plan.shuffles.iter().enumerate().map(|(idx, shuffle)| (shuffle.topic.clone(), Outlet::Shuffle(idx))));
        by_topic.extend(plan.sinks.iter().enumerate().map(|(idx, sink)| (sink.topic.clone(), Outlet::Sink(idx))));
        Outlets { plan: plan.clone(), by_topic }
    }

    /// Where records of `topic` go, which a task of the plan has written.
    pub fn outlet(&self, topic: &str) -> Outlet {
        *self.by_topic.get(topic).expect("a task writes to the topics of its plan")
    }

    /// Gives `each` what a record of `outgoing` says: one row, those of a frame, or none where it tells how far a task has come.
    pub fn rows(&self, outgoing: &Outgoing, record_idx: usize, each: &mut dyn FnMut(Written)) {
        let record = outgoing.records.record(record_idx);
        let at = self.outlet(&outgoing.topic);
        let Some((schema, key)) = self.of_frames(at) else { return each(of_record(at, &record)) };
        let Some(Opened { batch, partials }) = self.frame(outgoing, record_idx, schema) else { return };
        // The key of a partial state stands in front of it.
        let of_partials = partials.map(|schema| ((0..schema.len() - 1).collect::<Vec<usize>>(), schema));
        let (key, schema) = of_partials.as_ref().map_or((key, schema), |(key, schema)| (&key[..], schema));
        for row in 0..batch.len() {
            let mut value = Vec::new();
            let revision = batch.revisions.as_ref().map(|all| all[row]);
            encode::row(schema, &batch.rows, row, revision, &mut value);
            let key = encode::key(schema, &batch.rows, key, row);
            each(Written { at, key, time_ms: batch.times[row].0, headers: Vec::new(), value: Some(value) });
        }
    }

    /// How many rows [`Outlets::rows`] gives.
    pub fn n_rows(&self, outgoing: &Outgoing, record_idx: usize) -> u64 {
        match self.of_frames(self.outlet(&outgoing.topic)) {
            None => 1,
            Some((schema, _)) => self.frame(outgoing, record_idx, schema).map_or(0, |opened| opened.batch.len() as u64),
        }
    }

    /// The fields of the rows that go to `at` in frames, and which of them are their key. `None`: it gets a record for each row.
    fn of_frames(&self, at: Outlet) -> Option<(&Schema, &[usize])> {
        match at {
            Outlet::Sink(idx) => {
                let sink = &self.plan.sinks[idx];
                sink.files.as_ref().map(|_| (&sink.schema, &sink.key[..]))
            }
            Outlet::Shuffle(idx) => {
                let shuffle = &self.plan.shuffles[idx];
                let key = match &shuffle.to {
                    ShuffleTo::Key(key) => &key[..],
                    ShuffleTo::Everyone => &[],
                };
                Some((&shuffle.stream.schema, key))
            }
            Outlet::Late(_) | Outlet::DeadLetters => None,
        }
    }

    /// The rows in a frame. Rows for everyone are written to all partitions, and count once.
    fn frame(&self, outgoing: &Outgoing, record_idx: usize, schema: &Schema) -> Option<Opened> {
        if let Outlet::Shuffle(idx) = self.outlet(&outgoing.topic)
            && self.plan.shuffles[idx].to == ShuffleTo::Everyone
            && outgoing.partitions[record_idx] != 0
        {
            return None;
        }
        let value = outgoing.records.record(record_idx).value.expect("a frame is a value");
        let partials = match self.outlet(&outgoing.topic) {
            Outlet::Shuffle(idx) => self.plan.partials_for(idx).map(|(_, schema)| schema),
            Outlet::Sink(_) | Outlet::Late(_) | Outlet::DeadLetters => None,
        };
        match frame::decode_combined(value, schema, partials.as_ref()).expect("a task has just written this frame") {
            CombinedFrame::Plain(Frame::Rows { batch, .. }) => Some(Opened { batch, partials: None }),
            CombinedFrame::Partials { batch, .. } => Some(Opened { batch, partials }),
            CombinedFrame::Plain(Frame::Watermark { .. }) | CombinedFrame::Idle { .. } => None,
        }
    }
}

/// What a frame holds.
struct Opened {
    batch: Batch,
    /// The fields of partial states, if it holds those.
    partials: Option<Schema>,
}

fn of_record(at: Outlet, record: &Record<'_>) -> Written {
    // Where code trapped is another place in every build.
    let is_told = |(header, _): &&Header| **header != *name::BACKTRACE;
    let headers = record.headers.iter().filter(is_told).cloned().collect();
    let owned = |bytes: &[u8]| bytes.to_vec();
    Written { at, key: record.key.map(owned), time_ms: record.timestamp_ms, headers, value: record.value.map(owned) }
}
