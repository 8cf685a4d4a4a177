//! Where rows change their partition, and what stays together.
//!
//! A stream is partitioned by some columns P if equal values in P always lie in one partition. A stage that works by a key K can
//! read it as it is when P is a part of K; otherwise the edge becomes a *shuffle*: a topic partitioned by K. What is connected
//! without a shuffle is a fragment.

use reelflow_core::{
    plan::{ShuffleTo, StageKind},
    schema::{Field, Schema},
};

use super::{
    stages::Built,
    streams::{Origin, Streams},
    union::Union,
};
use crate::{
    code::Code,
    config::Config,
    problem::{Problem, Problems},
};

/// An edge through an internal topic. Indices of the config.
pub(super) struct Shuffle {
    pub from: Origin,
    pub stage: usize,
    pub port: usize,
    pub to: ShuffleTo,
    reads: Reads,
}

/// What a shuffled stream is to its stage: each side of a join or lookup and each stream of a union has a topic of its own, so that a topic holds
/// rows of one kind, and a stream that is added or taken away leaves the topics of the others alone.
enum Reads {
    One,
    Side,
    /// The table of a lookup.
    Table,
    OneOfSeveral,
}

impl Shuffle {
    pub fn topic(&self, config: &Config) -> String {
        let stage = &config.stages[self.stage];
        let which = match (&self.reads, self.port) {
            (Reads::One, _) => String::new(),
            (Reads::Side, 0) => ".left".to_owned(),
            (Reads::Side, _) => ".right".to_owned(),
            (Reads::OneOfSeveral | Reads::Table, port) => format!(".{}", **stage.kind.inputs()[port]),
        };
        format!("reel.{}.{}{which}", *config.pipeline.name, *stage.name)
    }
}

/// By which columns of its stream rows are spread over partitions.
#[derive(Clone, Debug, PartialEq)]
struct Spread {
    columns: Vec<usize>,
    /// Whether Reelflow spread them; otherwise some producer did, in the way of its own keys. The two ways need not agree, so a
    /// join never reads one side of each.
    is_ours: bool,
}

/// How the rows of its streams must lie for a stage.
enum Needs {
    /// They may lie anywhere.
    Nothing,
    /// Of a dedup: one stream as it lies. Several all in the same way, so that equal ids can meet; otherwise by their ids. `columns`:
    /// as in a union.
    Alike { columns: Vec<Vec<Option<usize>>>, ids: Vec<usize> },
    /// Equal keys in one partition; the key columns of each stream.
    ByKey(Vec<Vec<usize>>),
    /// The first stream may lie anywhere, the second one is needed everywhere.
    Everywhere,
}

pub(super) struct Cut {
    pub shuffles: Vec<Shuffle>,
    /// By source, then by stage: a label that the members of a fragment share, later the fragment's index.
    of_source: Vec<usize>,
    of_stage: Vec<usize>,
    n_fragments: usize,
}

impl Cut {
    /// Cuts the DAG of `config`, whose stages are in topological `order`.
    pub fn new(config: &Config, order: &[usize], streams: &Streams<'_>, built: &Built, problems: &mut Problems) -> Cut {
        let n_sources = config.sources.len();
        let mut cut = Cut {
            shuffles: Vec::new(),
            of_source: (0..n_sources).collect(),
            of_stage: (n_sources..n_sources + config.stages.len()).collect(),
            n_fragments: 0,
        };
        // Of each stage, by output.
        let mut spreads: Vec<Vec<Option<Spread>>> = vec![Vec::new(); config.stages.len()];
        for stage in order {
            let inputs = streams.of_stage(*stage);
            let kind = built.kinds[*stage].as_ref().expect("all stages were checked");
            let union = streams.union(*stage);
            let mut by_port: Vec<Option<Spread>> = inputs
                .iter()
                .map(|origin| match origin {
                    Origin::Source(source) => {
                        built.source_keys[*source].clone().map(|columns| Spread { columns, is_ours: false })
                    }
                    Origin::Stage { stage, output } => spreads[*stage][*output].clone(),
                })
                .collect();
            let needs = match kind {
                StageKind::Lookup { is_broadcast: true, .. } => Needs::Everywhere,
                _ => keys(kind, union.as_ref()),
            };
            let Some(shuffled) = cut.shuffled(&inputs, &needs, &by_port) else {
                problems.push(behind_itself(config, *stage));
                spreads[*stage] = vec![None; streams.n_outputs(*stage)];
                continue;
            };
            for (port, to) in shuffled.into_iter().enumerate() {
                match to {
                    None => cut.unite(inputs[port], *stage),
                    Some(to) => {
                        by_port[port] = match &to {
                            ShuffleTo::Key(key) => Some(Spread { columns: key.clone(), is_ours: true }),
                            ShuffleTo::Everyone => None,
                        };
                        let reads = match kind {
                            StageKind::Join { .. } => Reads::Side,
                            StageKind::Lookup { .. } if port == 1 => Reads::Table,
                            _ if union.is_some() => Reads::OneOfSeveral,
                            _ => Reads::One,
                        };
                        cut.shuffles.push(Shuffle { from: inputs[port], stage: *stage, port, to, reads });
                    }
                }
            }
            let input = streams.port_schema(*stage, 0);
            let spread = match &union {
                None => by_port[0].clone(),
                Some(union) => united(&union.columns, &by_port),
            };
            let output = |output| {
                let schema = streams.schema(Origin::Stage { stage: *stage, output });
                spread.as_ref().and_then(|spread| kept(spread, &input, &schema))
            };
            spreads[*stage] = (0..streams.n_outputs(*stage)).map(output).collect();
        }
        if !problems.has_errors() {
            cut.number(streams, order);
        }
        cut
    }

