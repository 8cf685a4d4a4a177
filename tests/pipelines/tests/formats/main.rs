//! Sources and sinks of Avro, Protobuf and raw bytes, as a user runs them: the rows are those of JSON, whatever happens to schemas and registry.

mod avro;
mod outages;
mod protobuf;
mod written;

use std::fs;

use anyhow::{Context, Result, ensure};
use reelflow_core::record::{END_KEY, Outgoing, partition_of};
use reelflow_embedded::EmbeddedLog;
use reelflow_pipelines::{Job, LogKind, workload};
use reelflow_ports::log::{Log, NewTopic, Retention};
use reelflow_registry_tests::TestRegistry;
use serde_json::Value;

const MANIFEST: &str = r#"
[pipeline]
name = "formats"
[log]
kind = "embedded"
path = "log"
[source.plays]
topic = "plays"
event_time = "event_ts"
id = "event_id"
bound = "2m"
[plugin.clean]
path = "plugins/clean_plays.wasm"
[stage.clean]
kind = "transform"
input = "plays"
plugin = "clean"
[sink.clean]
input = "clean"
topic = "clean"
"#;

const N_PARTITIONS: u32 = 2;

/// A record of the topic of plays.
#[derive(Clone, Debug)]
struct Play {
    key: Vec<u8>,
    timestamp_ms: i64,
    value: Vec<u8>,
}

impl Play {
    /// Its fields, if it has any.
    fn fields(&self) -> Option<Value> {
        serde_json::from_slice(&self.value).ok()
    }
}

/// What producers do to a play: all that the generator does wrong can be written in every format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Version {
    First,
    /// More fields, in another order, some of other types that can be read as before.
    Second,
    /// A required field was removed.
    Removed,
    /// A required field was given another type.
    Retyped,
}

impl Version {
    /// By which schema a producer of `fields` would write.
    fn of(fields: &Value) -> Version {
        match &fields["title_id"] {
            Value::Null => Version::Removed,
            Value::String(_) => Version::Retyped,
            _ if fields["v"] == 2 => Version::Second,
            _ => Version::First,
        }
    }
}

/// The plays that the generator makes, and of every fifty one without a title, one whose title is a text, and one that is cut off.
fn plays() -> Result<Vec<Play>> {
    let text = fs::read(workload(60_000, 11).join("topics/play_starts.tsv"))?;
    let play = |line: &[u8]| {
        let mut parts = line.splitn(3, |byte| *byte == b'\t');
        let (key, timestamp, value) = (parts.next()?, parts.next()?, parts.next()?);
        let timestamp_ms = std::str::from_utf8(timestamp).ok()?.parse().ok()?;
        Some(Play { key: key.to_vec(), timestamp_ms, value: value.to_vec() })
    };
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mut plays = lines.map(|line| play(line).context("a line of the workload")).collect::<Result<Vec<_>>>()?;
    for (idx, play) in plays.iter_mut().enumerate() {
        let Some(mut fields) = play.fields() else { continue };
        match idx % 50 {
            7 => drop(fields.as_object_mut().context("a play is an object")?.remove("title_id")),
            17 => fields["title_id"] = "none".into(),
            27 => {
                play.value.truncate(play.value.len() / 2);
                continue;
            }
            _ => continue,
        }
        play.value = fields.to_string().into_bytes();
    }
    Ok(plays)
}

/// A job whose source has `format` among its keys, and files beside its manifest.
fn job(format: &str, files: &[(&str, &str)]) -> Result<Job> {
    let job = Job::example("flights", &LogKind::Embedded, &[])?;
    let source = "topic = \"plays\"\n";
    let (keys, tables) = format.split_once("\n\n").unwrap_or((format, ""));
    let manifest = MANIFEST.replace(source, &format!("{source}{keys}\n"));
    fs::write(job.path().join("reel.toml"), format!("{manifest}\n{tables}\n"))?;
    for (name, text) in files {
        fs::write(job.path().join(name), text)?;
    }
    Ok(job)
}

/// A source that asks `registry`.
fn registered(format: &str, registry: &TestRegistry) -> Result<Job> {
    job(&format!("format = \"{format}\"\n\n[registry]\nurl = \"{}\"", registry.url()), &[])
}

/// Writes `plays`, and ends the topic.
fn write(job: &Job, plays: &[Play]) -> Result<()> {
    let log = EmbeddedLog::open(&job.path().join("log"))?;
    log.create_topic(&NewTopic { name: "plays".into(), n_partitions: N_PARTITIONS, retention: Retention::FromTimestamp })?;
    let mut records = Outgoing::new("plays".into());
    for Play { key, timestamp_ms, value } in plays {
        records.push(partition_of(key, N_PARTITIONS), *timestamp_ms, Some(key), Some(value), &[]);
    }
    (0..N_PARTITIONS).for_each(|partition| records.push(partition, 0, Some(END_KEY), Some(b""), &[]));
    Ok(log.write(&records)?)
}

/// The rows of the sink, sorted.
fn rows(job: &Job) -> Result<Vec<String>> {
    let mut rows: Vec<String> = job.read(&["topic", "read", "clean"])?.lines().map(str::to_owned).collect();
    rows.sort();
    Ok(rows)
}

