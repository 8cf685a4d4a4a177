//! Every stage and sink against its plugin and its streams.

use reelflow_core::{
    plan::StageKind,
    schema::{Field, FieldType, Schema},
};

use super::{
    streams::{Origin, Streams, column},
    time,
};
use crate::{
    code::Code,
    config::{self, Config, Stage},
    problem::{At, Problem, Problems},
    value::closest,
};

/// What the checks found out.
pub(super) struct Built {
    /// By stage of the config.
    pub kinds: Vec<Option<StageKind>>,
    pub sink_keys: Vec<Vec<usize>>,
    /// By source: the columns that it is partitioned by, if that is known.
    pub source_keys: Vec<Option<Vec<usize>>>,
}

/// Checks all stages, sinks and source keys. `None` if any is wrong or hangs on a plugin that is not known.
pub(super) fn check(config: &Config, streams: &Streams<'_>, problems: &mut Problems) -> Option<Built> {
    let kinds: Vec<_> = (0..config.stages.len()).map(|idx| Check { config, streams, idx, problems }.stage()).collect();
    let sink_keys: Vec<_> = (0..config.sinks.len()).map(|idx| sink_key(config, streams, idx, problems)).collect();
    let source_keys = (0..config.sources.len()).map(|idx| source_key(config, streams, idx, problems)).collect();
    let all_known = kinds.iter().all(Option::is_some);
    let sink_keys = sink_keys.into_iter().collect::<Option<Vec<_>>>()?;
    all_known.then_some(Built { kinds, sink_keys, source_keys })
}

/// The stream that a check looks into, with the words for it.
struct Input<'a> {
    schema: Schema,
    /// A source's own rows: their fields are what readers asked for, so disagreements were already reported.
    is_raw: bool,
    from: &'a At<String>,
}

struct Check<'a, 'c, 'p> {
    config: &'a Config,
    streams: &'a Streams<'c>,
    idx: usize,
    problems: &'p mut Problems,
}