    /// For each port: the shuffle that its edge becomes, or `None` if rows can be read as they lie. `None` for all of them if neither is
    /// possible.
    fn shuffled(&self, inputs: &[Origin], needs: &Needs, spreads: &[Option<Spread>]) -> Option<Vec<Option<ShuffleTo>>> {
        let shuffles: Vec<bool> = match needs {
            Needs::Nothing => vec![false; inputs.len()],
            Needs::Everywhere => vec![false, true],
            Needs::Alike { columns, ids } => {
                let is_alike = united(columns, spreads).is_some();
                ids.iter().zip(spreads).map(|(id, spread)| !is_alike && !lies_whole(&[*id], spread)).collect()
            }
            Needs::ByKey(keys) => {
                // The same positions within the key, in the same order: only then equal values meet in one partition.
                let positions = |port: usize| {
                    let spread = spreads[port].as_ref()?;
                    let of_key: Option<Vec<usize>> =
                        spread.columns.iter().map(|column| keys[port].iter().position(|key| key == column)).collect();
                    Some((of_key?, spread.is_ours))
                };
                let first = positions(0);
                let lie_right = first.is_some() && (1..inputs.len()).all(|port| positions(port) == first);
                keys.iter().zip(spreads).map(|(key, spread)| !lie_right && !lies_whole(key, spread)).collect()
            }
        };
        // A fragment must not wait for itself: uniting what a shuffle connects would be a circle.
        let is_circle = (0..inputs.len()).filter(|port| !shuffles[*port]).any(|port| {
            let here = self.label(inputs[port]);
            (0..inputs.len()).any(|other| {
                let there = self.label(inputs[other]);
                (shuffles[other] || there != here) && self.reaches(here, there)
            })
        });
        match needs {
            Needs::Nothing => (!is_circle).then(|| vec![None; inputs.len()]),
            Needs::Everywhere => (!is_circle).then(|| vec![None, Some(ShuffleTo::Everyone)]),
            Needs::Alike { ids, .. } => Some(
                ids.iter()
                    .zip(&shuffles)
                    .map(|(id, shuffled)| (*shuffled || is_circle).then(|| ShuffleTo::Key(vec![*id])))
                    .collect(),
            ),
            Needs::ByKey(keys) => Some(
                keys.iter()
                    .zip(&shuffles)
                    .map(|(key, shuffled)| (*shuffled || is_circle).then(|| ShuffleTo::Key(key.clone())))
                    .collect(),
            ),
        }
    }

    fn label(&self, origin: Origin) -> usize {
        match origin {
            Origin::Source(source) => self.of_source[source],
            Origin::Stage { stage, .. } => self.of_stage[stage],
        }
    }

    /// Whether rows of fragment `from` come to fragment `to` through any number of shuffles, none included.
    fn reaches(&self, from: usize, to: usize) -> bool {
        let mut reached = vec![from];
        let mut next = 0;
        while let Some(here) = reached.get(next).copied() {
            for shuffle in self.shuffles.iter().filter(|shuffle| self.label(shuffle.from) == here) {
                let label = self.of_stage[shuffle.stage];
                if !reached.contains(&label) {
                    reached.push(label);
                }
            }
            next += 1;
        }
        reached.contains(&to)
    }

    fn unite(&mut self, origin: Origin, stage: usize) {
        let (from, to) = (self.of_stage[stage], self.label(origin));
        for label in self.of_source.iter_mut().chain(&mut self.of_stage).filter(|label| **label == from) {
            *label = to;
        }
    }

