//! Configuration and plugin declarations to a plan: names become indices, fields columns, and the DAG is cut into fragments.
//!
//! In order: [`formats`] gives each source the schema of its values; [`streams`] finds what each input is and which fields each source must decode; [`stages`] holds every stage against
//! its plugin and its streams, and [`mismatch`] has the words for what does not fit; [`cut`] decides where rows change their
//! partition; `assemble` writes it all down.

use std::{collections::BTreeMap, sync::Arc};

use reelflow_core::{
    format::{SourceFormat, WriterSchema, writer::SinkFormat},
    plan::{
        Consumer, EventTimeFrom, FilesPlan, FragmentInput, FragmentPlan, Plan, ShufflePlan, SinkPlan, SourcePlan, StageKind,
        StagePlan, Stream, TablePlan,
    },
    plugin::Declaration,
};

use self::{
    cut::Cut,
    stages::Built,
    streams::{Origin, Streams},
};
use crate::{
    code::Code,
    config::{self, Config},
    problem::{Problem, Problems, Valid},
};

mod asked;
mod combined;
mod cut;
mod declared;
mod disagree;
mod formats;
mod inputs;
mod sinks;
mod stages;
mod streams;
pub(crate) mod time;
mod union;
mod window;

pub(crate) use self::streams::column;

/// How many partitions topics have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partitions {
    /// Of every source and internal topic.
    pub tasks: u32,
    /// Of dead-letter and late topics.
    pub side: u32,
    /// Of sink topics whose manifest says no number.
    pub sinks: u32,
}

impl Partitions {
    /// `n` everywhere.
    pub fn all(n: u32) -> Partitions {
        Partitions { tasks: n, side: n, sinks: n }
    }
}

/// What is known of a config that does not stand in its manifest.
#[derive(Debug, Default)]
pub struct Outside {
    /// What each plugin says of itself, by its name.
    pub declarations: BTreeMap<String, Declaration>,
    /// The schema of each source that names a file, by the source's name.
    pub schemas: BTreeMap<String, Arc<WriterSchema>>,
    /// The schema of each sink that names one, by the sink's name.
    pub sink_schemas: BTreeMap<String, SinkWriter>,
}

/// What the schema file of a sink says.
#[derive(Clone, Debug)]
pub struct SinkWriter {
    pub schema: Arc<WriterSchema>,
    /// Of Protobuf: the place of the message at the top level of the file, then inside each message.
    pub path: Vec<usize>,
    /// What the registry calls the schema, if it was asked. Without it values have no id before them.
    pub id: Option<u32>,
}

/// Makes the plan of `config`.
///
/// In the plan a plugin's index is its place in [`Config::plugins`]; sources that nothing reads are left out. Returns warnings
/// with the plan, or everything in which manifest, plugins and schemas disagree. A plugin without a declaration is one of these problems,
/// a source without its schema too.
pub fn plan(config: &Config, outside: &Outside, partitions: Partitions) -> Result<Valid<Plan>, Problems> {
    let mut problems = Problems::default();
    let order = topological(config);
    let formats = formats::of_sources(config, &outside.schemas, &mut problems);
    let streams = Streams::resolve(config, &outside.declarations, &mut problems);
    formats::check(config, &formats, &streams, &mut problems);
    let written = formats::of_sinks(config, &outside.sink_schemas, &streams, &mut problems);
    let built = stages::check(config, &streams, &mut problems);
    unread(config, &streams, &mut problems);
    match built {
        Some(built) if !problems.has_errors() => {
            let cut = Cut::new(config, &order, &streams, &built, &mut problems);
            combined::check(config, &cut, &mut problems);
            if problems.has_errors() {
                return Err(problems);
            }
            let value = assemble(config, &order, (&formats, written), &streams, built, &cut, partitions);
            Ok(Valid { value, warnings: problems })
        }
        _ => Err(problems),
    }
}

/// The stages so that each stands behind those that it reads from; otherwise in the order of the text. A config has no cycle.
pub(crate) fn topological(config: &Config) -> Vec<usize> {
    let mut order: Vec<usize> = Vec::new();
    while order.len() < config.stages.len() {
        let is_ready = |idx: &usize| {
            let inputs = config.stages[*idx].kind.inputs();
            let mut producers = inputs.iter().filter_map(|input| streams::stage_of(config, input));
            !order.contains(idx) && producers.all(|producer| order.contains(&producer))
        };
        let next = (0..config.stages.len()).find(is_ready).expect("a config has no cycle");
        order.push(next);
    }
    order
}

