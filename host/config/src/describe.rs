//! A plan in plain words, for `reel explain`.

use reelflow_core::{
    plan::{
        Consumer, Divided, Emission, EventTimeFrom, FilesPlan, Plan, Retime, ShufflePlan, ShuffleTo, SourcePlan, StageKind,
        StagePlan, WindowSpec,
    },
    schema::Schema,
    time::duration_text,
};

use crate::{
    config::{self, Config, Guarantee, SourceFormat},
    value::size_text,
};

mod failing;
mod global;
mod joins;

/// One source, stage or sink in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageText {
    /// `source`, `table`, `transform`, `dedup`, `aggregate`, `join`, `lookup`, `process` or `sink`.
    pub kind: &'static str,
    pub name: String,
    /// The names of what it reads, by port; `plays.x` is output `x` of the stage `plays`. Empty for a source.
    pub reads: Vec<String>,
    /// The index of its fragment in the plan; a sink has that of what it reads.
    pub fragment: usize,
    /// What it does, one thing a line.
    pub lines: Vec<String>,
}

/// Describes `plan`, made of `config`: sources, then stages in topological order, then sinks.
pub fn describe_plan(config: &Config, plan: &Plan) -> Vec<StageText> {
    let words = Words { config, plan };
    let sources = (0..plan.sources.len()).map(|idx| words.source(idx));
    let stages = (0..plan.stages.len()).map(|idx| words.stage(idx));
    let sinks = (0..plan.sinks.len()).map(|idx| words.sink(idx));
    sources.chain(stages).chain(sinks).collect()
}

struct Words<'a> {
    config: &'a Config,
    plan: &'a Plan,
}

