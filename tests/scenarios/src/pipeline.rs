//! The words of `pipeline`: one line for each source, stage, shuffle and sink.
//!
//! ```text
//! pipeline partitions=2
//!   source NAME [bound=0s] [idle=60s] [future=10m] [bytes=1000] [time=@timestamp] [fields=key,ts,id,n,stop]
//!   table NAME [the same]                                 (of the key `key`)
//!   transform NAME <- STREAM plugin=marks                 (its second output is the stream NAME.side)
//!   dedup NAME <- STREAM horizon=10s
//!   aggregate NAME <- STREAM window=tumbling(10s[@3s])|tumbling(24h[@5h]/ZONE)|hopping(30s,10s[@3s][/ZONE])|session(10s[,end=stop][,rows=3][,length=1m])|global(idle=60s[,rows=3][,every=10s][,clear=true]) [lateness=0s] [emit=final|upsert [early=10s]] [key=key] plugin=count
//!   join NAME <- LEFT,RIGHT within=10s [lateness=0s] [emit=final|upsert] [kind=left|inner] [tie=id] plugin=pair
//!   join NAME <- LEFT,RIGHT match=all within=10s [after=0s] [lateness=0s] [kind=left|inner|right|full] plugin=pair
//!   join NAME <- LEFT,RIGHT match=window window=tumbling(10s)|hopping(30s,10s) [lateness=0s] [kind=left|inner|right|full] plugin=pair
//!   lookup NAME <- STREAM,TABLE [lateness=0s] [kind=left|inner] plugin=pair
//!   process NAME <- STREAM [lateness=0s] [ttl=10s] [key=key] plugin=timers
//!   shuffle NAME <- STREAM key=FIELD|to=everyone
//!   sink NAME <- STREAM [key=FIELD,FIELD] [tombstone=FIELD] [partitions=…]
//! ```
//!
//! Any stage but a join and a lookup reads several streams as one: `<- STREAM,STREAM`. Any stage may say `time=FIELD behind=10s`: its rows get
//! the event time of that field.

use std::{collections::BTreeMap, sync::Arc};

use reelflow_core::{
    format::SourceFormat,
    plan::{
        Consumer, Emission, EventTimeFrom, FragmentInput, FragmentPlan, JoinKind, Matching, Plan, Retime, ShufflePlan, ShuffleTo,
        SinkPlan, SourcePlan, StageKind, StagePlan, Stream, TablePlan,
    },
    schema::Schema,
};

use crate::{
    plugins::{Plugin, record_schema, stop_field},
    print::parse_time,
    windows::window,
    words::Words,
};

/// Builds a plan from the lines of a `pipeline` step, and its plugins.
pub fn build(lines: &[String]) -> Result<(Plan, Vec<Plugin>), String> {
    let mut builder = Builder::new(&lines[0])?;
    for line in &lines[1..] {
        builder.line(line).map_err(|why| format!("{}: {why}", line.trim()))?;
    }
    builder.finish()
}

/// Where a stream comes from: an index into the plan's sources, or stages and output, or shuffles.
#[derive(Clone, Copy)]
enum From {
    Source(usize),
    Stage(usize, usize),
    Shuffle(usize),
}

struct Builder {
    plan: Plan,
    plugins: Vec<Plugin>,
    streams: BTreeMap<String, From>,
    /// Fragment numbers are joined when a stage reads two of them; the numbers left over are not in use.
    n_fragments: usize,
}

impl Builder {
    fn new(first: &str) -> Result<Builder, String> {
        let words = Words::parse(first.split_whitespace().skip(1), &["partitions"])?;
        let plan = Plan {
            name: "case".into(),
            n_partitions: words.number("partitions", 1)?,
            sources: Vec::new(),
            stages: Vec::new(),
            shuffles: Vec::new(),
            sinks: Vec::new(),
            fragments: Vec::new(),
            dead_letter_topic: "dead".into(),
            side_partitions: 1,
            changelog_topic: "reel.case.changelog".into(),
            resets: Default::default(),
        };
        Ok(Builder { plan, plugins: Vec::new(), streams: BTreeMap::new(), n_fragments: 0 })
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        let mut words = line.split_whitespace();
        let kind = words.next().ok_or("an empty line")?;
        let name = words.next().ok_or("a name is missing")?;
        if kind == "source" || kind == "table" {
            return self.source(kind == "table", name, words);
        }
        let (Some("<-"), Some(inputs)) = (words.next(), words.next()) else { return Err("\"<- STREAM\" is missing".into()) };
        let inputs = inputs.split(',').map(|input| self.stream(input)).collect::<Result<Vec<_>, _>>()?;
        match kind {
            "shuffle" => self.shuffle(name, inputs[0], words),
            "sink" => self.sink(name, inputs[0], words),
            _ => self.stage(kind, name, &inputs, words),
        }
    }

