//! The records of the control topic as bytes: JSON, so that any consumer can read the story. (I-10) And those of the topic of components.
//!
//! ```text
//! control: key   value
//! proposed       {"format":1,"plugins":{NAME:DIGEST},"how":"started"|"reloaded","migration":"lazy"|"eager","by":TEXT,"components_from":OFFSET}
//!                format 2 has "resets":[STAGE] as well: a build that knows nothing of it must not take such a proposal for one without
//! passed         {"format":1,"proposal":OFFSET,"partitions":[P]}
//! failed         {"format":1,"proposal":OFFSET,"why":TEXT,"by":TEXT}
//!
//! components: key   value
//! DIGEST/I/N        part I (from 0) of N of the component with that digest
//! ```
//!
//! What cannot be read is skipped, by everybody alike.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use reelflow_core::{
    record::{Offset, Outgoing, Partition, Record},
    upgrade::{CodeSet, How, Migration, Said},
};
use serde::{Deserialize, Serialize};

/// Bytes of a component in one record: brokers take 1 MB.
const PART_BYTES: usize = 512 << 10;
const FORMAT: u32 = 1;
/// Of a proposal that resets stages.
const FORMAT_RESETS: u32 = 2;

#[derive(Serialize, Deserialize)]
struct Proposed {
    format: u32,
    plugins: BTreeMap<String, String>,
    how: WireHow,
    #[serde(default)]
    migration: WireMigration,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    resets: BTreeSet<String>,
    by: String,
    components_from: Offset,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WireHow {
    Started,
    Reloaded,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WireMigration {
    #[default]
    Lazy,
    Eager,
}

#[derive(Serialize, Deserialize)]
struct Passed {
    format: u32,
    proposal: Offset,
    partitions: Vec<Partition>,
}

#[derive(Serialize, Deserialize)]
struct Failed {
    format: u32,
    proposal: Offset,
    why: String,
    by: String,
}

/// Appends `said`.
pub(super) fn push(to: &mut Outgoing, timestamp_ms: i64, said: &Said) {
    let (key, value) = match said {
        Said::Proposed { code, how, resets, by, components_from } => {
            let plugins = code.0.iter().map(|(name, digest)| (name.to_string(), digest.to_string())).collect();
            let (how, migration) = match how {
                How::Started => (WireHow::Started, WireMigration::Lazy),
                How::Reloaded { migration: Migration::Lazy } => (WireHow::Reloaded, WireMigration::Lazy),
                How::Reloaded { migration: Migration::Eager } => (WireHow::Reloaded, WireMigration::Eager),
            };
            let proposed = Proposed {
                format: if resets.is_empty() { FORMAT } else { FORMAT_RESETS },
                plugins,
                how,
                migration,
                resets: resets.iter().map(|stage| stage.to_string()).collect(),
                by: by.to_string(),
                components_from: *components_from,
            };
            ("proposed", json(&proposed))
        }
        Said::Passed { proposal, partitions } => {
            ("passed", json(&Passed { format: FORMAT, proposal: *proposal, partitions: partitions.clone() }))
        }
        Said::Failed { proposal, why, by } => {
            let failed = Failed { format: FORMAT, proposal: *proposal, why: why.to_string(), by: by.to_string() };
            ("failed", json(&failed))
        }
    };
    to.push(0, timestamp_ms, Some(key.as_bytes()), Some(&value), &[]);
}

/// Appends the parts of a component.
pub(super) fn push_component(to: &mut Outgoing, timestamp_ms: i64, digest: &str, component: &[u8]) {
    let n_parts = component.len().div_ceil(PART_BYTES).max(1);
    let nothing: [&[u8]; 1] = [&[]];
    let parts = component.chunks(PART_BYTES).chain(nothing).take(n_parts);
    for (part, bytes) in parts.enumerate() {
        let key = format!("{digest}/{part}/{n_parts}");
        to.push(0, timestamp_ms, Some(key.as_bytes()), Some(bytes), &[]);
    }
}

/// `None`: this record says nothing that this build knows.
pub(super) fn read(record: &Record<'_>) -> Option<Said> {
    let key = std::str::from_utf8(record.key?).ok()?;
    let value = record.value?;
    match key {
        "proposed" => {
            let Proposed { format, plugins, how, migration, resets, by, components_from } = serde_json::from_slice(value).ok()?;
            if format != FORMAT && format != FORMAT_RESETS {
                return None;
            }
            let migration = match migration {
                WireMigration::Lazy => Migration::Lazy,
                WireMigration::Eager => Migration::Eager,
            };
            let how = match how {
                WireHow::Started => How::Started,
                WireHow::Reloaded => How::Reloaded { migration },
            };
            let code = plugins.into_iter().map(|(name, digest)| (name.into(), digest.into())).collect();
            let resets = resets.into_iter().map(Arc::from).collect();
            Some(Said::Proposed { code: CodeSet(code), how, resets, by: by.into(), components_from })
        }
        "passed" => {
            let Passed { format: FORMAT, proposal, partitions } = serde_json::from_slice(value).ok()? else { return None };
            Some(Said::Passed { proposal, partitions })
        }
        "failed" => {
            let Failed { format: FORMAT, proposal, why, by } = serde_json::from_slice(value).ok()? else { return None };
            Some(Said::Failed { proposal, why: why.into(), by: by.into() })
        }
        _ => None,
    }
}

/// What the key of a component's part says.
pub(super) struct Part<'a> {
    pub digest: &'a str,
    pub at: usize,
    pub n_parts: usize,
}

pub(super) fn part(key: &str) -> Option<Part<'_>> {
    let mut words = key.split('/');
    let part = Part { digest: words.next()?, at: words.next()?.parse().ok()?, n_parts: words.next()?.parse().ok()? };
    words.next().is_none().then_some(part)
}