impl Words<'_> {
    fn source(&self, idx: usize) -> StageText {
        let source = &self.plan.sources[idx];
        let time = match source.event_time {
            EventTimeFrom::Field(at) => format!("field {}", source.stream.schema.fields[at].name),
            EventTimeFrom::LogTimestamp => "the log's timestamp".to_owned(),
        };
        let mut lines = vec![
            format!("reads topic {}, {} partitions", source.topic, self.plan.n_partitions),
            format!("event time from {time}; records come at most {} out of order", duration_text(source.bound_ms)),
            format!("a partition that is silent for {} holds nothing back", duration_text(source.idle_after_ms)),
            format!(
                "refused: event times {} ahead, values over {}",
                duration_text(source.future_ms_max),
                size_text(source.value_bytes_max as u64)
            ),
            format!("decodes {}", fields(source.table.as_ref().map_or(&source.stream.schema, |table| &table.schema))),
        ];
        if let Some(line) = self.format_line(source) {
            lines.insert(1, line);
        }
        let kind = if source.table.is_some() { "table" } else { "source" };
        StageText { kind, name: source.name.to_string(), reads: Vec::new(), fragment: source.fragment, lines }
    }

    /// What the values are, if they are not JSON.
    fn format_line(&self, source: &SourcePlan) -> Option<String> {
        let of_config =
            self.config.sources.iter().find(|other| **other.name == *source.name).expect("the plan is of this config");
        Some(match &of_config.format {
            SourceFormat::Json => return None,
            SourceFormat::Raw => "values are taken as they are".to_owned(),
            SourceFormat::Bare { format, schema, message: None } => format!("values are {format} of {}", **schema),
            SourceFormat::Bare { format, schema, message: Some(message) } => {
                format!("values are {format}, the message {} of {}", **message, **schema)
            }
            SourceFormat::Registry(format) => format!("values are {} of schemas in the registry", format.value),
        })
    }

    fn stage(&self, idx: usize) -> StageText {
        let stage = &self.plan.stages[idx];
        let mut lines = Vec::new();
        for shuffle in self.shuffles_to(idx) {
            lines.push(match &shuffle.to {
                ShuffleTo::Key(key) => {
                    let key = columns(&shuffle.stream.schema, key);
                    let added = if shuffle.is_combined { ", after those that are on time were added up" } else { "" };
                    format!("rows are repartitioned by {key} through topic {}{added}", shuffle.topic)
                }
                ShuffleTo::Everyone => format!("the table is copied to all tasks through topic {}", shuffle.topic),
            });
        }
        self.kind_lines(stage, &mut lines);
        self.null_lines(stage, &mut lines);
        if let Some(Retime { columns, behind_ms }) = &stage.retime {
            let field = &stage.outputs[0].schema.fields[columns[0]].name;
            lines.push(format!("what it emits has the event time {field}, at most {} behind", duration_text(*behind_ms)));
        }
        failing::lines(&stage.failing, &mut lines);
        if let Some(late) = &stage.late_topic {
            lines.push(format!("records that come too late go to topic {late}"));
        }
        StageText {
            kind: kind_name(&stage.kind),
            name: stage.name.to_string(),
            reads: self.of_config(stage).kind.inputs().into_iter().map(|input| input.value.clone()).collect(),
            fragment: stage.fragment,
            lines,
        }
    }

    fn kind_lines(&self, stage: &StagePlan, lines: &mut Vec<String>) {
        match &stage.kind {
            StageKind::Transform { plugin, .. } => {
                lines.push(format!("plugin {} turns each row into any number of rows", self.plugin(*plugin)));
                lines.push("keeps no state".to_owned());
            }
            StageKind::Dedup { id, horizon_ms } => {
                lines.push(format!("passes the first row of each {}", stage.inputs[0].fields[*id].name));
                lines.push(format!("state: each id is kept for {} of event time", duration_text(*horizon_ms)));
            }
            StageKind::Aggregate { plugin, key, window: WindowSpec::Global(window), .. } => {
                let key = columns(&stage.inputs[0], key);
                lines.push(format!("plugin {} aggregates by {key} in one window for all time", self.plugin(*plugin)));
                lines.extend(global::lines(window));
            }
            StageKind::Aggregate { plugin, key, window, lateness_ms, emission, early_ms, .. } => {
                let key = columns(&stage.inputs[0], key);
                lines.push(format!(
                    "plugin {} aggregates by {key} in windows {}",
                    self.plugin(*plugin),
                    window_text(window, &stage.inputs[0])
                ));
                lines.push(emission_text(*emission, "its window has ended", *lateness_ms));
                let early = |ms: &i64| format!("before that it is written every {} while its window changes", duration_text(*ms));
                lines.extend(early_ms.as_ref().map(early));
                lines.push(format!("state: kept until window end{}", plus(*lateness_ms)));
            }
            StageKind::Join { plugin, .. } => lines.extend(joins::lines(stage, self.plugin(*plugin))),
            StageKind::Lookup { plugin, left_key, outer, lateness_ms, .. } => {
                let (key, table) = (columns(&stage.inputs[0], left_key), self.of_config(stage).kind.inputs()[1]);
                lines.push(format!(
                    "plugin {} gets each row with the version of {} that was valid for its {key} at its event time{}",
                    self.plugin(*plugin),
                    table.value,
                    if *outer { ", or alone" } else { "" }
                ));
                lines.push("a row waits until the table's watermark has passed it".to_owned());
                lines.push(lateness_text(*lateness_ms));
                lines.push(match lateness_ms {
                    Some(ms) => {
                        format!("state: of each key the last version, and those that rows {} late can need", duration_text(*ms))
                    }
                    None => "state: all versions".to_owned(),
                });
            }
            StageKind::Process { plugin, key, lateness_ms, state_ttl_ms, .. } => {
                let key = columns(&stage.inputs[0], key);
                lines.push(format!(
                    "plugin {} gets the rows of each {key}, with its state, and the timers it sets",
                    self.plugin(*plugin)
                ));
                lines.push(lateness_text(*lateness_ms));
                lines.push(match state_ttl_ms {
                    Some(ms) => format!("state: a key is kept for {} of event time after its last row", duration_text(*ms)),
                    None => "state: a key is kept until the plugin forgets it".to_owned(),
                });
            }
        }
    }

    /// Of streams that are read as one: what the plugin reads as null because a stream does not have it.
    fn null_lines(&self, stage: &StagePlan, lines: &mut Vec<String>) {
        let read = match &stage.kind {
            StageKind::Transform { columns, .. } | StageKind::Aggregate { columns, .. } | StageKind::Process { columns, .. } => {
                columns
            }
            StageKind::Dedup { .. } | StageKind::Join { .. } | StageKind::Lookup { .. } => return,
        };
        for (columns, input) in stage.union.iter().zip(self.of_config(stage).kind.inputs()) {
            let missing: Vec<&str> = read
                .iter()
                .filter(|column| columns[**column].is_none())
                .map(|column| stage.inputs[0].fields[*column].name.as_str())
                .collect();
            if !missing.is_empty() {
                lines.push(format!("rows of {} have no {}: null", **input, missing.join(", ")));
            }
        }
    }

    fn of_config(&self, stage: &StagePlan) -> &config::Stage {
        self.config.stages.iter().find(|other| **other.name == *stage.name).expect("the plan is of this config")
    }

    fn sink(&self, idx: usize) -> StageText {
        let sink = &self.plan.sinks[idx];
        let guarantee = match self.config.pipeline.guarantee {
            Guarantee::ExactlyOnce if sink.files.is_some() => "each row in one file",
            Guarantee::ExactlyOnce => "each row once, for readers of committed records",
            Guarantee::AtLeastOnce => "each row at least once",
        };
        let key = if sink.key.is_empty() { "no key".to_owned() } else { format!("key {}", columns(&sink.schema, &sink.key)) };
        let writes = match &sink.files {
            None => format!("writes topic {}, {} partitions, {key}", sink.topic, sink.n_partitions),
            Some(files) => files_text(files),
        };
        let mut lines = vec![writes, format!("rows of {}", fields(&sink.schema)), guarantee.to_owned()];
        if sink.files.is_some() {
            lines.push(format!("rows wait in topic {} until they are published", sink.topic));
        }
        if let Some(said) = self.config.sinks[idx].schema() {
            let id = said
                .subject
                .as_ref()
                .map(|subject| format!("; its id as \"{}\" in the registry stands before each", subject.value));
            lines.push(format!("values are {} by the schema in {}{}", said.format, said.path.value, id.unwrap_or_default()));
        }
        if let Some(column) = sink.tombstone {
            lines.push(format!("where {} is true, the record has no value: its key is deleted", sink.schema.fields[column].name));
        }
        if sink.upsert {
            lines.push("rows carry rev and final: the last row of a key counts".to_owned());
        }
        let sources = self.plan.sources.iter().map(|source| (source.fragment, &source.stream));
        let stages = self.plan.stages.iter().flat_map(|stage| stage.outputs.iter().map(|stream| (stage.fragment, stream)));
        let mut read = sources.chain(stages).filter(|(_, stream)| stream.consumers.contains(&Consumer::Sink(idx)));
        StageText {
            kind: "sink",
            name: sink.name.to_string(),
            reads: vec![self.config.sinks[idx].input.value.clone()],
            fragment: read.next().map(|(fragment, _)| fragment).expect("a sink reads a stream"),
            lines,
        }
    }

    fn plugin(&self, idx: usize) -> &str {
        &self.config.plugins[idx].name
    }

    /// The shuffles that lead to `stage`.
    fn shuffles_to(&self, stage: usize) -> impl Iterator<Item = &ShufflePlan> {
        let leads = move |consumer: &Consumer| matches!(consumer, Consumer::Stage { stage: to, .. } if *to == stage);
        self.plan.shuffles.iter().filter(move |shuffle| shuffle.stream.consumers.iter().any(leads))
    }
}