impl<'a> Check<'a, '_, '_> {
    fn stage(mut self) -> Option<StageKind> {
        let stage = &self.config.stages[self.idx];
        match &stage.kind {
            config::StageKind::Transform { input, plugin } => {
                let input = self.input(0, input)?;
                let columns = self.plugin_columns(stage, 0, plugin, &input)?;
                Some(StageKind::Transform { plugin: self.plugin_idx(plugin), columns })
            }
            config::StageKind::Dedup { input, id, .. } => {
                let horizon_ms = time::horizon_ms(self.config, self.idx)?;
                let input = self.input(0, input)?;
                let id = self.dedup_id(stage, id.as_ref(), &input)?;
                Some(StageKind::Dedup { id, horizon_ms })
            }
            config::StageKind::Aggregate { input, key, window, lateness_ms, emission, plugin } => {
                let input = self.input(0, input)?;
                let columns = self.plugin_columns(stage, 0, plugin, &input);
                let declared = self.streams.declaration(self.idx).map(|declaration| &declaration.key.fields);
                // A plugin that declares no key takes any.
                let nulls = |at: usize| declared.is_some_and(|fields| fields.get(at).is_none_or(|field| !field.required));
                let key = self.columns(stage, "key", key, &input, nulls);
                let key_fits = key.as_ref().is_some_and(|key| self.declared_key(stage, plugin, key, &input));
                let (columns, key) = (columns?, key.filter(|_| key_fits)?);
                let (plugin, lateness_ms) = (self.plugin_idx(plugin), lateness_ms.value);
                Some(StageKind::Aggregate { plugin, columns, key, window: window.value, lateness_ms, emission: *emission })
            }
            config::StageKind::Join { left, right, on, within_ms, outer, tie, lateness_ms, emission, plugin } => {
                let (left_input, right_input) = (self.input(0, left), self.input(1, right));
                let mut side = |port, input: &Option<Input<'a>>| match input {
                    Some(input) => {
                        (self.plugin_columns(stage, port, plugin, input), self.columns(stage, "on", on, input, |_| false))
                    }
                    None => (None, None),
                };
                let (left_columns, left_key) = side(0, &left_input);
                let (right_columns, right_key) = side(1, &right_input);
                let tie = right_input.as_ref().and_then(|right| self.tie(stage, tie.as_ref(), right));
                let (left_key, right_key) = (left_key?, right_key?);
                let on_fits = self.join_types(on, &left_input?, &left_key, &right_input?, &right_key);
                let tie = tie.filter(|_| on_fits)?;
                Some(StageKind::Join {
                    plugin: self.plugin_idx(plugin),
                    left_columns: left_columns?,
                    right_columns: right_columns?,
                    left_key,
                    right_key,
                    within_ms: within_ms.value,
                    tie,
                    outer: *outer,
                    lateness_ms: lateness_ms.value,
                    emission: *emission,
                })
            }
        }
    }

    fn input(&self, port: usize, from: &'a At<String>) -> Option<Input<'a>> {
        input(self.streams, self.streams.input(self.idx, port)?, from)
    }

    fn plugin_idx(&self, plugin: &At<String>) -> usize {
        self.config.plugins.iter().position(|other| *other.name == plugin.value).expect("a config has all its plugins")
    }

    /// The columns that the plugin reads on `port`.
    fn plugin_columns(&mut self, stage: &Stage, port: usize, plugin: &At<String>, input: &Input<'_>) -> Option<Vec<usize>> {
        let declaration = self.streams.declaration(self.idx)?;
        let mut columns = Vec::new();
        for wanted in &declaration.inputs[port].fields {
            let place = |field: &Field| if input.is_raw { field.path == wanted.path } else { field.name == wanted.name };
            match input.schema.fields.iter().position(place) {
                Some(at) if fits(&input.schema.fields[at], wanted) => columns.push(at),
                Some(at) if !input.is_raw => {
                    self.problems.push(disagreement(stage, plugin, wanted, &input.schema.fields[at], input))
                }
                Some(_) => {}
                None => self.problems.push(lacking(stage, plugin, wanted, input)),
            }
        }
        (columns.len() == declaration.inputs[port].len()).then_some(columns)
    }

    /// The columns of a key: they must be there and be no floats. `nulls`: whether the n-th one may be null.
    fn columns(
        &mut self,
        stage: &Stage,
        key: &str,
        names: &[At<String>],
        input: &Input<'_>,
        nulls: impl Fn(usize) -> bool,
    ) -> Option<Vec<usize>> {
        let what = format!("\"{key}\" of stage \"{}\"", *stage.name);
        let mut columns = Vec::new();
        for (key_idx, name) in names.iter().enumerate() {
            let Some(at) = column(&input.schema, name) else {
                self.problems.push(unknown_column(Code::UnknownColumn, &what, name, input));
                continue;
            };
            if let Some(problem) = not_a_key(&what, name, &input.schema.fields[at], input, nulls(key_idx)) {
                self.problems.push(problem);
                continue;
            }
            columns.push(at);
        }
        (columns.len() == names.len()).then_some(columns)
    }

    fn dedup_id(&mut self, stage: &Stage, id: Option<&At<String>>, input: &Input<'_>) -> Option<usize> {
        let by_source = self.source_id();
        let Some(id) = id.or(by_source) else {
            let message = format!("stage \"{}\" has no id to tell records apart", *stage.name);
            self.problems.push(
                Problem::at(Code::MissingKey, stage.name.span.clone(), message, "\"id\" is missing, and no source above has one")
                    .help("add `id = \"event_id\"` with the field that identifies a record"),
            );
            return None;
        };
        let what = format!("\"id\" of stage \"{}\"", *stage.name);
        let Some(at) = column(&input.schema, id) else {
            self.problems.push(unknown_column(Code::UnknownColumn, &what, id, input));
            return None;
        };
        let field = &input.schema.fields[at];
        if field.field_type != FieldType::Text || !field.required {
            let message = format!("{what} must be a string that is never null");
            let problem =
                Problem::at(Code::IdType, id.span.clone(), message, format!("field \"{}\" is {}", field.name, type_text(field)));
            self.problems.push(problem.also(input.from.span.clone(), "in this stream"));
            return None;
        }
        Some(at)
    }

    /// The id of the source whose records, possibly cleaned by transforms, arrive here.
    fn source_id(&self) -> Option<&'a At<String>> {
        let mut origin = self.streams.input(self.idx, 0)?;
        loop {
            match origin {
                Origin::Source(source) => return self.config.sources[source].id.as_ref(),
                Origin::Stage { stage, .. } => match self.config.stages[stage].kind {
                    config::StageKind::Transform { .. } | config::StageKind::Dedup { .. } => {
                        origin = self.streams.input(stage, 0)?
                    }
                    config::StageKind::Aggregate { .. } | config::StageKind::Join { .. } => return None,
                },
            }
        }
    }

    /// An aggregate's `emit` reads the key by the types that the plugin declares, if it declares any.
    fn declared_key(&mut self, stage: &Stage, plugin: &At<String>, key: &[usize], input: &Input<'_>) -> bool {
        let Some(declaration) = self.streams.declaration(self.idx) else { return false };
        let declared: Vec<&str> = declaration.key.fields.iter().map(|field| field.field_type.name()).collect();
        let found: Vec<&str> = key.iter().map(|at| input.schema.fields[*at].field_type.name()).collect();
        if declared.is_empty() || declared == found {
            return true;
        }
        let config::StageKind::Aggregate { key: names, .. } = &stage.kind else { return true };
        let span = names[0].span.start..names[names.len() - 1].span.end;
        let message = format!("the key of stage \"{}\" is not the one its plugin reads", *stage.name);
        self.problems.push(
            Problem::at(Code::KeyDiffers, span, message, format!("this is ({})", found.join(", ")))
                .also(plugin.span.clone(), format!("plugin \"{}\" reads ({})", plugin.value, declared.join(", "))),
        );
        false
    }

    fn join_types(
        &mut self,
        on: &[At<String>],
        left: &Input<'_>,
        left_key: &[usize],
        right: &Input<'_>,
        right_key: &[usize],
    ) -> bool {
        let mut fits = true;
        for ((name, l), r) in on.iter().zip(left_key).zip(right_key) {
            let (l, r) = (left.schema.fields[*l].field_type, right.schema.fields[*r].field_type);
            if l != r {
                fits = false;
                let message = format!("column \"{}\" has two types", name.value);
                self.problems.push(
                    Problem::at(Code::JoinTypes, name.span.clone(), message, "never equal")
                        .also(left.from.span.clone(), format!("here it is {}", l.name()))
                        .also(right.from.span.clone(), format!("here it is {}", r.name())),
                );
            }
        }
        fits
    }

    /// The outer `Option` is whether all is well.
    fn tie(&mut self, stage: &Stage, tie: Option<&At<String>>, right: &Input<'_>) -> Option<Option<usize>> {
        let Some(tie) = tie else { return Some(None) };
        let what = format!("\"tie\" of stage \"{}\"", *stage.name);
        let Some(at) = column(&right.schema, tie) else {
            self.problems.push(unknown_column(Code::UnknownColumn, &what, tie, right));
            return None;
        };
        let field = &right.schema.fields[at];
        if !matches!(field.field_type, FieldType::Text | FieldType::Int) || !field.required {
            let message = format!("{what} must be a string or an i64 that is never null");
            let problem = Problem::at(
                Code::TieType,
                tie.span.clone(),
                message,
                format!("field \"{}\" is {}", field.name, type_text(field)),
            );
            self.problems.push(problem.also(right.from.span.clone(), "in this stream"));
            return None;
        }
        Some(Some(at))
    }
}

