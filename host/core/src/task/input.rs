//! The inputs of a task: records of a source partition, or frames of a shuffle partition, as batches of rows.

use std::sync::Arc;

use crate::{
    column::{Bitmap, Column, RowBuilder, Rows, Value, Values},
    format::{FormatError, decoder::Decoder},
    frame::{self, CombinedFrame, Frame},
    json::{decode::DecodeError, record_key::KeyValues},
    plan::{EventTimeFrom, FragmentInput, Plan, ShuffleIdx, SourceIdx, SourcePlan, TablePlan},
    record::{END_KEY, Partition, Record, RecordBatch, WATERMARK_KEY},
    schema::FieldType,
    stage::{Batch, Origins, aggregate::combine::MadeBy},
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

impl SourceCounts {
    /// Whether every record that came has exactly one fate. Anything else is a bug.
    pub fn is_balanced(&self) -> bool {
        self.records_in == self.decoded + self.dead
    }
}

/// One input of the task's fragment.
#[derive(Debug)]
pub(super) enum InputState {
    Source(Box<SourceInput>),
    Shuffle(ShuffleInput),
}

#[derive(Debug)]
pub(super) struct SourceInput {
    pub source: SourceIdx,
    pub clock: SourceClock,
    pub counts: SourceCounts,
    pub decoder: Decoder,
    rows: RowBuilder,
    /// Of a table: for each row whether it deletes its key.
    deleted: Bitmap,
}

#[derive(Debug)]
pub(super) struct ShuffleInput {
    pub shuffle: ShuffleIdx,
    pub upstreams: Upstreams,
    pub counts: SourceCounts,
}

/// Records as they came from the log.
pub(super) struct Delivery<'a> {
    pub partition: Partition,
    pub batch: &'a Arc<RecordBatch>,
    pub now: Option<WallTime>,
}

/// What a batch of records holds.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    /// In record order; none is empty.
    pub arrived: Vec<Arrived>,
    pub dead: Vec<DeadRecord>,
}

/// What came in one batch.
#[derive(Debug)]
pub(super) enum Arrived {
    Rows(Batch),
    /// States to which rows were added before the shuffle.
    Partials(MadeBy, Batch),
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
                let SourcePlan { format, stream, bound_ms, idle_after_ms, table, .. } = &plan.sources[source];
                let decoder = Decoder::new(format, table.as_ref().map_or(&stream.schema, |table| &table.schema));
                let rows = decoder.rows();
                // Wall time is not known yet: the first clock read counts as a sign of life, see `clock_read`.
                let clock = SourceClock::new(*bound_ms, *idle_after_ms, WallTime(i64::MIN));
                let (counts, deleted) = (SourceCounts::default(), Bitmap::default());
                InputState::Source(Box::new(SourceInput { source, clock, counts, decoder, rows, deleted }))
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

    /// Decodes what came on `input`, which this is, and moves its clock.
    pub fn decode(&mut self, plan: &Plan, input: usize, from: &Delivery<'_>) -> Decoded {
        let mut decoded = Decoded::default();
        match self {
            InputState::Source(source) => {
                let rows = source.decode(&plan.sources[source.source], from, &mut decoded.dead);
                decoded.arrived.extend(rows.map(|(batch, marks)| Arrived::Rows(batch.judged_before(input, marks))));
            }
            InputState::Shuffle(shuffle) => shuffle.decode(plan, input, from.batch, &mut decoded),
        }
        decoded
    }
}

