//! What a task sends away: rows to sinks and shuffles, late records, dead letters; gathered per topic and appended in batches.

use std::sync::Arc;

use crate::{
    column::Value,
    format::writer::SinkFormat,
    frame,
    json::encode,
    letter::{Place, call::Function, name, words},
    plan::{FragmentIdx, Plan, ShuffleIdx, ShufflePlan, ShuffleTo, SinkIdx, StageIdx},
    plugin::PluginFault,
    record::{Header, Outgoing, Partition, Record, RecordBatch, partition_of},
    schema::Schema,
    stage::{Batch, DeadReason, DeadRows, LateRows, Origins, RowsOf, aggregate::combine::MadeBy},
    task::{Effect, Stamps, input::DeadRecord, versions::Versions},
    time::{WallTime, Watermark},
    watermark::InputMark,
};

/// A topic's outputs are appended at the end of an input, or when they are longer than this.
const APPEND_BYTES: usize = 1 << 20;

/// The outputs of one task, on their way.
#[derive(Debug)]
pub(super) struct Outputs {
    plan: Arc<Plan>,
    partition: Partition,
    /// One for each sink of the plan.
    sinks: Vec<Outgoing>,
    /// One for each shuffle of the plan.
    shuffles: Vec<Outgoing>,
    /// One for each stage of the plan that knows lateness.
    late: Vec<Option<Outgoing>>,
    dead: Outgoing,
    names: HeaderNames,
    stamps: Arc<Stamps>,
    /// Where a value is written before it is copied into its batch.
    scratch: Vec<u8>,
}

/// The names of the headers of dead letters, shared by all of them.
#[derive(Debug)]
struct HeaderNames {
    pipeline: Arc<str>,
    source: Arc<str>,
    stage: Arc<str>,
    reason: Arc<str>,
    code: Arc<str>,
    error: Arc<str>,
    backtrace: Arc<str>,
    call: Arc<str>,
    topic: Arc<str>,
    partition: Arc<str>,
    offset: Arc<str>,
    timestamp: Arc<str>,
}

/// Rows that go to partitions by some of their columns.
struct Keyed<'a> {
    schema: &'a Schema,
    key: &'a [usize],
    batch: &'a Batch,
    marks: &'a [Watermark],
}

impl Outputs {
    pub fn new(plan: Arc<Plan>, partition: Partition) -> Outputs {
        let outgoing = |topic: &Arc<str>| Outgoing::new(topic.clone());
        let names = HeaderNames {
            pipeline: name::PIPELINE.into(),
            source: name::SOURCE.into(),
            stage: name::STAGE.into(),
            reason: name::REASON.into(),
            code: name::CODE.into(),
            error: name::ERROR.into(),
            backtrace: name::BACKTRACE.into(),
            call: name::CALL.into(),
            topic: name::TOPIC.into(),
            partition: name::PARTITION.into(),
            offset: name::OFFSET.into(),
            timestamp: name::TIMESTAMP.into(),
        };
        Outputs {
            partition,
            sinks: plan.sinks.iter().map(|sink| outgoing(&sink.topic)).collect(),
            shuffles: plan.shuffles.iter().map(|shuffle| outgoing(&shuffle.topic)).collect(),
            late: plan.stages.iter().map(|stage| stage.late_topic.as_ref().map(outgoing)).collect(),
            dead: outgoing(&plan.dead_letter_topic),
            names,
            stamps: Arc::default(),
            scratch: Vec::new(),
            plan,
        }
    }

    /// From now on the records of sinks and dead letters have these headers.
    pub fn stamp(&mut self, stamps: Arc<Stamps>) {
        for (outgoing, headers) in self.sinks.iter_mut().zip(&stamps.sinks) {
            assert!(outgoing.is_empty(), "what was emitted is flushed at the end of an epoch");
            *outgoing = Outgoing::with_headers(outgoing.topic.clone(), headers.clone());
        }
        self.stamps = stamps;
    }

