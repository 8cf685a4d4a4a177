//! `reel plugin`: what a component says of itself.

use std::{fs, path::Path};

use reelflow_core::{
    plugin::{Declaration, World},
    schema::Schema,
};
use reelflow_ports::engine::{Limits, LoadError};
use reelflow_wasm::{Inspection, encode_component_of_world};
use serde_json::{Value, json};

use crate::{
    args::{Format, Kind, plugin::Plugin},
    commands::build,
    failure::{Exit, Failure, exit_of},
    output::{Output, print},
    wire,
};

/// What a component is inspected under.
pub(crate) const STANDARD_LIMITS: Limits = Limits::STANDARD;

pub(crate) fn plugin(command: &Plugin) -> Result<(), Failure> {
    match command {
        Plugin::Inspect { component, config, format } => {
            let inspection = inspect(component, config)?;
            match format {
                Format::Json => print(&json_of(&inspection).to_string()),
                Format::Text => text(&inspection),
            }
        }
        Plugin::Encode { module, world, out } => encode(module, *world, out),
    }
}

fn encode(module: &Path, kind: Kind, out: &Path) -> Result<(), Failure> {
    let world = match kind {
        Kind::Transform => World::Transform,
        Kind::Aggregate => World::Aggregate,
        Kind::Join => World::Join,
        Kind::Process => World::Process,
    };
    let what = format!("\"{}\"", module.display());
    let component = encode_component_of_world(&read(module)?, world)
        .map_err(|why| Failure::new(Exit::User, format!("{what} is no plugin: {why}")))?;
    let inspection = build::keep(&what, &component, out)?;
    print(&format!("encoded {}  {}", out.display(), line(&inspection)))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|why| Failure::new(Exit::Environment, format!("\"{}\" cannot be read: {why}", path.display())))
}

fn inspect(path: &Path, config: &str) -> Result<Inspection, Failure> {
    let bytes = read(path)?;
    let refused = |why: LoadError| Failure::new(exit_of(why.who()), format!("\"{}\" is no plugin: {why}", path.display()));
    wire::engine().inspect(&bytes, config, &STANDARD_LIMITS).map_err(refused)
}

/// One line: `42 KB  aggregate  reads 3 fields  state v1  blake3 9f3c…`.
pub(crate) fn line(inspection: &Inspection) -> String {
    let size = inspection.n_bytes.div_ceil(1024);
    let digest = &inspection.digest[..12];
    let what = match &inspection.declaration {
        Ok(declaration) => {
            let n_fields: usize = declaration.inputs.iter().map(Schema::len).sum();
            let state =
                declaration.state.as_ref().map_or(String::new(), |state| format!("  state {} v{}", state.name, state.version));
            let fields = if n_fields == 1 { "field" } else { "fields" };
            format!("{}  reads {n_fields} {fields}{state}", declaration.world.name())
        }
        // A plugin that needs a config can be built without one.
        Err(why) => format!("({why})"),
    };
    format!("{size} KB  {what}  blake3 {digest}…")
}

fn text(inspection: &Inspection) -> Result<(), Failure> {
    let mut output = Output::new();
    output.line(&format!("size     {} bytes", inspection.n_bytes))?;
    output.line(&format!("digest   blake3 {}", inspection.digest))?;
    output.line(&format!(
        "imports  {}",
        if inspection.imports.is_empty() { "none".to_owned() } else { inspection.imports.join(", ") }
    ))?;
    output.line(&format!("exports  {}", inspection.exports.join(", ")))?;
    match &inspection.declaration {
        Err(why) => output.line(&format!("describe {why}"))?,
        Ok(declaration) => describe(&mut output, declaration)?,
    }
    output.finish()
}

fn describe(output: &mut Output, declaration: &Declaration) -> Result<(), Failure> {
    output.line(&format!("kind     {}, SDK {}", declaration.world.name(), declaration.sdk))?;
    for (input_idx, schema) in declaration.inputs.iter().enumerate() {
        output.line(&format!("{}  {}", input_name(declaration.world, input_idx), fields(schema, true)))?;
    }
    if !declaration.key.is_empty() {
        output.line(&format!("key      {}", fields(&declaration.key, false)))?;
    }
    if let Some(state) = &declaration.state {
        let migrates = state.reads.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        let migrates = if migrates.is_empty() { String::new() } else { format!(", migrates {migrates}") };
        output.line(&format!("state    {} version {}{migrates}", state.name, state.version))?;
    }
    for (name, schema) in &declaration.outputs {
        output.line(&format!("output   {name}: {}", fields(schema, false)))?;
    }
    Ok(())
}

fn input_name(world: World, input_idx: usize) -> &'static str {
    match (world, input_idx) {
        (World::Join, 0) => "left   ",
        (World::Join, _) => "right  ",
        _ => "input  ",
    }
}

fn fields(schema: &Schema, with_paths: bool) -> String {
    let one = |field: &reelflow_core::schema::Field| {
        let optional = if field.required { "" } else { "?" };
        let path = if with_paths && field.path != field.name { format!(" at {}", field.path) } else { String::new() };
        format!("{}{path} {}{optional}", field.name, field.field_type.name())
    };
    schema.fields.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn json_of(inspection: &Inspection) -> Value {
    let schema = |schema: &Schema| -> Value {
        schema.fields.iter().map(|field| json!({"name": field.name, "path": field.path, "type": field.field_type.name(), "required": field.required})).collect()
    };
    let declaration = match &inspection.declaration {
        Err(why) => json!({"error": why.to_string()}),
        Ok(declaration) => json!({
            "kind": declaration.world.name(),
            "sdk": declaration.sdk,
            "inputs": declaration.inputs.iter().map(schema).collect::<Vec<_>>(),
            "key": schema(&declaration.key),
            "state": declaration.state.as_ref().map(|state| json!({"name": state.name, "version": state.version, "reads": state.reads})),
            "outputs": declaration.outputs.iter().map(|(name, fields)| json!({"name": name, "fields": schema(fields)})).collect::<Vec<_>>(),
        }),
    };
    json!({
        "format": 1,
        "bytes": inspection.n_bytes,
        "digest": inspection.digest,
        "imports": inspection.imports,
        "exports": inspection.exports,
        "declaration": declaration,
    })
}
