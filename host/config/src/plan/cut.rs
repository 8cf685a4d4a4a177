//! Where rows change their partition, and what stays together.
//!
//! A stream is partitioned by some columns P if equal values in P always lie in one partition. A stage that works by a key K can
//! read it as it is when P is a part of K; otherwise the edge becomes a *shuffle*: a topic partitioned by K. What is connected
//! without a shuffle is a fragment.

use reelflow_core::{
    plan::StageKind,
    schema::{Field, Schema},
};

use super::{
    stages::Built,
    streams::{Origin, Streams},
};
use crate::config::Config;

/// An edge through an internal topic. Indices of the config.
pub(super) struct Shuffle {
    pub from: Origin,
    pub stage: usize,
    pub port: usize,
    /// Columns of the stream.
    pub key: Vec<usize>,
    /// Whether the stage is a join: its sides have topics of their own.
    is_join: bool,
}

impl Shuffle {
    pub fn topic(&self, config: &Config) -> String {
        let side = match (self.is_join, self.port) {
            (false, _) => "",
            (true, 0) => ".left",
            (true, _) => ".right",
        };
        format!("reel.{}.{}{side}", *config.pipeline.name, *config.stages[self.stage].name)
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

pub(super) struct Cut {
    pub shuffles: Vec<Shuffle>,
    /// By source, then by stage: a label that the members of a fragment share, later the fragment's index.
    of_source: Vec<usize>,
    of_stage: Vec<usize>,
    n_fragments: usize,
}

impl Cut {
    /// Cuts the DAG of `config`, whose stages are in topological `order`.
    pub fn new(config: &Config, order: &[usize], streams: &Streams<'_>, built: &Built) -> Cut {
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
            let mut by_port: Vec<Option<Spread>> = inputs
                .iter()
                .map(|origin| match origin {
                    Origin::Source(source) => {
                        built.source_keys[*source].clone().map(|columns| Spread { columns, is_ours: false })
                    }
                    Origin::Stage { stage, output } => spreads[*stage][*output].clone(),
                })
                .collect();
            let shuffled = cut.shuffled(&inputs, kind, &by_port);
            for (port, key) in shuffled.into_iter().enumerate() {
                match key {
                    None => cut.unite(inputs[port], *stage),
                    Some(key) => {
                        by_port[port] = Some(Spread { columns: key.clone(), is_ours: true });
                        let is_join = matches!(kind, StageKind::Join { .. });
                        cut.shuffles.push(Shuffle { from: inputs[port], stage: *stage, port, key, is_join });
                    }
                }
            }
            let input = streams.schema(inputs[0]);
            let output = |output| {
                let schema = streams.schema(Origin::Stage { stage: *stage, output });
                by_port[0].as_ref().and_then(|spread| kept(spread, &input, &schema))
            };
            spreads[*stage] = (0..streams.n_outputs(*stage)).map(output).collect();
        }
        cut.number(streams, order);
        cut
    }

    /// For each port: the key of the shuffle that its edge becomes, or `None` if rows can be read as they lie.
    fn shuffled(&self, inputs: &[Origin], kind: &StageKind, spreads: &[Option<Spread>]) -> Vec<Option<Vec<usize>>> {
        match kind {
            StageKind::Transform { .. } | StageKind::Dedup { .. } => vec![None],
            StageKind::Aggregate { key, .. } | StageKind::Process { key, .. } => {
                let lies_right =
                    spreads[0].as_ref().is_some_and(|spread| spread.columns.iter().all(|column| key.contains(column)));
                vec![(!lies_right).then(|| key.clone())]
            }
            StageKind::Join { left_key, right_key, .. } => {
                let keys = [left_key, right_key];
                // The same positions within `on`, in the same order: only then equal values meet in one partition.
                let positions = |port: usize| {
                    let spread = spreads[port].as_ref()?;
                    let of_key: Option<Vec<usize>> =
                        spread.columns.iter().map(|column| keys[port].iter().position(|key| key == column)).collect();
                    Some((of_key?, spread.is_ours))
                };
                let whole: Vec<usize> = (0..left_key.len()).collect();
                let lies_whole = |port: usize| positions(port) == Some((whole.clone(), true));
                let shuffles: [bool; 2] = match (positions(0), positions(1)) {
                    (Some(left), Some(right)) if left == right => [false, false],
                    _ => [!lies_whole(0), !lies_whole(1)],
                };
                // A fragment must not wait for itself: uniting what a shuffle connects would be a circle.
                let labels = [self.label(inputs[0]), self.label(inputs[1])];
                let is_circle = match shuffles {
                    [false, false] => {
                        labels[0] != labels[1] && (self.reaches(labels[0], labels[1]) || self.reaches(labels[1], labels[0]))
                    }
                    [true, false] => self.reaches(labels[1], labels[0]),
                    [false, true] => self.reaches(labels[0], labels[1]),
                    [true, true] => false,
                };
                (0..2).map(|port| (shuffles[port] || is_circle).then(|| keys[port].clone())).collect()
            }
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