    /// Writes rows to a sink: a value each, or frames for rows that become files.
    pub fn sink(&mut self, sink: SinkIdx, batch: &Batch, now: Option<WallTime>, effects: &mut Vec<Effect>) {
        let plan = &self.plan.sinks[sink];
        let outgoing = &mut self.sinks[sink];
        if plan.files.is_some() {
            // Files have no lateness.
            let (digest, marks) = (plan.rows_digest(), vec![Watermark::UNKNOWN; batch.len()]);
            for frame in frame::encode_rows(batch, &marks, self.partition) {
                outgoing.push(self.partition, wall_ms(now), Some(&digest), Some(&frame), &[]);
            }
            append_if(outgoing, APPEND_BYTES, effects);
            return;
        }
        for row in 0..batch.len() {
            let key = encode::key(&plan.schema, &batch.rows, &plan.key, row);
            // Rows without a key stay together, and so in order.
            let partition = key.as_ref().map_or(self.partition % plan.n_partitions, |key| partition_of(key, plan.n_partitions));
            let revision = batch.revisions.as_ref().map(|all| all[row]);
            let is_tombstone = |column: usize| batch.rows.column(column).at(row) == Value::Bool(true);
            self.scratch.clear();
            let value = if plan.tombstone.is_some_and(is_tombstone) {
                None
            } else {
                match &plan.format {
                    SinkFormat::Json => encode::row(&plan.schema, &batch.rows, row, revision, &mut self.scratch),
                    SinkFormat::Binary(writer) => writer.write(&batch.rows, row, revision, &mut self.scratch),
                }
                Some(&self.scratch[..])
            };
            outgoing.push(partition, batch.times[row].0, key.as_deref(), value, &[]);
        }
        append_if(outgoing, APPEND_BYTES, effects);
    }

    /// Sends rows through a shuffle: a frame for each partition that some of them belong to, or all of them for each partition.
    ///
    /// The partition is the one in which a producer with Kafka's default partitioner puts a record with this key, so that a shuffled
    /// stream and a topic that was written with the same key can be joined.
    ///
    /// `marks`: for each row, how far what feeds the shuffle had come before it.
    pub fn shuffle(
        &mut self,
        shuffle: ShuffleIdx,
        batch: &Batch,
        marks: &[Watermark],
        now: Option<WallTime>,
        effects: &mut Vec<Effect>,
    ) {
        let plan = self.plan.clone();
        let ShufflePlan { to, stream, .. } = &plan.shuffles[shuffle];
        let upstream = self.partition;
        match to {
            ShuffleTo::Key(key) => {
                let rows = Keyed { schema: &stream.schema, key, batch, marks };
                self.spread(shuffle, rows, now, |batch, marks| frame::encode_rows(batch, marks, upstream));
            }
            ShuffleTo::Everyone => {
                let outgoing = &mut self.shuffles[shuffle];
                for frame in frame::encode_rows(batch, marks, upstream) {
                    (0..plan.n_partitions).for_each(|to| outgoing.push(to, wall_ms(now), None, Some(&frame), &[]));
                }
            }
        }
        append_if(&mut self.shuffles[shuffle], APPEND_BYTES, effects);
    }

    /// Sends states to which rows were added through a shuffle, each to the partition of its key.
    pub fn partials(
        &mut self,
        shuffle: ShuffleIdx,
        batch: &Batch,
        marks: &[Watermark],
        made: &MadeBy,
        now: Option<WallTime>,
        effects: &mut Vec<Effect>,
    ) {
        let (_, schema) = self.plan.partials_for(shuffle).expect("the stage behind it takes them");
        let (key, upstream): (Vec<usize>, _) = ((0..schema.len() - 1).collect(), self.partition);
        let rows = Keyed { schema: &schema, key: &key, batch, marks };
        self.spread(shuffle, rows, now, |batch, marks| frame::encode_partials(batch, marks, made, upstream));
        append_if(&mut self.shuffles[shuffle], APPEND_BYTES, effects);
    }