impl SourceInput {
    /// The rows, if there are any, each with the partition's watermark from before it.
    fn decode(&mut self, plan: &SourcePlan, from: &Delivery<'_>, dead: &mut Vec<DeadRecord>) -> Option<(Batch, Vec<Watermark>)> {
        let batch = from.batch;
        let mut records: Vec<u32> = Vec::with_capacity(batch.len());
        let mut promises: Vec<(u32, Watermark)> = Vec::new();
        for (record_idx, record) in batch.iter().enumerate() {
            let read = match record.key {
                Some(END_KEY) => Ok(Some(Watermark::END)),
                Some(WATERMARK_KEY) => promised(&record, plan.future_ms_max).map(Some),
                _ => self.row(plan, &record).map(|()| None),
            };
            match read {
                Ok(Some(promise)) => {
                    promises.push((record_idx as u32, promise));
                    continue;
                }
                Ok(None) => records.push(record_idx as u32),
                Err((code, error)) => dead.push(DeadRecord { record_idx, code, error }),
            }
            self.counts.records_in += 1;
        }
        self.decoder.batch_ended();
        let n_syntax_dead = dead.len();
        let deleted = plan.table.as_ref().map(|_| std::mem::take(&mut self.deleted));
        let Timed { rows, times, kept } = with_times(plan, batch, self.rows.finish(), deleted, &records, dead);
        if dead.len() > n_syntax_dead {
            dead.sort_by_key(|dead| dead.record_idx);
        }
        self.counts.dead += dead.len() as u64;
        self.counts.decoded += times.len() as u64;
        if let Some(now) = from.now {
            self.clock.heard(now);
        }
        let records: Vec<u32> = kept.iter().map(|row| records[*row as usize]).collect();
        let marks = self.move_clock(&times, &records, &promises);
        let origins = Origins::Records { topic: plan.topic.clone(), partition: from.partition, batch: batch.clone(), records };
        (!times.is_empty()).then(|| (Batch { origins, ..Batch::made(rows, times, None) }, marks))
    }

    /// Decodes a record. Of a table, one without a value deletes its key.
    fn row(&mut self, plan: &SourcePlan, record: &Record<'_>) -> Result<(), (&'static str, String)> {
        let n_bytes = record.value.unwrap_or_default().len();
        if n_bytes > plan.value_bytes_max {
            return Err(("too-large", format!("value has {n_bytes} bytes, the limit is {}", plan.value_bytes_max)));
        }
        let is_deleted = plan.table.is_some() && record.value.is_none();
        let decoded = match &plan.table {
            Some(table) if is_deleted => {
                push_deleted(table, record.key.unwrap_or_default(), &mut self.rows).map_err(FormatError::from)
            }
            _ => self.decoder.decode(record, &mut self.rows),
        };
        decoded.map_err(|error| (error.code(), error.to_string()))?;
        if plan.table.is_some() {
            self.deleted.push(is_deleted);
        }
        Ok(())
    }

    /// Moves the clock past rows with `times`, row `i` from record `records[i]`, and past what other records promised. Gives the
    /// watermark from before each row.
    fn move_clock(&mut self, times: &[EventTime], records: &[u32], promises: &[(u32, Watermark)]) -> Vec<Watermark> {
        let mut marks = Vec::with_capacity(times.len());
        let mut promises = promises.iter().peekable();
        for (time, record) in times.iter().zip(records) {
            while let Some((_, promise)) = promises.next_if(|(at, _)| at < record) {
                self.clock.promised(*promise);
            }
            marks.push(self.clock.watermark());
            self.clock.accepted(*time);
        }
        promises.for_each(|(_, promise)| self.clock.promised(*promise));
        marks
    }
}

/// What a [`WATERMARK_KEY`] record says.
fn promised(record: &Record<'_>, future_ms_max: i64) -> Result<Watermark, (&'static str, String)> {
    let text = std::str::from_utf8(record.value.unwrap_or_default()).ok();
    let at = text.and_then(|text| text.trim().parse().ok()).and_then(EventTime::checked);
    let Some(at) = at else {
        return Err(("watermark", "the value of a __watermark record must be a decimal number of ms since 1970".to_owned()));
    };
    if at.0 > record.timestamp_ms.saturating_add(future_ms_max) {
        let ahead_ms = at.0.saturating_sub(record.timestamp_ms);
        return Err((
            "future",
            format!("watermark {at} is {ahead_ms} ms after the log's timestamp, the limit is {future_ms_max} ms"),
        ));
    }
    Ok(Watermark(at.0))
}

