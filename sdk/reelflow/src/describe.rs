//! The document that a plugin describes itself with (format 1).

use crate::{
    Aggregate, Event, Join, Outputs, State, Transform,
    column::FieldSpec,
    emit::OutputSpec,
    json::{Json, quoted},
};

/// Describes a transform.
pub fn transform<P: Transform>() -> String {
    document("transform", &[P::Event::FIELDS], P::Output::OUTPUTS, "")
}

/// Describes an aggregate.
pub fn aggregate<P: Aggregate>() -> String {
    let key = list(P::KEY, |field| object(&[("name", &quoted(field.0.name)), ("type", &quoted(field.0.field_type.name()))]));
    let state = object(&[("name", &quoted(P::State::NAME)), ("version", &P::State::VERSION.to_string())]);
    document("aggregate", &[P::Event::FIELDS], P::Output::OUTPUTS, &format!(",\"key\":{key},\"state\":{state}"))
}

/// Describes a join.
pub fn join<P: Join>() -> String {
    document("join", &[P::Left::FIELDS, P::Right::FIELDS], P::Output::OUTPUTS, "")
}

/// Reads the config, as the manifest gave it.
pub fn configure<P: crate::Config>(config: &str) -> Result<P, String> {
    let json = Json::parse(config).map_err(|why| format!("config is not JSON: {why}"))?;
    P::from_json(&json).map_err(|why| why.to_string())
}

fn document(kind: &str, inputs: &[&[FieldSpec]], outputs: &[OutputSpec], more: &str) -> String {
    let inputs = list(inputs, |fields| object(&[("fields", &fields_of(fields, true))]));
    let outputs = list(outputs, |output| object(&[("name", &quoted(output.name)), ("fields", &fields_of(output.fields, false))]));
    let sdk = env!("CARGO_PKG_VERSION");
    format!("{{\"format\":1,\"sdk\":\"{sdk}\",\"kind\":\"{kind}\",\"inputs\":{inputs},\"outputs\":{outputs}{more}}}")
}

fn fields_of(fields: &[FieldSpec], with_path: bool) -> String {
    list(fields, |field| {
        let (name, path, required) = (quoted(field.name), quoted(field.path), field.required.to_string());
        let field_type = quoted(field.field_type.name());
        let members = [("name", name.as_str()), ("type", &field_type), ("required", &required), ("path", &path)];
        object(if with_path { &members } else { &members[..3] })
    })
}

fn list<T>(items: &[T], item: impl Fn(&T) -> String) -> String {
    format!("[{}]", items.iter().map(item).collect::<Vec<_>>().join(","))
}

fn object(members: &[(&str, &str)]) -> String {
    let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}