/// Warns of outputs that a plugin declares and nothing reads.
fn unread(config: &Config, streams: &Streams<'_>, problems: &mut Problems) {
    for (idx, stage) in config.stages.iter().enumerate() {
        let (config::StageKind::Transform { plugin, .. } | config::StageKind::Process { plugin, .. }, Some(declaration)) =
            (&stage.kind, streams.declaration(idx))
        else {
            continue;
        };
        // A stage that nothing reads at all was warned of when the manifest was read.
        if !streams.is_read(idx, None) {
            continue;
        }
        for (output, (name, _)) in declaration.outputs.iter().enumerate() {
            if !streams.is_read(idx, Some(output)) {
                let message = format!("nothing reads output \"{name}\" of stage \"{}\"", *stage.name);
                let label = format!("plugin \"{}\" has this output", **plugin);
                let input = if name == "out" { stage.name.value.clone() } else { format!("{}.{name}", *stage.name) };
                let problem = Problem::at(Code::UnusedOutput, plugin.span.clone(), message, label);
                problems.push(
                    problem.note(format!("its rows are dropped; a stage or sink with `input = \"{input}\"` would read them")),
                );
            }
        }
    }
}

/// Writes the plan down. Everything has been checked.
fn assemble(
    config: &Config,
    order: &[usize],
    (formats, written): (&[SourceFormat], Vec<SinkFormat>),
    streams: &Streams<'_>,
    mut built: Built,
    cut: &Cut,
    partitions: Partitions,
) -> Plan {
    let name: Arc<str> = config.pipeline.name.value.as_str().into();
    let sources: Vec<usize> = (0..config.sources.len()).filter(|source| streams.is_source_read(*source)).collect();
    let place = Places { sources: &sources, order };
    let consumers = |origin: Origin| consumers(origin, &place, streams, cut);

    let sink_plan = |(idx, format)| SinkPlan { format, ..sink_plan(config, idx, streams, &built, partitions) };
    let sink_plans: Vec<SinkPlan> = written.into_iter().enumerate().map(sink_plan).collect();
    let source_plans = sources.iter().map(|idx| {
        let stream = Stream { schema: streams.flowing(Origin::Source(*idx)), consumers: consumers(Origin::Source(*idx)) };
        let fragment = cut.fragment_of_source(*idx);
        source_plan(&config.sources[*idx], formats[*idx].clone(), stream, streams.table(*idx), fragment)
    });
    let stage_plans = order.iter().map(|idx| {
        let stage = &config.stages[*idx];
        let kind = built.kinds[*idx].take().expect("each stage is in the order once");
        let union = streams.union(*idx);
        let stream = |output| {
            let origin = Origin::Stage { stage: *idx, output };
            Stream { schema: streams.schema(origin), consumers: consumers(origin) }
        };
        StagePlan {
            name: stage.name.value.as_str().into(),
            fragment: cut.fragment_of_stage(*idx),
            inputs: match &union {
                None => streams.of_stage(*idx).iter().map(|origin| streams.flowing(*origin)).collect(),
                Some(union) => vec![union.schema.clone()],
            },
            union: union.map_or_else(Vec::new, |union| union.columns),
            state: streams.declaration(*idx).and_then(|declaration| declaration.state.clone()),
            outputs: (0..streams.n_outputs(*idx)).map(stream).collect(),
            retime: built.retimes[*idx].take(),
            failing: stage.failing.policy,
            late_topic: knows_lateness(&kind).then(|| format!("late.{}", *stage.name).into()),
            kind,
        }
    });
    let shuffle_plans = cut.shuffles.iter().map(|shuffle| ShufflePlan {
        topic: shuffle.topic(config).into(),
        from_fragment: cut.fragment_of(shuffle.from),
        to_fragment: cut.fragment_of_stage(shuffle.stage),
        to: shuffle.to.clone(),
        is_combined: combined::asked(&config.stages[shuffle.stage].kind).is_some(),
        stream: Stream {
            schema: streams.flowing(shuffle.from),
            consumers: vec![Consumer::Stage { stage: place.stage(shuffle.stage), port: shuffle.port }],
        },
    });
    Plan {
        n_partitions: partitions.tasks,
        sources: source_plans.collect(),
        sinks: sink_plans,
        stages: stage_plans.collect(),
        shuffles: shuffle_plans.collect(),
        fragments: fragments(config, &place, cut),
        dead_letter_topic: config.pipeline.dead_letters.value.as_str().into(),
        side_partitions: partitions.side,
        changelog_topic: format!("reel.{name}.changelog").into(),
        resets: Default::default(),
        name,
    }
}

fn knows_lateness(kind: &StageKind) -> bool {
    match kind {
        // Of a lookup versions at least may be late.
        StageKind::Aggregate { .. } | StageKind::Join { .. } | StageKind::Lookup { .. } => true,
        StageKind::Process { lateness_ms, .. } => lateness_ms.is_some(),
        StageKind::Transform { .. } | StageKind::Dedup { .. } => false,
    }
}

