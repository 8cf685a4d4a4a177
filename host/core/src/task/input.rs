//! The inputs of a task: records of a source partition, or frames of a shuffle partition, as batches of rows.

use std::sync::Arc;

use crate::{
    column::{RowBuilder, Values},
    frame::{self, Frame},
    json::decode::Projector,
    plan::{EventTimeFrom, FragmentInput, Plan, ShuffleIdx, SourceIdx, SourcePlan},
    record::{END_KEY, Partition, RecordBatch},
    stage::{Batch, Origins},
    time::{EventTime, WallTime, Watermark},
    watermark::{InputMark, SourceClock, Upstreams},
};

/// What became of the records of an input since the pipeline began: `records_in = decoded + dead`. Control records (`__end`,
/// watermarks) are not counted. Of a shuffle, a record is a frame with rows. Part of the state, so a crash changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceCounts {
    pub records_in: u64,
    pub decoded: u64,
    pub dead: u64,
}

/// One input of the task's fragment.
#[derive(Debug)]
pub(super) enum InputState {
    Source(SourceInput),
    Shuffle(ShuffleInput),
}

#[derive(Debug)]
pub(super) struct SourceInput {
    pub source: SourceIdx,
    pub clock: SourceClock,
    pub counts: SourceCounts,
    projector: Projector,
    rows: RowBuilder,
}

#[derive(Debug)]
pub(super) struct ShuffleInput {
    pub shuffle: ShuffleIdx,
    pub upstreams: Upstreams,
    pub counts: SourceCounts,
}

/// What a batch of records holds.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    /// In record order; none is empty.
    pub batches: Vec<Batch>,
    pub dead: Vec<DeadRecord>,
}

/// A record that gave no row.
#[derive(Debug)]
pub(super) struct DeadRecord {
    pub record_idx: usize,
    /// The short code for `reel-reason`.
    pub code: &'static str,
    pub error: String,
}

impl InputState {
    pub fn new(plan: &Plan, input: FragmentInput) -> InputState {
        match input {
            FragmentInput::Source(source) => {
                let SourcePlan { stream, bound_ms, idle_after_ms, .. } = &plan.sources[source];
                let projector = Projector::new(&stream.schema);
                let rows = projector.rows();
                // Wall time is not known yet: the first clock read counts as a sign of life, see `clock_read`.
                let clock = SourceClock::new(*bound_ms, *idle_after_ms, WallTime(i64::MIN));
                InputState::Source(SourceInput { source, clock, counts: SourceCounts::default(), projector, rows })
            }
            FragmentInput::Shuffle(shuffle) => {
                let upstreams = Upstreams::new(plan.n_partitions);
                InputState::Shuffle(ShuffleInput { shuffle, upstreams, counts: SourceCounts::default() })
            }
        }
    }

    /// The first reading of the wall clock since the task began: idleness counts from here.
    pub fn first_clock_read(&mut self, now: WallTime) {
        match self {
            InputState::Source(source) => source.clock.heard(now),
            InputState::Shuffle(_) => {}
        }
    }

    pub fn as_source(&self) -> Option<&SourceInput> {
        if let InputState::Source(source) = self { Some(source) } else { None }
    }

    pub fn as_source_mut(&mut self) -> Option<&mut SourceInput> {
        if let InputState::Source(source) = self { Some(source) } else { None }
    }

    pub fn as_shuffle(&self) -> Option<&ShuffleInput> {
        if let InputState::Shuffle(shuffle) = self { Some(shuffle) } else { None }
    }

    pub fn as_shuffle_mut(&mut self) -> Option<&mut ShuffleInput> {
        if let InputState::Shuffle(shuffle) = self { Some(shuffle) } else { None }
    }

    /// How far this input has come.
    pub fn mark(&self, now: Option<WallTime>) -> InputMark {
        match (self, now) {
            (InputState::Source(source), Some(now)) => source.clock.mark(now),
            (InputState::Source(source), None) => InputMark { watermark: source.clock.watermark(), is_idle: false },
            (InputState::Shuffle(shuffle), _) => shuffle.upstreams.mark(),
        }
    }

    /// Decodes `batch` and moves the input's clock. The rows are still to be judged by the watermark before.
    pub fn decode(&mut self, plan: &Plan, partition: Partition, batch: &Arc<RecordBatch>, now: Option<WallTime>) -> Decoded {
        match self {
            InputState::Source(source) => source.decode(&plan.sources[source.source], partition, batch, now),
            InputState::Shuffle(shuffle) => shuffle.decode(plan, batch),
        }
    }
}

