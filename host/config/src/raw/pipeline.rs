//! `[pipeline]`, `[log]` and `[plugin.…]`.

use reelflow_core::plugin::limits::Limits;
use serde_json::{Map, Number};
use toml::de::DeValue;

use crate::{
    code::Code,
    config::{External, Guarantee, Log, Pipeline, Plugin},
    problem::{At, Problem, Problems},
    value,
    walk::{Entry, Table, read_text, wrong_type},
};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

pub(super) fn pipeline(root: &mut Table<'_>, problems: &mut Problems) -> Option<Pipeline> {
    if root.peek("pipeline").is_none() {
        let problem = Problem::nowhere(Code::MissingKey, "the manifest has no [pipeline]");
        problems.push(problem.help("add a table `[pipeline]` with `name = \"…\"`"));
    }
    let mut table = root.table("pipeline", "[pipeline]", problems)?;
    let name = table.required_string("name", "\"my-pipeline\"", problems);
    let name = name.and_then(|name| {
        let read = |text: &str| value::name(text).map(|()| text.to_owned());
        read_text(&name, name.span.clone(), "\"name\" of [pipeline]", Code::BadName, read, problems)
    });
    let guarantees = [Guarantee::ExactlyOnce, Guarantee::AtLeastOnce].map(|guarantee| (guarantee.name(), guarantee));
    let guarantee = table.choice("guarantee", &guarantees, problems).map_or(Guarantee::ExactlyOnce, |guarantee| *guarantee);
    let commit_interval_ms = commit_interval(&mut table, problems);
    let epoch_records_max = table.integer("epoch_records_max", 1..=10_000_000, problems).map_or(100_000, |records| *records);
    let max_drift_ms = table.positive_duration("max_drift", problems).map(|drift| drift.unsigned_abs());
    let dead_letters = table.topic("dead_letters", problems);
    table.finish(&[], problems);
    let name = name?;
    let dead_letters = dead_letters.unwrap_or_else(|| At::new(format!("dead.{}", *name), name.span.clone()));
    Some(Pipeline { name, guarantee, commit_interval_ms, max_drift_ms, epoch_records_max, dead_letters })
}

/// At most a minute: a transaction that stays open longer holds every reader of committed records back.
fn commit_interval(table: &mut Table<'_>, problems: &mut Problems) -> u64 {
    let Some(interval) = table.positive_duration("commit_interval", problems) else {
        return 200;
    };
    if *interval > 60_000 {
        let message = "\"commit_interval\" of [pipeline] is out of range";
        problems.push(Problem::at(Code::OutOfRange, interval.span.clone(), message, "must be at most 60s"));
    }
    interval.unsigned_abs()
}

/// Without a `[log]`, records live in `data/log` beside the manifest.
pub(super) fn log(root: &mut Table<'_>, problems: &mut Problems) -> Option<Log> {
    const DEFAULT_PATH: &str = "data/log";
    if root.peek("log").is_none() {
        root.take("log");
        return Some(Log::Embedded { path: At::new(DEFAULT_PATH.to_owned(), 0..0) });
    }
    let mut table = root.table("log", "[log]", problems)?;
    if table.peek("kind").is_none() {
        table.missing("kind", "\"embedded\"` or `kind = \"kafka\"", problems);
    }
    let kind = table.choice("kind", &[("embedded", false), ("kafka", true)], problems);
    let header = table.span.clone();
    let embedded_keys = [("path", "logs of kind \"embedded\"")];
    let kafka_keys = [("brokers", "logs of kind \"kafka\""), ("client", "logs of kind \"kafka\"")];
    match kind.map(|kind| *kind) {
        Some(false) => {
            let path = table.string("path", problems).unwrap_or_else(|| At::new(DEFAULT_PATH.to_owned(), header));
            table.finish(&kafka_keys, problems);
            Some(Log::Embedded { path })
        }
        Some(true) => {
            if table.peek("brokers").is_none() {
                table.missing("brokers", "\"localhost:9092\"", problems);
            }
            let brokers = table.take("brokers").and_then(|entry| external(&entry, "[log]", problems));
            let client = table.table("client", "[log.client]", problems).map(|client| client_settings(client, problems));
            table.finish(&embedded_keys, problems);
            Some(Log::Kafka { brokers: brokers?, client: client.unwrap_or_default() })
        }
        None => {
            // Whose keys these are is not known: only what no log has is worth a word.
            for (key, _) in embedded_keys.into_iter().chain(kafka_keys) {
                table.take(key);
            }
            table.finish(&[], problems);
            None
        }
    }
}

