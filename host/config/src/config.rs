//! What a valid manifest says. A [`Config`] that exists has passed every check that needs no plugin.

use std::fmt;

use reelflow_core::{
    format::Binary,
    plan::{Divided, Emission, FileFormat, JoinKind, Matching, WindowSpec},
    plugin::limits::Limits,
    schema::FieldType,
};

use crate::code::Code;
use crate::problem::{At, Problem, Span};
use failing::StageFailing;
use history::History;
use written::SinkSchema;

pub mod failing;
pub mod history;
pub mod state;
pub mod test;
pub mod upgrade;
pub mod written;

/// A valid manifest. Lists are in the order of the text; names are unique, sources and stages share one space of names, and the stages form no cycle.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub pipeline: Pipeline,
    pub upgrade: upgrade::Upgrade,
    pub log: Log,
    /// Where the schemas of sources are asked for that name none.
    pub registry: Option<Registry>,
    /// Where bases of the state go; `None`: into the changelog.
    pub state: Option<state::State>,
    pub sources: Vec<Source>,
    pub plugins: Vec<Plugin>,
    pub stages: Vec<Stage>,
    pub sinks: Vec<Sink>,
    pub tests: Vec<test::Test>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    pub name: At<String>,
    pub guarantee: Guarantee,
    /// An epoch is sealed after this many ms.
    pub commit_interval_ms: u64,
    /// How far source partitions may be apart in event time; `None`: as far as it comes.
    pub max_drift_ms: Option<u64>,
    /// … or after this many records, whichever comes first.
    pub epoch_records_max: u64,
    /// The topic of refused records.
    pub dead_letters: At<String>,
}

/// What a reader of the output may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// Each result stands in the log once, whatever crashes.
    ExactlyOnce,
    /// Results may repeat after a crash; counts never do.
    AtLeastOnce,
}

impl Guarantee {
    /// As the manifest writes it.
    pub fn name(self) -> &'static str {
        match self {
            Guarantee::ExactlyOnce => "exactly-once",
            Guarantee::AtLeastOnce => "at-least-once",
        }
    }
}

/// Where records are read from and written to.
#[derive(Clone, Debug, PartialEq)]
pub enum Log {
    /// On local disk, in one process.
    Embedded {
        /// Relative to the manifest.
        path: At<String>,
    },
    Kafka {
        brokers: At<External>,
        /// Settings for the client library, by their names there; secrets among them are never [`External::Inline`].
        client: Vec<(At<String>, At<External>)>,
    },
}

/// A schema registry.
#[derive(Clone, Debug, PartialEq)]
pub struct Registry {
    pub url: At<External>,
    /// User and password; the latter is never [`External::Inline`].
    pub account: Option<(At<External>, At<External>)>,
    /// PEM of the certificates that sign its own, in place of the public ones.
    pub ca: Option<At<External>>,
}

/// A value that the manifest says, or says where to find.
#[derive(Clone, PartialEq, Eq)]
pub enum External {
    Inline(String),
    /// The environment variable of this name.
    Env(String),
    /// The file at this path, without a line break at its end.
    File(String),
}

impl fmt::Display for External {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            External::Inline(value) => f.write_str(value),
            External::Env(name) => write!(f, "‹env {name}›"),
            External::File(path) => write!(f, "‹file {path}›"),
        }
    }
}

impl fmt::Debug for External {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // A setting that we do not know for a secret may still be one.
            External::Inline(_) => f.write_str("Inline(…)"),
            External::Env(_) | External::File(_) => write!(f, "{self}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    pub name: At<String>,
    pub topic: At<String>,
    pub format: SourceFormat,
    pub event_time: At<EventTimeFrom>,
    /// The field that identifies a record.
    pub id: Option<At<String>>,
    /// The fields by which the topic is partitioned; empty: unknown.
    pub key: Vec<At<String>>,
    /// Records come at most this many ms after a record with a later event time.
    pub bound_ms: i64,
    /// Wall time after which a silent partition no longer holds the watermark back.
    pub idle_after_ms: i64,
    /// How far an event time may be after the log's timestamp.
    pub future_ms_max: i64,
    pub value_bytes_max: usize,
    /// Fields to decode although no plugin asks for them.
    pub fields: Vec<DeclaredField>,
    /// `None`: a stream.
    pub table: Option<Table>,
    /// Where its history lies.
    pub history: Option<History>,
}

/// A source that is a table: its records are versions of what is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Whether every task gets all of it, so that rows which lie by another key need not be moved.
    pub is_broadcast: bool,
}

/// How the values of a source are written, and where what wrote them is to be found.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceFormat {
    Json,
    Raw,
    /// All values by one schema, in a file.
    Bare {
        format: Binary,
        /// Relative to the manifest.
        schema: At<String>,
        /// Of Protobuf: which message of the file.
        message: Option<At<String>>,
    },
    /// Each value says the id of its schema in the registry.
    Registry(At<Binary>),
}

