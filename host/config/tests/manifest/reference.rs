//! `docs/manifest.md`, made from the schema, so that it cannot name a key that does not exist or miss one that does.

use std::{fmt::Write, path::Path};

use reelflow_config::manifest_schema;
use serde_json::Value;

use crate::cases;

const INTRODUCTION: &str = "# The manifest

One TOML file describes a pipeline; `reel` looks for `reel.toml`. This page is made from the same types as the JSON Schema for editors,
`docs/reel.schema.json` (`reel schema` prints it; `reel new` writes it beside a new manifest, where editors with taplo find it).
`reel check` says everything that is wrong with a manifest at once, `reel explain CODE` what a code means.

Text is never substituted in a manifest. Where the type says *setting*, `{ env = \"NAME\" }` or `{ file = \"path\" }` may stand for the value;
secrets may stand there only so, and are never printed.
";

struct Page<'a> {
    schema: &'a Value,
    text: String,
}

impl<'a> Page<'a> {
    fn definition(&self, reference: &str) -> (&'a str, &'a Value) {
        let name = reference.strip_prefix("#/definitions/").expect("references are local");
        let (name, definition) =
            self.schema["definitions"].as_object().and_then(|all| all.get_key_value(name)).expect("what is referred to exists");
        (name, definition)
    }

    /// The definition that `schema` refers to, through what `description` and `items` wrap it in.
    fn target(&self, schema: &'a Value) -> Option<(&'a str, &'a Value)> {
        let reference = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str())?;
        Some(self.definition(reference))
    }

    fn type_of(&self, schema: &'a Value) -> String {
        match self.target(schema) {
            Some((_, target)) if choices(target).is_some() => choices(target)
                .unwrap_or_default()
                .iter()
                .map(|choice| format!("`\"{choice}\"`"))
                .collect::<Vec<_>>()
                .join(" or "),
            Some((name, _)) => match name {
                "Window" | "Limits" | "Files" | "History" => format!("[{}](#{})", name.to_lowercase(), name.to_lowercase()),
                "ErrorsMax" => "[limit](#limit-of-errors)".to_owned(),
                "Retries" => "integer".to_owned(),
                "Backoff" => "duration".to_owned(),
                "StageTime" => "[event time](#event-time)".to_owned(),
                "SettingOrMore" | "Secret" => "setting".to_owned(),
                "Columns" => "list of fields".to_owned(),
                "Inputs" => "list of inputs".to_owned(),
                "Records" => "list of [records](#record-of-a-test)".to_owned(),
                "Rows" => "list of rows".to_owned(),
                "Expected" => "list of rows, or `\"any\"`".to_owned(),
                "Moment" => "time".to_owned(),
                "FieldType" => "field type".to_owned(),
                name => name.to_lowercase(),
            },
            None => match schema["type"].as_str() {
                Some("object") if schema["additionalProperties"].is_object() => {
                    format!("table of {}s", self.type_of(&schema["additionalProperties"]))
                }
                Some("object") => "table".to_owned(),
                Some(other) => other.to_owned(),
                None => "any".to_owned(),
            },
        }
    }

    fn keys(&mut self, table: &'a Value, skip: &str) {
        let required: Vec<&str> = table["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        self.text.push_str("\n| key | type | needed | meaning |\n| --- | --- | --- | --- |\n");
        for (key, schema) in table["properties"].as_object().into_iter().flatten().filter(|(key, _)| *key != skip) {
            let needed = if required.contains(&key.as_str()) { "yes" } else { "" };
            let own = schema["description"].as_str();
            let of_type = self.target(schema).and_then(|(_, target)| target["description"].as_str());
            let meaning = own.or(of_type).unwrap_or("").replace('|', "\\|").replace('\n', " ");
            let line = format!("| `{key}` | {} | {needed} | {meaning} |\n", self.type_of(schema));
            self.text.push_str(&line);
        }
    }

    /// `header` and the keys of a definition, or of each of its kinds.
    fn section(&mut self, title: &str, definition: &'a Value) {
        writeln!(self.text, "\n## {title}").expect("a string takes everything");
        if let Some(description) = definition["description"].as_str() {
            writeln!(self.text, "{description}").expect("a string takes everything");
        }
        let of_kinds = |all: &&Vec<Value>| all.iter().all(|one| one["properties"]["kind"].is_object());
        match definition["oneOf"].as_array().filter(of_kinds) {
            None => self.keys(definition, ""),
            Some(kinds) => {
                for kind in kinds {
                    let name = kind["properties"]["kind"]["const"].as_str().expect("kinds are told apart by `kind`");
                    let description = kind["description"].as_str().unwrap_or("");
                    writeln!(self.text, "\n### `kind = \"{name}\"`\n{description}").expect("a string takes everything");
                    self.keys(kind, "kind");
                }
            }
        }
    }
}

/// The values of a definition that is a choice of texts.
fn choices(definition: &Value) -> Option<Vec<&str>> {
    let of_enum = definition["enum"].as_array().map(|all| all.iter().filter_map(Value::as_str).collect::<Vec<_>>());
    let of_const = || definition["oneOf"].as_array()?.iter().map(|one| one["const"].as_str()).collect::<Option<Vec<_>>>();
    of_enum.or_else(of_const).filter(|all| !all.is_empty())
}

fn page() -> String {
    let schema: Value = serde_json::from_str(&manifest_schema()).expect("the schema is JSON");
    let mut page = Page { schema: &schema, text: INTRODUCTION.to_owned() };
    for (title, name) in [
        ("[pipeline]", "Pipeline"),
        ("[upgrade]", "Upgrade"),
        ("[log]", "Log"),
        ("[registry]", "Registry"),
        ("[state]", "State"),
        ("[source.NAME]", "Source"),
        ("[table.NAME]", "KeyedTable"),
        ("History", "History"),
        ("[plugin.NAME]", "Plugin"),
        ("Limits", "Limits"),
        ("[stage.NAME]", "Stage"),
        ("Window", "Window"),
        ("Event time", "StageTime"),
        ("Limit of errors", "ErrorsMax"),
        ("[sink.NAME]", "Sink"),
        ("Files", "Files"),
        ("[[test]]", "Test"),
        ("Record of a test", "TestRecord"),
    ] {
        page.section(title, page.definition(&format!("#/definitions/{name}")).1);
    }
    page.text.push_str("\n## Types\n\n| type | what it is |\n| --- | --- |\n");
    for (label, name) in [
        ("name", "Name"),
        ("topic", "Topic"),
        ("duration", "Duration"),
        ("size", "Size"),
        ("share", "Share"),
        ("field type", "FieldType"),
        ("text", "Text"),
        ("input", "Input"),
        ("list of fields", "Columns"),
        ("setting", "Setting"),
        ("time", "Moment"),
        ("list of rows", "Rows"),
    ] {
        let definition = page.definition(&format!("#/definitions/{name}")).1;
        let line = format!("| {label} | {} |\n", definition["description"].as_str().unwrap_or(""));
        page.text.push_str(&line);
    }
    page.text
}

#[test]
fn the_committed_reference_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/manifest.md");
    cases::check(&path, &page());
}
