//! What each input is, and which fields each source must decode.
//!
//! A source's schema is what its readers ask for. A reader is every stage and sink that gets the source's rows, directly or
//! through dedups, which pass rows on as they are. Asked fields are told apart by their path in the record.

use std::collections::BTreeMap;

use reelflow_core::{
    plan::{Emission, TablePlan},
    plugin::Declaration,
    schema::{Field, FieldType, Schema},
};

use super::{
    asked::{Ask, Asked, Role},
    declared::of_stages,
    union::{Anchor, Union},
};
use crate::{
    code::Code,
    config::{Config, EventTimeFrom, Source, StageKind},
    problem::{At, Problem, Problems, Span},
    value::closest,
    wiring::producer,
};

/// Where a stream comes from. Indices of the config; `output` is the place in the plugin's declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Source(usize),
    Stage { stage: usize, output: usize },
}

pub(super) struct Streams<'c> {
    config: &'c Config,
    /// Of each stage: its plugin's declaration, if there is one and it fits the stage's kind.
    declarations: Vec<Option<&'c Declaration>>,
    /// Of each stage, by port; `None` for an input that cannot be resolved.
    stage_inputs: Vec<Vec<Option<Origin>>>,
    sink_inputs: Vec<Option<Origin>>,
    is_dedup: Vec<bool>,
    source_schemas: Vec<Schema>,
    /// Who asked first for each field of a source, as far as it was asked for by somebody.
    askers: Vec<Vec<(String, Span)>>,
}

/// The stage that `input` names, if it is one.
pub(super) fn stage_of(config: &Config, input: &str) -> Option<usize> {
    config.stages.iter().position(|stage| *stage.name == producer(input))
}

/// The column that the manifest calls `name`: a field's name or its path.
pub(crate) fn column(schema: &Schema, name: &str) -> Option<usize> {
    schema.position(name).or_else(|| schema.fields.iter().position(|field| field.path == name))
}