    fn source<'a>(&mut self, is_table: bool, name: &str, words: impl Iterator<Item = &'a str>) -> Result<(), String> {
        let words = Words::parse(words, &["bound", "idle", "future", "bytes", "time", "fields"])?;
        let mut schema = record_schema();
        if let Some(decoded) = words.0.get("fields") {
            schema.fields.push(stop_field());
            schema.fields.retain(|field| decoded.split(',').any(|name| name == field.name));
        }
        let table = is_table.then(|| TablePlan { key: schema.position("key").into_iter().collect(), schema: schema.clone() });
        let schema = table.as_ref().map_or(schema, TablePlan::stream_schema);
        self.plan.sources.push(SourcePlan {
            name: name.into(),
            topic: name.into(),
            fragment: self.n_fragments,
            format: SourceFormat::Json,
            stream: Stream { schema, consumers: Vec::new() },
            event_time: match words.0.get("time") {
                None => EventTimeFrom::Field(1),
                Some(_) => EventTimeFrom::LogTimestamp,
            },
            bound_ms: words.time("bound", "0s")?,
            idle_after_ms: words.time("idle", "60s")?,
            future_ms_max: words.time("future", "10m")?,
            value_bytes_max: words.number("bytes", 1000)? as usize,
            table,
        });
        self.n_fragments += 1;
        self.streams.insert(name.to_owned(), From::Source(self.plan.sources.len() - 1));
        Ok(())
    }

    fn stage<'a>(&mut self, kind: &str, name: &str, inputs: &[From], words: impl Iterator<Item = &'a str>) -> Result<(), String> {
        let known = [
            "plugin", "horizon", "window", "lateness", "emit", "early", "key", "within", "match", "after", "kind", "tie", "ttl",
            "time", "behind", "on_error", "errors",
        ];
        let words = Words::parse(words, &known)?;
        let mut schemas: Vec<Schema> = inputs.iter().map(|input| self.stream_mut(*input).schema.clone()).collect();
        let mut union = Vec::new();
        if !matches!(kind, "join" | "lookup") && schemas.len() > 1 {
            (schemas, union) = united(&schemas);
        }
        let kind = stage_kind(kind, &schemas, self.plugins.len(), &words)?;
        let outputs: Vec<(String, Schema)> = match kind {
            StageKind::Dedup { .. } => vec![("out".into(), schemas[0].clone())],
            _ => {
                let name = words.text("plugin")?;
                let plugin = Plugin::of_name(name).ok_or_else(|| format!("no plugin \"{name}\""))?;
                self.plugins.push(plugin);
                plugin.outputs()
            }
        };
        let stage = self.plan.stages.len();
        let fragment = self.join_fragments(inputs);
        for (port, input) in inputs.iter().enumerate() {
            self.stream_mut(*input).consumers.push(Consumer::Stage { stage, port });
        }
        for (output, (of, _)) in outputs.iter().enumerate() {
            let stream = if output == 0 { name.to_owned() } else { format!("{name}.{of}") };
            self.streams.insert(stream, From::Stage(stage, output));
        }
        let late_topic = knows_lateness(&kind).then(|| format!("late.{name}").into());
        let retime = words.0.get("time").map(|field| retime(field, &outputs, words.time("behind", "0s")?)).transpose()?;
        self.plan.stages.push(StagePlan {
            name: name.into(),
            fragment,
            inputs: schemas,
            kind,
            outputs: outputs.into_iter().map(|(_, schema)| Stream { schema, consumers: Vec::new() }).collect(),
            state: None,
            retime,
            failing: words.failing()?,
            late_topic,
            union,
        });
        Ok(())
    }

    fn shuffle<'a>(&mut self, name: &str, input: From, words: impl Iterator<Item = &'a str>) -> Result<(), String> {
        let words = Words::parse(words, &["key", "to", "combine"])?;
        let shuffle = self.plan.shuffles.len();
        let from_fragment = self.fragment(input);
        let stream = self.stream_mut(input);
        stream.consumers.push(Consumer::Shuffle(shuffle));
        let schema = stream.schema.clone();
        let to = match words.0.get("to") {
            Some(&"everyone") => ShuffleTo::Everyone,
            Some(other) => return Err(format!("to={other}")),
            None => {
                let field = words.text("key")?;
                ShuffleTo::Key(vec![schema.position(field).ok_or_else(|| format!("no field \"{field}\""))?])
            }
        };
        let stream = Stream { schema, consumers: Vec::new() };
        let topic = format!("reel.case.{name}").into();
        let is_combined = words.0.contains_key("combine");
        self.plan.shuffles.push(ShufflePlan { topic, from_fragment, to_fragment: self.n_fragments, to, is_combined, stream });
        self.n_fragments += 1;
        self.streams.insert(name.to_owned(), From::Shuffle(shuffle));
        Ok(())
    }

    fn sink<'a>(&mut self, name: &str, input: From, words: impl Iterator<Item = &'a str>) -> Result<(), String> {
        let words = Words::parse(words, &["key", "tombstone", "partitions"])?;
        let sink = self.plan.sinks.len();
        let n_partitions = words.number("partitions", self.plan.n_partitions)?;
        let upsert = self.is_upsert(input);
        let stream = self.stream_mut(input);
        stream.consumers.push(Consumer::Sink(sink));
        let schema = stream.schema.clone();
        let fields = words.0.get("key").map_or_else(Vec::new, |fields| fields.split(',').collect());
        let column = |field: &str| schema.position(field).ok_or_else(|| format!("no field \"{field}\""));
        let key = fields.into_iter().map(column).collect::<Result<_, _>>()?;
        let tombstone = words.0.get("tombstone").map(|field| column(field)).transpose()?;
        self.plan.sinks.push(SinkPlan {
            name: name.into(),
            topic: format!("out.{name}").into(),
            n_partitions,
            schema,
            key,
            upsert,
            tombstone,
            format: Default::default(),
            files: None,
        });
        Ok(())
    }

    fn is_upsert(&self, input: From) -> bool {
        let From::Stage(stage, _) = input else { return false };
        matches!(
            self.plan.stages[stage].kind,
            StageKind::Aggregate { emission: Emission::Upsert, .. } | StageKind::Join { emission: Emission::Upsert, .. }
        )
    }

    fn stream(&self, name: &str) -> Result<From, String> {
        self.streams.get(name).copied().ok_or_else(|| format!("no stream \"{name}\""))
    }

    fn stream_mut(&mut self, from: From) -> &mut Stream {
        match from {
            From::Source(source) => &mut self.plan.sources[source].stream,
            From::Stage(stage, output) => &mut self.plan.stages[stage].outputs[output],
            From::Shuffle(shuffle) => &mut self.plan.shuffles[shuffle].stream,
        }
    }

    fn fragment(&self, from: From) -> usize {
        match from {
            From::Source(source) => self.plan.sources[source].fragment,
            From::Stage(stage, _) => self.plan.stages[stage].fragment,
            From::Shuffle(shuffle) => self.plan.shuffles[shuffle].to_fragment,
        }
    }

    /// One fragment for all `inputs`: the greatest of theirs, so that a fragment comes after those that feed it.
    fn join_fragments(&mut self, inputs: &[From]) -> usize {
        let joined: Vec<usize> = inputs.iter().map(|input| self.fragment(*input)).collect();
        let into = *joined.iter().max().expect("a stage has inputs");
        let renumber = |fragment: &mut usize| {
            if joined.contains(fragment) {
                *fragment = into;
            }
        };
        self.plan.sources.iter_mut().for_each(|source| renumber(&mut source.fragment));
        self.plan.stages.iter_mut().for_each(|stage| renumber(&mut stage.fragment));
        for shuffle in &mut self.plan.shuffles {
            renumber(&mut shuffle.from_fragment);
            renumber(&mut shuffle.to_fragment);
        }
        into
    }

    /// Numbers the fragments that are in use from 0.
    fn finish(mut self) -> Result<(Plan, Vec<Plugin>), String> {
        let plan = &mut self.plan;
        let mut next = 0;
        for number in 0..self.n_fragments {
            let sources = (0..plan.sources.len()).filter(|idx| plan.sources[*idx].fragment == number).map(FragmentInput::Source);
            let shuffles =
                (0..plan.shuffles.len()).filter(|idx| plan.shuffles[*idx].to_fragment == number).map(FragmentInput::Shuffle);
            let inputs: Vec<FragmentInput> = sources.chain(shuffles).collect();
            let Some(first) = inputs.first() else { continue };
            let name: Arc<str> = plan.input_topic(*first).clone();
            let stages = (0..plan.stages.len()).filter(|idx| plan.stages[*idx].fragment == number).collect();
            plan.sources.iter_mut().filter(|source| source.fragment == number).for_each(|source| source.fragment = next);
            plan.stages.iter_mut().filter(|stage| stage.fragment == number).for_each(|stage| stage.fragment = next);
            for shuffle in &mut plan.shuffles {
                for fragment in [&mut shuffle.from_fragment, &mut shuffle.to_fragment] {
                    if *fragment == number {
                        *fragment = next;
                    }
                }
            }
            plan.fragments.push(FragmentPlan { name, inputs, stages });
            next += 1;
        }
        Ok((self.plan, self.plugins))
    }
}