fn input<'a>(streams: &Streams<'_>, origin: Origin, from: &'a At<String>) -> Option<Input<'a>> {
    let is_raw = streams.source_behind(origin).is_some();
    Some(Input { schema: streams.schema_of(origin)?, is_raw, from })
}

fn sink_key(config: &Config, streams: &Streams<'_>, idx: usize, problems: &mut Problems) -> Option<Vec<usize>> {
    let sink = &config.sinks[idx];
    let origin = streams.sink_input(idx)?;
    let input = input(streams, origin, &sink.input)?;
    let what = format!("\"key\" of sink \"{}\"", *sink.name);
    let mut columns = Vec::new();
    for name in sink.key() {
        let Some(at) = column(&input.schema, name) else {
            problems.push(unknown_column(Code::UnknownSinkKey, &what, name, &input));
            continue;
        };
        // A record whose only key column is null has no key.
        match not_a_key(&what, name, &input.schema.fields[at], &input, true) {
            Some(problem) => problems.push(problem),
            None => columns.push(at),
        }
    }
    let reserved = ["rev", "final"].into_iter().find(|name| input.schema.position(name).is_some());
    if let Some(name) = reserved.filter(|_| streams.is_upsert(config, origin)) {
        let message = format!("the rows of sink \"{}\" have a field \"{name}\" already", *sink.name);
        problems.push(
            Problem::at(
                Code::ReservedField,
                sink.input.span.clone(),
                message,
                "an upsert stream adds \"rev\" and \"final\" to its rows",
            )
            .help("rename the plugin's field, or write `emit = \"final\"`"),
        );
        return None;
    }
    (columns.len() == sink.key().len()).then_some(columns)
}

