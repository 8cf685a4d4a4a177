//! The pipelines of the simulation, built by hand: every kind of stage, one and two sources, with and without a shuffle.

use std::sync::Arc;

use reelflow_core::{
    format::SourceFormat,
    plan::{
        Consumer, Emission, EventTimeFrom, Failing, FragmentInput, FragmentPlan, GlobalWindow, JoinKind, Matching, Plan,
        SessionCuts, ShufflePlan, ShuffleTo, SinkPlan, SourcePlan, StageKind, StagePlan, Stream, WindowSpec,
    },
    schema::{FieldType, Schema},
};
use reelflow_ports::{
    engine::Plugin,
    native::{
        ready::{field, pairs, pass, tally},
        rolling::rolling,
    },
};

/// Windows of the tumbling pipeline, in ms.
pub const TUMBLING_MS: i64 = 60_000;
/// Size and slide of the hopping pipeline, in ms.
pub const HOPPING_MS: (i64, i64) = (60_000, 20_000);
/// Gap of the sessions, in ms: a profile is heard of about every six seconds.
pub const GAP_MS: i64 = 5_000;
/// What the window of all time is told by, in ms.
const GLOBAL_EVERY_MS: i64 = 20_000;
/// How far back the process counts, in ms.
pub const SPAN_MS: i64 = 45_000;
/// How far back the join looks, in ms.
pub const WITHIN_MS: i64 = 90_000;
/// Longer than any run's event time is long.
pub const FOR_EVER_MS: i64 = 30 * 86_400_000;
pub const BOUND_MS: i64 = 5_000;
pub const FUTURE_MS: i64 = 600_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// plays → transform → dedup → tumbling aggregate by profile
    Tumbling,
    /// plays → dedup, impressions → dedup, join latest before
    Join,
    /// plays → transform → dedup → shuffle by country → hopping aggregate
    Hopping,
    /// The same, with rows that are added up before the shuffle
    Combined,
    /// plays → transform → dedup → sessions by profile
    Session,
    /// plays → dedup, impressions → dedup, sessions by profile of both as one stream
    Union,
    /// plays → transform → dedup → a process by profile, with a timer for each row
    Process,
    /// plays → transform → dedup → one window of each profile for all time, which is cleared unless results are upserts
    Global,
}

/// A pipeline of a run.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub kind: Kind,
    pub n_partitions: u32,
    /// [`FOR_EVER_MS`]: complete, nothing is ever late.
    pub lateness_ms: i64,
    /// How long ids are remembered.
    pub horizon_ms: i64,
    pub emission: Emission,
}

/// The fields of both sources, in the order of their columns.
fn source_schema(prefix: &str) -> Schema {
    let text = |name: &str| field(name, FieldType::Text);
    let int = |name: &str| field(name, FieldType::Int);
    let mut schema = Schema { fields: vec![text("profile"), text("id"), int("ts"), int("value"), text("mark"), text("country")] };
    // The join's output has the columns of both sides; the source finds them under the same path.
    schema.fields.iter_mut().for_each(|field| field.name = format!("{prefix}{}", field.name));
    schema
}

const PROFILE: usize = 0;
const ID: usize = 1;
const TS: usize = 2;
const VALUE: usize = 3;
const MARK: usize = 4;
const COUNTRY: usize = 5;

impl Shape {
    /// The plan, and its plugins in order.
    pub fn build(&self) -> (Plan, Vec<Arc<dyn Plugin>>) {
        match self.kind {
            Kind::Tumbling => self.by_profile(WindowSpec::Tumbling { size_ms: TUMBLING_MS, offset_ms: 0 }),
            Kind::Session => self.by_profile(WindowSpec::Session { gap_ms: GAP_MS, cuts: SessionCuts::NONE }),
            Kind::Process => self.process(),
            Kind::Global => self.global(),
            Kind::Join => self.join(),
            Kind::Hopping => self.hopping(false),
            Kind::Combined => self.hopping(true),
            Kind::Union => self.union(),
        }
    }

