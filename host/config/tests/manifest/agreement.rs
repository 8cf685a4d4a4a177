//! The JSON Schema for editors and the walker hold the same opinion of every case.

use std::{collections::BTreeSet, path::Path};

use reelflow_config::{Code, manifest_schema, parse};

use crate::cases;

fn validator() -> jsonschema::Validator {
    let schema: serde_json::Value = serde_json::from_str(&manifest_schema()).expect("the schema is JSON");
    jsonschema::draft7::new(&schema).expect("the schema is a schema")
}

/// `None` where the text is no TOML for others either, or holds numbers that JSON does not.
fn as_json(text: &str) -> Option<serde_json::Value> {
    let table: toml::Table = toml::from_str(text).ok()?;
    serde_json::to_value(table).ok()
}

#[test]
fn the_committed_schema_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reel.schema.json");
    cases::check(&path, &manifest_schema());
}

#[test]
fn the_schema_accepts_every_good_manifest() {
    let validator = validator();
    for (path, text) in cases::manifests("good") {
        let instance = as_json(&text).expect("a good manifest is TOML");
        let errors: Vec<String> =
            validator.iter_errors(&instance).map(|error| format!("{error} at {}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
    }
}

/// What a schema can see: keys, types, and the shape of single values.
fn is_structural(code: Code) -> bool {
    matches!(
        code,
        Code::UnknownKey
            | Code::WrongType
            | Code::MissingKey
            | Code::UnknownValue
            | Code::BadFieldType
            | Code::BadList
            | Code::KeyOfAnotherKind
            | Code::BadSize
            | Code::NothingToDo
            | Code::SinkWithoutInput
            | Code::LatenessWithoutWindow
            | Code::MissingBound
    )
}

/// What it sees in part only: whether it does decides nothing here.
fn is_partly_structural(code: Code) -> bool {
    matches!(
        code,
        Code::BadDuration
            | Code::BadShare
            | Code::BadName
            | Code::BadTopic
            | Code::OutOfRange
            | Code::InlineSecret
            | Code::Syntax
            | Code::DuplicateKey
            | Code::NothingTested
    )
}

#[test]
fn schema_and_walker_agree_on_every_bad_manifest() {
    let validator = validator();
    let mut n_judged = [0; 2];
    for (path, text) in cases::manifests("bad") {
        let problems = parse(&text).map_or_else(|problems| problems, |config| config.warnings);
        let codes: BTreeSet<Code> = problems.iter().map(|problem| problem.code).collect();
        let Some(instance) = as_json(&text) else {
            assert!(codes.iter().any(|code| is_partly_structural(*code)), "{}: {codes:?}", path.display());
            continue;
        };
        let accepts = validator.is_valid(&instance);
        if codes.iter().any(|code| is_structural(*code)) {
            n_judged[0] += 1;
            assert!(!accepts, "{}: the schema accepts what the walker refuses: {codes:?}", path.display());
        } else if !codes.iter().any(|code| is_partly_structural(*code)) {
            n_judged[1] += 1;
            let errors: Vec<String> = validator.iter_errors(&instance).map(|error| error.to_string()).collect();
            assert!(accepts, "{}: the schema refuses what the walker accepts: {errors:?}", path.display());
        }
    }
    assert!(n_judged[0] >= 15 && n_judged[1] >= 15, "both opinions are tried: {n_judged:?}");
}

/// Each key of the good manifests, misspelt, is refused by both.
#[test]
fn schema_and_walker_refuse_every_misspelt_key() {
    let validator = validator();
    let mut n_tried = 0;
    for (path, text) in cases::manifests("good") {
        let lines: Vec<&str> = text.lines().collect();
        let mut table = "";
        for (idx, line) in lines.iter().enumerate() {
            if line.starts_with('[') {
                table = line;
            }
            // What stands in these tables is not ours to name.
            let is_ours = line.contains(" = ") && !line.starts_with(['#', '"']) && table != "[log.client]";
            if !is_ours {
                continue;
            }
            let misspelt = format!("zz_{line}");
            let mut changed = lines.clone();
            changed[idx] = &misspelt;
            let changed = changed.join("\n");
            let walker_refuses =
                parse(&changed).err().is_some_and(|problems| problems.iter().any(|problem| problem.code == Code::UnknownKey));
            assert!(walker_refuses, "{}: the walker accepts {misspelt:?}", path.display());
            let instance = as_json(&changed).expect("still TOML");
            assert!(!validator.is_valid(&instance), "{}: the schema accepts {misspelt:?}", path.display());
            n_tried += 1;
        }
    }
    assert!(n_tried > 60, "{n_tried}");
}
