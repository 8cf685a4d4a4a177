//! Every stage and sink against its plugin and its streams.

use reelflow_core::{
    plan::{JoinKind, Retime, StageKind},
    schema::{FieldType, Schema},
};

use super::{
    disagree::{disagreement, fits, lacking, not_a_key, type_text, unknown_column},
    sinks::{sink_key, tombstone},
    streams::{Origin, Streams, column, read_as},
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
    /// By stage of the config: the columns from which the rows of each output get their event time.
    pub retimes: Vec<Option<Retime>>,
    pub sink_keys: Vec<Vec<usize>>,
    /// By sink: the column that says that a record has no value.
    pub tombstones: Vec<Option<usize>>,
    /// By source: the columns that it is partitioned by, if that is known.
    pub source_keys: Vec<Option<Vec<usize>>>,
}

/// Checks all stages, sinks and source keys. `None` if any is wrong or hangs on a plugin that is not known.
pub(super) fn check(config: &Config, streams: &Streams<'_>, problems: &mut Problems) -> Option<Built> {
    let kinds: Vec<_> = (0..config.stages.len()).map(|idx| Check { config, streams, idx, problems }.stage()).collect();
    let retimes = (0..config.stages.len()).map(|idx| retime(config, streams, idx, problems)).collect();
    let tombstones = (0..config.sinks.len()).map(|idx| tombstone(config, streams, idx, problems)).collect();
    let sink_keys: Vec<_> = (0..config.sinks.len()).map(|idx| sink_key(config, streams, idx, problems)).collect();
    let source_keys = (0..config.sources.len()).map(|idx| source_key(config, streams, idx, problems)).collect();
    let all_known = kinds.iter().all(Option::is_some);
    let sink_keys = sink_keys.into_iter().collect::<Option<Vec<_>>>()?;
    all_known.then_some(Built { kinds, retimes, sink_keys, tombstones, source_keys })
}

/// The stream that a check looks into, with the words for it.
pub(super) struct Input<'a> {
    pub schema: Schema,
    /// A source's own rows: their fields are what readers asked for, so disagreements were already reported.
    pub is_raw: bool,
    pub from: &'a At<String>,
}

pub(super) struct Check<'a, 'c, 'p> {
    pub config: &'a Config,
    pub streams: &'a Streams<'c>,
    pub idx: usize,
    pub problems: &'p mut Problems,
}

impl<'a> Check<'a, '_, '_> {
    fn stage(mut self) -> Option<StageKind> {
        let stage = &self.config.stages[self.idx];
        match &stage.kind {
            config::StageKind::Lookup { .. } => self.lookup(stage),
            config::StageKind::Join { .. } => self.join(stage),
            config::StageKind::Transform { inputs, plugin } => {
                let inputs = self.inputs(inputs)?;
                let (columns, agree) = (self.plugin_columns_of(stage, plugin, &inputs), self.same_revisions(stage, &inputs));
                let columns = columns.filter(|_| agree)?;
                Some(StageKind::Transform { plugin: self.plugin_idx(plugin), columns })
            }
            config::StageKind::Dedup { inputs, id, .. } => {
                let horizon_ms = time::horizon_ms(self.config, self.idx)?;
                let inputs = self.inputs(inputs)?;
                let id = self.dedup_id(stage, id.as_ref(), &inputs)?;
                Some(StageKind::Dedup { id, horizon_ms })
            }
            config::StageKind::Aggregate { inputs, key, window, end, lateness_ms, emission, early_ms, combine: _, plugin } => {
                let inputs = self.inputs(inputs)?;
                let columns = self.plugin_columns_of(stage, plugin, &inputs);
                let key = self.group_key(stage, plugin, key, &inputs);
                let window = self.window(stage, window, end.as_ref(), &inputs);
                let (columns, key, window) = (columns?, key?, window?);
                let (plugin, lateness_ms) = (self.plugin_idx(plugin), lateness_ms.value);
                Some(StageKind::Aggregate { plugin, columns, key, window, lateness_ms, emission: *emission, early_ms: *early_ms })
            }
            config::StageKind::Process { inputs, key, lateness_ms, state_ttl_ms, plugin } => {
                let inputs = self.inputs(inputs)?;
                let columns = self.plugin_columns_of(stage, plugin, &inputs);
                let key = self.group_key(stage, plugin, key, &inputs);
                let (columns, key) = (columns?, key?);
                let [lateness_ms, state_ttl_ms] = [lateness_ms, state_ttl_ms].map(|ms| ms.as_ref().map(|ms| ms.value));
                Some(StageKind::Process { plugin: self.plugin_idx(plugin), columns, key, lateness_ms, state_ttl_ms })
            }
        }
    }

