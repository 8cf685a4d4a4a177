//! The window of an aggregate, with the column that ends its sessions.

use reelflow_core::{plan::WindowSpec, schema::FieldType};

use super::{
    disagree::{type_text, unknown_column},
    stages::{Check, Input},
    streams::column,
};
use crate::{
    code::Code,
    config::Stage,
    problem::{At, Problem},
};

impl Check<'_, '_, '_> {
    pub fn window(
        &mut self,
        stage: &Stage,
        window: &At<WindowSpec>,
        end: Option<&At<String>>,
        inputs: &[Input<'_>],
    ) -> Option<WindowSpec> {
        let mut window = window.value.clone();
        if let (WindowSpec::Session { cuts, .. }, Some(end)) = (&mut window, end) {
            cuts.end = Some(self.session_end(stage, end, inputs)?);
        }
        Some(window)
    }

    /// Of several streams one must have it: rows of the others end nothing.
    fn session_end(&mut self, stage: &Stage, end: &At<String>, inputs: &[Input<'_>]) -> Option<usize> {
        let what = format!("\"end\" of stage \"{}\"", *stage.name);
        let columns: Vec<Option<usize>> = inputs.iter().map(|input| column(&input.schema, end)).collect();
        if columns.iter().all(Option::is_none) {
            self.problems.push(unknown_column(Code::UnknownColumn, &what, end, &inputs[0]));
            return None;
        }
        let mut all_fit = true;
        for (input, at) in inputs.iter().zip(&columns) {
            let Some(field) = at.map(|at| &input.schema.fields[at]) else { continue };
            if field.field_type == FieldType::Bool {
                continue;
            }
            all_fit = false;
            // What is wanted of a source's own rows in two ways was reported.
            if !input.is_raw {
                let label = format!("field \"{}\" is {}", field.name, type_text(field));
                self.problems.push(
                    Problem::at(Code::EndType, end.span.clone(), format!("{what} is not a bool"), label)
                        .also(input.from.span.clone(), "in this stream"),
                );
            }
        }
        let column = match &columns[..] {
            [column] => *column,
            several => self.streams.union(self.idx)?.place(several),
        };
        column.filter(|_| all_fit)
    }
}
