//! The stages of a task: their operators, who feeds them, and how far each has come.

use crate::{
    plan::{FragmentPlan, JoinKind, Matching, Plan, StageIdx, StageKind, StagePlan, WindowSpec},
    record::Offset,
    stage::{
        Batch, Operator, StageCounts,
        aggregate::{Aggregate, combine::Combine},
        dedup::Dedup,
        global::Global,
        join::{Join, pairs::PairJoin},
        kept::Kept,
        lookup::Lookup,
        process::Process,
        session::Session,
        states::PluginStates,
        transform::Transform,
    },
    task::{anew::Restoring, failing::Block, feeds::Feeds, input::InputState, terms::Terms, versions::Versions},
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
    /// What its limit on errors counts.
    pub block: Block,
    pub terms: Terms,
    pub versions: Versions,
    /// The record for which its state was forgotten last.
    pub reset: Option<Offset>,
    pub restoring: Restoring,
    /// The minimum over what feeds it: it judges the rows that come in.
    pub low: LowWatermark,
    pub feeds: Feeds,
    /// Of a lookup: how far its table has come.
    pub table: Option<TableFeed>,
    /// How far behind its own watermark the rows that it emits may be.
    pub hold_ms: i64,
}

/// What gives a lookup its table, which is judged by how far the table itself has come.
#[derive(Debug)]
pub(super) struct TableFeed {
    pub feeds: Feeds,
    pub low: LowWatermark,
}

/// The port of a lookup on which its table comes.
pub(super) const TABLE_PORT: usize = 1;

#[derive(Debug)]
pub(super) enum StageState {
    Transform(Transform),
    Dedup(Dedup),
    Aggregate(Box<Aggregate>),
    /// In front of the shuffle that leads to its stage.
    Combine(Box<Combine>),
    Session(Box<Session>),
    Global(Box<Global>),
    Join(Box<Join>),
    PairJoin(Box<PairJoin>),
    Lookup(Box<Lookup>),
    Process(Box<Process>),
}

impl StageState {
    pub fn new(plan: &StagePlan) -> StageState {
        match &plan.kind {
            StageKind::Transform { columns, .. } => StageState::Transform(Transform::new(columns)),
            StageKind::Dedup { id, horizon_ms } => StageState::Dedup(Dedup::new(*id, *horizon_ms)),
            StageKind::Aggregate { window: WindowSpec::Session { .. }, .. } => StageState::Session(Box::new(Session::new(plan))),
            StageKind::Aggregate { window: WindowSpec::Global(_), .. } => StageState::Global(Box::new(Global::new(plan))),
            StageKind::Aggregate { .. } => StageState::Aggregate(Box::new(Aggregate::new(plan))),
            StageKind::Join { matching: Matching::LatestBefore { .. }, .. } => StageState::Join(Box::new(Join::new(plan))),
            StageKind::Join { .. } => StageState::PairJoin(Box::new(PairJoin::new(plan))),
            StageKind::Lookup { .. } => StageState::Lookup(Box::new(Lookup::new(plan))),
            StageKind::Process { .. } => StageState::Process(Box::new(Process::new(plan))),
        }
    }

    pub fn operator(&mut self) -> &mut dyn Operator {
        match self {
            StageState::Transform(stage) => stage,
            StageState::Dedup(stage) => stage,
            StageState::Aggregate(stage) => &mut **stage,
            StageState::Combine(stage) => &mut **stage,
            StageState::Session(stage) => &mut **stage,
            StageState::Global(stage) => &mut **stage,
            StageState::Join(stage) => &mut **stage,
            StageState::PairJoin(stage) => &mut **stage,
            StageState::Lookup(stage) => &mut **stage,
            StageState::Process(stage) => &mut **stage,
        }
    }

