//! Registries and records that are not as they should be.

use std::{fs, process::Stdio, thread, time::Duration};

use anyhow::Result;
use reelflow_pipelines::said;
use reelflow_registry_tests::TestRegistry;
use serde_json::json;

use super::{Play, Version, avro, protobuf, reasons, registered, rows, write};

fn play(key: &str, value: Vec<u8>) -> Play {
    Play { key: key.as_bytes().to_vec(), timestamp_ms: 1_767_225_600_000, value }
}

fn fields(event: &str) -> serde_json::Value {
    json!({
        "event_id": event, "event_ts": 1_767_225_600_000_i64, "profile_id": 1, "title_id": 7, "playback_id": "p", "device": "tv"
    })
}

/// Each broken record stands between good ones, which come through once.
#[test]
fn records_that_cannot_be_read_are_dead_letters() -> Result<()> {
    let registry = TestRegistry::start();
    let (avro, protobuf) = (avro::Producer::new(Some(&registry)), protobuf::Producer::new(Some(&registry)));
    let broken_schema = registry.register("broken", "AVRO", "{\"type\":\"instant\"}", &[]);
    for format in ["avro", "protobuf"] {
        let good = |event: &str| match format {
            "avro" => avro.framed(Version::First, &fields(event)).expect("a play"),
            _ => protobuf.framed(Version::First, &fields(event)).expect("a play"),
        };
        let other = match format {
            "avro" => protobuf.framed(Version::First, &fields("x")).expect("a play"),
            _ => avro.framed(Version::First, &fields("x")).expect("a play"),
        };
        let whole = good("x");
        let with_id = |id: u32| [&[0][..], &id.to_be_bytes(), &whole[5..]].concat();
        let cases: Vec<(&str, Vec<u8>, &str)> = vec![
            ("no id", Vec::new(), "framing"),
            ("a part of an id", whole[..4].to_vec(), "framing"),
            ("another first byte", [&[1][..], &whole[1..]].concat(), "framing"),
            ("JSON", fields("x").to_string().into_bytes(), "framing"),
            ("nobody's id", with_id(999), "unknown-schema"),
            ("the greatest id", with_id(u32::MAX), "unknown-schema"),
            ("a schema that is none", with_id(broken_schema), "unusable-schema"),
            ("another format", other, "unusable-schema"),
            ("cut off", whole[..whole.len() - 1].to_vec(), format),
            ("cut off behind the first field", whole[..8].to_vec(), format),
            ("something behind it", [&whole[..], &[0]].concat(), format),
        ];
        let job = registered(format, &registry)?;
        let mut records = Vec::new();
        for (idx, (_, bytes, _)) in cases.iter().enumerate() {
            records.push(play("k", bytes.clone()));
            records.push(play("k", good(&format!("e{idx}"))));
        }
        write(&job, &records)?;
        job.run_to_end(&[])?;
        let mut wanted: Vec<&str> = cases.iter().map(|(_, _, reason)| *reason).collect();
        wanted.sort();
        assert_eq!(reasons(&job)?, wanted, "{format}");
        assert_eq!(rows(&job)?.len(), cases.len(), "{format}: a good neighbour was lost or doubled");
    }
    Ok(())
}

/// The run begins without a registry, waits, and ends once there is one.
#[test]
fn a_registry_that_comes_later_is_waited_for() -> Result<()> {
    let registry = TestRegistry::start();
    let producer = avro::Producer::new(Some(&registry));
    let job = registered("avro", &registry)?;
    let address = registry.address();
    let events: Vec<String> = (0..100).map(|idx| format!("e{idx}")).collect();
    let records: Vec<Play> =
        events.iter().map(|event| play(event, producer.framed(Version::First, &fields(event)).expect("a play"))).collect();
    write(&job, &records)?;
    drop(registry);

    // Too long for this one: it says so, and loses nothing.
    let output = job.reel(&["run", "--until-end", "--give-up-after", "1"]).output()?;
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    for wanted in ["RF0515", "reel.toml", "the schema registry does not answer", "gave up after"] {
        assert!(said(&output).contains(wanted), "{wanted:?}:\n{}", said(&output));
    }
    let waiting = job.reel(&["run", "--until-end"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    thread::sleep(Duration::from_millis(1_500));
    let registry = TestRegistry::at(address);
    drop(avro::Producer::new(Some(&registry)));
    let output = waiting.wait_with_output()?;
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("asking again"), "{}", said(&output));
    assert_eq!(rows(&job)?.len(), events.len());
    assert!(reasons(&job)?.is_empty());
    Ok(())
}

#[test]
fn a_registry_lets_in_whom_it_knows() -> Result<()> {
    let registry = TestRegistry::start();
    let producer = avro::Producer::new(Some(&registry));
    registry.protect("reel", "hunter2");
    let job = registered("avro", &registry)?;
    write(&job, &[play("k", producer.framed(Version::First, &fields("e")).expect("a play"))])?;
    let run = ["run", "--until-end"];
    let output = job.reel(&run).output()?;
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("RF0516") && said(&output).contains("401"), "{}", said(&output));

    let path = job.path().join("reel.toml");
    let account = "\nuser = \"reel\"\npassword = { env = \"REGISTRY_PASSWORD\" }\n";
    let text = fs::read_to_string(&path)?;
    fs::write(&path, format!("{}{account}", text.trim_end()))?;
    let output = job.reel(&run).env_remove("REGISTRY_PASSWORD").output()?;
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("RF0506"), "{}", said(&output));
    let output = job.reel(&run).env("REGISTRY_PASSWORD", "hunter2").output()?;
    assert!(output.status.success() && !said(&output).contains("hunter2"), "{}", said(&output));
    assert_eq!(rows(&job)?.len(), 1);
    Ok(())
}
