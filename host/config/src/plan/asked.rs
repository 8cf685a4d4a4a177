//! The fields that readers of a source ask for, and where they disagree.

use reelflow_core::schema::{Field, FieldType};

use crate::{
    code::Code,
    problem::{At, Problem, Problems, Span},
};

/// Who asks for a field, which decides what a disagreement is called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// `event_time` or `id`, which fix the type.
    Fixed(Code),
    /// `fields`, which say what the records hold.
    Declared,
    Reader,
}

pub(super) struct Ask<'a> {
    pub name: &'a str,
    pub path: &'a str,
    pub field_type: FieldType,
    pub required: bool,
    pub by: String,
    pub span: &'a Span,
    pub role: Role,
}

impl<'a> Ask<'a> {
    pub fn of_source(path: &'a str, field_type: FieldType, by: &str, span: &'a Span, code: Code) -> Ask<'a> {
        Ask { name: path, path, field_type, required: true, by: by.to_owned(), span, role: Role::Fixed(code) }
    }

    /// Of a stage itself, which does not mind null.
    pub fn of_reader(path: &'a At<String>, field_type: FieldType, by: String) -> Ask<'a> {
        Ask { name: path, path, field_type, required: false, by, span: &path.span, role: Role::Reader }
    }
}

/// What was asked so far; who asked first stands at the same place in `first`.
#[derive(Default)]
pub(super) struct Asked {
    pub fields: Vec<Field>,
    pub first: Vec<(String, Span, Role)>,
}

impl Asked {
    pub fn ask(&mut self, ask: Ask<'_>, problems: &mut Problems) {
        let Some(at) = self.fields.iter().position(|field| field.path == ask.path) else {
            // Two paths may end in one name: then the later one is called by its path.
            let is_taken = self.fields.iter().any(|field| field.name == ask.name);
            let name = if is_taken { ask.path } else { ask.name };
            let Ask { path, field_type, required, .. } = ask;
            self.fields.push(Field { name: name.to_owned(), path: path.to_owned(), field_type, required });
            self.first.push((ask.by, ask.span.clone(), ask.role));
            return;
        };
        let field = &mut self.fields[at];
        let (first_by, first_span, first_role) = &self.first[at];
        if field.field_type != ask.field_type {
            let (code, message) = match (first_role, ask.role) {
                (Role::Fixed(Code::IdType), _) => {
                    (Code::IdType, format!("field \"{}\" is the source's id and so a string", ask.path))
                }
                (Role::Fixed(code), _) => (*code, format!("field \"{}\" is the event time and so an i64", ask.path)),
                _ => (Code::FieldConflict, format!("field \"{}\" of a source is wanted as two types", ask.path)),
            };
            let label = format!("{} wants {}", ask.by, ask.field_type.name());
            let first_label = format!("{first_by} wants {}", field.field_type.name());
            problems.push(Problem::at(code, ask.span.clone(), message, label).also(first_span.clone(), first_label));
            return;
        }
        if ask.required && !field.required && *first_role == Role::Declared {
            let message = format!("field \"{}\" may be null where a value is needed", ask.path);
            problems.push(
                Problem::at(Code::FieldOptional, ask.span.clone(), message, format!("{} needs a value", ask.by))
                    .also(first_span.clone(), "may be null")
                    .patch("if every record has it, say so", first_span.clone(), format!("\"{}\"", field.field_type.name())),
            );
            return;
        }
        if ask.role == Role::Declared && !ask.required {
            let message = format!("field \"{}\" is {first_by} and can never be null", ask.path);
            problems.push(
                Problem::at(Code::FieldOptional, ask.span.clone(), message, "may be null")
                    .also(first_span.clone(), "needs a value")
                    .patch("every record has it", ask.span.clone(), format!("\"{}\"", field.field_type.name())),
            );
        }
        field.required |= ask.required;
    }
}
