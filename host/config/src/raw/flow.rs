//! `[source.…]`, `[table.…]` and `[stage.…]`: what records flow through.

use reelflow_core::plan::{Emission, WindowSpec};

use super::{
    RawSource, RawStage,
    combine::combine,
    failing,
    format::source_format,
    global,
    history::history,
    inputs::{inputs, required_inputs},
    join::join,
    lookup::lookup,
    window::{RawWindow, early, window},
};
use crate::{
    code::Code,
    config::{self, DeclaredField, EventTimeFrom, Source, SourceFormat, Stage, StageKind, StageTime},
    problem::{At, Problem, Problems},
    value,
    walk::{Table, read_text, wrong_type},
};

const MINUTE_MS: i64 = 60_000;

/// A source, or a table: one with a key by which it is looked up, and without ids.
pub(super) fn source(name: At<String>, mut table: Table<'_>, is_table: bool, problems: &mut Problems) -> RawSource {
    let topic = required_topic(&mut table, &name, problems);
    let format = source_format(&mut table, is_table, problems);
    let event_time = table.required_string("event_time", "\"event_ts\"", problems);
    let id = if is_table { None } else { table.string("id", problems) };
    if is_table && table.peek("key").is_none() {
        table.missing("key", "[\"title_id\"]", problems);
    }
    let key = table.strings("key", problems).map_or_else(Vec::new, |key| key.value);
    let broadcast = if is_table { table.flag("broadcast", problems) } else { None };
    if table.peek("bound").is_none() {
        let message = format!("{} has no disorder bound", table.what);
        problems.push(
            Problem::at(Code::MissingBound, table.span.clone(), message, "\"bound\" is missing")
                .note("the watermark is the greatest event time minus the bound; records that come later than that are late")
                .help("add `bound = \"2m\"` if records come at most two minutes out of order"),
        );
    }
    let bound = table.duration("bound", problems);
    let idle_after_ms = table.positive_duration("idle_after", problems).map_or(MINUTE_MS, |ms| *ms);
    let future_ms_max = table.positive_duration("max_future", problems).map_or(10 * MINUTE_MS, |ms| *ms);
    let value_bytes = table.size("max_bytes", 1..=64 << 20, problems).map_or(256 << 10, |size| *size);
    let fields = declared_fields(&mut table, problems);
    let history = history(&mut table, event_time.as_ref(), is_table, problems);
    let elsewhere = if is_table { ("id", "sources: a version replaces the one before it") } else { ("broadcast", "tables") };
    table.finish(&[elsewhere], problems);
    let built = (|| {
        let event_time = event_time.map(|field| {
            let from = if field.value == "@timestamp" { EventTimeFrom::LogTimestamp } else { EventTimeFrom::Field(field.value) };
            At::new(from, field.span)
        });
        Some(Source {
            name: name.clone(),
            topic: topic.clone()?,
            format: format.clone()?,
            event_time: event_time?,
            id,
            key,
            bound_ms: *bound?,
            idle_after_ms,
            future_ms_max,
            value_bytes_max: usize::try_from(value_bytes).expect("at most 64 MiB"),
            fields,
            table: is_table.then(|| config::Table { is_broadcast: broadcast.is_some_and(|flag| *flag) }),
            history,
        })
    })();
    let asks_registry = match format {
        Some(SourceFormat::Registry(format)) => Some(format),
        _ => None,
    };
    RawSource { name, topic, is_table, asks_registry, built }
}

pub(super) fn required_topic(table: &mut Table<'_>, name: &At<String>, problems: &mut Problems) -> Option<At<String>> {
    if table.peek("topic").is_none() {
        table.missing("topic", &format!("\"{}\"", **name), problems);
    }
    table.topic("topic", problems)
}

fn declared_fields(table: &mut Table<'_>, problems: &mut Problems) -> Vec<DeclaredField> {
    let what = format!("\"fields\" of {}", table.what);
    let Some(mut fields) = table.table("fields", &what, problems) else {
        return Vec::new();
    };
    let mut declared = Vec::new();
    for entry in fields.take_rest() {
        let Some(text) = entry.value.get_ref().as_str() else {
            problems.push(wrong_type(entry.key, &what, "a type such as \"i64\"", entry.value));
            continue;
        };
        let field = format!("field \"{}\"", entry.key);
        if let Some(read) = read_text(text, entry.value.span(), &field, Code::BadFieldType, value::field_type, problems) {
            let (field_type, required) = read.value;
            let name = At::new(entry.key.to_owned(), entry.key_span);
            declared.push(DeclaredField { name, field_type, required, type_span: read.span });
        }
    }
    declared
}

