//! What a backfill reads: the histories of a pipeline's sources.

use std::{fmt::Display, sync::Arc};

use reelflow_core::{
    history::HistoryPlan,
    plan::{EventTimeFrom, Plan, SourcePlan},
    schema::{Field, FieldType, Schema},
};

use crate::{
    code::Code,
    config::{Config, Source, history::History},
    plan::column,
    problem::{At, Problem, Problems},
    value,
};

impl Config {
    /// The same pipeline under another name: with state, positions and internal topics of its own.
    pub fn renamed(&self, name: &str) -> Config {
        let mut config = self.clone();
        name.clone_into(&mut config.pipeline.name.value);
        config
    }

    /// The histories of the plan's sources, or of those among them that `only` names; everything that is wrong with them at once.
    /// `then_live`: they must say where the live topics go on.
    pub fn histories(&self, plan: &Plan, only: &[String], then_live: bool) -> Result<Vec<HistoryPlan>, Problems> {
        let mut problems = Problems::default();
        for name in only.iter().filter(|name| !plan.sources.iter().any(|source| *source.name == ***name)) {
            let names: Vec<&str> = plan.sources.iter().map(|source| &*source.name).collect();
            let problem = Problem::nowhere(Code::UnknownInput, format!("--only {name}: the pipeline reads no such source"));
            problems.push(problem.note(format!("sources: {}", names.join(", "))));
        }
        let mut histories = Vec::new();
        for (idx, planned) in plan.sources.iter().enumerate() {
            if !only.is_empty() && !only.iter().any(|name| **name == *planned.name) {
                continue;
            }
            let source = self.sources.iter().find(|source| *source.name == *planned.name);
            let source = source.expect("the plan was made from this config");
            match &source.history {
                Some(history) if then_live && history.position.is_none() => problems.push(no_position(source, history)),
                Some(history) => histories.extend(history_plan(idx, source, history, planned, then_live, &mut problems)),
                None => problems.push(no_history(source)),
            }
        }
        if problems.has_errors() { Err(problems) } else { Ok(histories) }
    }

    /// The files of source `name` cannot be replayed.
    pub fn history_unusable(&self, name: &str, why: impl Display) -> Problem {
        let history = self.sources.iter().find(|source| *source.name == name).and_then(|source| source.history.as_ref());
        let message = format!("the history of source \"{name}\" cannot be replayed");
        match history {
            Some(history) => Problem::at(Code::HistoryUnusable, history.path.span.clone(), message, why.to_string()),
            None => Problem::nowhere(Code::HistoryUnusable, format!("{message}: {why}")),
        }
    }

    /// A backfill that was begun cannot go on.
    pub fn backfill_stuck(&self, why: impl Display) -> Problem {
        let message = format!("backfill \"{}\" cannot go on", *self.pipeline.name);
        Problem::at(Code::HistoryUnusable, self.pipeline.name.span.clone(), message, why.to_string())
    }

    /// The pipeline is started in the middle of a backfill that it is to go on behind.
    pub fn behind_a_backfill(&self) -> Problem {
        let message = format!("pipeline \"{}\" cannot read its topics yet", *self.pipeline.name);
        Problem::at(
            Code::HistoryUnusable,
            self.pipeline.name.span.clone(),
            message,
            "its history is being replayed, and not done",
        )
    }

    /// A sink whose folder belongs to the live pipeline.
    pub fn files_of_another_run(&self) -> Problems {
        let mut problems = Problems::default();
        for (sink, files) in self.sinks.iter().filter_map(|sink| Some((sink, sink.files()?))) {
            let message = format!("a backfill cannot publish into the folder of sink \"{}\"", *sink.name);
            let label = "the live pipeline publishes here, and knows its own files only";
            let problem = Problem::at(Code::FilesUnusable, files.path.span.clone(), message, label);
            problems.push(problem.help("write results beside them with --suffix"));
        }
        problems
    }
}

/// Whether a pipeline may be called `text`, or why not.
pub fn pipeline_name(text: &str) -> Result<(), String> {
    value::name(text).map_err(|wrong| wrong.why)
}