    /// Turns labels into indices, so that each fragment stands behind those that feed it; otherwise in the order of the text.
    fn number(&mut self, streams: &Streams<'_>, order: &[usize]) {
        let sources =
            (0..self.of_source.len()).filter(|source| streams.is_source_read(*source)).map(|source| self.of_source[source]);
        let mut labels: Vec<usize> = Vec::new();
        for label in sources.chain(order.iter().map(|stage| self.of_stage[*stage])) {
            if !labels.contains(&label) {
                labels.push(label);
            }
        }
        let mut ordered: Vec<usize> = Vec::new();
        while ordered.len() < labels.len() {
            let is_ready = |label: &&usize| {
                let mut feeding = self.shuffles.iter().filter(|shuffle| self.of_stage[shuffle.stage] == **label);
                !ordered.contains(*label) && feeding.all(|shuffle| ordered.contains(&self.label(shuffle.from)))
            };
            ordered.push(*labels.iter().find(is_ready).expect("fragments form no circle"));
        }
        self.n_fragments = ordered.len();
        let index = |label: &usize| ordered.iter().position(|other| other == label).unwrap_or(usize::MAX);
        self.of_source = self.of_source.iter().map(index).collect();
        self.of_stage = self.of_stage.iter().map(index).collect();
    }

    pub fn n_fragments(&self) -> usize {
        self.n_fragments
    }

    pub fn fragment_of_source(&self, source: usize) -> usize {
        self.of_source[source]
    }

    pub fn fragment_of_stage(&self, stage: usize) -> usize {
        self.of_stage[stage]
    }

    pub fn fragment_of(&self, origin: Origin) -> usize {
        self.label(origin)
    }
}

fn keys(kind: &StageKind, union: Option<&Union>) -> Needs {
    let of_stream = |columns: &[usize]| match union {
        None => vec![columns.to_vec()],
        Some(union) => {
            let of =
                |stream: &Vec<Option<usize>>| columns.iter().map(|at| stream[*at].expect("every stream has the key")).collect();
            union.columns.iter().map(of).collect()
        }
    };
    match kind {
        StageKind::Transform { .. } => Needs::Nothing,
        StageKind::Dedup { id, .. } => match union {
            None => Needs::Nothing,
            Some(union) => Needs::Alike { columns: union.columns.clone(), ids: of_stream(&[*id]).concat() },
        },
        StageKind::Aggregate { key, .. } | StageKind::Process { key, .. } => Needs::ByKey(of_stream(key)),
        StageKind::Join { left_key, right_key, .. } | StageKind::Lookup { left_key, right_key, .. } => {
            Needs::ByKey(vec![left_key.clone(), right_key.clone()])
        }
    }
}

/// Whether rows are spread by exactly `key`, and by us.
fn lies_whole(key: &[usize], spread: &Option<Spread>) -> bool {
    spread.as_ref().is_some_and(|spread| spread.is_ours && spread.columns == key)
}

/// How the rows of a union lie, if those of all its streams lie in the same way.
fn united(columns: &[Vec<Option<usize>>], spreads: &[Option<Spread>]) -> Option<Spread> {
    let of_union = |port: usize| {
        let Spread { columns: of_stream, is_ours } = spreads[port].as_ref()?;
        let place = |column: &usize| columns[port].iter().position(|at| *at == Some(*column));
        Some(Spread { columns: of_stream.iter().map(place).collect::<Option<_>>()?, is_ours: *is_ours })
    };
    let first = of_union(0)?;
    (1..spreads.len()).all(|port| of_union(port).as_ref() == Some(&first)).then_some(first)
}

/// A transform has no key by which its rows could go through a topic first.
fn behind_itself(config: &Config, stage: usize) -> Problem {
    let stage = &config.stages[stage];
    let inputs = stage.kind.inputs();
    let span = inputs[0].span.start..inputs[inputs.len() - 1].span.end;
    let message = format!("stage \"{}\" reads rows from before and from behind a change of key", *stage.name);
    Problem::at(Code::InputsDiffer, span, message, "one of these is made of another one, by another key")
        .note("both would have to be in one fragment, which would then wait for itself")
        .help("use a stage for each of them, and read both in a stage with a key")
}

/// How the rows of an output lie: as those of the input, where the output has the same fields. That such a field keeps its value
/// is the plugin's word, as the manifest's `key` is the producer's. A field that may have lost its value says no longer where it lies.
fn kept(spread: &Spread, input: &Schema, output: &Schema) -> Option<Spread> {
    let is_same = |field: &Field, other: &Field| {
        other.name == field.name && other.field_type == field.field_type && (other.required || !field.required)
    };
    let same = |field: &Field| output.fields.iter().position(|other| is_same(field, other));
    let columns = spread.columns.iter().map(|column| same(&input.fields[*column])).collect::<Option<Vec<_>>>()?;
    Some(Spread { columns, is_ours: spread.is_ours })
}