/// The row of a record of `table` without a value: its key, and null everywhere else.
fn push_deleted(table: &TablePlan, record_key: &[u8], into: &mut RowBuilder) -> Result<(), DecodeError> {
    let types: Vec<FieldType> = table.key.iter().map(|column_idx| table.schema.fields[*column_idx].field_type).collect();
    let values = KeyValues::decode(&types, record_key)?;
    let value = |column_idx| table.key.iter().position(|key| *key == column_idx).map_or(Value::Null, |at| values.at(at));
    into.push((0..table.schema.len()).map(value));
    Ok(())
}

/// Rows whose event time is known and believable.
struct Timed {
    rows: Rows,
    times: Vec<EventTime>,
    /// Which of the decoded rows they are.
    kept: Vec<u32>,
}

/// The event times of decoded rows, row `i` from record `records[i]`. Rows without a believable one are left out, and `dead`. `deleted`:
/// of a table, which rows delete their key; they have the log's time, and the column that says so is added.
fn with_times(
    plan: &SourcePlan,
    batch: &RecordBatch,
    rows: Rows,
    deleted: Option<Bitmap>,
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
        let is_deleted = deleted.as_ref().is_some_and(|deleted| deleted.at(row));
        let ms = field.filter(|_| !is_deleted).map_or(logged_ms, |values| values[row]);
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
    let rows = match deleted {
        None => rows,
        Some(deleted) => {
            let (n_rows, column) = (rows.len(), Column::from_parts(Values::Bool(deleted), None).expect("no nulls"));
            let columns = rows.columns().iter().cloned().chain([column]).collect();
            Rows::new(n_rows, columns).expect("one value for each row")
        }
    };
    let rows = if kept.len() == rows.len() { rows } else { rows.take(&kept) };
    Timed { rows, times, kept }
}

impl ShuffleInput {
    /// The rows of each frame, each with the watermark of all upstream tasks from before it.
    fn decode(&mut self, plan: &Plan, input: usize, batch: &RecordBatch, decoded: &mut Decoded) {
        let schema = &plan.shuffles[self.shuffle].stream.schema;
        let partials = plan.partials_for(self.shuffle).map(|(_, schema)| schema);
        for (record_idx, record) in batch.iter().enumerate() {
            let (upstream, mark, until) =
                match frame::decode_combined(record.value.unwrap_or_default(), schema, partials.as_ref()) {
                    Ok(CombinedFrame::Plain(Frame::Rows { upstream, batch, marks })) => {
                        self.came(input, upstream, batch, marks, Arrived::Rows, decoded);
                        continue;
                    }
                    Ok(CombinedFrame::Partials { upstream, made, batch, marks }) => {
                        self.came(input, upstream, batch, marks, |batch| Arrived::Partials(made, batch), decoded);
                        continue;
                    }
                    Ok(CombinedFrame::Plain(Frame::Watermark { upstream, mark })) => (upstream, mark, Watermark::END),
                    Ok(CombinedFrame::Idle { upstream, watermark, until }) => {
                        (upstream, InputMark { watermark, is_idle: true }, until)
                    }
                    Err(error) => {
                        self.died(record_idx, error.to_string(), decoded);
                        continue;
                    }
                };
            if !self.upstreams.heard_until(upstream, mark, until) {
                let error = format!("watermark of partition {upstream}, but there are only {}", plan.n_partitions);
                self.died(record_idx, error, decoded);
            }
        }
    }

    fn came(
        &mut self,
        input: usize,
        upstream: Partition,
        batch: Batch,
        marks: Vec<Watermark>,
        arrived: impl FnOnce(Batch) -> Arrived,
        decoded: &mut Decoded,
    ) {
        self.counts.records_in += 1;
        self.counts.decoded += 1;
        if !batch.is_empty() {
            let marks = self.upstreams.before(upstream, marks);
            decoded.arrived.push(arrived(batch.judged_before(input, marks)));
        }
    }

    fn died(&mut self, record_idx: usize, error: String, decoded: &mut Decoded) {
        self.counts.records_in += 1;
        self.counts.dead += 1;
        decoded.dead.push(DeadRecord { record_idx, code: "malformed", error });
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
