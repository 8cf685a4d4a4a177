//! What is said where a stream does not have what a stage or a sink wants of it.

use reelflow_core::schema::{Field, FieldType};

use super::stages::Input;
use crate::{
    code::Code,
    config::Stage,
    problem::{At, Problem},
    value::closest,
};

pub(super) fn type_text(field: &Field) -> String {
    let mark = if field.required { "" } else { "?" };
    format!("{}{mark}", field.field_type.name())
}

fn fields_note(input: &Input<'_>) -> String {
    let fields: Vec<String> = input.schema.fields.iter().map(|field| format!("{}: {}", field.name, type_text(field))).collect();
    format!("fields of \"{}\": {}", input.from.value, if fields.is_empty() { "none".to_owned() } else { fields.join(", ") })
}

pub(super) fn lacking(stage: &Stage, plugin: &At<String>, wanted: &Field, input: &Input<'_>) -> Problem {
    let message = format!("stage \"{}\" lacks field \"{}\", which its plugin reads", *stage.name, wanted.name);
    let label = format!("plugin \"{}\" reads \"{}: {}\"", plugin.value, wanted.name, type_text(wanted));
    let problem = Problem::at(Code::FieldMissing, plugin.span.clone(), message, label);
    problem.also(input.from.span.clone(), "this stream does not have it").note(fields_note(input))
}

pub(super) fn disagreement(stage: &Stage, plugin: &At<String>, wanted: &Field, found: &Field, input: &Input<'_>) -> Problem {
    let (code, what) = if found.field_type != wanted.field_type {
        (Code::FieldTypeDiffers, "is of another type than")
    } else {
        (Code::FieldOptional, "may be null, unlike")
    };
    let message = format!("field \"{}\" of stage \"{}\" {what} its plugin reads it", wanted.name, *stage.name);
    let label = format!("plugin \"{}\" reads \"{}: {}\"", plugin.value, wanted.name, type_text(wanted));
    let problem = Problem::at(code, plugin.span.clone(), message, label);
    problem.also(input.from.span.clone(), format!("here it is {}", type_text(found)))
}

pub(super) fn unknown_column(code: Code, what: &str, name: &At<String>, input: &Input<'_>) -> Problem {
    let message = format!("{what} names a field that the stream does not have");
    let label = format!("no field is called \"{}\"", name.value);
    let mut problem = Problem::at(code, name.span.clone(), message, label)
        .also(input.from.span.clone(), "in this stream")
        .note(fields_note(input));
    if let Some(meant) = closest(name, input.schema.fields.iter().map(|field| field.name.as_str())) {
        problem = problem.patch("a field with a similar name exists", name.span.clone(), format!("\"{meant}\""));
    } else if input.is_raw {
        problem =
            problem.help(format!("if the records have it, add it to the source: `fields = {{ {} = \"i64\" }}`", name.value));
    }
    problem
}

/// Floats have two zeros and no fixed text. Nulls are a matter of whom the key is for: a group of their own, or equal to nothing.
pub(super) fn not_a_key(what: &str, name: &At<String>, field: &Field, input: &Input<'_>, allows_null: bool) -> Option<Problem> {
    let (code, message) = if field.field_type == FieldType::Float {
        (Code::FloatKey, format!("{what} names a float"))
    } else if !field.required && !allows_null {
        (Code::FieldOptional, format!("{what} names a field that may be null"))
    } else {
        return None;
    };
    let label = format!("field \"{}\" is {}", field.name, type_text(field));
    Some(Problem::at(code, name.span.clone(), message, label).also(input.from.span.clone(), "in this stream"))
}
