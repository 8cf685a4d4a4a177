//! A pipeline that is known to be valid: names resolved to indices, fields to columns, the DAG cut into fragments.
//!
//! `reelflow-config` makes a [`Plan`] from a manifest and the declarations of its plugins; the core only reads it. All indices
//! point into the lists of the plan they stand in. Stages are in topological order.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    format::{SourceFormat, writer::SinkFormat},
    plugin::StateVersion,
    record::Offset,
    schema::{Field, FieldType, Schema},
};

mod combined;
mod difference;
mod failing;
mod files;
mod joins;
mod kinds;
mod windows;

pub use difference::{Difference, StreamOf};
pub use failing::{DeadlineRetry, ErrorsMax, Failing, OnError};
pub use joins::{JoinKind, Matching};
pub use windows::{GlobalWindow, SessionCuts, WindowSpec};

pub type SourceIdx = usize;
pub type StageIdx = usize;
pub type SinkIdx = usize;
pub type ShuffleIdx = usize;
pub type PluginIdx = usize;
pub type FragmentIdx = usize;

#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The pipeline's name; internal topics are called `reel.<name>.…`.
    pub name: Arc<str>,
    /// How many partitions every source and internal topic of this pipeline has, and so how many tasks each fragment.
    pub n_partitions: u32,
    pub sources: Vec<SourcePlan>,
    pub stages: Vec<StagePlan>,
    pub shuffles: Vec<ShufflePlan>,
    pub sinks: Vec<SinkPlan>,
    /// Stages connected without a change of key, in topological order.
    pub fragments: Vec<FragmentPlan>,
    /// Where refused records go.
    pub dead_letter_topic: Arc<str>,
    /// Partition counts of the dead-letter and late topics; records keep the partition number of their task modulo this.
    pub side_partitions: u32,
    /// Where state changes go: `reel.<name>.changelog`.
    pub changelog_topic: Arc<str>,
    /// Stages that shall begin anew: state from before the record of the control topic at this offset is forgotten when it is read. Not of the
    /// manifest: somebody asked for it ([`crate::upgrade`]).
    pub resets: BTreeMap<StageIdx, Offset>,
}

/// Who reads the rows of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consumer {
    /// Input `port` of a stage of the same fragment: 0; or 0 = left and 1 = right of a join; or 0 = rows and 1 = table of a lookup; or which
    /// stream of a union.
    Stage {
        stage: StageIdx,
        port: usize,
    },
    /// The internal topic that leads to another fragment.
    Shuffle(ShuffleIdx),
    Sink(SinkIdx),
}

/// The rows that a source, a shuffle or one output of a stage gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    pub schema: Schema,
    pub consumers: Vec<Consumer>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SourcePlan {
    pub name: Arc<str>,
    pub topic: Arc<str>,
    pub fragment: FragmentIdx,
    pub format: SourceFormat,
    /// The decoded fields: all that anything downstream reads, and nothing else.
    pub stream: Stream,
    pub event_time: EventTimeFrom,
    /// The disorder bound: watermark = greatest accepted event time − this, in ms.
    pub bound_ms: i64,
    /// After this many ms of wall time without a record, a partition no longer holds the watermark back.
    pub idle_after_ms: i64,
    /// A record whose event time is more than this many ms after its log timestamp is dead-lettered and moves no watermark.
    pub future_ms_max: i64,
    /// A longer value is dead-lettered.
    pub value_bytes_max: usize,
    /// Of a table: how its records are read. Its stream has the columns of [`TablePlan::stream_schema`].
    pub table: Option<TablePlan>,
}

/// A source whose records are versions: each says what is known of a key from its event time on, one without a value that nothing is.
#[derive(Clone, Debug, PartialEq)]
pub struct TablePlan {
    /// What a record with a value holds.
    pub schema: Schema,
    /// The columns that identify what a version is of, in the order of the record key.
    pub key: Vec<usize>,
}

impl TablePlan {
    /// Name of the column that says that a key was deleted. No field of a record can be called so in a manifest.
    pub const DELETED: &str = "@deleted";

