//! The stages of a task: their operators, who feeds them, and how far each has come.

use crate::{
    plan::{
        Consumer, FragmentIdx, FragmentPlan, Plan, PluginIdx, ShuffleIdx, SinkIdx, StageIdx, StageKind, StagePlan, Stream,
        WindowSpec,
    },
    stage::{
        Batch, Operator, StageCounts, aggregate::Aggregate, dedup::Dedup, join::Join, session::Session, transform::Transform,
    },
    task::{input::InputState, terms::Terms},
    time::{WallTime, Watermark},
    watermark::{InputMark, LowWatermark},
};

/// A stage of the fragment.
#[derive(Debug)]
pub(super) struct Stage {
    /// Its place in the plan.
    pub idx: StageIdx,
    pub state: StageState,
    pub counts: StageCounts,
    pub terms: Terms,
    /// The minimum over what feeds it: it judges the rows that come in.
    pub low: LowWatermark,
    feeds: Vec<Feed>,
    /// How far behind its own watermark the rows that it emits may be.
    hold_ms: i64,
}

/// What gives a stage its rows: an input of the fragment, or an earlier stage (an index into the task's stages).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feed {
    Input(usize),
    Stage(usize),
}

#[derive(Debug)]
pub(super) enum StageState {
    Transform(Transform),
    Dedup(Dedup),
    Aggregate(Box<Aggregate>),
    Session(Box<Session>),
    Join(Box<Join>),
}

impl StageState {
    fn new(plan: &StagePlan) -> StageState {
        match &plan.kind {
            StageKind::Transform { columns, .. } => StageState::Transform(Transform::new(columns)),
            StageKind::Dedup { id, horizon_ms } => StageState::Dedup(Dedup::new(*id, *horizon_ms)),
            StageKind::Aggregate { window: WindowSpec::Session { .. }, .. } => StageState::Session(Box::new(Session::new(plan))),
            StageKind::Aggregate { .. } => StageState::Aggregate(Box::new(Aggregate::new(plan))),
            StageKind::Join { .. } => StageState::Join(Box::new(Join::new(plan))),
        }
    }

    pub fn operator(&mut self) -> &mut dyn Operator {
        match self {
            StageState::Transform(stage) => stage,
            StageState::Dedup(stage) => stage,
            StageState::Aggregate(stage) => &mut **stage,
            StageState::Session(stage) => &mut **stage,
            StageState::Join(stage) => &mut **stage,
        }
    }

    pub fn state_bytes(&self) -> usize {
        match self {
            StageState::Transform(stage) => stage.state_bytes(),
            StageState::Dedup(stage) => stage.state_bytes(),
            StageState::Aggregate(stage) => stage.state_bytes(),
            StageState::Session(stage) => stage.state_bytes(),
            StageState::Join(stage) => stage.state_bytes(),
        }
    }

    /// What of `batch` this stage takes in: a transform every revision of a result, a stage that keeps state only the last one,
    /// because it could not take the earlier ones back.
    pub fn intake(&self, batch: Batch) -> Batch {
        let Some(revisions) = &batch.revisions else { return batch };
        match self {
            StageState::Transform(_) => batch,
            StageState::Dedup(_) | StageState::Aggregate(_) | StageState::Session(_) | StageState::Join(_) => {
                let rows: Vec<u32> = (0..batch.len() as u32).filter(|row| revisions[*row as usize].is_final).collect();
                Batch { revisions: None, ..batch.take(&rows) }
            }
        }
    }
}

impl Stage {
    /// The stages of `fragment`, in topological order.
    pub fn all(plan: &Plan, fragment: &FragmentPlan) -> Vec<Stage> {
        let new = |idx: &StageIdx| Stage {
            idx: *idx,
            state: StageState::new(&plan.stages[*idx]),
            counts: StageCounts::default(),
            terms: Terms::of(&plan.stages[*idx]),
            low: LowWatermark::default(),
            feeds: feeds(plan, fragment, |consumer| matches!(consumer, Consumer::Stage { stage, .. } if stage == *idx)),
            hold_ms: hold_ms(&plan.stages[*idx].kind),
        };
        fragment.stages.iter().map(new).collect()
    }

