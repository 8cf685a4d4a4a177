//! What gives a stage or a shuffle its rows, and the watermark by which it judges each of them.

use crate::{
    plan::{Consumer, FragmentIdx, FragmentPlan, Plan, ShuffleIdx, SinkIdx, StageIdx, Stream},
    stage::{Batch, Before},
    task::{input::InputState, stages::Stage},
    time::{WallTime, Watermark},
    watermark::{InputMark, LowWatermark, each_once},
};

/// All that gives a stage or a shuffle its rows.
#[derive(Debug)]
pub(super) struct Feeds {
    all: Vec<Feed>,
    /// If all of it goes back to one input: which, and by how much a mark of that input is lowered on the way here, in ms.
    only: Option<(usize, i64)>,
}

/// What gives rows: an input of the fragment, or an earlier stage (an index into the task's stages).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Feed {
    Input(usize),
    Stage(usize),
}

impl Feeds {
    /// What feeds `shuffle`, which leads out of fragment `from`.
    pub fn of_shuffle(plan: &Plan, from: FragmentIdx, shuffle: ShuffleIdx, stages: &[Stage]) -> Feeds {
        Feeds::new(feeds(plan, &plan.fragments[from], |consumer| consumer == Consumer::Shuffle(shuffle)), stages)
    }

    /// What feeds `sink`; nothing, if it gets no rows of fragment `from`.
    pub fn of_sink(plan: &Plan, from: FragmentIdx, sink: SinkIdx, stages: &[Stage]) -> Feeds {
        Feeds::new(feeds(plan, &plan.fragments[from], |consumer| consumer == Consumer::Sink(sink)), stages)
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// What feeds the stage `idx` of `fragment`; `stages` are those before it.
    pub fn of_stage(plan: &Plan, fragment: &FragmentPlan, idx: StageIdx, stages: &[Stage]) -> Feeds {
        let leads_there = |consumer| matches!(consumer, Consumer::Stage { stage, .. } if stage == idx);
        Feeds::new(feeds(plan, fragment, leads_there), stages)
    }

    /// What feeds the stage `idx` of `fragment` on `port`.
    pub fn of_port(plan: &Plan, fragment: &FragmentPlan, idx: StageIdx, port: usize, stages: &[Stage]) -> Feeds {
        Feeds::new(feeds(plan, fragment, |consumer| consumer == Consumer::Stage { stage: idx, port }), stages)
    }

    fn new(all: Vec<Feed>, stages: &[Stage]) -> Feeds {
        let origin = |feed: &Feed| match *feed {
            Feed::Input(input) => Some((input, 0)),
            Feed::Stage(at) => stages[at].feeds.only.map(|(input, lowered_ms)| (input, lowered_ms + stages[at].hold_ms)),
        };
        let mut origins = all.iter().map(origin);
        let first = origins.next().flatten();
        let only = origins.fold(first, |only, next| match (only, next) {
            (Some((a, lowered_a)), Some((b, lowered_b))) if a == b => Some((a, lowered_a.max(lowered_b))),
            _ => None,
        });
        Feeds { all, only }
    }

    /// How far each of them has come.
    pub fn marks<'a>(
        &'a self,
        inputs: &'a [InputState],
        stages: &'a [Stage],
        now: Option<WallTime>,
    ) -> impl Iterator<Item = InputMark> + 'a {
        self.all.iter().map(move |feed| match *feed {
            Feed::Input(input) => inputs[input].mark(now),
            Feed::Stage(at) => stages[at].emits(stages[at].low.mark()),
        })
    }

    /// For each row of `batch`, the watermark `low` of whoever takes it as it would be if all before the row had come, and been done with,
    /// alone. So it does not depend on how many rows came at once.
    pub fn judge(
        &self,
        batch: &Batch,
        low: &LowWatermark,
        inputs: &[InputState],
        stages: &[Stage],
        now: Option<WallTime>,
    ) -> Vec<Watermark> {
        let Some(Before { input, marks }) = &batch.before else { return vec![low.watermark(); batch.len()] };
        if let Some((_, lowered_ms)) = self.only {
            return marks.iter().map(|mark| mark.minus(lowered_ms).max(low.watermark())).collect();
        }
        let mut all: Vec<InputMark> = inputs.iter().map(|input| input.mark(now)).collect();
        each_once(marks.clone(), |watermark| {
            all[*input] = InputMark { watermark, is_idle: false };
            self.low_after(low, &all, stages).watermark
        })
    }

    /// What `low`, the minimum over these, would be if the inputs of the task stood at `inputs`.
    fn low_after(&self, low: &LowWatermark, inputs: &[InputMark], stages: &[Stage]) -> InputMark {
        low.after(self.all.iter().map(|feed| match *feed {
            Feed::Input(input) => inputs[input],
            Feed::Stage(at) => stages[at].emits(stages[at].feeds.low_after(&stages[at].low, inputs, stages)),
        }))
    }
}

/// The streams of `fragment` that have a consumer for which `is_it` holds.
fn feeds(plan: &Plan, fragment: &FragmentPlan, is_it: impl Fn(Consumer) -> bool) -> Vec<Feed> {
    let leads_there = |stream: &Stream| stream.consumers.iter().any(|consumer| is_it(*consumer));
    let inputs = (0..fragment.inputs.len()).filter(|input| leads_there(plan.input_stream(fragment.inputs[*input])));
    let stages = (0..fragment.stages.len()).filter(|at| plan.stages[fragment.stages[*at]].outputs.iter().any(leads_there));
    inputs.map(Feed::Input).chain(stages.map(Feed::Stage)).collect()
}