impl SourceInput {
    fn decode(&mut self, plan: &SourcePlan, partition: Partition, batch: &Arc<RecordBatch>, now: Option<WallTime>) -> Decoded {
        let mut decoded = Decoded::default();
        let mut records: Vec<u32> = Vec::with_capacity(batch.len());
        let mut ended = false;
        for (record_idx, record) in batch.iter().enumerate() {
            if record.key == Some(END_KEY) {
                ended = true;
                continue;
            }
            self.counts.records_in += 1;
            let value = record.value.unwrap_or_default();
            let refused = if value.len() > plan.value_bytes_max {
                let error = format!("value has {} bytes, the limit is {}", value.len(), plan.value_bytes_max);
                Some(("too-large", error))
            } else {
                self.projector.decode(value, &mut self.rows).err().map(|error| (error.code(), error.to_string()))
            };
            match refused {
                None => records.push(record_idx as u32),
                Some((code, error)) => decoded.dead.push(DeadRecord { record_idx, code, error }),
            }
        }
        let n_syntax_dead = decoded.dead.len();
        let whole = with_times(plan, batch, self.rows.finish(), &records, &mut decoded.dead);
        if decoded.dead.len() > n_syntax_dead {
            decoded.dead.sort_by_key(|dead| dead.record_idx);
        }
        self.counts.dead += decoded.dead.len() as u64;
        self.counts.decoded += whole.times.len() as u64;
        if let Some(now) = now {
            self.clock.heard(now);
        }
        if let Some(latest) = whole.times.iter().max() {
            self.clock.accepted(*latest);
        }
        if ended {
            self.clock.end();
        }
        if !whole.times.is_empty() {
            let records = whole.kept.iter().map(|row| records[*row as usize]).collect();
            let origins = Origins::Records { topic: plan.topic.clone(), partition, batch: batch.clone(), records };
            decoded.batches.push(Batch { rows: whole.rows, times: whole.times, origins, revisions: None });
        }
        decoded
    }
}

/// Rows whose event time is known and believable.
struct Timed {
    rows: crate::column::Rows,
    times: Vec<EventTime>,
    /// Which of the decoded rows they are.
    kept: Vec<u32>,
}

/// The event times of decoded rows, row `i` from record `records[i]`. Rows without a believable one are left out, and `dead`.
fn with_times(
    plan: &SourcePlan,
    batch: &RecordBatch,
    rows: crate::column::Rows,
    records: &[u32],
    dead: &mut Vec<DeadRecord>,
) -> Timed {
    let (mut times, mut kept) = (Vec::with_capacity(records.len()), Vec::with_capacity(records.len()));
    let field = match plan.event_time {
        EventTimeFrom::LogTimestamp => None,
        EventTimeFrom::Field(column_idx) => match rows.column(column_idx).values() {
            Values::Int(values) => Some(values),
            other => unreachable!("the event time is a required integer, not {other:?}"),
        },
    };
    for (row, record_idx) in records.iter().enumerate() {
        let logged_ms = batch.record(*record_idx as usize).timestamp_ms;
        let ms = field.map_or(logged_ms, |values| values[row]);
        let refused = match EventTime::checked(ms) {
            None => Some(("event-time", format!("event time {ms} is not within {} and {}", EventTime::MIN, EventTime::MAX))),
            Some(_) if ms > logged_ms.saturating_add(plan.future_ms_max) => {
                let ahead_ms = ms.saturating_sub(logged_ms);
                Some((
                    "future",
                    format!("event time {ms} is {ahead_ms} ms after the log's timestamp, the limit is {} ms", plan.future_ms_max),
                ))
            }
            Some(time) => {
                times.push(time);
                kept.push(row as u32);
                None
            }
        };
        if let Some((code, error)) = refused {
            dead.push(DeadRecord { record_idx: *record_idx as usize, code, error });
        }
    }
    let rows = if kept.len() == rows.len() { rows } else { rows.take(&kept) };
    Timed { rows, times, kept }
}

impl ShuffleInput {
    fn decode(&mut self, plan: &Plan, batch: &Arc<RecordBatch>) -> Decoded {
        let schema = &plan.shuffles[self.shuffle].stream.schema;
        let mut decoded = Decoded::default();
        for (record_idx, record) in batch.iter().enumerate() {
            let error = match frame::decode(record.value.unwrap_or_default(), schema) {
                Ok(Frame::Rows { batch, .. }) => {
                    self.counts.records_in += 1;
                    self.counts.decoded += 1;
                    if !batch.is_empty() {
                        decoded.batches.push(batch);
                    }
                    continue;
                }
                Ok(Frame::Watermark { upstream, mark }) => {
                    if self.upstreams.heard(upstream, mark) {
                        continue;
                    }
                    format!("watermark of partition {upstream}, but there are only {}", plan.n_partitions)
                }
                Err(error) => error.to_string(),
            };
            self.counts.records_in += 1;
            self.counts.dead += 1;
            decoded.dead.push(DeadRecord { record_idx, code: "malformed", error });
        }
        decoded
    }
}

impl SourceCounts {
    pub(super) fn totals(&self) -> [u64; 3] {
        [self.records_in, self.decoded, self.dead]
    }

    pub(super) fn of_totals([records_in, decoded, dead]: [u64; 3]) -> SourceCounts {
        SourceCounts { records_in, decoded, dead }
    }
}

/// Whether an input has given all that it will ever give.
pub(super) fn has_ended(mark: InputMark) -> bool {
    mark.watermark == Watermark::END
}