fn kind_name(kind: &StageKind) -> &'static str {
    match kind {
        StageKind::Transform { .. } => "transform",
        StageKind::Dedup { .. } => "dedup",
        StageKind::Aggregate { .. } => "aggregate",
        StageKind::Join { .. } => "join",
        StageKind::Lookup { .. } => "lookup",
        StageKind::Process { .. } => "process",
    }
}

fn window_text(window: &WindowSpec, input: &Schema) -> String {
    match window {
        WindowSpec::Tumbling { size_ms, offset_ms } => format!("of {}{}", duration_text(*size_ms), offset_text(*offset_ms)),
        WindowSpec::Local(windows) => {
            let [size, slide] = [windows.size_ms(), windows.slide_ms()].map(duration_text);
            let every = if size == slide { String::new() } else { format!(", one every {slide}") };
            format!("of {size}{every} by the clocks of {}{}", windows.zone().name(), offset_text(windows.offset_ms()))
        }
        WindowSpec::Hopping { size_ms, slide_ms, offset_ms } => {
            format!("of {}, one every {}{}", duration_text(*size_ms), duration_text(*slide_ms), offset_text(*offset_ms))
        }
        WindowSpec::Session { gap_ms, cuts } => {
            let end = cuts.end.map(|column| format!(", with a row where {} is true", input.fields[column].name));
            let rows = cuts.rows_max.map(|max| format!(", with {max} rows"));
            let length = cuts.length_ms_max.map(|max| format!(", {} after the first row", duration_text(max)));
            let cuts: String = [end, rows, length].into_iter().flatten().collect();
            format!("that end after {} without a row{cuts} (sessions)", duration_text(*gap_ms))
        }
        WindowSpec::Global(_) => unreachable!("a global window is told by itself, and of no join"),
    }
}

fn offset_text(offset_ms: i64) -> String {
    if offset_ms == 0 { String::new() } else { format!(", offset {}", duration_text(offset_ms)) }
}

fn files_text(files: &FilesPlan) -> String {
    let folders = match files.divided {
        Divided::Hourly => ", a folder for each hour of event time",
        Divided::Daily => ", a folder for each day of event time",
        Divided::Not => "",
    };
    let every = duration_text(files.roll_every_ms);
    let format = files.format.name();
    format!("writes {format} files to {}{folders}, every {every} or when one has {}", files.path, size_text(files.roll_bytes))
}

fn emission_text(emission: Emission, when: &str, lateness_ms: i64) -> String {
    match emission {
        Emission::Final => format!(
            "a result is written once, when {when}{}",
            if lateness_ms == 0 { String::new() } else { format!(" and {} more", duration_text(lateness_ms)) }
        ),
        Emission::Upsert => {
            format!("a result is written when {when}, again when late records change it, and a last time when it is final")
        }
    }
}

fn lateness_text(lateness_ms: Option<i64>) -> String {
    match lateness_ms {
        Some(ms) => format!("a row counts until the watermark is more than {} past it", duration_text(ms)),
        None => "no row is too late".to_owned(),
    }
}

fn plus(ms: i64) -> String {
    if ms == 0 { String::new() } else { format!(" + {}", duration_text(ms)) }
}

fn columns(schema: &Schema, columns: &[usize]) -> String {
    let names: Vec<&str> = columns.iter().map(|at| schema.fields[*at].name.as_str()).collect();
    names.join(", ")
}

fn fields(schema: &Schema) -> String {
    if schema.is_empty() {
        return "no field".to_owned();
    }
    let names = schema.fields.iter().map(|field| format!("{}{}", field.name, if field.required { "" } else { "?" }));
    names.collect::<Vec<_>>().join(", ")
}