    /// Rows in frames, each in the partition of its key.
    fn spread(
        &mut self,
        shuffle: ShuffleIdx,
        rows: Keyed<'_>,
        now: Option<WallTime>,
        frames: impl Fn(&Batch, &[Watermark]) -> Vec<Vec<u8>>,
    ) {
        let Keyed { schema, key, batch, marks } = rows;
        let mut rows_of: Vec<Vec<u32>> = vec![Vec::new(); self.plan.n_partitions as usize];
        for row in 0..batch.len() {
            let key = encode::key(schema, &batch.rows, key, row).unwrap_or_default();
            rows_of[partition_of(&key, self.plan.n_partitions) as usize].push(row as u32);
        }
        for (partition, rows) in rows_of.iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
            let taken: (Batch, Vec<Watermark>);
            let (part, marks) = if rows.len() == batch.len() {
                (batch, marks)
            } else {
                taken = (batch.take(rows), rows.iter().map(|row| marks[*row as usize]).collect());
                (&taken.0, &taken.1[..])
            };
            for frame in frames(part, marks) {
                self.shuffles[shuffle].push(partition as Partition, wall_ms(now), None, Some(&frame), &[]);
            }
        }
    }

    /// Tells every partition of a shuffle how far this task has come. Stands behind the rows that were sent before.
    pub fn shuffle_mark(&mut self, shuffle: ShuffleIdx, mark: InputMark, now: Option<WallTime>) {
        let frame = frame::encode_watermark(mark, self.partition);
        for partition in 0..self.plan.n_partitions {
            self.shuffles[shuffle].push(partition, wall_ms(now), None, Some(&frame), &[]);
        }
    }

    /// Tells them that this task is idle, and how far the others may go without it.
    pub fn shuffle_idle(&mut self, shuffle: ShuffleIdx, watermark: Watermark, until: Watermark, now: Option<WallTime>) {
        let frame = frame::encode_idle(watermark, until, self.partition);
        for partition in 0..self.plan.n_partitions {
            self.shuffles[shuffle].push(partition, wall_ms(now), None, Some(&frame), &[]);
        }
    }

    /// Tells who publishes the files of `sink` how far this task has come. Stands behind the rows that were sent before.
    pub fn files_mark(&mut self, sink: SinkIdx, mark: InputMark, now: Option<WallTime>) {
        let frame = frame::encode_watermark(mark, self.partition);
        self.sinks[sink].push(self.partition, wall_ms(now), None, Some(&frame), &[]);
    }

    /// Writes rows to the late topic of `stage`, if it has one. A row that came from a record keeps its key.
    pub fn late(&mut self, stage: StageIdx, late: &LateRows, effects: &mut Vec<Effect>) {
        let Some(outgoing) = &mut self.late[stage] else { return };
        let plan = &self.plan.stages[stage];
        let schema = &plan.inputs[late.port];
        let partition = self.partition % self.plan.side_partitions;
        for (row, (window, watermark)) in late.windows.iter().zip(&late.watermarks).enumerate() {
            self.scratch.clear();
            encode::late(&plan.name, *window, *watermark, schema, &late.batch.rows, row, &mut self.scratch);
            let key = match &late.batch.origins {
                Origins::Records { batch, records, .. } => batch.record(records[row] as usize).key,
                Origins::Rows => None,
            };
            outgoing.push(partition, late.batch.times[row].0, key, Some(&self.scratch), &[]);
        }
        append_if(outgoing, APPEND_BYTES, effects);
    }

    /// Writes records that gave no row to the dead-letter topic, as they came.
    pub fn dead_records(
        &mut self,
        place: Place<'_>,
        topic: &Arc<str>,
        batch: &RecordBatch,
        dead: &[DeadRecord],
        effects: &mut Vec<Effect>,
    ) {
        for DeadRecord { record_idx, code, error } in dead {
            let record = batch.record(*record_idx);
            let mut headers = record.headers.to_vec();
            self.push_headers(place, code, error, None, &mut headers);
            self.push_origin(topic, self.partition, &record, &mut headers);
            self.push_dead(record.timestamp_ms, record.key, record.value, &headers);
        }
        append_if(&mut self.dead, APPEND_BYTES, effects);
    }

    /// Writes rows that a stage gave up to the dead-letter topic: the records they came from, or the rows themselves as JSON. `versions`:
    /// those of the stage's state.
    pub fn dead_rows(&mut self, stage: StageIdx, dead: &DeadRows, versions: &Versions, effects: &mut Vec<Effect>) {
        let plan = self.plan.clone();
        let place = Place::Stage(&plan.stages[stage].name);
        for (row, reason) in dead.reasons.iter().enumerate() {
            let (code, error, reject_code) = words(reason);
            let mut headers = Vec::new();
            let call = dead.calls.get(row).and_then(Option::as_deref);
            let call = |value: Option<&[u8]>| -> Option<Header> {
                let call = match (call?.clone(), versions.plugin()) {
                    (call, Some(state)) => call.named(state, versions.kept(), value.map_or(0, <[u8]>::len)),
                    (call, None) if call.function == Function::PairRight => call,
                    // Whose states they were nobody could say.
                    (_, None) => return None,
                };
                Some((self.names.call.clone(), call.encode()))
            };
            match &dead.batch.origins {
                Origins::Records { topic, partition, batch, records } => {
                    let record = batch.record(records[row] as usize);
                    headers.extend_from_slice(record.headers);
                    self.push_headers(place, code, &error, reject_code, &mut headers);
                    headers.extend(self.made_by(stage, reason));
                    self.push_backtrace(reason, &mut headers);
                    headers.extend(call(record.value));
                    self.push_origin(topic, *partition, &record, &mut headers);
                    self.push_dead(record.timestamp_ms, record.key, record.value, &headers);
                }
                Origins::Rows => {
                    self.push_headers(place, code, &error, reject_code, &mut headers);
                    headers.extend(self.made_by(stage, reason));
                    self.push_timestamp(dead.batch.times[row].0, &mut headers);
                    self.push_backtrace(reason, &mut headers);
                    let value = row_json(&plan, stage, dead, row);
                    headers.extend(call(Some(&value)));
                    self.push_dead(dead.batch.times[row].0, None, Some(&value), &headers);
                }
            }
        }
        append_if(&mut self.dead, APPEND_BYTES, effects);
    }

    /// Appends everything that is left.
    pub fn flush(&mut self, effects: &mut Vec<Effect>) {
        let late = self.late.iter_mut().flatten();
        let all = self.sinks.iter_mut().chain(&mut self.shuffles).chain(late).chain([&mut self.dead]);
        all.for_each(|outgoing| append_if(outgoing, 0, effects));
    }

    fn push_dead(&mut self, timestamp_ms: i64, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header]) {
        self.dead.push(self.partition % self.plan.side_partitions, timestamp_ms, key, value, headers);
    }

    fn push_headers(&self, place: Place<'_>, code: &str, error: &str, reject_code: Option<u32>, to: &mut Vec<Header>) {
        to.push((self.names.pipeline.clone(), self.plan.name.as_bytes().to_vec()));
        to.push(match place {
            Place::Source(name) => (self.names.source.clone(), name.as_bytes().to_vec()),
            Place::Stage(name) => (self.names.stage.clone(), name.as_bytes().to_vec()),
        });
        to.push((self.names.reason.clone(), code.as_bytes().to_vec()));
        if let Some(code) = reject_code {
            to.push((self.names.code.clone(), code.to_string().into_bytes()));
        }
        to.push((self.names.error.clone(), error.as_bytes().to_vec()));
    }

    /// The plugin of a stage, unless the host itself refused the row.
    fn made_by(&self, stage: StageIdx, reason: &DeadReason) -> Option<Header> {
        let is_of_host = matches!(reason, DeadReason::EventTime(_));
        self.stamps.stages.get(stage).filter(|_| !is_of_host).cloned().flatten()
    }

    /// Where a trap was, for those who mend the plugin: one function a line.
    fn push_backtrace(&self, reason: &DeadReason, to: &mut Vec<Header>) {
        if let DeadReason::Fault(PluginFault::Trap(report)) = reason
            && !report.frames.is_empty()
        {
            to.push((self.names.backtrace.clone(), report.backtrace().into_bytes()));
        }
    }

    fn push_origin(&self, topic: &Arc<str>, partition: Partition, record: &Record<'_>, to: &mut Vec<Header>) {
        to.push((self.names.topic.clone(), topic.as_bytes().to_vec()));
        to.push((self.names.partition.clone(), partition.to_string().into_bytes()));
        to.push((self.names.offset.clone(), record.offset.to_string().into_bytes()));
        self.push_timestamp(record.timestamp_ms, to);
    }

    fn push_timestamp(&self, ms: i64, to: &mut Vec<Header>) {
        to.push((self.names.timestamp.clone(), ms.to_string().into_bytes()));
    }
}