fn client_settings(mut table: Table<'_>, problems: &mut Problems) -> Vec<(At<String>, At<External>)> {
    let mut settings = Vec::new();
    for entry in table.take_rest() {
        for (key, entry) in flattened(entry) {
            if OURS.contains(&key.as_str()) {
                let message = format!("\"{key}\" in [log.client] is set by Reelflow");
                problems.push(Problem::at(Code::KeyOfAnotherKind, entry.key_span.clone(), message, "cannot be set here"));
                continue;
            }
            if is_secret(&key) && entry.value.get_ref().as_table().is_none() {
                let variable = key.to_uppercase().replace(['.', '-'], "_");
                let message = format!("\"{key}\" in [log.client] is a secret and stands in the manifest");
                problems.push(
                    Problem::at(Code::InlineSecret, entry.value.span(), message, "anyone who reads this file reads this").patch(
                        "take it from the environment or from a file",
                        entry.value.span(),
                        format!("{{ env = \"{variable}\" }}"),
                    ),
                );
                continue;
            }
            if let Some(value) = external(&entry, "[log.client]", problems) {
                settings.push((At::new(key, entry.key_span), value));
            }
        }
    }
    settings
}

/// Settings that exactly-once and the group's rules stand on.
const OURS: [&str; 8] = [
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "group.id",
    "isolation.level",
    "partition.assignment.strategy",
    "transactional.id",
];

/// `sasl.password = …` without quotes is a table in a table: gives its keys as they were meant.
fn flattened(entry: Entry<'_>) -> Vec<(String, Entry<'_>)> {
    // A table in braces stands behind its key; one that dots made stands where its key does.
    let is_dotted = entry.value.span().start < entry.key_span.end;
    let nested = match entry.value.get_ref() {
        DeValue::Table(table) if is_dotted => table,
        _ => return vec![(entry.key.to_owned(), entry)],
    };
    let prefix = entry.key;
    let inner = Table::new("", nested, entry.value.span()).take_rest();
    inner.into_iter().flat_map(flattened).map(|(key, entry)| (format!("{prefix}.{key}"), entry)).collect()
}

/// Whether a client setting of this name must not stand in the manifest.
pub(crate) fn is_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    ["password", "secret", "token", "ssl.key.pem", "jaas"].iter().any(|word| key.contains(word))
        && !["url", "endpoint", "scope"].iter().any(|word| key.ends_with(word))
}

/// A value, or `{ env = "NAME" }`, or `{ file = "PATH" }`.
pub(super) fn external(entry: &Entry<'_>, parent: &str, problems: &mut Problems) -> Option<At<External>> {
    let span = entry.value.span();
    let inline = match entry.value.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Table(_) => {
            let mut table = entry.table(format!("\"{}\" of {parent}", entry.key), parent, problems)?;
            let n_said = [table.peek("env"), table.peek("file")].iter().flatten().count();
            let env = table.string("env", problems);
            let file = table.string("file", problems);
            table.finish(&[], problems);
            if n_said != 1 {
                let message = format!("\"{}\" of {parent} must be one value", entry.key);
                let label = "this is not { env = \"NAME\" } or { file = \"PATH\" }";
                problems.push(Problem::at(Code::WrongType, span, message, label));
                return None;
            }
            let value = env.map(|env| External::Env(env.value)).or(file.map(|file| External::File(file.value)))?;
            return Some(At::new(value, span));
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) => {
            problems.push(wrong_type(entry.key, parent, "a string, or { env = \"NAME\" }, or { file = \"PATH\" }", entry.value));
            return None;
        }
    };
    Some(At::new(External::Inline(inline), span))
}