    /// What the rows that this stage emits may still be.
    fn mark(&self) -> InputMark {
        let InputMark { watermark, is_idle } = self.low.mark();
        InputMark { watermark: watermark.minus(self.hold_ms), is_idle }
    }

    pub fn plugin(plan: &StagePlan) -> Option<PluginIdx> {
        match plan.kind {
            StageKind::Transform { plugin, .. } | StageKind::Aggregate { plugin, .. } | StageKind::Join { plugin, .. } => {
                Some(plugin)
            }
            StageKind::Dedup { .. } => None,
        }
    }
}

/// What feeds `shuffle`, which leads out of fragment `from`.
pub(super) fn feeds_of_shuffle(plan: &Plan, from: FragmentIdx, shuffle: ShuffleIdx) -> Vec<Feed> {
    feeds(plan, &plan.fragments[from], |consumer| consumer == Consumer::Shuffle(shuffle))
}

/// What feeds `sink`, if it is fed by fragment `from`.
pub(super) fn feeds_of_sink(plan: &Plan, from: FragmentIdx, sink: SinkIdx) -> Vec<Feed> {
    feeds(plan, &plan.fragments[from], |consumer| consumer == Consumer::Sink(sink))
}

/// The streams of `fragment` that have a consumer for which `is_it` holds.
fn feeds(plan: &Plan, fragment: &FragmentPlan, is_it: impl Fn(Consumer) -> bool) -> Vec<Feed> {
    let leads_there = |stream: &Stream| stream.consumers.iter().any(|consumer| is_it(*consumer));
    let inputs = (0..fragment.inputs.len()).filter(|input| leads_there(plan.input_stream(fragment.inputs[*input])));
    let stages = (0..fragment.stages.len()).filter(|at| plan.stages[fragment.stages[*at]].outputs.iter().any(leads_there));
    inputs.map(Feed::Input).chain(stages.map(Feed::Stage)).collect()
}

/// How far the inputs and stages in `feeds` have come.
pub(super) fn marks<'a>(
    feeds: &'a [Feed],
    inputs: &'a [InputState],
    stages: &'a [Stage],
    now: Option<WallTime>,
) -> impl Iterator<Item = InputMark> + 'a {
    feeds.iter().map(move |feed| match *feed {
        Feed::Input(input) => inputs[input].mark(now),
        Feed::Stage(stage) => stages[stage].mark(),
    })
}

/// Brings the watermark of stage `at` up to date with what feeds it. The watermark, if it rose.
pub(super) fn raise(stages: &mut [Stage], at: usize, inputs: &[InputState], now: Option<WallTime>) -> Option<Watermark> {
    // In topological order, all that feeds a stage stands before it.
    let (before, rest) = stages.split_at_mut(at);
    let stage = &mut rest[0];
    let rose = stage.low.update(marks(&stage.feeds, inputs, before, now));
    rose.then(|| stage.low.watermark())
}

/// What a stage emits once its watermark has come to `w` has no event time below `w` minus this, in ms.
fn hold_ms(kind: &StageKind) -> i64 {
    match kind {
        StageKind::Transform { .. } | StageKind::Dedup { .. } => 0,
        // A left row is final when the watermark is past its time plus the lateness.
        StageKind::Join { lateness_ms, .. } => *lateness_ms,
        // A session is closed when the watermark is past its end plus the lateness, and its rows have the last ms before the end.
        StageKind::Aggregate { window: WindowSpec::Session { .. }, lateness_ms, .. } => *lateness_ms + 1,
        StageKind::Aggregate { lateness_ms, .. } => *lateness_ms,
    }
}