/// The shuffles that lead out of `fragment`.
pub(super) fn shuffles_of(plan: &Plan, fragment: FragmentIdx) -> impl Iterator<Item = ShuffleIdx> + '_ {
    (0..plan.shuffles.len()).filter(move |shuffle| plan.shuffles[*shuffle].from_fragment == fragment)
}

fn append_if(outgoing: &mut Outgoing, n_bytes_min: usize, effects: &mut Vec<Effect>) {
    if !outgoing.is_empty() && outgoing.records.n_bytes() >= n_bytes_min {
        let next = outgoing.next();
        effects.push(Effect::Append(std::mem::replace(outgoing, next)));
    }
}

/// Internal records carry wall time: retention deletes by it, and their event times may be days old, or lie before 1970.
fn wall_ms(now: Option<WallTime>) -> i64 {
    now.map_or(0, |now| now.0)
}

/// A row that a stage gave up, as a JSON object.
pub(super) fn row_json(plan: &Plan, stage: StageIdx, dead: &DeadRows, row: usize) -> Vec<u8> {
    let of_stage = &plan.stages[stage];
    let schema = match dead.of {
        RowsOf::Input(port) => &of_stage.inputs[port],
        RowsOf::Output(output) => &of_stage.outputs[output].schema,
        RowsOf::Key => &of_stage.key_schema().expect("only an aggregate or a process fires by key"),
    };
    let revision = dead.batch.revisions.as_ref().map(|all| all[row]);
    let mut text = Vec::new();
    encode::row(schema, &dead.batch.rows, row, revision, &mut text);
    text
}