/// The reasons of the dead letters, sorted.
fn reasons(job: &Job) -> Result<Vec<String>> {
    let text = job.read(&["topic", "read", "dead.formats", "--format", "json"])?;
    let reason = |line: &str| {
        let letter: Value = serde_json::from_str(line)?;
        Ok(letter["headers"]["reel-reason"].as_str().context("a reason")?.to_owned())
    };
    let mut reasons = text.lines().map(reason).collect::<Result<Vec<_>>>()?;
    reasons.sort();
    Ok(reasons)
}

/// What JSON gives: rows, and how many dead letters there are of what can be written in every format, and of everything.
struct Expected {
    rows: Vec<String>,
    n_missing: usize,
    n_type: usize,
    n_dead: usize,
}

fn expected(plays: &[Play]) -> Result<Expected> {
    let job = job("", &[])?;
    write(&job, plays)?;
    job.run_to_end(&[])?;
    let (rows, reasons) = (rows(&job)?, reasons(&job)?);
    let of = |reason: &str| reasons.iter().filter(|one| *one == reason).count();
    ensure!(rows.len() > 1_000 && of("missing") > 0 && of("type") > 0, "the workload tries everything: {reasons:?}");
    Ok(Expected { rows, n_missing: of("missing"), n_type: of("type"), n_dead: reasons.len() })
}

/// Each play in another format; what is no play stays as it is.
fn converted(plays: &[Play], mut convert: impl FnMut(Version, &Value) -> Option<Vec<u8>>) -> Vec<Play> {
    let mut of = |play: &Play| match play.fields().and_then(|fields| convert(Version::of(&fields), &fields)) {
        Some(value) => Play { value, ..play.clone() },
        None => play.clone(),
    };
    plays.iter().map(&mut of).collect()
}

fn check(name: &str, job: &Job, expected: &Expected, knows_reasons: bool) -> Result<()> {
    job.run_to_end(&["--workers", "2"]).with_context(|| name.to_owned())?;
    ensure!(rows(job)? == expected.rows, "{name}: other rows than of JSON");
    let reasons = reasons(job)?;
    ensure!(reasons.len() == expected.n_dead, "{name}: {} instead of {}: {reasons:?}", reasons.len(), expected.n_dead);
    if knows_reasons {
        let of = |reason: &str| reasons.iter().filter(|one| *one == reason).count();
        ensure!((of("missing"), of("type")) == (expected.n_missing, expected.n_type), "{name}: {reasons:?}");
    }
    Ok(())
}

/// Producers change their schemas in the middle: what can be read is, and what cannot is a dead letter.
#[test]
fn avro_and_protobuf_give_the_rows_of_json() -> Result<()> {
    let plays = plays()?;
    let expected = expected(&plays)?;

    let registry = TestRegistry::start();
    let avro = avro::Producer::new(Some(&registry));
    let of_registry = registered("avro", &registry)?;
    write(&of_registry, &converted(&plays, |version, fields| avro.framed(version, fields)))?;
    check("Avro of a registry", &of_registry, &expected, true)?;

    let protobuf = protobuf::Producer::new(Some(&registry));
    let of_registry = registered("protobuf", &registry)?;
    write(&of_registry, &converted(&plays, |version, fields| protobuf.framed(version, fields)))?;
    check("Protobuf of a registry", &of_registry, &expected, true)?;
    assert!(registry.n_requests() < 20, "each schema is asked for once: {}", registry.n_requests());

    let keys = "format = \"avro\"\nschema = \"play.avsc\"";
    let bare = job(keys, &[("play.avsc", &avro::text(Version::First))])?;
    write(&bare, &converted(&plays, |version, fields| (version <= Version::Second).then(|| avro.bare(fields))))?;
    check("Avro of a file", &bare, &expected, false)?;

    let keys = "format = \"protobuf\"\nschema = \"play.proto\"\nmessage = \"reel.Play\"";
    let bare = job(keys, &[("play.proto", &protobuf::text(Version::First))])?;
    write(&bare, &converted(&plays, |version, fields| (version <= Version::Second).then(|| protobuf.bare(fields))))?;
    check("Protobuf of a file", &bare, &expected, false)
}

#[test]
fn raw_records_are_rows_of_their_bytes() -> Result<()> {
    let job = job("format = \"raw\"", &[])?;
    let manifest = "[pipeline]\nname = \"formats\"\n[log]\nkind = \"embedded\"\npath = \"log\"\n[source.plays]\ntopic = \"plays\"\n\
        format = \"raw\"\nevent_time = \"@timestamp\"\nbound = \"0s\"\nfields = { value = \"string\", key = \"bytes?\" }\n\
        [sink.clean]\ninput = \"plays\"\ntopic = \"clean\"\n";
    fs::write(job.path().join("reel.toml"), manifest)?;
    let play = |value: &[u8]| Play { key: b"k\xff".to_vec(), timestamp_ms: 5, value: value.to_vec() };
    write(&job, &[play(b"a line"), play(b""), play("é \"quoted\"\n".as_bytes()), play(b"\xff")])?;
    job.run_to_end(&[])?;
    let wanted = ["", "a line", "é \\\"quoted\\\"\\n"].map(|value| format!("{{\"value\":\"{value}\",\"key\":\"a/8=\"}}"));
    assert_eq!(rows(&job)?, wanted);
    assert_eq!(reasons(&job)?, ["utf8"]);
    Ok(())
}