fn no_history(source: &Source) -> Problem {
    let what = if source.table.is_some() { "table" } else { "source" };
    let message = format!("{what} \"{}\" has no files to replay", *source.name);
    Problem::at(Code::NoHistory, source.name.span.clone(), message, "\"files\" is missing")
        .help("add `files = { path = \"…\", format = \"ndjson\" }`, or name the other sources with --only")
}

fn no_position(source: &Source, history: &History) -> Problem {
    let message = format!("the files of {} \"{}\" do not say where the live topic goes on", source.what(), *source.name);
    Problem::at(Code::NoHistory, history.path.span.clone(), message, "\"partition\" and \"offset\" are missing")
        .help("add `partition = \"…\", offset = \"…\"` with the fields that say where in the topic each record lay")
}

/// `then_live`: where each record lay is needed.
fn history_plan(
    idx: usize,
    source: &Source,
    history: &History,
    planned: &SourcePlan,
    then_live: bool,
    problems: &mut Problems,
) -> Option<HistoryPlan> {
    // Of a table: what its records hold, without the column that says which key is deleted.
    let mut schema = planned.table.as_ref().map_or(&planned.stream.schema, |table| &table.schema).clone();
    let key: Vec<Option<usize>> = source.key.iter().map(|name| key_column(source, name, &schema, problems)).collect();
    let timestamp = match &history.timestamp {
        None => None,
        Some(name) => {
            let wrong = (Code::EventTimeType, format!("the timestamp \"{}\" is not an i64", **name));
            Some(extra_column(name, FieldType::Int, wrong, &mut schema, problems)?)
        }
    };
    let deleted = match &history.deleted {
        None => None,
        Some(name) => {
            let wrong = (Code::FieldConflict, format!("\"{}\", which says that a key is deleted, is not a bool", **name));
            Some(extra_column(name, FieldType::Bool, wrong, &mut schema, problems)?)
        }
    };
    let mut place = |name: &At<String>, problems: &mut Problems| {
        let wrong = (Code::FieldConflict, format!("\"{}\", which says where a record lay, is not an i64", **name));
        extra_column(name, FieldType::Int, wrong, &mut schema, problems)
    };
    let position = match history.position.as_ref().filter(|_| then_live) {
        None => None,
        Some((partition, offset)) => Some((place(partition, problems)?, place(offset, problems)?)),
    };
    let time = match planned.event_time {
        EventTimeFrom::Field(column) => column,
        EventTimeFrom::LogTimestamp => timestamp.expect("a manifest without it was refused"),
    };
    let name: Arc<str> = source.name.value.as_str().into();
    let path: Arc<str> = history.path.value.as_str().into();
    let (format, value_bytes_max) = (history.format, planned.value_bytes_max);
    let key = key.into_iter().collect::<Option<Vec<_>>>()?;
    Some(HistoryPlan { source: idx, name, path, format, schema, time, timestamp, deleted, position, key, value_bytes_max })
}

/// Records must go where producers would have put them, and how a key is written depends on its type.
fn key_column(source: &Source, name: &At<String>, schema: &Schema, problems: &mut Problems) -> Option<usize> {
    let found = column(schema, name);
    if found.is_none() {
        let message = format!("source \"{}\" is partitioned by \"{}\", whose type nothing says", *source.name, **name);
        let problem = Problem::at(Code::UnknownColumn, name.span.clone(), message, "no plugin reads this field");
        problems.push(problem.help(format!("add `fields = {{ {} = \"i64\" }}` to the source, or the type that it has", **name)));
    }
    found
}

/// A field that the files have, and that a plugin may read as well. `wrong`: what to say if it has another type then.
fn extra_column(
    name: &At<String>,
    wanted: FieldType,
    wrong: (Code, String),
    schema: &mut Schema,
    problems: &mut Problems,
) -> Option<usize> {
    match column(schema, name) {
        Some(at) if schema.fields[at].field_type == wanted => Some(at),
        Some(at) => {
            let label = format!("a {}", schema.fields[at].field_type.name());
            problems.push(Problem::at(wrong.0, name.span.clone(), wrong.1, label));
            None
        }
        None => {
            let (name, path) = (name.value.clone(), name.value.clone());
            schema.fields.push(Field { name, path, field_type: wanted, required: false });
            Some(schema.len() - 1)
        }
    }
}