pub(super) fn plugin(name: At<String>, mut table: Table<'_>, problems: &mut Problems) -> Option<Plugin> {
    let path = table.required_string("path", "\"plugins/my_plugin.wasm\"", problems);
    let config = match table.take("config") {
        None => Some(serde_json::Value::Object(Map::new())),
        Some(entry) if entry.value.get_ref().is_table() => json(entry.value, &table.what, problems),
        Some(entry) => {
            problems.push(wrong_type("config", &table.what, "a table", entry.value));
            None
        }
    };
    let what = format!("\"limits\" of {}", table.what);
    let limits = table.table("limits", what, problems).map_or(Limits::STANDARD, |table| limits(table, problems));
    table.finish(&[], problems);
    Some(Plugin { name, path: path?, config: config?, limits })
}

/// None of them can be unlimited (I-8, I-9).
fn limits(mut table: Table<'_>, problems: &mut Problems) -> Limits {
    let standard = Limits::STANDARD;
    let memory = table.size("memory", MIB..=4 * GIB, problems);
    let call = time_up_to(&mut table, "call", 60, problems);
    let output = table.size("output", KIB..=GIB, problems);
    let component = table.size("component", KIB..=GIB, problems);
    let compile_time = time_up_to(&mut table, "compile_time", 600, problems);
    let compile_memory = table.size("compile_memory", MIB..=64 * GIB, problems);
    table.finish(&[], problems);
    Limits {
        memory_bytes_max: memory.map_or(standard.memory_bytes_max, |size| *size),
        call_ms_max: call.unwrap_or(standard.call_ms_max),
        output_bytes_max: output.map_or(standard.output_bytes_max, |size| *size),
        component_bytes_max: component.map_or(standard.component_bytes_max, |size| *size),
        compile_ms_max: compile_time.unwrap_or(standard.compile_ms_max),
        compile_memory_bytes_max: compile_memory.map_or(standard.compile_memory_bytes_max, |size| *size),
    }
}

/// A time of at most so many seconds, in ms.
fn time_up_to(table: &mut Table<'_>, key: &'static str, s_max: i64, problems: &mut Problems) -> Option<u64> {
    let time = table.positive_duration(key, problems)?;
    if time.value > s_max * 1_000 {
        let message = format!("\"{key}\" of {} is out of range", table.what);
        problems.push(Problem::at(Code::OutOfRange, time.span.clone(), message, format!("must be at most {s_max}s")));
    }
    Some(time.value.unsigned_abs())
}

/// A TOML value as the JSON that the plugin's `describe` gets. Dates become strings.
fn json(value: &toml::Spanned<DeValue<'_>>, what: &str, problems: &mut Problems) -> Option<serde_json::Value> {
    use serde_json::Value;
    let mut refuse = |why: &str| {
        let message = format!("\"config\" of {what} cannot be handed over as JSON");
        problems.push(Problem::at(Code::OutOfRange, value.span(), message, why));
        None
    };
    match value.get_ref() {
        DeValue::String(text) => Some(Value::String(text.to_string())),
        DeValue::Boolean(value) => Some(Value::Bool(*value)),
        DeValue::Datetime(at) => Some(Value::String(at.to_string())),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Some(Value::Number(number.into())),
            Err(_) => refuse("no signed 64-bit number"),
        },
        DeValue::Float(number) => match number.as_str().parse().ok().and_then(Number::from_f64) {
            Some(number) => Some(Value::Number(number)),
            None => refuse("JSON has no such number"),
        },
        // Collected before they are judged: every value is looked at.
        DeValue::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| json(item, what, problems)).collect();
            items.into_iter().collect::<Option<Vec<_>>>().map(Value::Array)
        }
        DeValue::Table(table) => {
            let members: Vec<_> =
                table.iter().map(|(key, value)| (key.get_ref().to_string(), json(value, what, problems))).collect();
            let members = members.into_iter().map(|(key, value)| Some((key, value?)));
            members.collect::<Option<Map<_, _>>>().map(Value::Object)
        }
    }
}