    /// The stage whose late topic tells what did not count.
    pub fn last_stage(&self) -> &'static str {
        match self.kind {
            Kind::Tumbling | Kind::Hopping | Kind::Combined | Kind::Session | Kind::Union | Kind::Global => "tally",
            Kind::Join => "pairs",
            Kind::Process => "rolling",
        }
    }

    fn upsert(&self) -> bool {
        self.emission == Emission::Upsert
    }

    fn empty(&self) -> Plan {
        Plan {
            name: "sim".into(),
            n_partitions: self.n_partitions,
            sources: Vec::new(),
            stages: Vec::new(),
            shuffles: Vec::new(),
            sinks: Vec::new(),
            fragments: Vec::new(),
            dead_letter_topic: "dead.sim".into(),
            side_partitions: 1,
            changelog_topic: "reel.sim.changelog".into(),
            resets: Default::default(),
        }
    }

    fn by_profile(&self, window: WindowSpec) -> (Plan, Vec<Arc<dyn Plugin>>) {
        let mut plan = self.empty();
        plan.sources.push(source("plays", "", 0));
        plan.stages.push(transform("clean", 0, source_schema(""), 1));
        plan.stages.push(self.dedup("unique", source_schema(""), Consumer::Stage { stage: 2, port: 0 }));
        plan.stages.push(self.aggregate(0, PROFILE, window));
        plan.sinks.push(self.sink(plan.stages[2].outputs[0].schema.clone(), vec![0, 1]));
        plan.fragments.push(fragment("plays", vec![FragmentInput::Source(0)], vec![0, 1, 2]));
        (plan, vec![Arc::new(pass(source_schema(""), MARK)), Arc::new(tally(text_key("profile")))])
    }

    fn global(&self) -> (Plan, Vec<Arc<dyn Plugin>>) {
        let window = GlobalWindow {
            every_rows: Some(3),
            every_ms: Some(GLOBAL_EVERY_MS),
            clear: !self.upsert(),
            idle_ms: self.lateness_ms,
        };
        let (mut plan, plugins) = self.by_profile(WindowSpec::Global(window));
        if let StageKind::Aggregate { lateness_ms, .. } = &mut plan.stages[2].kind {
            *lateness_ms = 0;
        }
        // A result's window grows.
        plan.sinks[0].key = vec![0];
        (plan, plugins)
    }

    fn process(&self) -> (Plan, Vec<Arc<dyn Plugin>>) {
        let mut plan = self.empty();
        let plugin = rolling("profile", SPAN_MS, self.lateness_ms);
        let output = plugin.declaration().outputs[0].1.clone();
        plan.sources.push(source("plays", "", 0));
        plan.stages.push(transform("clean", 0, source_schema(""), 1));
        plan.stages.push(self.dedup("unique", source_schema(""), Consumer::Stage { stage: 2, port: 0 }));
        plan.stages.push(StagePlan {
            name: "rolling".into(),
            fragment: 0,
            inputs: vec![source_schema("")],
            kind: StageKind::Process {
                plugin: 1,
                columns: vec![ID, VALUE],
                key: vec![PROFILE],
                lateness_ms: Some(self.lateness_ms),
                // Any longer and it would not matter: the last row's own timer fires before, and no row can count one that is older.
                state_ttl_ms: Some(self.lateness_ms + SPAN_MS),
            },
            outputs: vec![Stream { schema: output.clone(), consumers: vec![Consumer::Sink(0)] }],
            state: None,
            retime: None,
            failing: Failing::STANDARD,
            union: Vec::new(),
            late_topic: Some("late.rolling".into()),
        });
        plan.sinks.push(self.sink(output, vec![1]));
        plan.fragments.push(fragment("plays", vec![FragmentInput::Source(0)], vec![0, 1, 2]));
        (plan, vec![Arc::new(pass(source_schema(""), MARK)), Arc::new(plugin)])
    }

    fn hopping(&self, is_combined: bool) -> (Plan, Vec<Arc<dyn Plugin>>) {
        let mut plan = self.empty();
        let (size_ms, slide_ms) = HOPPING_MS;
        plan.sources.push(source("plays", "", 0));
        plan.stages.push(transform("clean", 0, source_schema(""), 1));
        plan.stages.push(self.dedup("unique", source_schema(""), Consumer::Shuffle(0)));
        plan.shuffles.push(ShufflePlan {
            topic: "reel.sim.tally".into(),
            from_fragment: 0,
            to_fragment: 1,
            to: ShuffleTo::Key(vec![COUNTRY]),
            is_combined,
            stream: Stream { schema: source_schema(""), consumers: vec![Consumer::Stage { stage: 2, port: 0 }] },
        });
        plan.stages.push(self.aggregate(1, COUNTRY, WindowSpec::Hopping { size_ms, slide_ms, offset_ms: 0 }));
        plan.sinks.push(self.sink(plan.stages[2].outputs[0].schema.clone(), vec![0, 1]));
        plan.fragments.push(fragment("plays", vec![FragmentInput::Source(0)], vec![0, 1]));
        plan.fragments.push(fragment("reel.sim.tally", vec![FragmentInput::Shuffle(0)], vec![2]));
        (plan, vec![Arc::new(pass(source_schema(""), MARK)), Arc::new(tally(text_key("country")))])
    }

    fn join(&self) -> (Plan, Vec<Arc<dyn Plugin>>) {
        let mut plan = self.empty();
        let (left, right) = (source_schema(""), source_schema("imp_"));
        let pairs = pairs(left.clone(), right.clone());
        plan.sources.push(source("plays", "", 0));
        plan.sources.push(source("impressions", "imp_", 1));
        plan.stages.push(self.dedup("unique_plays", left.clone(), Consumer::Stage { stage: 2, port: 0 }));
        plan.stages.push(self.dedup("unique_impressions", right.clone(), Consumer::Stage { stage: 2, port: 1 }));
        let all: Vec<usize> = (0..left.len()).collect();
        let output = pairs.declaration().outputs[0].1.clone();
        plan.stages.push(StagePlan {
            name: "pairs".into(),
            fragment: 0,
            inputs: vec![left, right],
            kind: StageKind::Join {
                plugin: 0,
                left_columns: all.clone(),
                right_columns: all,
                left_key: vec![PROFILE, COUNTRY],
                right_key: vec![PROFILE, COUNTRY],
                matching: Matching::LatestBefore { within_ms: WITHIN_MS },
                tie: Some(ID),
                join: JoinKind::Left,
                lateness_ms: self.lateness_ms,
                emission: self.emission,
            },
            outputs: vec![Stream { schema: output.clone(), consumers: vec![Consumer::Sink(0)] }],
            state: None,
            retime: None,
            failing: Failing::STANDARD,
            late_topic: Some("late.pairs".into()),
            union: Vec::new(),
        });
        plan.sinks.push(self.sink(output, vec![ID]));
        plan.fragments.push(fragment("plays", vec![FragmentInput::Source(0), FragmentInput::Source(1)], vec![0, 1, 2]));
        (plan, vec![Arc::new(pairs)])
    }

    fn union(&self) -> (Plan, Vec<Arc<dyn Plugin>>) {
        let mut plan = self.empty();
        let all = source_schema("");
        // Impressions have their columns in another order, and no mark.
        let of_impressions = [VALUE, ID, TS, PROFILE, COUNTRY];
        let impressions = Schema { fields: of_impressions.map(|column| all.fields[column].clone()).into() };
        plan.sources.push(source("plays", "", 0));
        plan.sources.push(source("impressions", "", 1));
        plan.sources[1].stream.schema = impressions.clone();
        plan.stages.push(self.dedup("unique_plays", all.clone(), Consumer::Stage { stage: 2, port: 0 }));
        plan.stages.push(self.dedup("unique_impressions", impressions, Consumer::Stage { stage: 2, port: 1 }));
        let mut tally_both = self.aggregate(0, PROFILE, WindowSpec::Session { gap_ms: GAP_MS, cuts: SessionCuts::NONE });
        let place = |column| of_impressions.iter().position(|of_impression| *of_impression == column);
        tally_both.union = vec![(0..all.len()).map(Some).collect(), (0..all.len()).map(place).collect()];
        tally_both.inputs[0].fields[MARK].required = false;
        plan.sinks.push(self.sink(tally_both.outputs[0].schema.clone(), vec![0, 1]));
        plan.stages.push(tally_both);
        plan.fragments.push(fragment("plays", vec![FragmentInput::Source(0), FragmentInput::Source(1)], vec![0, 1, 2]));
        (plan, vec![Arc::new(pass(all, MARK)), Arc::new(tally(text_key("profile")))])
    }

    fn aggregate(&self, fragment: usize, key: usize, window: WindowSpec) -> StagePlan {
        let key_name = if key == PROFILE { "profile" } else { "country" };
        let output = tally(text_key(key_name)).declaration().outputs[0].1.clone();
        StagePlan {
            name: "tally".into(),
            fragment,
            inputs: vec![source_schema("")],
            kind: StageKind::Aggregate {
                plugin: 1,
                columns: vec![VALUE],
                key: vec![key],
                window,
                lateness_ms: self.lateness_ms,
                emission: self.emission,
                early_ms: None,
            },
            outputs: vec![Stream { schema: output, consumers: vec![Consumer::Sink(0)] }],
            state: None,
            retime: None,
            failing: Failing::STANDARD,
            late_topic: Some("late.tally".into()),
            union: Vec::new(),
        }
    }

    fn dedup(&self, name: &str, schema: Schema, next: Consumer) -> StagePlan {
        StagePlan {
            name: name.into(),
            fragment: 0,
            inputs: vec![schema.clone()],
            kind: StageKind::Dedup { id: ID, horizon_ms: self.horizon_ms },
            outputs: vec![Stream { schema, consumers: vec![next] }],
            state: None,
            retime: None,
            failing: Failing::STANDARD,
            late_topic: None,
            union: Vec::new(),
        }
    }

    fn sink(&self, schema: Schema, key: Vec<usize>) -> SinkPlan {
        SinkPlan {
            name: "out".into(),
            topic: "out".into(),
            n_partitions: 2,
            schema,
            key,
            upsert: self.upsert(),
            tombstone: None,
            format: Default::default(),
            files: None,
        }
    }
}

