//! The checks of what a stage reads as one stream, be it one or several: each of them must fit, as if the stage read it alone.

use reelflow_core::schema::FieldType;

use super::{
    disagree::{disagreement, fits, lacking, type_text, unknown_column},
    stages::{Check, Input},
    streams::{column, read_as},
};
use crate::{
    code::Code,
    config::Stage,
    problem::{At, Problem},
};

impl<'a> Check<'a, '_, '_> {
    /// All that the stage reads. `None` if one of them is not known, which was reported, or is named twice.
    pub fn inputs(&mut self, names: &'a [At<String>]) -> Option<Vec<Input<'a>>> {
        for (port, name) in names.iter().enumerate() {
            let origin = self.streams.input(self.idx, port)?;
            if let Some(first) = (0..port).find(|other| self.streams.input(self.idx, *other) == Some(origin)) {
                let message = format!("stage \"{}\" reads one stream twice", *self.config.stages[self.idx].name);
                self.problems.push(
                    Problem::at(Code::BadList, name.span.clone(), message, "the same rows again")
                        .also(names[first].span.clone(), "first here"),
                );
                return None;
            }
        }
        names.iter().enumerate().map(|(port, name)| self.input(port, name)).collect()
    }

    /// The columns that the plugin reads, of the one stream or of the union.
    pub fn plugin_columns_of(&mut self, stage: &Stage, plugin: &At<String>, inputs: &[Input<'_>]) -> Option<Vec<usize>> {
        if let [input] = inputs {
            return self.plugin_columns(stage, 0, plugin, input);
        }
        let declaration = self.streams.declaration(self.idx)?;
        let mut all_fit = true;
        for wanted in &declaration.inputs[0].fields {
            let found = inputs.iter().map(|input| (input, read_as(&input.schema, input.is_raw, wanted)));
            // A field that may be null may be missing in some streams, but not in all.
            let is_anywhere = found.clone().any(|(_, at)| at.is_some());
            for (input, at) in found {
                match at.map(|at| &input.schema.fields[at]) {
                    Some(field) if fits(field, wanted) => continue,
                    Some(field) if !input.is_raw => self.problems.push(disagreement(stage, plugin, wanted, field, input)),
                    Some(_) => {}
                    None if !wanted.required && is_anywhere => continue,
                    None => self.problems.push(lacking(stage, plugin, wanted, input)),
                }
                all_fit = false;
            }
        }
        let union = self.streams.union(self.idx)?;
        let place = |wanted| {
            let columns: Vec<_> = inputs.iter().map(|input| read_as(&input.schema, input.is_raw, wanted)).collect();
            union.place(&columns)
        };
        let columns = declaration.inputs[0].fields.iter().map(place).collect::<Option<Vec<_>>>()?;
        all_fit.then_some(columns)
    }

    /// The columns of the key of a stage with groups, of the one stream or of the union: every stream must have them.
    pub fn group_key(
        &mut self,
        stage: &Stage,
        plugin: &At<String>,
        key: &[At<String>],
        inputs: &[Input<'_>],
    ) -> Option<Vec<usize>> {
        let declared = self.streams.declaration(self.idx).map(|declaration| &declaration.key.fields);
        // A plugin that declares no key takes any.
        let nulls = |at: usize| declared.is_some_and(|fields| fields.get(at).is_none_or(|field| !field.required));
        let mut by_input = Vec::new();
        for input in inputs {
            let columns = self.columns(stage, "key", key, input, nulls);
            by_input.push(columns.filter(|columns| self.declared_key(stage, plugin, columns, input)));
            // What all of them have wrong is said once.
            if by_input.len() == 1 && by_input[0].is_none() {
                return None;
            }
        }
        let by_input = by_input.into_iter().collect::<Option<Vec<_>>>()?;
        let mut columns = Vec::new();
        for (at, name) in key.iter().enumerate() {
            let of_inputs: Vec<usize> = by_input.iter().map(|columns| columns[at]).collect();
            columns.push(self.same_type(stage, "key", name, inputs, &of_inputs).and_then(|()| self.united(&of_inputs)));
        }
        columns.into_iter().collect()
    }

    /// Checks that a key or id is of one type in all streams: otherwise equal values would not be equal.
    fn same_type(&mut self, stage: &Stage, what: &str, name: &At<String>, inputs: &[Input<'_>], columns: &[usize]) -> Option<()> {
        let fields: Vec<_> = inputs.iter().zip(columns).map(|(input, at)| &input.schema.fields[*at]).collect();
        let Some(other) = fields.iter().position(|field| field.field_type != fields[0].field_type) else { return Some(()) };
        let message = format!("\"{what}\" of stage \"{}\" has two types in what it reads", *stage.name);
        let label = |idx: usize| format!("here field \"{}\" is {}", name.value, type_text(fields[idx]));
        self.problems.push(
            Problem::at(Code::InputsDiffer, name.span.clone(), message, "never equal")
                .also(inputs[0].from.span.clone(), label(0))
                .also(inputs[other].from.span.clone(), label(other)),
        );
        None
    }

    /// The column that the stage sees, where the n-th stream has it in the n-th column.
    fn united(&self, columns: &[usize]) -> Option<usize> {
        match columns {
            [column] => Some(*column),
            several => self.streams.union(self.idx)?.place(&several.iter().copied().map(Some).collect::<Vec<_>>()),
        }
    }

    /// Rows of a transform carry `rev` and `final` or they do not; a reader could not tell what a row without them means.
    pub fn same_revisions(&mut self, stage: &Stage, inputs: &[Input<'_>]) -> bool {
        let is_upsert =
            |port: usize| self.streams.input(self.idx, port).is_some_and(|origin| self.streams.is_upsert(self.config, origin));
        let (upsert, plain): (Vec<usize>, Vec<usize>) = (0..inputs.len()).partition(|port| is_upsert(*port));
        let (Some(upsert), Some(plain)) = (upsert.first(), plain.first()) else { return true };
        let message = format!("stage \"{}\" reads rows that are revised as one with rows that are not", *stage.name);
        self.problems.push(
            Problem::at(Code::InputsDiffer, inputs[*upsert].from.span.clone(), message, "these rows carry \"rev\" and \"final\"")
                .also(inputs[*plain].from.span.clone(), "these do not")
                .help("write `emit = \"final\"` in the stage above, or use a stage for each of them"),
        );
        false
    }

    pub fn dedup_id(&mut self, stage: &Stage, id: Option<&'a At<String>>, inputs: &[Input<'_>]) -> Option<usize> {
        let id = match id {
            Some(id) => id,
            None => self.source_id(stage)?,
        };
        let what = format!("\"id\" of stage \"{}\"", *stage.name);
        let mut columns = Vec::new();
        for input in inputs {
            let Some(at) = column(&input.schema, id) else {
                self.problems.push(unknown_column(Code::UnknownColumn, &what, id, input));
                continue;
            };
            let field = &input.schema.fields[at];
            if field.field_type != FieldType::Text || !field.required {
                let message = format!("{what} must be a string that is never null");
                let label = format!("field \"{}\" is {}", field.name, type_text(field));
                let problem = Problem::at(Code::IdType, id.span.clone(), message, label);
                self.problems.push(problem.also(input.from.span.clone(), "in this stream"));
                continue;
            }
            columns.push(at);
        }
        if columns.len() == inputs.len() { self.united(&columns) } else { None }
    }

    /// The id of the sources whose records, possibly cleaned by transforms, arrive here: all must call it alike.
    fn source_id(&mut self, stage: &Stage) -> Option<&'a At<String>> {
        let ids = self.streams.source_ids(self.idx);
        let Some(ids) = ids.into_iter().collect::<Option<Vec<_>>>() else {
            let message = format!("stage \"{}\" has no id to tell records apart", *stage.name);
            self.problems.push(
                Problem::at(Code::MissingKey, stage.name.span.clone(), message, "\"id\" is missing, and no source above has one")
                    .help("add `id = \"event_id\"` with the field that identifies a record"),
            );
            return None;
        };
        let first = ids[0];
        if let Some(other) = ids.iter().find(|id| id.value != first.value) {
            let message = format!("the sources of stage \"{}\" call their ids differently", *stage.name);
            self.problems.push(
                Problem::at(Code::InputsDiffer, stage.name.span.clone(), message, "which of them is not said")
                    .also(first.span.clone(), "one id")
                    .also(other.span.clone(), "another one")
                    .help("add `id = \"…\"` with a field that all of its inputs have"),
            );
            return None;
        }
        Some(first)
    }
}
