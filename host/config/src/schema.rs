//! The JSON Schema of the manifest, for editors: completion and first errors while typing. `reel check` says much more.
//!
//! These types mirror the text and are never filled: the walker reads manifests (see `walk` for why). A test holds both to the
//! same manifests, so that neither knows a key that the other does not.

// Only `schemars` looks at the fields, and their comments are what editors show.
#![allow(dead_code)]

use std::collections::BTreeMap;

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

use formats::{Registry, SourceFormat, TableFormat};
use history::History;
use sinks::Sink;
use stages::Stage;
use state::State;
use test::Test;
use upgrade::Upgrade;

mod failing;
mod formats;
mod history;
mod sinks;
mod stages;
mod state;
mod test;
mod upgrade;
mod windows;

/// The schema as JSON text (draft-07), with a line break at its end.
pub fn manifest_schema() -> String {
    let schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<Manifest>();
    let mut schema = schema.to_value();
    without_null(&mut schema);
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    text.push('\n');
    text
}

/// TOML has no null: a key that may be absent is no key that may be null.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(without_null),
        Value::Object(members) => {
            members.values_mut().for_each(without_null);
            if let Some(Value::Array(types)) = members.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = &types[..] {
                    let only = only.clone();
                    members.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(choices)) = members.get_mut("anyOf") {
                choices.retain(|choice| choice["type"] != "null");
                if choices.len() == 1 {
                    // Not the bare reference: draft-07 ignores what stands beside one, and the description does.
                    let only = members.remove("anyOf").expect("it was just looked at");
                    members.insert("allOf".to_owned(), only);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A Reelflow pipeline: sources, stages, sinks and plugins.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Manifest {
    pipeline: Pipeline,
    upgrade: Option<Upgrade>,
    /// Where records are read from and written to. Default: on local disk, in `data/log` beside the manifest.
    log: Option<Log>,
    /// Who has the schemas of Avro and Protobuf, where sources name none. See [formats](formats.md).
    registry: Option<Registry>,
    state: Option<State>,
    /// Topics to read, by name.
    #[schemars(extend("minProperties" = 1))]
    source: BTreeMap<Name, Source>,
    /// Topics that say what is known of a key, from when on, by name: for stages of kind `lookup`.
    table: Option<BTreeMap<Name, KeyedTable>>,
    /// WebAssembly components with the business logic, by name.
    plugin: Option<BTreeMap<Name, Plugin>>,
    /// What happens to records, by name. Sources and stages share their names.
    stage: Option<BTreeMap<Name, Stage>>,
    /// Topics or files to write, by name.
    #[schemars(extend("minProperties" = 1))]
    sink: BTreeMap<Name, Sink>,
    /// Records and what is to come of them, for `reel test`.
    test: Option<Vec<Test>>,
}

/// A name: 1 to 64 of a-z, 0-9, _ and -.
#[derive(JsonSchema, PartialEq, Eq, PartialOrd, Ord)]
struct Name(#[schemars(regex(pattern = "^[a-z0-9_-]{1,64}$"))] String);

/// A topic's name by Kafka's rules.
#[derive(JsonSchema)]
struct Topic(#[schemars(regex(pattern = "^[a-zA-Z0-9._-]{1,249}$"))] String);

/// A duration: a whole number and one of ms, s, m, h, d.
#[derive(JsonSchema)]
struct Duration(#[schemars(regex(pattern = "^[0-9]+(ms|s|m|h|d)$"))] String);

/// A size: a whole number and one of B, KiB, MiB, GiB.
#[derive(JsonSchema)]
struct Size(#[schemars(regex(pattern = "^[0-9]+(B|KiB|MiB|GiB)$"))] String);

/// The type of a field; `?` makes it optional.
#[derive(JsonSchema)]
struct FieldType(#[schemars(regex(pattern = "^(bool|i64|f64|string|bytes)\\??$"))] String);

/// The name of a field, a path, or another text that is not empty.
#[derive(JsonSchema)]
struct Text(#[schemars(length(min = 1))] String);

/// The name of a source or stage; `plays.x` is output `x` of the stage `plays`.
#[derive(JsonSchema)]
struct Input(#[schemars(length(min = 1))] String);

/// Several streams that are read as one, instead of `input`. A field that a plugin need not have may be missing in some of them.
#[derive(JsonSchema)]
struct Inputs(#[schemars(length(min = 1), extend("uniqueItems" = true))] Vec<String>);

/// Names of fields, each once.
#[derive(JsonSchema)]
struct Columns(#[schemars(length(min = 1), extend("uniqueItems" = true))] Vec<String>);

/// What holds for the whole pipeline.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Pipeline {
    /// Internal topics are called `reel.<name>.…`.
    name: Name,
    /// What readers of the output may rely on. Default `exactly-once`.
    guarantee: Option<Guarantee>,
    /// An epoch is sealed after this long; at most 60s. Default 200ms.
    commit_interval: Option<Duration>,
    /// An epoch is sealed after this many records, even if it is younger. Default 100000.
    #[schemars(range(min = 1, max = 10_000_000))]
    epoch_records_max: Option<u64>,
    /// Aligned reading: a source partition that is ahead of the slowest one of its worker by more than this, in event time, waits. It
    /// bounds what joins keep while a backlog is read. Default: none waits.
    max_drift: Option<Duration>,
    /// The topic of refused records. Default `dead.<name>`.
    dead_letters: Option<Topic>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Guarantee {
    /// Each result stands in the log once, whatever crashes.
    ExactlyOnce,
    /// Results may repeat after a crash; counts never do.
    AtLeastOnce,
}

/// Where records are read from and written to.
#[derive(JsonSchema)]
#[schemars(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
enum Log {
    /// On local disk, in one process: nothing to install.
    Embedded {
        /// A folder, relative to the manifest. Default `data/log`.
        path: Option<Text>,
    },
    /// Apache Kafka.
    Kafka {
        /// Hosts and ports, with commas between them.
        brokers: Setting,
        /// Settings of the client library by their names there. Secrets only as `{ env = "…" }` or `{ file = "…" }`.
        client: Option<BTreeMap<String, SettingOrMore>>,
    },
}

/// A value, or where to find it.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Setting {
    Text(String),
    Number(i64),
    Flag(bool),
    Env(Env),
    File(File),
}

/// The same; keys with dots and no quotes are tables in tables.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum SettingOrMore {
    One(Setting),
    More(BTreeMap<String, SettingOrMore>),
}

/// Where to find a value that must not stand in a manifest.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Secret {
    Env(Env),
    File(File),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Env {
    /// The name of an environment variable.
    env: Text,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct File {
    /// The path of a file that holds the value.
    file: Text,
}

/// A topic to read.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("allOf" = formats::rules()))]
struct Source {
    topic: Topic,
    /// How values are written. Default `json`. See [formats](formats.md).
    format: Option<SourceFormat>,
    /// A schema file of Avro or Protobuf, relative to the manifest: then values have no schema ids before them, and no registry is asked.
    schema: Option<Text>,
    /// Which message of the schema file values are, of Protobuf.
    message: Option<Text>,
    /// The field that says when it happened, in ms since 1970, or `@timestamp` for the log's own.
    event_time: Text,
    /// The field that identifies a record, a string: what dedups go by.
    id: Option<Text>,
    /// The fields by which the topic is partitioned. Without them, keyed stages get their rows through a topic.
    key: Option<Columns>,
    /// Records come at most this long after one with a later event time; later ones are late.
    bound: Duration,
    /// A partition silent for this long holds nothing back. Default 60s.
    idle_after: Option<Duration>,
    /// Records further ahead of the log's timestamp are refused. Default 10m.
    max_future: Option<Duration>,
    /// Longer values are refused. Default 256KiB.
    max_bytes: Option<Size>,
    /// Further fields to decode although no plugin asks for them.
    fields: Option<BTreeMap<String, FieldType>>,
    /// Where its history lies, for `reel backfill`. See [backfill](backfill.md).
    files: Option<History>,
}

/// A topic of versions: what is known of a key from an event time on. A record without a value deletes its key from its log timestamp on.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("allOf" = formats::rules()))]
struct KeyedTable {
    topic: Topic,
    /// How values are written. Default `json`. See [formats](formats.md).
    format: Option<TableFormat>,
    /// A schema file of Avro or Protobuf, relative to the manifest.
    schema: Option<Text>,
    /// Which message of the schema file values are, of Protobuf.
    message: Option<Text>,
    /// The field that says from when on a version is valid, in ms since 1970, or `@timestamp` for the log's own.
    event_time: Text,
    /// The fields that identify what a version is of; the topic is partitioned by them, and they are its record key.
    key: Columns,
    /// Every task gets all of it, so that rows which lie by another key need not be moved. Default `false`.
    broadcast: Option<bool>,
    /// Versions come at most this long after one with a later event time; later ones are late.
    bound: Duration,
    /// Rows do not wait for a partition silent for this long. Default 60s.
    idle_after: Option<Duration>,
    /// Records further ahead of the log's timestamp are refused. Default 10m.
    max_future: Option<Duration>,
    /// Longer values are refused. Default 256KiB.
    max_bytes: Option<Size>,
    /// Further fields to decode although no plugin asks for them.
    fields: Option<BTreeMap<String, FieldType>>,
    /// Where its history lies, for `reel backfill`. See [backfill](backfill.md).
    files: Option<History>,
}

/// A WebAssembly component.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Plugin {
    /// The component, relative to the manifest.
    path: Text,
    /// Handed to the plugin as JSON.
    config: Option<BTreeMap<String, Value>>,
    limits: Option<Limits>,
}

/// What the plugin may use in one call, and what compiling it may take.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Limits {
    /// Memory of one instance. Default 64MiB.
    memory: Option<Size>,
    /// Wall time of one call, at most 60s. Default 100ms.
    call: Option<Duration>,
    /// Bytes of one answer. Default 32MiB.
    output: Option<Size>,
    /// Size of the component. Default 16MiB.
    component: Option<Size>,
    /// Time of compiling it, at most 600s. Default 60s.
    compile_time: Option<Duration>,
    /// Memory of the process that compiles it. Default 1GiB.
    compile_memory: Option<Size>,
}