fn source(topic: &str, prefix: &str, stage: usize) -> SourcePlan {
    let consumers = vec![Consumer::Stage { stage, port: 0 }];
    SourcePlan {
        name: topic.into(),
        topic: topic.into(),
        fragment: 0,
        format: SourceFormat::Json,
        stream: Stream { schema: source_schema(prefix), consumers },
        event_time: EventTimeFrom::Field(TS),
        bound_ms: BOUND_MS,
        idle_after_ms: 60_000,
        future_ms_max: FUTURE_MS,
        value_bytes_max: 1_000,
        table: None,
    }
}

fn transform(name: &str, plugin: usize, schema: Schema, next: usize) -> StagePlan {
    StagePlan {
        name: name.into(),
        fragment: 0,
        kind: StageKind::Transform { plugin, columns: (0..schema.len()).collect() },
        inputs: vec![schema.clone()],
        outputs: vec![Stream { schema, consumers: vec![Consumer::Stage { stage: next, port: 0 }] }],
        state: None,
        retime: None,
        failing: Failing::STANDARD,
        late_topic: None,
        union: Vec::new(),
    }
}

fn fragment(name: &str, inputs: Vec<FragmentInput>, stages: Vec<usize>) -> FragmentPlan {
    FragmentPlan { name: name.into(), inputs, stages }
}

fn text_key(name: &str) -> Schema {
    Schema { fields: vec![field(name, FieldType::Text)] }
}