    fn lookup(&mut self, stage: &'a Stage) -> Option<StageKind> {
        let config::StageKind::Lookup { input, table, on, outer, lateness_ms, plugin } = &stage.kind else {
            unreachable!("stage \"{}\" is no lookup", *stage.name);
        };
        let (rows, versions) = (self.input(0, input), self.input(1, table));
        let (left_columns, left_key) = self.side(stage, 0, rows.as_ref(), on, plugin);
        let (right_columns, right_key) = self.side(stage, 1, versions.as_ref(), on, plugin);
        let (left_key, right_key, versions) = (left_key?, right_key?, versions?);
        let on_fits = self.join_types(on, &rows?, &left_key, &versions, &right_key);
        let is_key = self.is_table_key(stage, table, on, &right_key, &versions);
        (on_fits && is_key).then_some(())?;
        Some(StageKind::Lookup {
            plugin: self.plugin_idx(plugin),
            left_columns: left_columns?,
            right_columns: right_columns?,
            left_key,
            right_key,
            // Behind the fields of its records: `TablePlan::stream_schema`.
            deleted: versions.schema.len(),
            outer: *outer,
            is_broadcast: self
                .config
                .sources
                .iter()
                .any(|source| source.name.value == table.value && source.table.is_some_and(|table| table.is_broadcast)),
            lateness_ms: lateness_ms.as_ref().map(|ms| ms.value),
        })
    }

    fn join(&mut self, stage: &'a Stage) -> Option<StageKind> {
        let config::StageKind::Join { left, right, on, matching, join, tie, lateness_ms, emission, plugin } = &stage.kind else {
            unreachable!("stage \"{}\" is no join", *stage.name);
        };
        let (left_input, right_input) = (self.input(0, left), self.input(1, right));
        let (left_columns, left_key) = self.side(stage, 0, left_input.as_ref(), on, plugin);
        let (right_columns, right_key) = self.side(stage, 1, right_input.as_ref(), on, plugin);
        let tie = right_input.as_ref().and_then(|right| self.tie(stage, tie.as_ref(), right));
        let (left_key, right_key) = (left_key?, right_key?);
        let on_fits = self.join_types(on, &left_input?, &left_key, &right_input?, &right_key);
        let alone_fits = self.right_alone(stage, plugin, *join);
        let tie = tie.filter(|_| on_fits && alone_fits)?;
        Some(StageKind::Join {
            plugin: self.plugin_idx(plugin),
            left_columns: left_columns?,
            right_columns: right_columns?,
            left_key,
            right_key,
            matching: matching.value.clone(),
            tie,
            join: *join,
            lateness_ms: lateness_ms.value,
            emission: *emission,
        })
    }

    /// The columns of one of two sides that the plugin reads, and those that must be equal to the other side's.
    fn side(
        &mut self,
        stage: &Stage,
        port: usize,
        input: Option<&Input<'a>>,
        on: &[At<String>],
        plugin: &At<String>,
    ) -> (Option<Vec<usize>>, Option<Vec<usize>>) {
        match input {
            Some(input) => (self.plugin_columns(stage, port, plugin, input), self.columns(stage, "on", on, input, |_| false)),
            None => (None, None),
        }
    }

