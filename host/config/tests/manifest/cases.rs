//! Each `tests/cases/bad/*.toml` has its problems in `*.txt`, each `tests/cases/good/*.toml` the plan's words.
//!
//! `REEL_BLESS=1 cargo test -p reelflow-config` writes the texts anew: read the difference before it is committed.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use reelflow_config::{
    Config, Outside, Partitions, Problems, SinkWriter, Valid, config::SourceFormat, describe_plan, parse, plan, render,
};
use reelflow_core::{
    plan::Plan,
    plugin::{Declaration, StateVersion, World},
    schema::{Field, FieldType, Schema},
};

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")
}

/// The manifests in `tests/cases/<kind>`: file name and text, by name.
pub fn manifests(kind: &str) -> Vec<(PathBuf, String)> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder().join(kind))
        .expect("the folder of cases is there")
        .map(|entry| entry.expect("its entries can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(&path).expect("a case is UTF-8"))).collect()
}

/// Compares `found` with the text at `path`, or writes it there under `REEL_BLESS=1`.
pub fn check(path: &Path, found: &str) {
    if std::env::var_os("REEL_BLESS").is_some() {
        fs::write(path, found).expect("the case can be written");
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert!(expected == found, "{}: expected\n{expected}\nfound\n{found}\n(REEL_BLESS=1 accepts it)", path.display());
}

/// The declarations in `plugins.json`: a field is `name: type`, `name@path: type`, and `type?` if it may be null.
pub fn declarations() -> BTreeMap<String, Declaration> {
    let text = fs::read_to_string(folder().join("plugins.json")).expect("plugins.json is there");
    let all: BTreeMap<String, serde_json::Value> = serde_json::from_str(&text).expect("plugins.json is JSON");
    all.into_iter().map(|(name, document)| (name, declaration(&document))).collect()
}

fn declaration(document: &serde_json::Value) -> Declaration {
    let mut worlds = [World::Transform, World::Aggregate, World::Join, World::Process].into_iter();
    let world = worlds.find(|world| document["kind"] == world.name());
    let world = world.expect("a kind of plugin");
    let inputs = document["inputs"].as_array().expect("a list of schemas");
    let outputs = document["outputs"].as_object().expect("outputs by name");
    Declaration {
        world,
        inputs: inputs.iter().map(schema).collect(),
        outputs: outputs.iter().map(|(name, fields)| (name.clone(), schema(fields))).collect(),
        key: document.get("key").map(schema).unwrap_or_default(),
        state: matches!(world, World::Aggregate | World::Process).then(|| StateVersion {
            name: "State".to_owned(),
            version: 1,
            reads: Vec::new(),
        }),
        takes_right_alone: document["right_alone"] == true,
        sdk: "0.1.0".to_owned(),
    }
}

fn schema(fields: &serde_json::Value) -> Schema {
    let field = |text: &serde_json::Value| {
        let (name, field_type) = text.as_str().and_then(|text| text.split_once(": ")).expect("name: type");
        let (name, path) = name.split_once('@').unwrap_or((name, name));
        let required = !field_type.ends_with('?');
        let field_type = FieldType::of_name(field_type.trim_end_matches('?')).expect("a type");
        Field { name: name.to_owned(), path: path.to_owned(), field_type, required }
    };
    Schema { fields: fields.as_array().expect("a list of fields").iter().map(field).collect() }
}

/// The plugins of `plugins.json`, and the schema files that the manifest names.
pub fn outside(config: &Config) -> Result<Outside, Problems> {
    let (mut outside, mut problems) = (Outside { declarations: declarations(), ..Outside::default() }, Problems::default());
    for source in &config.sources {
        let SourceFormat::Bare { format, schema, message } = &source.format else { continue };
        let text = fs::read_to_string(folder().join(&schema.value)).expect("the schemas of cases are there");
        match reelflow_registry::parse(*format, &text, message.as_ref().map(|message| message.value.as_str())) {
            Ok(schema) => drop(outside.schemas.insert(source.name.value.clone(), schema.into())),
            Err(why) => problems.push(config.bad_schema(&source.name, why)),
        }
    }
    for sink in &config.sinks {
        let Some(said) = sink.schema() else { continue };
        let text = fs::read_to_string(folder().join(&said.path.value)).expect("the schemas of cases are there");
        let message = said.message.as_ref().map(|message| message.value.as_str());
        match reelflow_registry::parse_to_write(said.format, &text, message) {
            Ok((schema, path)) => {
                let writer = SinkWriter { schema: schema.into(), path, id: said.subject.as_ref().map(|_| 7) };
                outside.sink_schemas.insert(sink.name.value.clone(), writer);
            }
            Err(why) => problems.push(config.bad_sink_schema(sink, said, why)),
        }
    }
    if problems.is_empty() { Ok(outside) } else { Err(problems) }
}

/// A manifest all the way to its plan, and to the words about it.
pub fn planned(text: &str) -> Result<(Valid<Plan>, String), Problems> {
    let config = parse(text)?;
    let mut plan = match plan(&config.value, &outside(&config.value)?, Partitions { tasks: 4, side: 2, sinks: 4 }) {
        Ok(plan) => plan,
        Err(mut problems) => {
            problems.append(config.warnings);
            return Err(problems);
        }
    };
    if let Err(mut problems) = config.value.rehearsals(&plan.value) {
        problems.append(config.warnings);
        return Err(problems);
    }
    let mut words = String::new();
    for described in describe_plan(&config.value, &plan.value) {
        let fragment = &plan.value.fragments[described.fragment].name;
        let reads = if described.reads.is_empty() { String::new() } else { format!(" <- {}", described.reads.join(" + ")) };
        writeln!(words, "{} {}{reads} (in fragment {fragment})", described.kind, described.name).expect("a string takes all");
        for line in described.lines {
            writeln!(words, "  {line}").expect("a string takes all");
        }
    }
    plan.warnings.append(config.warnings);
    Ok((plan, words))
}

#[test]
fn bad_manifests_are_told_everything() {
    let cases = manifests("bad");
    assert!(cases.len() >= 45, "only {} cases", cases.len());
    for (path, text) in cases {
        let file = path.file_name().expect("a file").to_string_lossy().into_owned();
        let problems = match planned(&text) {
            Ok((plan, _)) => plan.warnings,
            Err(problems) => problems,
        };
        assert!(!problems.is_empty(), "{file} has no problem");
        let drawn = render(&problems, &file, &text, false);
        assert!(!drawn.contains("hunter2"), "{file}: a secret was drawn");
        check(&path.with_extension("txt"), &format!("{drawn}\n"));
    }
}

#[test]
fn good_manifests_are_planned_without_a_warning() {
    for (path, text) in manifests("good") {
        let file = path.file_name().expect("a file").to_string_lossy().into_owned();
        match planned(&text) {
            Ok((plan, words)) => {
                assert!(plan.warnings.is_empty(), "{}", render(&plan.warnings, &file, &text, false));
                check(&path.with_extension("txt"), &words);
            }
            Err(problems) => panic!("{}", render(&problems, &file, &text, false)),
        }
    }
}