/// The fields of `streams` as one, in the order in which they come up, and where each stream has them.
fn united(streams: &[Schema]) -> (Vec<Schema>, Vec<Vec<Option<usize>>>) {
    let mut all = Schema::default();
    for field in streams.iter().flat_map(|schema| &schema.fields) {
        if all.position(&field.name).is_none() {
            all.fields.push(field.clone());
        }
    }
    for field in &mut all.fields {
        field.required &= streams.iter().all(|schema| schema.position(&field.name).is_some());
    }
    let columns = streams.iter().map(|schema| all.fields.iter().map(|field| schema.position(&field.name)).collect()).collect();
    (vec![all], columns)
}

fn retime(field: &str, outputs: &[(String, Schema)], behind_ms: i64) -> Result<Retime, String> {
    let column = |(_, schema): &(String, Schema)| schema.position(field).ok_or_else(|| format!("no field \"{field}\""));
    Ok(Retime { columns: outputs.iter().map(column).collect::<Result<_, _>>()?, behind_ms })
}

/// The stage that `words` describe, over `schemas`.
fn stage_kind(kind: &str, schemas: &[Schema], plugin: usize, words: &Words<'_>) -> Result<StageKind, String> {
    let column = |schema: &Schema, field: &str| schema.position(field).ok_or_else(|| format!("no field \"{field}\""));
    let columns =
        |schema: &Schema, fields: &str| fields.split(',').map(|field| column(schema, field)).collect::<Result<Vec<_>, _>>();
    Ok(match kind {
        "transform" => StageKind::Transform { plugin, columns: columns(&schemas[0], "key,ts,id,n")? },
        "dedup" => StageKind::Dedup { id: column(&schemas[0], "id")?, horizon_ms: words.time("horizon", "")? },
        "aggregate" => StageKind::Aggregate {
            plugin,
            columns: schemas[0].position("n").into_iter().collect(),
            key: columns(&schemas[0], words.0.get("key").unwrap_or(&"key"))?,
            window: window(words.text("window")?, &schemas[0])?,
            lateness_ms: words.time("lateness", "0s")?,
            emission: words.emission()?,
            early_ms: words.0.get("early").map(|text| parse_time(text)).transpose()?,
        },
        "join" => StageKind::Join {
            plugin,
            left_columns: columns(&schemas[0], "key,ts,id,n")?,
            right_columns: columns(&schemas[1], "key,ts,id,n")?,
            left_key: columns(&schemas[0], "key")?,
            right_key: columns(&schemas[1], "key")?,
            matching: match words.0.get("match") {
                Some(&"all") => Matching::All { within_ms: words.time("within", "")?, after_ms: words.time("after", "0s")? },
                Some(&"window") => Matching::Window(window(words.text("window")?, &schemas[0])?),
                Some(other) => return Err(format!("no such match: {other}")),
                None => Matching::LatestBefore { within_ms: words.time("within", "")? },
            },
            tie: words.0.get("tie").map(|field| column(&schemas[1], field)).transpose()?,
            join: match words.0.get("kind").unwrap_or(&"left") {
                &"inner" => JoinKind::Inner,
                &"left" => JoinKind::Left,
                &"right" => JoinKind::Right,
                &"full" => JoinKind::Full,
                other => return Err(format!("no such kind of join: {other}")),
            },
            lateness_ms: words.time("lateness", "0s")?,
            emission: words.emission()?,
        },
        "lookup" => StageKind::Lookup {
            plugin,
            left_columns: columns(&schemas[0], "key,ts,id,n")?,
            right_columns: columns(&schemas[1], "key,ts,id,n")?,
            left_key: columns(&schemas[0], "key")?,
            right_key: columns(&schemas[1], "key")?,
            deleted: column(&schemas[1], TablePlan::DELETED)?,
            outer: words.0.get("kind") != Some(&"inner"),
            // Where the table comes from says that here.
            is_broadcast: false,
            lateness_ms: words.0.get("lateness").map(|text| parse_time(text)).transpose()?,
        },
        "process" => StageKind::Process {
            plugin,
            columns: columns(&schemas[0], "key,ts,id,n")?,
            key: columns(&schemas[0], words.0.get("key").unwrap_or(&"key"))?,
            lateness_ms: words.0.get("lateness").map(|text| parse_time(text)).transpose()?,
            state_ttl_ms: words.0.get("ttl").map(|text| parse_time(text)).transpose()?,
        },
        other => return Err(format!("no such word: {other}")),
    })
}

fn knows_lateness(kind: &StageKind) -> bool {
    match kind {
        StageKind::Aggregate { .. } | StageKind::Join { .. } | StageKind::Lookup { .. } => true,
        StageKind::Process { lateness_ms, .. } => lateness_ms.is_some(),
        StageKind::Transform { .. } | StageKind::Dedup { .. } => false,
    }
}
