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
    if world != World::Aggregate && !key.is_empty() {
        return Err(format!("a key, which {} has not", world.name()));
    }
    let state = match (world, document.state) {
        (World::Aggregate, None) => return Err("no state, which an aggregate must name".to_owned()),
        (World::Aggregate, Some(StateV1 { name, version })) => Some(StateVersion { name, version }),
        (World::Transform | World::Join, Some(_)) => return Err(format!("a state, which {} has not", world.name())),
        (World::Transform | World::Join, None) => None,
    };
    Ok(Declaration { world, inputs, outputs, key, state, sdk: envelope.sdk })
}

fn inputs(inputs: Vec<InputV1>, world: World) -> Result<Vec<Schema>, String> {
    let wanted = match world {
        World::Transform | World::Aggregate => 1,
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
        World::Transform if names.is_empty() => return Err("no output".to_owned()),
        World::Transform => names_ok("output", &names)?,
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
            return Err(format!("a {what} without a name"));
        }
        if !seen.insert(name) {
            return Err(format!("{what} \"{name}\" twice"));
        }
    }
    Ok(())
}