/// Puts a component together from its parts, in order.
#[derive(Default)]
pub(super) struct Assembly {
    bytes: Vec<u8>,
    n_seen: usize,
    is_whole: bool,
}

impl Assembly {
    /// A part that is not the next one begins the component anew, if it is the first, and is ignored otherwise.
    pub fn add(&mut self, part: &Part<'_>, bytes: &[u8]) {
        if self.is_whole {
            return;
        }
        if part.at == 0 {
            self.bytes.clear();
        } else if part.at != self.n_seen {
            return;
        }
        self.bytes.extend_from_slice(bytes);
        self.n_seen = part.at + 1;
        self.is_whole = self.n_seen == part.n_parts;
    }

    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    pub fn whole(&self) -> Option<Arc<[u8]>> {
        self.is_whole.then(|| self.bytes.as_slice().into())
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("texts and numbers are always JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(said: &Said) -> Outgoing {
        let mut to = Outgoing::new("t".into());
        push(&mut to, 7, said);
        to
    }

    #[test]
    fn what_is_written_is_read() {
        let code = CodeSet(BTreeMap::from([("count".into(), "abc".into()), ("sort".into(), "def".into())]));
        let proposed = |how, resets: &[&str]| {
            let resets = resets.iter().map(|stage| Arc::from(*stage)).collect();
            Said::Proposed { code: code.clone(), how, resets, by: "one".into(), components_from: 7 }
        };
        for said in [
            proposed(How::Started, &[]),
            proposed(How::Started, &["count"]),
            proposed(How::Reloaded { migration: Migration::Lazy }, &[]),
            proposed(How::Reloaded { migration: Migration::Eager }, &["count", "sum"]),
            Said::Passed { proposal: 8, partitions: vec![0, 3] },
            Said::Failed { proposal: 8, why: "plugin \"count\" trapped".into(), by: "two".into() },
        ] {
            assert_eq!(read(&written(&said).records.record(0)), Some(said));
        }
    }

    /// Each version as it was first written: a later build must read it.
    #[test]
    fn formats_1_and_2_are_read() {
        let record = |key: &'static str, value: &'static str| {
            let mut to = Outgoing::new("t".into());
            to.push(0, 0, Some(key.as_bytes()), Some(value.as_bytes()), &[]);
            read(&to.records.record(0))
        };
        let code = CodeSet(BTreeMap::from([("count".into(), "abc".into())]));
        let proposed =
            r#"{"format":1,"plugins":{"count":"abc"},"how":"reloaded","migration":"eager","by":"host","components_from":9}"#;
        let how = How::Reloaded { migration: Migration::Eager };
        let said = |resets: &[&str]| {
            let resets = resets.iter().map(|stage| Arc::from(*stage)).collect();
            Some(Said::Proposed { code: code.clone(), how, resets, by: "host".into(), components_from: 9 })
        };
        assert_eq!(record("proposed", proposed), said(&[]));
        let resetting = r#"{"format":2,"plugins":{"count":"abc"},"how":"reloaded","migration":"eager","resets":["sum"],"by":"host","components_from":9}"#;
        assert_eq!(record("proposed", resetting), said(&["sum"]));
        let passed = Some(Said::Passed { proposal: 3, partitions: vec![0, 1] });
        assert_eq!(record("passed", r#"{"format":1,"proposal":3,"partitions":[0,1]}"#), passed);
        let failed = Some(Said::Failed { proposal: 3, why: "trap".into(), by: "host".into() });
        assert_eq!(record("failed", r#"{"format":1,"proposal":3,"why":"trap","by":"host"}"#), failed);
        assert!(part("abc/0/2").is_some_and(|part| (part.digest, part.at, part.n_parts) == ("abc", 0, 2)));
        assert!(part("abc/0").is_none() && part("abc/0/2/3").is_none() && part("abc/x/2").is_none());
        for (key, value) in [("passed", r#"{"format":2,"proposal":3,"partitions":[]}"#), ("passed", "{"), ("new", "")] {
            assert_eq!(record(key, value), None, "{key} {value}");
        }
    }

    #[test]
    fn a_component_travels_in_parts() {
        let assembled = |outgoing: &[&Outgoing]| {
            let mut assembly = Assembly::default();
            for record in outgoing.iter().flat_map(|one| one.records.iter()) {
                let key = std::str::from_utf8(record.key.unwrap()).unwrap();
                assembly.add(&part(key).unwrap(), record.value.unwrap());
            }
            assembly.whole()
        };
        for n_bytes in [0, 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES] {
            let component: Vec<u8> = (0..n_bytes).map(|at| at as u8).collect();
            let mut to = Outgoing::new("t".into());
            push_component(&mut to, 0, "abc", &component);
            assert_eq!(to.len(), n_bytes.div_ceil(PART_BYTES).max(1));
            assert_eq!(assembled(&[&to]).as_deref(), Some(&component[..]), "{n_bytes}");
            assert_eq!(assembled(&[&to, &to]).as_deref(), Some(&component[..]), "a second copy changes nothing");
        }
        assert_eq!(assembled(&[]), None);
    }
}