    pub fn kept(&self, each: &mut dyn FnMut(Kept<'_>)) {
        match self {
            StageState::Transform(stage) => stage.kept(each),
            StageState::Dedup(stage) => stage.kept(each),
            StageState::Aggregate(stage) => stage.kept(each),
            StageState::Combine(stage) => stage.kept(each),
            StageState::Session(stage) => stage.kept(each),
            StageState::Global(stage) => stage.kept(each),
            StageState::Join(stage) => stage.kept(each),
            StageState::PairJoin(stage) => stage.kept(each),
            StageState::Lookup(stage) => stage.kept(each),
            StageState::Process(stage) => stage.kept(each),
        }
    }

    /// `None`: its plugin has no state, or it has no plugin.
    pub fn plugin_states(&self) -> Option<&dyn PluginStates> {
        match self {
            StageState::Aggregate(stage) => Some(&**stage),
            StageState::Session(stage) => Some(&**stage),
            StageState::Global(stage) => Some(&**stage),
            StageState::Process(stage) => Some(&**stage),
            StageState::Transform(_)
            | StageState::Dedup(_)
            | StageState::Combine(_)
            | StageState::Join(_)
            | StageState::PairJoin(_)
            | StageState::Lookup(_) => None,
        }
    }

    pub fn plugin_states_mut(&mut self) -> Option<&mut dyn PluginStates> {
        match self {
            StageState::Aggregate(stage) => Some(&mut **stage),
            StageState::Session(stage) => Some(&mut **stage),
            StageState::Global(stage) => Some(&mut **stage),
            StageState::Process(stage) => Some(&mut **stage),
            StageState::Transform(_)
            | StageState::Dedup(_)
            | StageState::Combine(_)
            | StageState::Join(_)
            | StageState::PairJoin(_)
            | StageState::Lookup(_) => None,
        }
    }

    pub fn state_bytes(&self) -> usize {
        match self {
            StageState::Transform(stage) => stage.state_bytes(),
            StageState::Dedup(stage) => stage.state_bytes(),
            StageState::Aggregate(stage) => stage.state_bytes(),
            StageState::Combine(stage) => stage.state_bytes(),
            StageState::Session(stage) => stage.state_bytes(),
            StageState::Global(stage) => stage.state_bytes(),
            StageState::Join(stage) => stage.state_bytes(),
            StageState::PairJoin(stage) => stage.state_bytes(),
            StageState::Lookup(stage) => stage.state_bytes(),
            StageState::Process(stage) => stage.state_bytes(),
        }
    }

    /// Whether it may have a section in a chunk.
    pub fn keeps_state(&self) -> bool {
        !matches!(self, StageState::Combine(_))
    }

    /// `None`: it stands in front of no shuffle.
    pub fn combine_mut(&mut self) -> Option<&mut Combine> {
        if let StageState::Combine(stage) = self { Some(stage) } else { None }
    }

    /// Rows that wait for a table.
    pub fn n_waiting(&self) -> usize {
        if let StageState::Lookup(stage) = self { stage.n_waiting() } else { 0 }
    }

    /// What of `batch` this stage takes in: a transform every revision of a result, a stage that keeps state only the last one,
    /// because it could not take the earlier ones back.
    fn intake(&self, batch: Batch) -> Batch {
        let Some(revisions) = &batch.revisions else { return batch };
        match self {
            StageState::Transform(_) => batch,
            StageState::Dedup(_)
            | StageState::Aggregate(_)
            | StageState::Combine(_)
            | StageState::Session(_)
            | StageState::Global(_)
            | StageState::Join(_)
            | StageState::PairJoin(_)
            | StageState::Lookup(_)
            | StageState::Process(_) => {
                let rows: Vec<u32> = (0..batch.len() as u32).filter(|row| revisions[*row as usize].is_final).collect();
                Batch { revisions: None, ..batch.take(&rows) }
            }
        }
    }
}

impl Stage {
    /// The stages of `fragment`, in topological order.
    pub fn all(plan: &Plan, fragment: &FragmentPlan) -> Vec<Stage> {
        let mut stages: Vec<Stage> = Vec::new();
        for idx in &fragment.stages {
            stages.push(Stage {
                idx: *idx,
                state: StageState::new(&plan.stages[*idx]),
                counts: StageCounts::default(),
                block: Block::default(),
                terms: Terms::of(&plan.stages[*idx]),
                versions: Versions::new(plan.stages[*idx].state.clone()),
                reset: plan.resets.get(idx).copied(),
                restoring: Restoring::Whole,
                low: LowWatermark::default(),
                feeds: Feeds::of_stage(plan, fragment, *idx, &stages),
                table: matches!(plan.stages[*idx].kind, StageKind::Lookup { .. }).then(|| TableFeed {
                    feeds: Feeds::of_port(plan, fragment, *idx, TABLE_PORT, &stages),
                    low: LowWatermark::default(),
                }),
                hold_ms: hold_ms(&plan.stages[*idx].kind)
                    + plan.stages[*idx].retime.as_ref().map_or(0, |retime| retime.behind_ms),
            });
        }
        stages
    }