impl<'c> Streams<'c> {
    pub fn resolve(config: &'c Config, declarations: &'c BTreeMap<String, Declaration>, problems: &mut Problems) -> Streams<'c> {
        let mut streams = Streams {
            config,
            declarations: of_stages(config, declarations, problems),
            stage_inputs: Vec::new(),
            sink_inputs: Vec::new(),
            is_dedup: config.stages.iter().map(|stage| matches!(stage.kind, StageKind::Dedup { .. })).collect(),
            source_schemas: Vec::new(),
            askers: Vec::new(),
        };
        let mut origins = |inputs: Vec<&At<String>>| -> Vec<Option<Origin>> {
            inputs.into_iter().map(|input| streams.origin(config, input, problems)).collect()
        };
        let stage_inputs = config.stages.iter().map(|stage| origins(stage.kind.inputs())).collect();
        let sink_inputs = origins(config.sinks.iter().map(|sink| &sink.input).collect());
        (streams.stage_inputs, streams.sink_inputs) = (stage_inputs, sink_inputs);
        for (idx, source) in config.sources.iter().enumerate() {
            let (schema, askers) = streams.source_schema(config, idx, source, problems);
            streams.source_schemas.push(schema);
            streams.askers.push(askers);
        }
        streams.infer_join_columns(config);
        for (source, schema) in
            config.sources.iter().zip(&mut streams.source_schemas).filter(|(source, _)| source.table.is_some())
        {
            // A version of no key at all could never be found.
            let key = source.key.iter().filter_map(|name| column(schema, name)).collect::<Vec<_>>();
            key.into_iter().for_each(|at| schema.fields[at].required = true);
        }
        streams
    }

    fn origin(&self, config: &Config, input: &At<String>, problems: &mut Problems) -> Option<Origin> {
        let Some(stage) = stage_of(config, input) else {
            return config.sources.iter().position(|source| *source.name == input.value).map(Origin::Source);
        };
        let (StageKind::Transform { plugin, .. } | StageKind::Process { plugin, .. }) = &config.stages[stage].kind else {
            return Some(Origin::Stage { stage, output: 0 });
        };
        let wanted = input.split_once('.').map_or("out", |(_, output)| output);
        let outputs = &self.declarations[stage]?.outputs;
        if let Some(output) = outputs.iter().position(|(name, _)| name == wanted) {
            return Some(Origin::Stage { stage, output });
        }
        let names = |name: &str| if name == "out" { producer(input).to_owned() } else { format!("{}.{name}", producer(input)) };
        let all: Vec<String> = outputs.iter().map(|(name, _)| format!("\"{}\"", names(name))).collect();
        let message = format!("stage \"{}\" has no output \"{wanted}\"", producer(input));
        let label = format!("plugin \"{}\" declares no such output", plugin.value);
        let mut problem =
            Problem::at(Code::UnknownOutput, input.span.clone(), message, label).note(format!("inputs: {}", all.join(", ")));
        if let Some(meant) = closest(wanted, outputs.iter().map(|(name, _)| name.as_str())) {
            problem = problem.patch("rename it", input.span.clone(), format!("\"{}\"", names(meant)));
        }
        problems.push(problem);
        None
    }

    /// The sources whose own rows `origin` gives, some of its rows at least.
    fn sources_behind(&self, origin: Origin) -> Vec<usize> {
        match origin {
            Origin::Source(source) => vec![source],
            Origin::Stage { stage, .. } if self.is_dedup[stage] => {
                self.stage_inputs[stage].iter().flatten().flat_map(|input| self.sources_behind(*input)).collect()
            }
            Origin::Stage { .. } => Vec::new(),
        }
    }

    /// Whether all rows of `origin` are records as sources read them.
    pub fn is_raw(&self, origin: Origin) -> bool {
        match origin {
            Origin::Source(_) => true,
            Origin::Stage { stage, .. } => {
                self.is_dedup[stage] && self.stage_inputs[stage].iter().all(|input| input.is_some_and(|input| self.is_raw(input)))
            }
        }
    }

    /// The declaration of the stage's plugin, if it can be used.
    pub fn declaration(&self, stage: usize) -> Option<&'c Declaration> {
        self.declarations[stage]
    }

    /// What stage `stage` reads on `port`, or `None` if that cannot be resolved.
    pub fn input(&self, stage: usize, port: usize) -> Option<Origin> {
        self.stage_inputs[stage][port]
    }

    /// What a sink reads, or `None` if that cannot be resolved.
    pub fn sink_input(&self, sink: usize) -> Option<Origin> {
        self.sink_inputs[sink]
    }

    /// As [`Streams::input`], of all ports, once everything has been checked.
    pub fn of_stage(&self, stage: usize) -> Vec<Origin> {
        self.stage_inputs[stage].iter().map(|origin| origin.expect("inputs were checked")).collect()
    }

    pub fn of_sink(&self, sink: usize) -> Origin {
        self.sink_inputs[sink].expect("inputs were checked")
    }

    pub fn sinks_of(&self, origin: Origin) -> impl Iterator<Item = usize> {
        (0..self.sink_inputs.len()).filter(move |sink| self.sink_inputs[*sink] == Some(origin))
    }

    pub fn n_outputs(&self, stage: usize) -> usize {
        self.declarations[stage].map_or(1, |declaration| declaration.outputs.len())
    }

    /// Whether anything reads the output of `stage` (`None`: any of its outputs).
    pub fn is_read(&self, stage: usize, output: Option<usize>) -> bool {
        self.all_inputs().any(|origin| matches!(origin, Origin::Stage { stage: s, output: o } if s == stage && output.is_none_or(|output| o == output)))
    }

    pub fn is_source_read(&self, source: usize) -> bool {
        self.all_inputs().any(|origin| origin == Origin::Source(source))
    }

    fn all_inputs(&self) -> impl Iterator<Item = Origin> {
        self.stage_inputs.iter().flatten().chain(&self.sink_inputs).copied().flatten()
    }

    /// Who asked for a field of a source, and where; `None` if it is only a key column.
    pub fn asker(&self, source: usize, field: usize) -> Option<(String, Span)> {
        self.askers[source].get(field).cloned()
    }

    /// The fields of a stream, or `None` where a plugin is not known.
    pub fn schema_of(&self, origin: Origin) -> Option<Schema> {
        match origin {
            Origin::Source(source) => Some(self.source_schemas[source].clone()),
            Origin::Stage { stage, .. } if self.is_dedup[stage] => match &self.stage_inputs[stage][..] {
                [input] => self.schema_of((*input)?),
                _ => Some(self.union(stage)?.schema),
            },
            Origin::Stage { stage, output } => {
                let mut schema = self.declarations[stage]?.outputs[output].1.clone();
                // What a stage makes has no path in a record.
                schema.fields.iter_mut().for_each(|field| field.path.clone_from(&field.name));
                Some(schema)
            }
        }
    }

    /// What `stage` reads as one stream, if it reads several. `None` also where one of them is not known.
    pub fn union(&self, stage: usize) -> Option<Union> {
        let inputs = self.stage_inputs[stage].iter().copied().collect::<Option<Vec<_>>>()?;
        let of_config = &self.config.stages[stage].kind;
        if inputs.len() == 1 || matches!(of_config, StageKind::Join { .. } | StageKind::Lookup { .. }) {
            return None;
        }
        let schemas = inputs.iter().map(|origin| self.schema_of(*origin)).collect::<Option<Vec<_>>>()?;
        let are_raw: Vec<bool> = inputs.iter().map(|origin| self.is_raw(*origin)).collect();
        let mut anchors = Vec::new();
        let wanted = self.declarations[stage].map_or(&[][..], |declaration| &declaration.inputs[0].fields);
        for field in wanted {
            let columns = schemas.iter().zip(&are_raw).map(|(schema, is_raw)| read_as(schema, *is_raw, field)).collect();
            anchors.push(Anchor { name: field.name.clone(), columns });
        }
        let by_name: Vec<&str> = match of_config {
            StageKind::Aggregate { key, end, .. } => key.iter().chain(end).map(|name| name.value.as_str()).collect(),
            StageKind::Process { key, .. } => key.iter().map(|name| name.value.as_str()).collect(),
            StageKind::Dedup { id: Some(id), .. } => vec![id.value.as_str()],
            StageKind::Dedup { id: None, .. } => {
                self.source_ids(stage).into_iter().flatten().map(|id| id.value.as_str()).collect()
            }
            StageKind::Transform { .. } | StageKind::Join { .. } | StageKind::Lookup { .. } => Vec::new(),
        };
        for name in by_name {
            let columns: Vec<Option<usize>> = schemas.iter().map(|schema| column(schema, name)).collect();
            let first = columns.iter().zip(&schemas).find_map(|(at, schema)| at.map(|at| schema.fields[at].name.clone()));
            anchors.push(Anchor { name: first.unwrap_or_default(), columns });
        }
        Some(Union::new(&schemas, &anchors, are_raw.iter().all(|is_raw| *is_raw)))
    }

    /// The ids of the sources whose records, possibly cleaned by transforms, arrive at `stage`. `None` where a source has none, and
    /// for rows that are no records any more.
    pub fn source_ids(&self, stage: usize) -> Vec<Option<&'c At<String>>> {
        let of = |origin: &Option<Origin>| match *origin {
            Some(Origin::Source(source)) => vec![self.config.sources[source].id.as_ref()],
            Some(Origin::Stage { stage, .. }) => match self.config.stages[stage].kind {
                StageKind::Transform { .. } | StageKind::Dedup { .. } => self.source_ids(stage),
                StageKind::Aggregate { .. } | StageKind::Join { .. } | StageKind::Lookup { .. } | StageKind::Process { .. } => {
                    vec![None]
                }
            },
            None => vec![None],
        };
        self.stage_inputs[stage].iter().flat_map(of).collect()
    }

    /// What comes to a stage on `port`: one stream, or several as one.
    pub fn port_schema(&self, stage: usize, port: usize) -> Schema {
        self.union(stage).map_or_else(|| self.schema(self.of_stage(stage)[port]), |union| union.schema)
    }

    /// As [`Streams::schema_of`], once everything has been checked.
    pub fn schema(&self, origin: Origin) -> Schema {
        self.schema_of(origin).expect("schemas were checked")
    }

    /// How the records of `source` are read, if it is a table. Once everything has been checked.
    pub fn table(&self, source: usize) -> Option<TablePlan> {
        self.config.sources[source].table?;
        let schema = self.schema(Origin::Source(source));
        let key = self.config.sources[source].key.iter();
        let key = key.map(|name| column(&schema, name).expect("the key of a table is decoded")).collect();
        Some(TablePlan { schema, key })
    }

    /// The columns that flow from `origin`: of a table those of its versions. Once everything has been checked.
    pub fn flowing(&self, origin: Origin) -> Schema {
        let table = if let Origin::Source(source) = origin { self.table(source) } else { None };
        table.map_or_else(|| self.schema(origin), |table| table.stream_schema())
    }

    /// Whether rows of `origin` carry `rev` and `final`: transforms hand them on, stages that keep state take final rows only.
    pub fn is_upsert(&self, config: &Config, origin: Origin) -> bool {
        let Origin::Stage { stage, .. } = origin else { return false };
        match &config.stages[stage].kind {
            StageKind::Aggregate { emission, .. } | StageKind::Join { emission, .. } => *emission == Emission::Upsert,
            // Those that a transform reads as one are all of one kind.
            StageKind::Transform { .. } => self.stage_inputs[stage][0].is_some_and(|input| self.is_upsert(config, input)),
            StageKind::Dedup { .. } | StageKind::Lookup { .. } | StageKind::Process { .. } => false,
        }
    }

    fn source_schema(
        &self,
        config: &Config,
        idx: usize,
        source: &Source,
        problems: &mut Problems,
    ) -> (Schema, Vec<(String, Span)>) {
        let mut asked = Asked::default();
        if let EventTimeFrom::Field(path) = &source.event_time.value {
            asked.ask(
                Ask::of_source(path, FieldType::Int, "the event time", &source.event_time.span, Code::EventTimeType),
                problems,
            );
        }
        if let Some(id) = &source.id {
            asked.ask(Ask::of_source(id, FieldType::Text, "the id", &id.span, Code::IdType), problems);
        }
        for field in &source.fields {
            let ask = Ask {
                name: &field.name,
                path: &field.name,
                field_type: field.field_type,
                required: field.required,
                by: "the manifest".to_owned(),
                span: &field.type_span,
                role: Role::Declared,
            };
            asked.ask(ask, problems);
        }
        for (stage, port) in self.readers(idx) {
            let (Some(declaration), Some(plugin)) = (self.declarations[stage], config.stages[stage].kind.plugin()) else {
                continue;
            };
            for field in &declaration.inputs[if declaration.inputs.len() == 1 { 0 } else { port }].fields {
                let by = format!("plugin \"{}\"", plugin.value);
                let Field { name, path, field_type, required } = field;
                let ask =
                    Ask { name, path, field_type: *field_type, required: *required, by, span: &plugin.span, role: Role::Reader };
                asked.ask(ask, problems);
            }
        }
        for (stage, _) in self.readers(idx) {
            if let StageKind::Aggregate { end: Some(end), .. } = &config.stages[stage].kind {
                let by = format!("\"end\" of stage \"{}\"", *config.stages[stage].name);
                asked.ask(Ask::of_reader(end, FieldType::Bool, by), problems);
            }
        }
        let mut schema = Schema { fields: asked.fields };
        for (stage, _) in self.readers(idx) {
            self.add_keys(config, stage, &mut schema);
        }
        (schema, asked.first.into_iter().map(|(by, span, _)| (by, span)).collect())
    }

    /// Key columns that no plugin reads, where their type is known: the plugin of groups declares it, ids are strings.
    fn add_keys(&self, config: &Config, stage: usize, schema: &mut Schema) {
        match &config.stages[stage].kind {
            StageKind::Aggregate { key, .. } | StageKind::Process { key, .. } => {
                let declared = self.declarations[stage].map_or(&[][..], |declaration| &declaration.key.fields);
                key.iter().zip(declared).for_each(|(name, field)| add(schema, name, field.field_type));
            }
            StageKind::Dedup { id: Some(id), .. } => add(schema, id, FieldType::Text),
            _ => {}
        }
    }

    /// Where one side of a join knows the type of a column, the other side's source decodes it as the same.
    fn infer_join_columns(&mut self, config: &Config) {
        // What one join adds, another one may need: at most once through all of them for each.
        for _ in 0..config.stages.len() {
            for stage in 0..config.stages.len() {
                let (StageKind::Join { on, .. } | StageKind::Lookup { on, .. }) = &config.stages[stage].kind else { continue };
                for (port, other) in [(0, 1), (1, 0)] {
                    let (Some(origin), Some(other)) = (self.stage_inputs[stage][port], self.stage_inputs[stage][other]) else {
                        continue;
                    };
                    let Some(schema) = self.schema_of(other) else { continue };
                    for source in self.sources_behind(origin) {
                        for name in on {
                            if let Some(at) = column(&schema, name) {
                                add(&mut self.source_schemas[source], name, schema.fields[at].field_type);
                            }
                        }
                    }
                }
            }
        }
    }

    /// Stages and ports that get the rows of source `source`, in the order of the text.
    fn readers(&self, source: usize) -> impl Iterator<Item = (usize, usize)> {
        self.stage_inputs.iter().enumerate().flat_map(move |(stage, inputs)| {
            let ports = inputs
                .iter()
                .enumerate()
                .filter(move |(_, origin)| origin.is_some_and(|origin| self.sources_behind(origin).contains(&source)));
            ports.map(move |(port, _)| (stage, port))
        })
    }
}

/// The column of `schema` that a plugin reads as `wanted`: of records by their path, of what a stage made by name.
pub(super) fn read_as(schema: &Schema, is_raw: bool, wanted: &Field) -> Option<usize> {
    schema.fields.iter().position(|field| if is_raw { field.path == wanted.path } else { field.name == wanted.name })
}

/// Adds a required field unless there is one of that name or path.
fn add(schema: &mut Schema, name: &str, field_type: FieldType) {
    if column(schema, name).is_none() {
        schema.fields.push(Field { name: name.to_owned(), path: name.to_owned(), field_type, required: true });
    }
}
