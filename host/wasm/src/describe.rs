//! The document of `describe`, format 1 (wit/plugin/README.md): the types it is read into, and what a declaration must be.
//!
//! Unknown members are ignored, so a newer SDK's document still loads.

use std::collections::BTreeSet;

use reelflow_core::{
    plugin::{Declaration, StateVersion, World},
    schema::{Field, FieldType, Schema},
};
use serde::Deserialize;

/// The format that this host reads.
const FORMAT: u64 = 1;
/// The one output of an aggregate or a join.
const ONLY_OUTPUT: &str = "out";
/// Bytes of a name or path: it stands in every message, every plan and every row of JSON.
pub(crate) const NAME_BYTES_MAX: usize = 256;

/// Read first: the rest of another format could be anything.
#[derive(Deserialize)]
struct Envelope {
    format: u64,
    #[serde(default)]
    sdk: String,
}

#[derive(Deserialize)]
struct DocumentV1 {
    kind: String,
    inputs: Vec<InputV1>,
    outputs: Vec<OutputV1>,
    #[serde(default)]
    key: Vec<FieldV1>,
    state: Option<StateV1>,
    #[serde(default)]
    right_alone: bool,
}

#[derive(Deserialize)]
struct InputV1 {
    fields: Vec<FieldV1>,
}

#[derive(Deserialize)]
struct OutputV1 {
    name: String,
    fields: Vec<FieldV1>,
}

#[derive(Deserialize)]
struct FieldV1 {
    name: String,
    path: Option<String>,
    #[serde(rename = "type")]
    field_type: String,
    #[serde(default = "yes")]
    required: bool,
}

#[derive(Deserialize)]
struct StateV1 {
    name: String,
    version: u32,
    #[serde(default)]
    reads: Vec<u32>,
}

fn yes() -> bool {
    true
}

/// The declaration that `text` holds. Errors: what is wrong with it, for the plugin's author.
pub(crate) fn declaration(text: &str, world: World) -> Result<Declaration, String> {
    let envelope: Envelope = serde_json::from_str(text).map_err(|error| format!("not a describe document: {error}"))?;
    if envelope.format != FORMAT {
        return Err(format!(
            "format {}; this host reads format {FORMAT}. Rebuild the plugin with the SDK of this release",
            envelope.format
        ));
    }
    let document: DocumentV1 = serde_json::from_str(text).map_err(|error| format!("not a describe document: {error}"))?;
    if document.kind != world.name() {
        return Err(format!("kind \"{}\", but it exports {}", document.kind, world.name()));
    }
    let inputs = inputs(document.inputs, world)?;
    let outputs = outputs(document.outputs, world)?;
    let key = schema(document.key).map_err(|why| format!("key: {why}"))?;
    if !has_state(world) && !key.is_empty() {
        return Err(format!("a key, which {} has not", world.name()));
    }
    let state = match (world, document.state) {
        (World::Aggregate, None) => return Err("no state, which an aggregate must name".to_owned()),
        (World::Process, None) => return Err("no state, which a process must name".to_owned()),
        (World::Aggregate | World::Process, Some(StateV1 { name, version, reads })) => {
            fits("state", &name)?;
            Some(StateVersion { name, version, reads })
        }
        (World::Transform | World::Join, Some(_)) => return Err(format!("a state, which {} has not", world.name())),
        (World::Transform | World::Join, None) => None,
    };
    if document.right_alone && world != World::Join {
        return Err(format!("right rows alone, which {} has not", world.name()));
    }
    Ok(Declaration { world, inputs, outputs, key, state, takes_right_alone: document.right_alone, sdk: envelope.sdk })
}

fn has_state(world: World) -> bool {
    match world {
        World::Aggregate | World::Process => true,
        World::Transform | World::Join => false,
    }
}

fn inputs(inputs: Vec<InputV1>, world: World) -> Result<Vec<Schema>, String> {
    let wanted = match world {
        World::Transform | World::Aggregate | World::Process => 1,
        World::Join => 2,
    };
    if inputs.len() != wanted {
        return Err(format!("{} inputs instead of {wanted}", inputs.len()));
    }
    let schemas = inputs.into_iter().enumerate();
    schemas.map(|(input_idx, input)| schema(input.fields).map_err(|why| format!("input {input_idx}: {why}"))).collect()
}

fn outputs(outputs: Vec<OutputV1>, world: World) -> Result<Vec<(String, Schema)>, String> {
    let names: Vec<&str> = outputs.iter().map(|output| output.name.as_str()).collect();
    match world {
        World::Transform | World::Process if names.is_empty() => return Err("no output".to_owned()),
        World::Transform | World::Process => names_ok("output", &names)?,
        World::Aggregate | World::Join if names == [ONLY_OUTPUT] => {}
        World::Aggregate | World::Join => {
            return Err(format!("outputs {names:?}, but {} has one, \"{ONLY_OUTPUT}\"", world.name()));
        }
    }
    let schema_of = |output: OutputV1| match schema(output.fields) {
        Ok(schema) => Ok((output.name, schema)),
        Err(why) => Err(format!("output \"{}\": {why}", output.name)),
    };
    outputs.into_iter().map(schema_of).collect()
}

