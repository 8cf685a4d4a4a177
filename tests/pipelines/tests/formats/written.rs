//! Sinks of Avro and Protobuf, as a user runs them: another pipeline reads their topics, and has the rows of JSON.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result};
use reelflow_pipelines::{Job, said};
use reelflow_registry_tests::{TestRegistry, real::RealRegistry};
use serde_json::Value;

use super::{job, plays, rows, write};

const AVRO: &str = r#"{
  "type": "record", "name": "Play", "namespace": "reel.out",
  "fields": [
    { "name": "playback_id", "type": "string" },
    { "name": "event_ts", "type": { "type": "long", "logicalType": "timestamp-millis" } },
    { "name": "event_id", "type": "string" },
    { "name": "offline", "type": "boolean" },
    { "name": "country", "type": ["null", "string"], "default": null },
    { "name": "device", "type": ["string", "null"] },
    { "name": "profile_id", "type": "long" },
    { "name": "title_id", "type": ["null", "long"] },
    { "name": "comment", "type": ["null", "string"], "default": null }
  ]
}"#;
const PROTOBUF: &str = r#"syntax = "proto3";
package reel.out;
message Nothing {}
message Play {
  string event_id = 7;
  int64 event_ts = 1;
  sint64 profile_id = 2;
  sfixed64 title_id = 30;
  optional string country = 4;
  optional string device = 5;
  string playback_id = 6;
  bool offline = 3;
}
"#;
/// The fields of a play as a source names them.
const FIELDS: &str = "fields = { event_id = \"string\", profile_id = \"i64\", title_id = \"i64\", country = \"string?\", \
    device = \"string?\", playback_id = \"string\", offline = \"bool\" }";

/// How a sink writes, by its name; and how a source reads that.
fn manners() -> [(&'static str, &'static str, String); 4] {
    let (avro, protobuf) = ("format = \"avro\"", "format = \"protobuf\"");
    let (avro_file, proto_file) = ("schema = \"play.avsc\"", "schema = \"play.proto\"\nmessage = \"Play\"");
    [
        ("avro", avro, format!("{avro}\n{avro_file}\nsubject = \"avro-value\"")),
        ("protobuf", protobuf, format!("{protobuf}\n{proto_file}\nsubject = \"protobuf value\"")),
        ("bare-avro", "format = \"avro\"\nschema = \"play.avsc\"", format!("{avro}\n{avro_file}")),
        (
            "bare-protobuf",
            "format = \"protobuf\"\nschema = \"play.proto\"\nmessage = \"Play\"",
            format!("{protobuf}\n{proto_file}"),
        ),
    ]
}

/// A job that writes its rows in each manner besides JSON.
fn writing(url: &str) -> Result<Job> {
    let sinks = manners()
        .map(|(name, _, keys)| format!("[sink.{name}]\ninput = \"clean\"\ntopic = \"{name}\"\nkey = [\"profile_id\"]\n{keys}\n"));
    let rest = format!("\n\n[registry]\nurl = \"{url}\"\n{}", sinks.concat());
    job(&rest, &[("play.avsc", AVRO), ("play.proto", PROTOBUF)])
}

/// What `topic` holds, its members sorted by name, sorted.
fn objects(lines: &[String]) -> Result<Vec<Value>> {
    let mut objects: Vec<(String, Value)> = Vec::new();
    for line in lines {
        let members: BTreeMap<String, Value> = serde_json::from_str(line).context("an object")?;
        let object = serde_json::to_value(members)?;
        objects.push((object.to_string(), object));
    }
    objects.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(objects.into_iter().map(|(_, object)| object).collect())
}

#[test]
fn avro_and_protobuf_are_written_as_others_read_them() -> Result<()> {
    written_as_others_read(&TestRegistry::start().url())
}

/// A registry of another team: it takes the schemas, gives them to whoever reads, and refuses one that its rule is against.
#[test]
fn a_real_registry_keeps_the_schemas_of_sinks() -> Result<()> {
    let registry = RealRegistry::start()?;
    written_as_others_read(&registry.url())?;
    assert!(registry.latest("avro-value")?.contains("reel.out"));

    registry.require_compatible("avro-value")?;
    let job = writing(&registry.url())?;
    // An older value has none of it.
    let unreadable = AVRO.replace(
        "{ \"name\": \"profile_id\"",
        "{ \"name\": \"more\", \"type\": [\"long\", \"null\"] }, { \"name\": \"profile_id\"",
    );
    fs::write(job.path().join("play.avsc"), unreadable)?;
    write(&job, &plays()?)?;
    let text = said(&job.reel(&["run", "--until-end"]).output()?);
    assert!(text.contains("RF0517") && text.contains("avro-value"), "{text}");
    only_with_its_certificate(&registry)
}

