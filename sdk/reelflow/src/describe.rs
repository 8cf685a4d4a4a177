//! The document that a plugin describes itself with (format 1).

use crate::{
    Aggregate, Event, FullJoin, Join, KeyField, Outputs, Process, State, Transform,
    column::FieldSpec,
    emit::OutputSpec,
    json::{Json, quoted},
};

/// Describes a transform.
pub fn transform<P: Transform>() -> String {
    document("transform", &[P::Event::FIELDS], P::Output::OUTPUTS, |_| ())
}

/// Describes an aggregate.
pub fn aggregate<P: Aggregate>() -> String {
    document("aggregate", &[P::Event::FIELDS], P::Output::OUTPUTS, |out| keyed::<P::State>(out, P::KEY))
}

/// Describes a process.
pub fn process<P: Process>() -> String {
    document("process", &[P::Event::FIELDS], P::Output::OUTPUTS, |out| keyed::<P::State>(out, P::KEY))
}

/// Describes a join.
pub fn join<P: Join>() -> String {
    document("join", &[P::Left::FIELDS, P::Right::FIELDS], P::Output::OUTPUTS, |_| ())
}

/// Describes a join that takes right rows alone.
pub fn full_join<P: FullJoin>() -> String {
    let fields = [P::Left::FIELDS, P::Right::FIELDS];
    document("join", &fields, P::Output::OUTPUTS, |out| out.push_str(",\"right_alone\":true"))
}

/// Reads the config, as the manifest gave it.
pub fn configure<P: crate::Config>(config: &str) -> Result<P, String> {
    let json = Json::parse(config).map_err(|why| format!("config is not JSON: {why}"))?;
    P::from_json(&json).map_err(|why| why.to_string())
}

/// The key and the state of a plugin that has them.
fn keyed<S: State>(out: &mut String, key: &[KeyField]) {
    out.push_str(",\"key\":");
    list(out, key, |out, KeyField(field)| {
        text(out, "{\"name\":", field.name);
        text(out, ",\"type\":", field.field_type.name());
        out.push_str(if field.required { "}" } else { ",\"required\":false}" });
    });
    text(out, ",\"state\":{\"name\":", S::NAME);
    out.push_str(",\"version\":");
    out.push_str(&S::VERSION.to_string());
    out.push_str(",\"reads\":");
    list(out, S::READS, |out, version| out.push_str(&version.to_string()));
    out.push('}');
}

fn document(kind: &str, inputs: &[&[FieldSpec]], outputs: &[OutputSpec], more: fn(&mut String)) -> String {
    let mut out = String::with_capacity(1024);
    text(&mut out, "{\"format\":1,\"sdk\":", env!("CARGO_PKG_VERSION"));
    text(&mut out, ",\"kind\":", kind);
    out.push_str(",\"inputs\":");
    list(&mut out, inputs, |out, fields| {
        out.push_str("{\"fields\":");
        list(out, fields, |out, field| {
            text(out, "{\"path\":", field.path);
            field_of(out, field);
        });
        out.push('}');
    });
    out.push_str(",\"outputs\":");
    list(&mut out, outputs, |out, output| {
        text(out, "{\"name\":", output.name);
        out.push_str(",\"fields\":");
        list(out, output.fields, |out, field| {
            out.push('{');
            field_of(out, field);
        });
        out.push('}');
    });
    more(&mut out);
    out.push('}');
    out
}

/// The rest of a field's object.
fn field_of(out: &mut String, field: &FieldSpec) {
    out.push_str(if out.ends_with('{') { "" } else { "," });
    text(out, "\"name\":", field.name);
    text(out, ",\"type\":", field.field_type.name());
    out.push_str(if field.required { ",\"required\":true}" } else { ",\"required\":false}" });
}

/// `before`, and then `value` as a string.
fn text(out: &mut String, before: &str, value: &str) {
    out.push_str(before);
    out.push_str(&quoted(value));
}

fn list<T>(out: &mut String, items: &[T], item: impl Fn(&mut String, &T)) {
    out.push('[');
    for (idx, one) in items.iter().enumerate() {
        out.push_str(if idx == 0 { "" } else { "," });
        item(out, one);
    }
    out.push(']');
}