    pub fn input(&self, port: usize, from: &'a At<String>) -> Option<Input<'a>> {
        input(self.streams, self.streams.input(self.idx, port)?, from)
    }

    fn plugin_idx(&self, plugin: &At<String>) -> usize {
        self.config.plugins.iter().position(|other| *other.name == plugin.value).expect("a config has all its plugins")
    }

    /// The columns that the plugin reads on `port`.
    pub fn plugin_columns(&mut self, stage: &Stage, port: usize, plugin: &At<String>, input: &Input<'_>) -> Option<Vec<usize>> {
        let declaration = self.streams.declaration(self.idx)?;
        let mut columns = Vec::new();
        for wanted in &declaration.inputs[port].fields {
            match read_as(&input.schema, input.is_raw, wanted) {
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
    pub fn columns(
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

    /// A plugin reads the key by the types that it declares, if it declares any.
    pub fn declared_key(&mut self, stage: &Stage, plugin: &At<String>, key: &[usize], input: &Input<'_>) -> bool {
        let Some(declaration) = self.streams.declaration(self.idx) else { return false };
        let declared: Vec<&str> = declaration.key.fields.iter().map(|field| field.field_type.name()).collect();
        let found: Vec<&str> = key.iter().map(|at| input.schema.fields[*at].field_type.name()).collect();
        if declared.is_empty() || declared == found {
            return true;
        }
        let (config::StageKind::Aggregate { key: names, .. } | config::StageKind::Process { key: names, .. }) = &stage.kind
        else {
            return true;
        };
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

    /// A join that emits right rows without a left one needs a plugin that takes them.
    fn right_alone(&mut self, stage: &Stage, plugin: &At<String>, join: JoinKind) -> bool {
        let Some(declaration) = self.streams.declaration(self.idx) else { return false };
        if !join.keeps_right() || declaration.takes_right_alone {
            return true;
        }
        let message = format!("stage \"{}\" has right rows without a left one, which its plugin does not take", *stage.name);
        let label = format!("plugin \"{}\" wants a left row in every call", plugin.value);
        let problem = Problem::at(Code::RightAlone, plugin.span.clone(), message, label);
        let note = format!("join = \"{}\" emits right rows without a partner", join.name());
        self.problems.push(problem.note(note).help("write the plugin as a `FullJoin`, or `join = \"left\"`"));
        false
    }

    /// Whether a lookup goes by the fields that identify a version, all of them, in whatever order.
    fn is_table_key(
        &mut self,
        stage: &Stage,
        table: &At<String>,
        on: &[At<String>],
        right_key: &[usize],
        versions: &Input<'_>,
    ) -> bool {
        let source = self.config.sources.iter().find(|source| *source.name == table.value).expect("a lookup's table is a source");
        let mut key: Vec<Option<usize>> = source.key.iter().map(|name| column(&versions.schema, name)).collect();
        let mut by: Vec<Option<usize>> = right_key.iter().copied().map(Some).collect();
        key.sort_unstable();
        by.sort_unstable();
        if key == by {
            return true;
        }
        let names: Vec<String> = source.key.iter().map(|name| format!("\"{}\"", **name)).collect();
        let span = on[0].span.start..on[on.len() - 1].span.end;
        let message = format!("stage \"{}\" looks up a table by other fields than its key", *stage.name);
        self.problems.push(
            Problem::at(Code::NotTheTableKey, span, message, "a version is found by its whole key")
                .also(source.key[0].span.clone(), format!("the key is {}", names.join(", "))),
        );
        false
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

pub(super) fn input<'a>(streams: &Streams<'_>, origin: Origin, from: &'a At<String>) -> Option<Input<'a>> {
    let is_raw = streams.is_raw(origin);
    Some(Input { schema: streams.schema_of(origin)?, is_raw, from })
}

/// Where the rows of a stage get their event time from, if not from its kind. What is wrong is reported.
fn retime(config: &Config, streams: &Streams<'_>, idx: usize, problems: &mut Problems) -> Option<Retime> {
    let stage = &config.stages[idx];
    let time = stage.event_time.as_ref()?;
    let (declaration, plugin) = (streams.declaration(idx)?, stage.kind.plugin()?);
    let mut columns = Vec::new();
    for (name, schema) in &declaration.outputs {
        let at = schema.position(&time.field);
        let label = match at.map(|at| &schema.fields[at]) {
            Some(field) if field.field_type == FieldType::Int && field.required => {
                columns.extend(at);
                continue;
            }
            Some(field) => format!("field \"{}\" of output \"{name}\" is {}", *time.field, type_text(field)),
            None => format!("output \"{name}\" has no field \"{}\"", *time.field),
        };
        let message = format!("\"event_time\" of stage \"{}\" must be an i64 that is never null, in all outputs", *stage.name);
        let mut problem =
            Problem::at(Code::EventTimeType, time.field.span.clone(), message, label).also(plugin.span.clone(), "of this plugin");
        if at.is_none()
            && let Some(meant) = closest(&time.field, schema.fields.iter().map(|field| field.name.as_str()))
        {
            problem = problem.patch("a field with a similar name exists", time.field.span.clone(), format!("\"{meant}\""));
        }
        problems.push(problem);
    }
    (columns.len() == declaration.outputs.len()).then_some(Retime { columns, behind_ms: time.behind_ms })
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
                let noun = if source.table.is_some() { "table" } else { "source" };
                let message =
                    format!("nothing reads field \"{}\", by which {noun} \"{}\" is partitioned", name.value, *source.name);
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