/// Over TLS: no public authority knows the registry.
fn only_with_its_certificate(registry: &RealRegistry) -> Result<()> {
    let job = writing(&registry.tls_url())?;
    write(&job, &plays()?)?;
    let output = job.reel(&["run", "--until-end", "--give-up-after", "0"]).output()?;
    assert!(said(&output).contains("RF0515") && said(&output).contains("certificate"), "{}", said(&output));
    let manifest = fs::read_to_string(job.path().join("reel.toml"))?;
    fs::write(job.path().join("reel.toml"), manifest.replace("[registry]\n", "[registry]\nca = { file = \"ca.pem\" }\n"))?;
    fs::write(job.path().join("ca.pem"), "no certificate")?;
    let output = job.reel(&["run", "--until-end"]).output()?;
    assert!(said(&output).contains("RF0506") && said(&output).contains("certificate"), "{}", said(&output));
    fs::write(job.path().join("ca.pem"), registry.certificate()?)?;
    job.run_to_end(&[])?;
    assert!(rows(&job)?.len() > 1_000);
    Ok(())
}

fn written_as_others_read(registry: &str) -> Result<()> {
    let job = writing(registry)?;
    write(&job, &plays()?)?;
    job.run_to_end(&["--workers", "2"])?;
    let expected = objects(&rows(&job)?)?;
    assert!(expected.len() > 1_000);

    let mut reading =
        format!("[pipeline]\nname = \"reading\"\n[log]\nkind = \"embedded\"\npath = \"log\"\n[registry]\nurl = \"{registry}\"\n");
    for (name, keys, _) in manners() {
        reading += &format!(
            "[source.{name}]\ntopic = \"{name}\"\nevent_time = \"event_ts\"\nbound = \"2m\"\n{FIELDS}\n{keys}\n\
             [sink.of-{name}]\ninput = \"{name}\"\ntopic = \"of-{name}\"\n"
        );
    }
    fs::write(job.path().join("reading.toml"), reading)?;
    job.read(&["run", "--until-end", "reading.toml"])?;
    for (name, _, _) in manners() {
        let lines = job.read(&["topic", "read", &format!("of-{name}"), "--manifest", "reading.toml"])?;
        let lines: Vec<String> = lines.lines().map(str::to_owned).collect();
        assert!(objects(&lines)? == expected, "{name}: other rows than of JSON");
    }
    Ok(())
}

/// A second start registers nothing new; a test of the manifest asks nobody.
#[test]
fn a_schema_is_registered_once() -> Result<()> {
    let registry = TestRegistry::start();
    let job = writing(&registry.url())?;
    write(&job, &plays()?)?;
    job.read(&["check"])?;
    assert_eq!(registry.n_requests(), 0);
    job.run_to_end(&[])?;
    job.run_to_end(&[])?;
    assert_eq!(registry.versions("avro-value"), [AVRO]);
    assert_eq!(registry.versions("protobuf value"), [PROTOBUF]);
    Ok(())
}

#[test]
fn a_registry_that_takes_no_schema_ends_the_start() -> Result<()> {
    let registry = TestRegistry::start();
    let cases = [
        (Some((409, r#"{"error_code":409,"message":"Schema is incompatible: no default for title_id"}"#)), "RF0517", 3),
        (Some((422, r#"{"error_code":42201,"message":"Invalid schema"}"#)), "RF0517", 3),
        (Some((401, r#"{"error_code":401,"message":"Unauthorized"}"#)), "RF0516", 3),
        (Some((500, "{}")), "RF0515", 3),
        (Some((200, "{}")), "RF0515", 3),
    ];
    let job = writing(&registry.url())?;
    write(&job, &plays()?)?;
    for (failure, code, exit) in cases {
        registry.fail(failure);
        let output = job.reel(&["run", "--until-end", "--give-up-after", "0"]).output()?;
        let text = said(&output);
        assert!(text.contains(code), "{failure:?}: {text}");
        assert_eq!(output.status.code(), Some(exit), "{failure:?}: {text}");
        if let Some((409, _)) = failure {
            assert!(text.contains("no default for title_id"), "{text}");
        }
    }
    // Nothing was lost: the next start reads everything.
    registry.fail(None);
    job.run_to_end(&[])?;
    assert!(rows(&job)?.len() > 1_000);
    Ok(())
}