impl Source {
    /// The word for it in messages.
    pub fn what(&self) -> &'static str {
        if self.table.is_some() { "table" } else { "source" }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventTimeFrom {
    /// A field with ms since 1970.
    Field(String),
    /// `@timestamp`: the log's record timestamp.
    LogTimestamp,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DeclaredField {
    /// Name and path: `a.b` is field `b` of the object `a`.
    pub name: At<String>,
    pub field_type: FieldType,
    pub required: bool,
    pub type_span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Plugin {
    pub name: At<String>,
    /// Relative to the manifest.
    pub path: At<String>,
    /// A JSON object.
    pub config: serde_json::Value,
    pub limits: Limits,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    pub name: At<String>,
    pub kind: StageKind,
    /// Another event time for the rows that it emits.
    pub event_time: Option<StageTime>,
    pub failing: StageFailing,
}

/// Rows get their event time from a field that the stage emits.
#[derive(Clone, Debug, PartialEq)]
pub struct StageTime {
    pub field: At<String>,
    /// How far it may lie before the event time that the row had, in ms.
    pub behind_ms: i64,
}

/// Inputs are names of sources and stages; `plays.x` is the output `x` of the stage `plays`. Several `inputs` are read as one stream.
#[derive(Clone, Debug, PartialEq)]
pub enum StageKind {
    Transform {
        inputs: Vec<At<String>>,
        plugin: At<String>,
    },
    Dedup {
        inputs: Vec<At<String>>,
        /// `None`: the source's id.
        id: Option<At<String>>,
        /// How long an id is kept, in event time; `None`: as long as anything downstream can still need it.
        horizon_ms: Option<At<i64>>,
    },
    Aggregate {
        inputs: Vec<At<String>>,
        key: Vec<At<String>>,
        window: At<WindowSpec>,
        /// The field that ends the sessions of `window`, which does not know it.
        end: Option<At<String>>,
        lateness_ms: At<i64>,
        emission: Emission,
        early_ms: Option<i64>,
        /// Where it says that rows are added up before they are moved.
        combine: Option<Span>,
        plugin: At<String>,
    },
    Join {
        left: At<String>,
        right: At<String>,
        on: Vec<At<String>>,
        matching: At<Matching>,
        join: JoinKind,
        tie: Option<At<String>>,
        lateness_ms: At<i64>,
        emission: Emission,
        plugin: At<String>,
    },
    Lookup {
        input: At<String>,
        table: At<String>,
        on: Vec<At<String>>,
        /// Whether a row without a version is emitted too.
        outer: bool,
        /// `None`: no record is late.
        lateness_ms: Option<At<i64>>,
        plugin: At<String>,
    },
    Process {
        inputs: Vec<At<String>>,
        key: Vec<At<String>>,
        /// `None`: no record is late.
        lateness_ms: Option<At<i64>>,
        /// `None`: a key is kept for ever.
        state_ttl_ms: Option<At<i64>>,
        plugin: At<String>,
    },
}

impl StageKind {
    /// As the manifest writes it.
    pub fn name(&self) -> &'static str {
        match self {
            StageKind::Transform { .. } => "transform",
            StageKind::Dedup { .. } => "dedup",
            StageKind::Aggregate { .. } => "aggregate",
            StageKind::Join { .. } => "join",
            StageKind::Lookup { .. } => "lookup",
            StageKind::Process { .. } => "process",
        }
    }

    /// What it reads, by port; of a union, by stream.
    pub fn inputs(&self) -> Vec<&At<String>> {
        match self {
            StageKind::Transform { inputs, .. }
            | StageKind::Dedup { inputs, .. }
            | StageKind::Aggregate { inputs, .. }
            | StageKind::Process { inputs, .. } => inputs.iter().collect(),
            StageKind::Join { left, right, .. } => vec![left, right],
            StageKind::Lookup { input, table, .. } => vec![input, table],
        }
    }

    pub fn plugin(&self) -> Option<&At<String>> {
        match self {
            StageKind::Dedup { .. } => None,
            StageKind::Transform { plugin, .. }
            | StageKind::Aggregate { plugin, .. }
            | StageKind::Join { plugin, .. }
            | StageKind::Lookup { plugin, .. }
            | StageKind::Process { plugin, .. } => Some(plugin),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Sink {
    pub name: At<String>,
    pub input: At<String>,
    pub to: SinkTo,
}

/// Where the rows of a sink go.
#[derive(Clone, Debug, PartialEq)]
pub enum SinkTo {
    Topic {
        topic: At<String>,
        /// The fields that form the record key; empty: records have none.
        key: Vec<At<String>>,
        /// `None`: as many as the sources have.
        partitions: Option<At<u32>>,
        /// The field that says that a record has no value.
        tombstone: Option<At<String>>,
        /// `None`: values are JSON.
        schema: Option<SinkSchema>,
    },
    Files(Files),
}

/// Files in a folder, by event time.
#[derive(Clone, Debug, PartialEq)]
pub struct Files {
    /// Relative to the manifest.
    pub path: At<String>,
    pub format: FileFormat,
    pub divided: Divided,
    /// Rows wait for at most this many ms of wall time.
    pub roll_every_ms: i64,
    /// A file that has become so long is published at once.
    pub roll_bytes: u64,
}

impl Sink {
    /// The fields that form the record key; empty: records have none, or there are no records.
    pub fn key(&self) -> &[At<String>] {
        match &self.to {
            SinkTo::Topic { key, .. } => key,
            SinkTo::Files(_) => &[],
        }
    }

    /// The folder, if the sink writes files.
    pub fn files(&self) -> Option<&Files> {
        match &self.to {
            SinkTo::Topic { .. } => None,
            SinkTo::Files(files) => Some(files),
        }
    }
}

impl Config {
    /// The problem of a plugin that cannot be loaded, at its path in the manifest.
    ///
    /// Panics if there is no plugin `name`.
    pub fn plugin_refused(&self, name: &str, why: impl fmt::Display) -> Problem {
        let plugin = self.plugins.iter().find(|plugin| *plugin.name == name).expect("the caller loads plugins of this config");
        Problem::at(Code::PluginRefused, plugin.path.span.clone(), format!("plugin \"{name}\" cannot be loaded"), why.to_string())
    }
}