/// The keys of each kind of stage, for the message about a key that belongs to another kind.
const ELSEWHERE: [(&str, &str); 25] = [
    failing::KEYS[0],
    failing::KEYS[1],
    failing::KEYS[2],
    failing::KEYS[3],
    ("input", "stages of kind \"transform\", \"dedup\", \"aggregate\", \"lookup\" and \"process\""),
    ("inputs", "stages of kind \"transform\", \"dedup\", \"aggregate\" and \"process\""),
    ("plugin", "stages of kind \"transform\", \"aggregate\", \"join\", \"lookup\" and \"process\""),
    ("event_time", "stages with a plugin"),
    ("id", "stages of kind \"dedup\""),
    ("horizon", "stages of kind \"dedup\""),
    ("key", "stages of kind \"aggregate\" and \"process\""),
    ("window", "stages of kind \"aggregate\" and \"join\""),
    ("emit", "stages of kind \"aggregate\" and \"join\""),
    ("early", "stages of kind \"aggregate\""),
    ("combine", "stages of kind \"aggregate\""),
    ("left", "stages of kind \"join\""),
    ("right", "stages of kind \"join\""),
    ("table", "stages of kind \"lookup\""),
    ("on", "stages of kind \"join\" and \"lookup\""),
    ("match", "stages of kind \"join\""),
    ("within", "stages of kind \"join\""),
    ("after", "stages of kind \"join\""),
    ("join", "stages of kind \"join\" and \"lookup\""),
    ("tie", "stages of kind \"join\""),
    ("state_ttl", "stages of kind \"process\""),
];

pub(super) fn stage(name: At<String>, mut table: Table<'_>, problems: &mut Problems) -> RawStage {
    if table.peek("kind").is_none() {
        table.missing("kind", "\"transform\"`, `\"dedup\"`, `\"aggregate\"`, `\"join\"`, `\"lookup\"` or `\"process\"", problems);
    }
    let kinds = ["transform", "dedup", "aggregate", "join", "lookup", "process"].map(|kind| (kind, kind));
    let kind = table.choice("kind", &kinds, problems).map(|kind| *kind);
    let ports = match kind {
        Some("join") => Ports::Sides(["left", "right"].map(|key| table.required_string(key, "\"…\"", problems))),
        Some("lookup") => Ports::Sides(["input", "table"].map(|key| table.required_string(key, "\"…\"", problems))),
        Some(_) => Ports::Streams(required_inputs(&mut table, problems)),
        None => {
            let sides = ["left", "right", "table"].map(|key| table.string(key, problems));
            Ports::Streams(inputs(&mut table, problems).into_iter().chain(sides.into_iter().flatten()).collect())
        }
    };
    let plugin = match kind {
        Some("dedup") => None,
        Some(_) => table.required_string("plugin", "\"…\"", problems),
        None => table.string("plugin", problems),
    };
    let inputs = ports.names();
    let looked_up = match (&ports, kind) {
        (Ports::Sides([_, table]), Some("lookup")) => table.clone(),
        _ => None,
    };
    let event_time = if plugin.is_some() { event_time(&mut table, problems) } else { None };
    let failing = if plugin.is_some() { Some(failing::failing(&mut table, problems)) } else { None };
    let stage_kind = match (kind, ports) {
        (Some("transform"), Ports::Streams(inputs)) => transform(&mut table, inputs, &plugin, problems),
        (Some("dedup"), Ports::Streams(inputs)) => dedup(&mut table, inputs, problems),
        (Some("aggregate"), Ports::Streams(inputs)) => aggregate(&mut table, inputs, &plugin, problems),
        (Some("process"), Ports::Streams(inputs)) => process(&mut table, inputs, &plugin, problems),
        (Some("lookup"), Ports::Sides(sides)) => lookup(&mut table, sides, &plugin, problems),
        (_, Ports::Sides(sides)) => join(&mut table, sides, &plugin, problems),
        (_, Ports::Streams(_)) => {
            // Of which kind the keys are is not known: only what no stage has is worth a word.
            for (key, _) in ELSEWHERE {
                table.take(key);
            }
            table.take("lateness");
            None
        }
    };
    table.finish(&ELSEWHERE, problems);
    let failing = failing.unwrap_or_default();
    let built = stage_kind.map(|kind| Stage { name: name.clone(), kind, event_time, failing });
    RawStage { name, kind, inputs, table: looked_up, plugin, built }
}

/// `event_time = { field = "…", behind = "…" }`. What is wrong with it was reported; the stage is then as if it had none.
fn event_time(table: &mut Table<'_>, problems: &mut Problems) -> Option<StageTime> {
    let what = format!("\"event_time\" of {}", table.what);
    let mut time = table.table("event_time", what, problems)?;
    let field = time.required_string("field", "\"imp_ts\"", problems);
    if time.peek("behind").is_none() {
        time.missing("behind", "\"6h\"", problems);
    }
    let behind = time.duration("behind", problems);
    time.finish(&[], problems);
    Some(StageTime { field: field?, behind_ms: *behind? })
}

