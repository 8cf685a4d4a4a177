//! Rows that are added up before a shuffle: who does it, what is sent, and what of it a stage can take.
//!
//! In the task before the shuffle stands a [`Stage`] for the aggregate behind it. It has that stage's name, counts, policy and terms, and keeps nothing.
//! A row is counted where the plugin gets it: here, or as it is behind the shuffle.
//!
//! A task that falls idle says how far the others may go without it ([`Outward::said`]): somewhat ahead of the wall clock, and on with it. So no
//! watermark behind the shuffle passes that which this task has said, in one way or the other; [`crate::stage::aggregate::combine`] says what for. Event
//! times are at most a source's `max_future` ahead of the log, so nobody has to wait for it whose log's clocks are right.

use crate::{
    plan::{Consumer, FragmentIdx, Plan, ShuffleIdx, StageIdx, Stream},
    stage::{
        Batch, Crossing,
        aggregate::{PARTIALS_PORT, combine::MadeBy},
    },
    task::{
        Effect, Outward, Task,
        failing::{RowFailure, RowPlace, StageFailure},
        feeds::Feeds,
        flow::Waiting,
        output,
        stages::Stage,
        terms,
    },
    time::{WallTime, Watermark},
    watermark::InputMark,
};

/// The others may go so much further than the wall clock and the greatest `max_future`.
const SLACK_MS: i64 = 10 * 60_000;
/// It is said anew when so much has passed.
const SAID_FOR_MS: i64 = 5 * 60_000;

/// Adds the stages in front of the shuffles that lead out of `fragment` to its own, `stages`.
pub(super) fn add_stages(plan: &Plan, fragment: FragmentIdx, stages: &mut Vec<Stage>) {
    for shuffle in output::shuffles_of(plan, fragment) {
        if let Some(stage) = plan.combines_for(shuffle) {
            let feeds = Feeds::of_shuffle(plan, fragment, shuffle, stages);
            stages.push(Stage::in_front(plan, stage, feeds));
        }
    }
}

/// The stage in front of a shuffle of `fragment` that the name is of: it no longer adds up, and still has its counts.
pub(super) fn former_stage(plan: &Plan, name: &str, outward: &[Outward], stages: &[Stage]) -> Option<Stage> {
    let led_to = outward.iter().filter_map(|outward| Some((outward.shuffle, plan.partials_for(outward.shuffle)?.0)));
    let (shuffle, stage) = led_to.into_iter().find(|(_, stage)| *plan.stages[*stage].name == *name)?;
    let fragment = plan.shuffles[shuffle].from_fragment;
    Some(Stage::in_front(plan, stage, Feeds::of_shuffle(plan, fragment, shuffle, stages)))
}

impl Outward {
    /// What its partitions are to be told, if it is news.
    pub fn said(&mut self, plan: &Plan, mark: InputMark, now: Option<WallTime>) -> Option<Said> {
        let is_silent = mark.is_idle && mark.watermark != Watermark::END;
        let granted = match is_silent {
            false => self.granted,
            true => self.granted.max(granting(plan, self.shuffle, self.granted, now)),
        };
        let is_news = mark != self.sent || granted != self.granted;
        (self.sent, self.granted) = (mark, granted);
        is_news.then_some(match is_silent && granted != Watermark::END {
            true => Said::Idle { watermark: mark.watermark, until: granted },
            false => Said::Mark(mark),
        })
    }
}

/// What a task says of itself to those who read its rows.
pub(super) enum Said {
    Mark(InputMark),
    /// The others may go on without it, up to `until`.
    Idle {
        watermark: Watermark,
        until: Watermark,
    },
}

/// How far others may go without an idle task, which had said `granted`.
fn granting(plan: &Plan, shuffle: ShuffleIdx, granted: Watermark, now: Option<WallTime>) -> Watermark {
    let Some(now) = now.filter(|_| plan.combines_for(shuffle).is_some()) else { return Watermark::END };
    let future_ms = plan.sources.iter().map(|source| source.future_ms_max).max().unwrap_or(0);
    let until = now.0.saturating_add(future_ms).saturating_add(SLACK_MS);
    if granted.0 >= until - SAID_FOR_MS { granted } else { Watermark(until) }
}

impl Task {
    /// Sends rows through a shuffle, or gives them to the stage in front of it.
    pub(super) fn shuffle(&mut self, shuffle: ShuffleIdx, batch: &Batch, effects: &mut Vec<Effect>) {
        let outward = self.outward.iter().find(|outward| outward.shuffle == shuffle).expect("it leads out of this fragment");
        let Some(stage) = self.plan.combines_for(shuffle) else {
            let marks = outward.feeds.judge(batch, &outward.low, &self.inputs, &self.stages, self.now);
            return self.outputs.shuffle(shuffle, batch, &marks, self.now, effects);
        };
        let at = self.places[stage].expect("it stands in front of the shuffle");
        let (port, batch) = self.stages[at].intake(&self.plan, 0, batch.clone());
        if batch.is_empty() {
            return;
        }
        let marks = outward.feeds.judge(&batch, &outward.low, &self.inputs, &self.stages, self.now);
        self.stages[at].state.combine_mut().expect("it adds up").granted(outward.granted);
        self.queue.push_back(Waiting { stage: at, port, batch, from: 0, marks: Some(marks) });
    }

    /// Sends what the stage in front of a shuffle gave away.
    pub(super) fn cross(&mut self, stage: StageIdx, crossing: &Crossing, effects: &mut Vec<Effect>) {
        let mut all = self.outward.iter().map(|outward| outward.shuffle);
        let shuffle = all.find(|shuffle| self.plan.combines_for(*shuffle) == Some(stage)).expect("it stands in front of one");
        let Crossing { partials, partial_marks, rows, marks } = crossing;
        let made = terms::made_by(&self.plan.stages[stage]);
        self.outputs.partials(shuffle, partials, partial_marks, &made, self.now, effects);
        self.outputs.shuffle(shuffle, rows, marks, self.now, effects);
    }

    /// Gives states that came through a shuffle with this `stream` to its stage; or stops, where they would be taken for something else.
    pub(super) fn partials(&mut self, stream: &Stream, made: &MadeBy, batch: Batch, effects: &mut Vec<Effect>) {
        let [Consumer::Stage { stage, .. }] = stream.consumers[..] else { unreachable!("partial states are for one stage") };
        let at = self.places[stage].expect("of this fragment");
        if let Err(error) = terms::can_take(&self.plan.stages[stage], made) {
            let at = RowPlace::Row(format!("of {} partial states", batch.len()));
            let row = RowFailure { at, reason: "partial-state", error };
            effects.push(Effect::Failed(Box::new(StageFailure { stage, row, exceeded: None })));
            return;
        }
        self.stages[at].versions.came(made.version);
        self.enqueue(at, PARTIALS_PORT, batch);
    }
}