fn schema(fields: Vec<FieldV1>) -> Result<Schema, String> {
    let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
    names_ok("field", &names)?;
    let field_of = |field: FieldV1| {
        let Some(field_type) = FieldType::of_name(&field.field_type) else {
            return Err(format!(
                "field \"{}\" has type \"{}\", not one of bool, i64, f64, string, bytes",
                field.name, field.field_type
            ));
        };
        let path = field.path.unwrap_or_else(|| field.name.clone());
        if path.len() > NAME_BYTES_MAX {
            return Err(format!("field \"{}\" has a path of {} bytes; at most {NAME_BYTES_MAX}", field.name, path.len()));
        }
        if path.split('.').any(str::is_empty) {
            return Err(format!("field \"{}\" has path \"{path}\"", field.name));
        }
        Ok(Field { name: field.name, path, field_type, required: field.required })
    };
    Ok(Schema { fields: fields.into_iter().map(field_of).collect::<Result<_, _>>()? })
}

fn names_ok(what: &str, names: &[&str]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for name in names {
        if name.is_empty() {
            return Err(format!("{what} without a name"));
        }
        fits(what, name)?;
        if !seen.insert(name) {
            return Err(format!("{what} \"{name}\" twice"));
        }
    }
    Ok(())
}

fn fits(what: &str, name: &str) -> Result<(), String> {
    if name.len() <= NAME_BYTES_MAX {
        return Ok(());
    }
    Err(format!("{what} with a name of {} bytes; at most {NAME_BYTES_MAX}", name.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &str = r#"[{"name":"n","type":"i64"}]"#;

    fn transform(members: &str) -> String {
        format!(r#"{{"format":1,"kind":"transform",{members}}}"#)
    }

    fn aggregate(members: &str) -> String {
        format!(
            r#"{{"format":1,"kind":"aggregate","inputs":[{{"fields":{FIELDS}}}],"outputs":[{{"name":"out","fields":[]}}],{members}}}"#
        )
    }

    #[track_caller]
    fn check(text: &str, world: World, expected: &str) {
        assert_eq!(declaration(text, world).unwrap_err(), expected, "{text}");
    }

    #[test]
    fn what_is_left_out_has_a_default_and_what_is_unknown_is_ignored() {
        let text =
            transform(&format!(r#""new":[1],"inputs":[{{"fields":{FIELDS},"x":0}}],"outputs":[{{"name":"a","fields":[]}}]"#));
        let found = declaration(&text, World::Transform).unwrap();
        let field = Field { name: "n".to_owned(), path: "n".to_owned(), field_type: FieldType::Int, required: true };
        assert_eq!(found.inputs, [Schema { fields: vec![field] }]);
        assert_eq!((found.sdk.as_str(), found.key.len(), found.state), ("", 0, None));
    }

    #[test]
    fn a_field_may_lie_deep_and_be_null() {
        let fields = r#"[{"name":"n","path":"a.b","type":"string","required":false}]"#;
        let text = transform(&format!(r#""inputs":[{{"fields":{fields}}}],"outputs":[{{"name":"a","fields":[]}}]"#));
        let field = Field { name: "n".to_owned(), path: "a.b".to_owned(), field_type: FieldType::Text, required: false };
        assert_eq!(declaration(&text, World::Transform).unwrap().inputs[0].fields, [field]);
    }

    #[test]
    fn fields_are_checked_wherever_they_stand() {
        let with =
            |fields: &str| transform(&format!(r#""inputs":[{{"fields":{fields}}}],"outputs":[{{"name":"a","fields":[]}}]"#));
        let check = |fields: &str, expected: &str| check(&with(fields), World::Transform, expected);
        check(r#"[{"name":"","type":"i64"}]"#, "input 0: field without a name");
        check(r#"[{"name":"n","type":"i64"},{"name":"n","type":"f64"}]"#, "input 0: field \"n\" twice");
        check(
            r#"[{"name":"n","type":"int"}]"#,
            "input 0: field \"n\" has type \"int\", not one of bool, i64, f64, string, bytes",
        );
        check(r#"[{"name":"n","path":"a..b","type":"i64"}]"#, "input 0: field \"n\" has path \"a..b\"");
        let text = transform(r#""inputs":[{"fields":[]}],"outputs":[{"name":"a","fields":[{"name":"n","type":"u8"}]}]"#);
        let error = declaration(&text, World::Transform).unwrap_err();
        assert!(error.starts_with("output \"a\": field \"n\" has type \"u8\""), "{error}");
        let error =
            declaration(&aggregate(r#""key":[{"name":"","type":"i64"}],"state":{"name":"S","version":1}"#), World::Aggregate);
        assert_eq!(error.unwrap_err(), "key: field without a name");
    }

    #[test]
    fn each_world_has_its_outputs() {
        let twice = r#""inputs":[{"fields":[]}],"outputs":[{"name":"a","fields":[]},{"name":"a","fields":[]}]"#;
        check(&transform(twice), World::Transform, "output \"a\" twice");
        check(
            &transform(r#""inputs":[{"fields":[]}],"outputs":[{"name":"","fields":[]}]"#),
            World::Transform,
            "output without a name",
        );
        let join = r#"{"format":1,"kind":"join","inputs":[{"fields":[]},{"fields":[]}],"outputs":[{"name":"rows","fields":[]}]}"#;
        check(join, World::Join, "outputs [\"rows\"], but join has one, \"out\"");
    }

    #[test]
    fn state_and_key_belong_to_an_aggregate() {
        let found =
            declaration(&aggregate(r#""state":{"name":"S","version":0},"key":[{"name":"k","type":"bool"}]"#), World::Aggregate);
        let found = found.unwrap();
        assert_eq!(found.state, Some(StateVersion { name: "S".to_owned(), version: 0, reads: Vec::new() }));
        assert_eq!((found.key.fields[0].field_type, found.key.fields[0].required), (FieldType::Bool, true));
        let found = declaration(&aggregate(r#""state":{"name":"S","version":3,"reads":[1,2]}"#), World::Aggregate).unwrap();
        assert_eq!(found.state, Some(StateVersion { name: "S".to_owned(), version: 3, reads: vec![1, 2] }));
        check(&aggregate(r#""key":[]"#), World::Aggregate, "no state, which an aggregate must name");
        let base = r#""inputs":[{"fields":[]}],"outputs":[{"name":"a","fields":[]}]"#;
        check(&transform(&format!(r#"{base},"key":{FIELDS}"#)), World::Transform, "a key, which transform has not");
        check(
            &transform(&format!(r#"{base},"state":{{"name":"S","version":1}}"#)),
            World::Transform,
            "a state, which transform has not",
        );
        let negative = declaration(&aggregate(r#""state":{"name":"S","version":-1}"#), World::Aggregate).unwrap_err();
        assert!(negative.starts_with("not a describe document: invalid value: integer `-1`"), "{negative}");
    }

    #[test]
    fn a_process_has_state_and_key_and_named_outputs() {
        let process = |members: &str| format!(r#"{{"format":1,"kind":"process","inputs":[{{"fields":{FIELDS}}}],{members}}}"#);
        let whole = r#""key":[{"name":"k","type":"i64"}],"state":{"name":"S","version":1},"outputs":[{"name":"a","fields":[]},{"name":"b","fields":[]}]"#;
        let found = declaration(&process(whole), World::Process).unwrap();
        assert_eq!((found.outputs.len(), found.key.len(), found.state.unwrap().version), (2, 1, 1));
        check(&process(r#""outputs":[{"name":"a","fields":[]}]"#), World::Process, "no state, which a process must name");
        check(&process(r#""outputs":[],"state":{"name":"S","version":1}"#), World::Process, "no output");
    }

    #[test]
    fn only_a_join_takes_right_rows_alone() {
        let join = |members: &str| {
            format!(
                r#"{{"format":1,"kind":"join","inputs":[{{"fields":[]}},{{"fields":[]}}],"outputs":[{{"name":"out","fields":[]}}]{members}}}"#
            )
        };
        assert!(!declaration(&join(""), World::Join).unwrap().takes_right_alone);
        assert!(declaration(&join(r#","right_alone":true"#), World::Join).unwrap().takes_right_alone);
        let transform = r#""right_alone":true,"inputs":[{"fields":[]}],"outputs":[{"name":"a","fields":[]}]"#;
        check(
            &format!(r#"{{"format":1,"kind":"transform",{transform}}}"#),
            World::Transform,
            "right rows alone, which transform has not",
        );
    }

    #[test]
    fn names_have_an_end() {
        let text = |name: &str, path: &str, output: &str| {
            let fields = format!(r#"[{{"name":"{name}","path":"{path}","type":"i64"}}]"#);
            transform(&format!(r#""inputs":[{{"fields":{fields}}}],"outputs":[{{"name":"{output}","fields":[]}}]"#))
        };
        let (longest, too_long) = ("n".repeat(256), "n".repeat(257));
        assert!(declaration(&text(&longest, &longest, &longest), World::Transform).is_ok());
        check(&text(&too_long, "p", "o"), World::Transform, "input 0: field with a name of 257 bytes; at most 256");
        check(&text("n", &too_long, "o"), World::Transform, "input 0: field \"n\" has a path of 257 bytes; at most 256");
        check(&text("n", "p", &too_long), World::Transform, "output with a name of 257 bytes; at most 256");
        let state = aggregate(&format!(r#""state":{{"name":"{too_long}","version":1}}"#));
        check(&state, World::Aggregate, "state with a name of 257 bytes; at most 256");
    }

    #[test]
    fn deep_nonsense_is_an_error() {
        assert!(declaration(&"[".repeat(100_000), World::Join).is_err());
    }
}
