//! The promise of `wit/frozen`: a plugin that was built for a released contract goes on loading, and answers as it did.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use reelflow_core::{
    column::{Column, Kind, Rows, Value},
    plugin::Response,
};
use reelflow_ports::engine::{LoadError, PluginEngine};
use reelflow_wasm::digest;

use crate::support::{LIMITS, engine, guest_of, guests_dir, ints, load_error, out, request_for, sums, transform_rows};

/// The released contracts.
const VERSIONS: [&str; 1] = ["0.1.0"];
const FUNCTIONS: [&str; 7] = ["apply", "add", "merge", "emit", "pair", "take", "fire"];

fn frozen_dir() -> PathBuf {
    guests_dir().join("../../wit/frozen")
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

#[test]
fn nothing_frozen_is_edited() {
    let mut found = Vec::new();
    files(&frozen_dir(), &mut found);
    let name_of = |path: &Path| path.strip_prefix(frozen_dir()).unwrap().to_str().unwrap().to_owned();
    let is_frozen = |path: &&PathBuf| !path.ends_with("digests.txt");
    let found: BTreeMap<String, String> =
        found.iter().filter(is_frozen).map(|path| (name_of(path), digest(&std::fs::read(path).unwrap()))).collect();
    let listed = std::fs::read_to_string(frozen_dir().join("digests.txt")).unwrap();
    let listed: BTreeMap<String, String> = listed
        .lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(digest, name)| (name.to_owned(), digest.to_owned()))
        .collect();
    assert_eq!(found, listed);
    assert!(VERSIONS.iter().all(|version| found.contains_key(&format!("{version}/worlds.wit"))));
}

#[test]
fn golden_components_of_every_version_load_and_answer_as_they_did() {
    for version in VERSIONS {
        for at in FUNCTIONS {
            let path = frozen_dir().join(version).join("golden").join(format!("{}.wasm", guest_of(at)));
            let bytes = std::fs::read(path).unwrap();
            assert!(bytes.len() < 100_000, "{version} {at}: {} bytes", bytes.len());
            let plugin = engine().load(&bytes, "{}", &LIMITS).unwrap_or_else(|error| panic!("{version} {at}: {error}"));
            let answer =
                plugin.instance().unwrap().call(&request_for(at)).unwrap_or_else(|fault| panic!("{version} {at}: {fault}"));
            check_answer(at, &answer);
        }
    }
}

fn check_answer(at: &str, answer: &Response) {
    let states = |expected: &[i64]| match answer {
        Response::States { states, .. } | Response::Processed { states, .. } => assert_eq!(states, &sums(expected), "{at}"),
        Response::Rows { .. } | Response::Migrated { .. } => panic!("{at}: {answer:?} instead of states"),
    };
    let rows = |columns: Vec<Column>| assert_eq!(out(answer), &Rows::new(columns[0].len(), columns).unwrap(), "{at}");
    match at {
        "apply" => assert_eq!(out(answer), &transform_rows(&[1, 13, 3])),
        "emit" => rows([&[7, 8], &[-5, 0], &[0, 5], &[1, 2]].map(|values| ints(values)).to_vec()),
        "pair" => {
            let mut right = Column::empty(Kind::Int);
            right.push(Value::Int(10));
            right.push(Value::Null);
            rows(vec![ints(&[1, 2]), right]);
        }
        "merge" => states(&[3, 3]),
        "fire" => states(&[1, 2]),
        _ => states(&[13, 23]),
    }
}

/// A component of the contract with one word of it changed.
fn changed(from: &str, to: &str) -> Vec<u8> {
    let text = std::fs::read_to_string(guests_dir().join("wat/answers_nothing.wat")).unwrap();
    assert!(text.contains(from), "{from}");
    wat::parse_str(text.replace(from, to)).unwrap_or_else(|error| panic!("{from}: {error}"))
}

/// The table in wit/plugin/README.md.
#[test]
fn what_breaks_a_plugin_and_what_does_not() {
    let apply = r#"(instance $transform (export "apply" (func $apply)))"#;
    let harmless = [
        ("a patch version", changed("@0.1.0", "@0.1.7")),
        (
            "a function more",
            changed(apply, r#"(instance $transform (export "apply" (func $apply)) (export "more" (func $apply)))"#),
        ),
        ("a parameter of another name", changed(r#"(param "input" $rows)"#, r#"(param "batch" $rows)"#)),
        ("a type of another name", changed(r#"(export $emitted "emitted""#, r#"(export $emitted "given""#)),
    ];
    for (what, component) in harmless {
        engine().load(&component, "{}", &LIMITS).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    let breaking = [
        ("a minor version", changed("@0.1.0", "@0.2.0")),
        ("a pre-release", changed("@0.1.0", "@0.1.1-rc.1")),
        ("a function fewer", changed(apply, r#"(instance $transform (export "apply-all" (func $apply)))"#)),
        ("a field more", changed(r#"(field "code" u32)"#, r#"(field "code" u32) (field "hint" u32)"#)),
        ("a field fewer", changed(r#"(field "code" u32)"#, "")),
        ("a field of another name", changed(r#"(field "code" u32)"#, r#"(field "number" u32)"#)),
        (
            "fields in another order",
            changed(r#"(field "row" u32) (field "code" u32)"#, r#"(field "code" u32) (field "row" u32)"#),
        ),
        ("a case more", changed(r#"(case "bytes" $packed)"#, r#"(case "bytes" $packed) (case "nothing")"#)),
    ];
    for (what, component) in breaking {
        let error = load_error(&component, "{}", LIMITS);
        assert!(matches!(error, LoadError::WrongWorld(_)), "{what}: {error}");
    }
}