/// Where a key field is not decoded because nothing reads it, no stage can be keyed by it either: only a warning.
fn source_key(config: &Config, streams: &Streams<'_>, idx: usize, problems: &mut Problems) -> Option<Vec<usize>> {
    let source = &config.sources[idx];
    if source.key.is_empty() || !streams.is_source_read(idx) {
        return None;
    }
    let schema = streams.schema_of(Origin::Source(idx))?;
    let mut columns = Vec::new();
    for name in &source.key {
        match column(&schema, name) {
            Some(at) => columns.push(at),
            None => {
                let message =
                    format!("nothing reads field \"{}\", by which source \"{}\" is partitioned", name.value, *source.name);
                let mut problem = Problem::at(Code::UnreadPartitionKey, name.span.clone(), message, "so it is not decoded");
                problem = match closest(name, schema.fields.iter().map(|field| field.name.as_str())) {
                    Some(meant) => {
                        problem.patch("a field with a similar name is read", name.span.clone(), format!("\"{meant}\""))
                    }
                    None => problem.note("the partitioning counts as unknown: stages with a key get their rows through a topic"),
                };
                problems.push(problem);
            }
        }
    }
    (columns.len() == source.key.len()).then_some(columns)
}

fn fits(found: &Field, wanted: &Field) -> bool {
    found.field_type == wanted.field_type && (found.required || !wanted.required)
}

fn type_text(field: &Field) -> String {
    let mark = if field.required { "" } else { "?" };
    format!("{}{mark}", field.field_type.name())
}

fn fields_note(input: &Input<'_>) -> String {
    let fields: Vec<String> = input.schema.fields.iter().map(|field| format!("{}: {}", field.name, type_text(field))).collect();
    format!("fields of \"{}\": {}", input.from.value, if fields.is_empty() { "none".to_owned() } else { fields.join(", ") })
}

fn lacking(stage: &Stage, plugin: &At<String>, wanted: &Field, input: &Input<'_>) -> Problem {
    let message = format!("stage \"{}\" lacks field \"{}\", which its plugin reads", *stage.name, wanted.name);
    let label = format!("plugin \"{}\" reads \"{}: {}\"", plugin.value, wanted.name, type_text(wanted));
    let problem = Problem::at(Code::FieldMissing, plugin.span.clone(), message, label);
    problem.also(input.from.span.clone(), "this stream does not have it").note(fields_note(input))
}

fn disagreement(stage: &Stage, plugin: &At<String>, wanted: &Field, found: &Field, input: &Input<'_>) -> Problem {
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

fn unknown_column(code: Code, what: &str, name: &At<String>, input: &Input<'_>) -> Problem {
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
fn not_a_key(what: &str, name: &At<String>, field: &Field, input: &Input<'_>, allows_null: bool) -> Option<Problem> {
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