fn sink_plan(config: &Config, idx: usize, streams: &Streams<'_>, built: &Built, partitions: Partitions) -> SinkPlan {
    let sink = &config.sinks[idx];
    let (topic, n_partitions, files) = sink_target(sink, &config.pipeline.name, partitions);
    SinkPlan {
        name: sink.name.value.as_str().into(),
        topic,
        n_partitions,
        schema: streams.schema(streams.of_sink(idx)),
        key: built.sink_keys[idx].clone(),
        tombstone: built.tombstones[idx],
        upsert: streams.is_upsert(config, streams.of_sink(idx)),
        files,
        format: SinkFormat::Json,
    }
}

/// The topic of a sink, its partition count, and what becomes of its rows if that is not the end of them.
fn sink_target(sink: &config::Sink, pipeline: &str, partitions: Partitions) -> (Arc<str>, u32, Option<FilesPlan>) {
    match &sink.to {
        config::SinkTo::Topic { topic, partitions: own, .. } => {
            (topic.value.as_str().into(), own.as_ref().map_or(partitions.sinks, |n| n.value), None)
        }
        config::SinkTo::Files(files) => {
            let topic = format!("reel.{pipeline}.files.{}", *sink.name);
            let plan = FilesPlan {
                path: files.path.value.as_str().into(),
                format: files.format,
                divided: files.divided,
                roll_every_ms: files.roll_every_ms,
                roll_bytes: files.roll_bytes,
            };
            (topic.into(), partitions.tasks, Some(plan))
        }
    }
}

fn source_plan(
    source: &config::Source,
    format: SourceFormat,
    stream: Stream,
    table: Option<TablePlan>,
    fragment: usize,
) -> SourcePlan {
    let event_time = match &source.event_time.value {
        config::EventTimeFrom::LogTimestamp => EventTimeFrom::LogTimestamp,
        config::EventTimeFrom::Field(path) => {
            EventTimeFrom::Field(streams::column(&stream.schema, path).expect("the event time is always decoded"))
        }
    };
    SourcePlan {
        name: source.name.value.as_str().into(),
        topic: source.topic.value.as_str().into(),
        fragment,
        format,
        event_time,
        stream,
        bound_ms: source.bound_ms,
        idle_after_ms: source.idle_after_ms,
        future_ms_max: source.future_ms_max,
        value_bytes_max: source.value_bytes_max,
        table,
    }
}

/// Where sources and stages of the config stand in the plan.
struct Places<'p> {
    sources: &'p [usize],
    order: &'p [usize],
}

impl Places<'_> {
    fn source(&self, idx: usize) -> usize {
        self.sources.iter().position(|source| *source == idx).expect("a source that is read is in the plan")
    }

    fn stage(&self, idx: usize) -> usize {
        self.order.iter().position(|stage| *stage == idx).expect("every stage is in the plan")
    }
}

fn consumers(origin: Origin, place: &Places<'_>, streams: &Streams<'_>, cut: &Cut) -> Vec<Consumer> {
    let mut consumers = Vec::new();
    for stage in place.order {
        for (port, _) in streams.of_stage(*stage).iter().enumerate().filter(|(_, input)| **input == origin) {
            let shuffle = cut.shuffles.iter().position(|shuffle| shuffle.stage == *stage && shuffle.port == port);
            consumers.push(shuffle.map_or(Consumer::Stage { stage: place.stage(*stage), port }, Consumer::Shuffle));
        }
    }
    consumers.extend(streams.sinks_of(origin).map(Consumer::Sink));
    consumers
}

fn fragments(config: &Config, place: &Places<'_>, cut: &Cut) -> Vec<FragmentPlan> {
    let plan_of = |fragment: usize| {
        let sources = place.sources.iter().filter(|source| cut.fragment_of_source(**source) == fragment);
        let shuffles = (0..cut.shuffles.len()).filter(|idx| cut.fragment_of_stage(cut.shuffles[*idx].stage) == fragment);
        let first_source = sources.clone().next().map(|source| &config.sources[*source].name);
        let first_shuffle = shuffles.clone().next().map(|shuffle| &config.stages[cut.shuffles[shuffle].stage].name);
        let name = first_source.or(first_shuffle).expect("a fragment has an input");
        FragmentPlan {
            name: name.value.as_str().into(),
            inputs: sources
                .map(|source| FragmentInput::Source(place.source(*source)))
                .chain(shuffles.map(FragmentInput::Shuffle))
                .collect(),
            stages: (0..place.order.len()).filter(|at| cut.fragment_of_stage(place.order[*at]) == fragment).collect(),
        }
    };
    (0..cut.n_fragments()).map(plan_of).collect()
}