    /// The columns of the table's stream: those of its records, null but for the key where the key was deleted, and
    /// [`TablePlan::DELETED`] behind them.
    pub fn stream_schema(&self) -> Schema {
        let in_stream =
            |(at, field): (usize, &Field)| Field { required: field.required && self.key.contains(&at), ..field.clone() };
        let mut fields: Vec<Field> = self.schema.fields.iter().enumerate().map(in_stream).collect();
        let name = TablePlan::DELETED.to_owned();
        fields.push(Field { path: name.clone(), name, field_type: FieldType::Bool, required: true });
        Schema { fields }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventTimeFrom {
    /// Column of the source's schema: ms since 1970, a required [`crate::schema::FieldType::Int`].
    Field(usize),
    /// The log's record timestamp.
    LogTimestamp,
}

#[derive(Clone, Debug, PartialEq)]
pub struct StagePlan {
    pub name: Arc<str>,
    pub fragment: FragmentIdx,
    /// Schema of each input port.
    pub inputs: Vec<Schema>,
    /// Of a stage that reads several streams as one: for each stream which of its columns each column of `inputs[0]` is, or `None`
    /// where it has none and the rows are null. Consumers then give the place in this list as their port, and what the stage sees
    /// comes on port 0. Empty: each port is one stream with the port's columns.
    pub union: Vec<Vec<Option<usize>>>,
    pub kind: StageKind,
    /// What the plugin declares of its state, if it has one.
    pub state: Option<StateVersion>,
    pub outputs: Vec<Stream>,
    /// Another event time than the kind of stage gives its rows.
    pub retime: Option<Retime>,
    pub failing: Failing,
    /// `late.<stage>`, for stages that know lateness.
    pub late_topic: Option<Arc<str>>,
}

/// Rows that a stage emits get their event time from one of their columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retime {
    /// Of each output: which column it is, a required [`FieldType::Int`] with ms since 1970.
    pub columns: Vec<usize>,
    /// How far it may lie before the event time that the row had, in ms. Rows further back are dead letters.
    pub behind_ms: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum StageKind {
    Transform {
        plugin: PluginIdx,
        /// The input columns that the plugin reads, in its order.
        columns: Vec<usize>,
    },
    Dedup {
        /// The input column that identifies a record.
        id: usize,
        /// The id of a record is kept until the job-wide watermark is greater than its event time plus this.
        horizon_ms: i64,
    },
    Aggregate {
        plugin: PluginIdx,
        columns: Vec<usize>,
        /// The input columns that form the group key.
        key: Vec<usize>,
        window: WindowSpec,
        lateness_ms: i64,
        emission: Emission,
        /// After so much wall time, again and again, what changed is told of windows that have not ended; with [`Emission::Upsert`] and
        /// windows of fixed size.
        early_ms: Option<i64>,
    },
    Join {
        plugin: PluginIdx,
        left_columns: Vec<usize>,
        right_columns: Vec<usize>,
        left_key: Vec<usize>,
        right_key: Vec<usize>,
        matching: Matching,
        /// Among right rows of the same time the one with the greatest value in this column wins; of [`Matching::LatestBefore`].
        tie: Option<usize>,
        /// Inner or left with [`Matching::LatestBefore`].
        join: JoinKind,
        lateness_ms: i64,
        /// Pairs of other joins than [`Matching::LatestBefore`] never change, and are told once.
        emission: Emission,
    },
    /// Port 0 are rows, port 1 a table: each row with the version that was valid at its event time.
    Lookup {
        plugin: PluginIdx,
        /// The columns of the rows, and of the table, that the plugin reads, in its order.
        left_columns: Vec<usize>,
        right_columns: Vec<usize>,
        left_key: Vec<usize>,
        right_key: Vec<usize>,
        /// The table's column [`TablePlan::DELETED`].
        deleted: usize,
        /// Whether a row without a version is emitted too.
        outer: bool,
        /// Whether each task has all of the table, and not only the keys of its partition.
        is_broadcast: bool,
        /// `None`: no row is late, and every version is kept.
        lateness_ms: Option<i64>,
    },
    Process {
        plugin: PluginIdx,
        /// The input columns that the plugin reads, in its order.
        columns: Vec<usize>,
        /// The input columns that form the key.
        key: Vec<usize>,
        /// `None`: no row is late.
        lateness_ms: Option<i64>,
        /// A key is forgotten when the watermark is greater than its last row's event time plus this. `None`: never.
        state_ttl_ms: Option<i64>,
    },
}

/// When a result is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emission {
    /// Once, when it can no longer change. Rows carry no `rev` and no `final`.
    Final,
    /// As soon as the watermark passes, again whenever a late record changes it, and a last time when it is final. Rows carry
    /// `rev` (0, 1, …) and `final`.
    Upsert,
}

/// A change of key: rows of one fragment become the input of another through an internal topic.
#[derive(Clone, Debug, PartialEq)]
pub struct ShufflePlan {
    pub topic: Arc<str>,
    pub from_fragment: FragmentIdx,
    pub to_fragment: FragmentIdx,
    /// Which partition a row goes to.
    pub to: ShuffleTo,
    /// Whether the aggregate behind it adds rows up before they are sent ([`crate::stage::combine`]). Then it reads nothing else.
    pub is_combined: bool,
    pub stream: Stream,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShuffleTo {
    /// That of the values of these columns.
    Key(Vec<usize>),
    /// All of them: each task gets the whole stream.
    Everyone,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SinkPlan {
    pub name: Arc<str>,
    pub topic: Arc<str>,
    pub n_partitions: u32,
    pub schema: Schema,
    /// The columns that form the record key; one column is written as plain text, several as a JSON array. Empty: no key.
    pub key: Vec<usize>,
    /// Whether rows carry `rev` and `final`.
    pub upsert: bool,
    /// A boolean column: where it is true, the record has the row's key and no value.
    pub tombstone: Option<usize>,
    /// How values are written in a topic.
    pub format: SinkFormat,
    /// Where rows are published as files. `topic` is then one of the pipeline's own: it holds frames until they are published, each
    /// in the partition of its task.
    pub files: Option<FilesPlan>,
}

impl SinkPlan {
    /// A few bytes that differ where rows have other fields: rows that wait to become files say by them whether they still fit. A frame
    /// alone knows kinds of columns, not their names.
    pub fn rows_digest(&self) -> [u8; 4] {
        let mut crc = crc32fast::Hasher::new();
        for field in &self.schema.fields {
            crc.update(field.name.as_bytes());
            crc.update(&[0, u8::from(field.required)]);
            crc.update(field.field_type.name().as_bytes());
            crc.update(&[0]);
        }
        crc.update(&[u8::from(self.upsert)]);
        crc.finalize().to_le_bytes()
    }
}

/// What the files of a sink are like, and when they are published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesPlan {
    /// The folder, as the manifest says it.
    pub path: Arc<str>,
    pub format: FileFormat,
    pub divided: Divided,
    /// Rows wait for at most this many ms of wall time.
    pub roll_every_ms: i64,
    /// A file that has become so long is published at once.
    pub roll_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// One JSON object a line, as a topic would have it.
    Ndjson,
    Parquet,
}

/// How the event time of a row chooses its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Divided {
    /// `dt=YYYY-MM-DD/hr=HH`, in UTC.
    Hourly,
    /// `dt=YYYY-MM-DD`, in UTC.
    Daily,
    /// All files in one folder.
    Not,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FragmentPlan {
    /// Names it in the changelog: stays the same when other fragments come and go. The name of its first source or shuffle.
    pub name: Arc<str>,
    pub inputs: Vec<FragmentInput>,
    pub stages: Vec<StageIdx>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FragmentInput {
    Source(SourceIdx),
    Shuffle(ShuffleIdx),
}

impl Plan {
    /// The topic that `input` reads.
    pub fn input_topic(&self, input: FragmentInput) -> &Arc<str> {
        match input {
            FragmentInput::Source(source) => &self.sources[source].topic,
            FragmentInput::Shuffle(shuffle) => &self.shuffles[shuffle].topic,
        }
    }

    /// The topic that `source` is read from while its history is replayed from files.
    pub fn history_topic(&self, source: SourceIdx) -> Arc<str> {
        format!("reel.{}.history.{}", self.name, self.sources[source].name).into()
    }

    /// This plan with every source read from its history, whose records are JSON objects of its fields, however its topic has them.
    pub fn of_history(&self) -> Plan {
        let mut plan = self.clone();
        for source in 0..plan.sources.len() {
            plan.sources[source].topic = plan.history_topic(source);
            plan.sources[source].format = SourceFormat::Json;
        }
        plan
    }

    /// This plan with all that others read under another name: results, late records and dead letters, in topics and in folders.
    pub fn with_suffix(&self, suffix: &str) -> Plan {
        let behind = |name: &Arc<str>| -> Arc<str> { format!("{name}{suffix}").into() };
        let mut plan = self.clone();
        for sink in &mut plan.sinks {
            match &mut sink.files {
                // The topic is the pipeline's own.
                Some(files) => files.path = behind(&files.path.trim_end_matches('/').into()),
                None => sink.topic = behind(&sink.topic),
            }
        }
        for stage in &mut plan.stages {
            stage.late_topic = stage.late_topic.as_ref().map(behind);
        }
        plan.dead_letter_topic = behind(&plan.dead_letter_topic);
        plan
    }

    /// Whether `topic` is kept, and trimmed, by the pipeline itself.
    pub fn is_own_topic(&self, topic: &str) -> bool {
        topic.strip_prefix("reel.").and_then(|rest| rest.strip_prefix(&*self.name)).is_some_and(|rest| rest.starts_with('.'))
    }

    /// The rows that `input` gives.
    pub fn input_stream(&self, input: FragmentInput) -> &Stream {
        match input {
            FragmentInput::Source(source) => &self.sources[source].stream,
            FragmentInput::Shuffle(shuffle) => &self.shuffles[shuffle].stream,
        }
    }
}