    /// What stands in front of the shuffle that leads to stage `idx`, fed by `feeds`.
    pub fn in_front(plan: &Plan, idx: StageIdx, feeds: Feeds) -> Stage {
        Stage {
            idx,
            state: StageState::Combine(Box::new(Combine::new(&plan.stages[idx]))),
            counts: StageCounts::default(),
            block: Block::default(),
            terms: Terms::of(&plan.stages[idx]),
            versions: Versions::new(plan.stages[idx].state.clone()),
            reset: plan.resets.get(&idx).copied(),
            restoring: Restoring::Whole,
            low: LowWatermark::default(),
            feeds,
            table: None,
            hold_ms: 0,
        }
    }

    /// What of `batch`, which came on `port`, this stage takes in; of several streams that it reads as one, in the columns of that one.
    pub fn intake(&self, plan: &Plan, port: usize, batch: Batch) -> (usize, Batch) {
        let batch = self.state.intake(batch);
        let StagePlan { union, inputs, .. } = &plan.stages[self.idx];
        let Some(columns) = union.get(port) else { return (port, batch) };
        let kinds = inputs[0].fields.iter().map(|field| field.field_type.kind());
        let rows = batch.rows.arrange(columns.iter().copied().zip(kinds));
        (0, Batch { rows, ..batch })
    }

    /// What the rows that this stage emits may still be once its watermark is at `low`.
    pub fn emits(&self, low: InputMark) -> InputMark {
        InputMark { watermark: low.watermark.minus(self.hold_ms), ..low }
    }
}

/// How far a stage has come, if it has come further.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rose {
    Table(Watermark),
    Stage(Watermark),
}

/// Brings one of the watermarks of stage `at` up to date with what feeds it: that of its table first.
pub(super) fn raise(stages: &mut [Stage], at: usize, inputs: &[InputState], now: Option<WallTime>) -> Option<Rose> {
    // In topological order, all that feeds a stage stands before it.
    let (before, rest) = stages.split_at_mut(at);
    let stage = &mut rest[0];
    if let Some(table) = &mut stage.table {
        let low = table.low.after(table.feeds.marks(inputs, before, now));
        // Nobody waits for a table that says nothing: then it has come as far as the rows. But it has not ended with them.
        let rows = stage.low.after(stage.feeds.marks(inputs, before, now)).watermark;
        let is_lifted = low.is_idle && rows != Watermark::END;
        let watermark = if is_lifted { low.watermark.max(rows) } else { low.watermark };
        if table.low.update([InputMark { watermark, is_idle: false }]) {
            return Some(Rose::Table(table.low.watermark()));
        }
    }
    let rose = stage.low.update(stage.feeds.marks(inputs, before, now));
    rose.then(|| Rose::Stage(stage.low.watermark()))
}

/// What a stage emits once its watermark has come to `w` has no event time below `w` minus this, in ms.
fn hold_ms(kind: &StageKind) -> i64 {
    match kind {
        StageKind::Transform { .. } | StageKind::Dedup { .. } => 0,
        // A left row is final when the watermark is past its time plus the lateness.
        StageKind::Join { lateness_ms, matching: Matching::LatestBefore { .. }, .. } => *lateness_ms,
        // A pair has the later time of the two, which were not late; a row alone is final when no partner can come any more.
        StageKind::Join { lateness_ms, matching: Matching::All { within_ms, after_ms }, join, .. } => {
            *lateness_ms
                + match join {
                    JoinKind::Inner => 0,
                    JoinKind::Left => *after_ms,
                    JoinKind::Right => *within_ms,
                    JoinKind::Full => *within_ms.max(after_ms),
                }
        }
        // Pairs and rows alone have the last ms of their window.
        StageKind::Join { lateness_ms, matching: Matching::Window(_), .. } => *lateness_ms,
        // A session is closed when the watermark is past its end plus the lateness, and its rows have the last ms before the end.
        StageKind::Aggregate { window: WindowSpec::Session { .. }, lateness_ms, .. } => *lateness_ms + 1,
        StageKind::Aggregate { lateness_ms, .. } => *lateness_ms,
        // A row is emitted when it comes, or when the table has come past it; the stage waits for the table.
        StageKind::Lookup { lateness_ms, .. } => lateness_ms.unwrap_or(0),
        // What a row emits has its event time, what a timer emits that of the timer.
        StageKind::Process { lateness_ms, .. } => lateness_ms.unwrap_or(0),
    }
}