/// What a stage reads: the sides of a join, rows and table of a lookup, or streams that count as one.
enum Ports {
    Sides([Option<At<String>>; 2]),
    Streams(Vec<At<String>>),
}

impl Ports {
    fn names(&self) -> Vec<At<String>> {
        match self {
            Ports::Sides(sides) => sides.iter().flatten().cloned().collect(),
            Ports::Streams(inputs) => inputs.clone(),
        }
    }
}

type Inputs = Vec<At<String>>;

fn transform(table: &mut Table<'_>, inputs: Inputs, plugin: &Option<At<String>>, problems: &mut Problems) -> Option<StageKind> {
    no_lateness(table, problems);
    Some(StageKind::Transform { inputs: some(inputs)?, plugin: plugin.clone()? })
}

fn dedup(table: &mut Table<'_>, inputs: Inputs, problems: &mut Problems) -> Option<StageKind> {
    no_lateness(table, problems);
    let id = table.string("id", problems);
    let horizon_ms = table.positive_duration("horizon", problems);
    Some(StageKind::Dedup { inputs: some(inputs)?, id, horizon_ms })
}

/// That there is none was reported.
fn some(inputs: Inputs) -> Option<Inputs> {
    (!inputs.is_empty()).then_some(inputs)
}

/// Lateness says how long a result may still change; a stage that keeps no result has none.
fn no_lateness(table: &mut Table<'_>, problems: &mut Problems) {
    if let Some(entry) = table.take("lateness") {
        let message = format!("{} has no lateness", table.what);
        problems.push(
            Problem::at(Code::LatenessWithoutWindow, entry.key_span, message, "nothing here waits for late records")
                .note("\"lateness\" is a key of stages of kind \"aggregate\", \"join\", \"lookup\" and \"process\""),
        );
    }
}

fn aggregate(table: &mut Table<'_>, inputs: Inputs, plugin: &Option<At<String>>, problems: &mut Problems) -> Option<StageKind> {
    if table.peek("key").is_none() {
        table.missing("key", "[\"country\"]", problems);
    }
    let key = table.strings("key", problems);
    if table.peek("window").is_none() {
        table.missing("window", "{ kind = \"tumbling\", size = \"1h\" }", problems);
    }
    let window = window(table, problems);
    let says_emit = table.peek("emit").is_some();
    let emit = emission(table, problems);
    global::check(table, window.as_ref(), emit.as_ref(), says_emit, problems);
    let lateness_ms = lateness(table, problems);
    // What `emit` is wrong about is told by itself.
    let emits_once = if says_emit { emit.as_ref().is_some_and(|emit| **emit == Emission::Final) } else { true };
    let early_ms = early(table, window.as_ref(), emits_once, problems);
    let combine = combine(table, window.as_ref(), &inputs, problems);
    if let (Some(RawWindow { spec, .. }), Some(emit)) = (&window, &emit)
        && matches!(**spec, WindowSpec::Session { .. })
        && **emit == Emission::Upsert
    {
        let message = format!("{} emits sessions before they are closed", table.what);
        let label = "an early session may be swallowed by another one";
        let problem = Problem::at(Code::SessionUpsert, emit.span.clone(), message, label);
        problems.push(problem.also(spec.span.clone(), "sessions").patch(
            "once, when it is closed",
            emit.span.clone(),
            "\"final\"",
        ));
    }
    let emission = emit.map_or(Emission::Final, |emit| *emit);
    let (inputs, plugin) = (some(inputs), plugin.clone());
    let (key, RawWindow { spec: window, end }) = (key?.value, window?);
    Some(StageKind::Aggregate { inputs: inputs?, key, window, end, lateness_ms, emission, early_ms, combine, plugin: plugin? })
}

fn process(
    table: &mut Table<'_>,
    inputs: Vec<At<String>>,
    plugin: &Option<At<String>>,
    problems: &mut Problems,
) -> Option<StageKind> {
    if table.peek("key").is_none() {
        table.missing("key", "[\"profile_id\"]", problems);
    }
    let key = table.strings("key", problems);
    let lateness_ms = table.duration("lateness", problems);
    let state_ttl_ms = table.positive_duration("state_ttl", problems);
    let (inputs, plugin) = (some(inputs), plugin.clone());
    Some(StageKind::Process { inputs: inputs?, key: key?.value, lateness_ms, state_ttl_ms, plugin: plugin? })
}

pub(super) fn lateness(table: &mut Table<'_>, problems: &mut Problems) -> At<i64> {
    let header = table.span.clone();
    table.duration("lateness", problems).unwrap_or_else(|| At::new(0, header))
}

pub(super) fn emission(table: &mut Table<'_>, problems: &mut Problems) -> Option<At<Emission>> {
    table.choice("emit", &[("final", Emission::Final), ("upsert", Emission::Upsert)], problems)
}
