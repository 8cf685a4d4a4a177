//! How far event time has come: per source partition, per shuffle input, per task.
//!
//! Three steps, each a pure value that never goes back (I-4):
//!
//! - [`SourceClock`]: one source partition; greatest accepted event time − bound, or what a `__watermark` record promised, whichever is
//!   later; idle after silence at the end of its log; [`Watermark::END`] after its `__end`;
//! - [`Upstreams`]: one shuffle input; the minimum over what the upstream tasks said last;
//! - [`LowWatermark`]: a task; the minimum over its inputs.
//!
//! The minimum is taken by one rule ([`lowest`]): an idle input is left out; an ended one no longer holds anything back, but an end
//! is reached only together, since an idle input that has not ended may still bring records; if nothing is left, the watermark holds.

use crate::time::{EventTime, WallTime, Watermark};

/// What one input says of its event time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InputMark {
    pub watermark: Watermark,
    /// Nothing has come for a while: the others need not wait for it.
    pub is_idle: bool,
}

impl InputMark {
    /// An input that has not said anything yet: everything waits for it.
    pub const UNKNOWN: InputMark = InputMark { watermark: Watermark::UNKNOWN, is_idle: false };
}

/// The minimum over `inputs`, or `None` when they say nothing: all that have not ended are idle, or there are none.
///
/// [`Watermark::END`] when all have ended. O(inputs).
pub fn lowest(inputs: impl IntoIterator<Item = InputMark>) -> Option<Watermark> {
    let mut low: Option<Watermark> = None;
    let mut all_ended = None;
    for input in inputs {
        let ended = input.watermark == Watermark::END;
        all_ended = Some(all_ended.unwrap_or(true) && ended);
        if !ended && !input.is_idle {
            low = Some(low.map_or(input.watermark, |low| low.min(input.watermark)));
        }
    }
    match all_ended {
        Some(true) => Some(Watermark::END),
        _ => low,
    }
}

/// Each of `marks` through `f`, which is asked only once for equal ones in a row. In place.
pub(crate) fn each_once(mut marks: Vec<Watermark>, mut f: impl FnMut(Watermark) -> Watermark) -> Vec<Watermark> {
    let mut last: Option<(Watermark, Watermark)> = None;
    for mark in &mut marks {
        *mark = match last {
            Some((asked, answer)) if asked == *mark => answer,
            _ => {
                let answer = f(*mark);
                last = Some((*mark, answer));
                answer
            }
        };
    }
    marks
}

/// The clock of one partition of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceClock {
    bound_ms: i64,
    idle_after_ms: i64,
    watermark: Watermark,
    /// When the last record came, or its end was reached, or the task started.
    active_at: WallTime,
    /// Whether all that the log holds was read, as far as is known: a partition that has more is late, never idle.
    is_at_end: bool,
}

impl SourceClock {
    /// A clock that starts at wall time `now`; the partition counts as active until the end of its log was reached and `idle_after_ms`
    /// have passed.
    ///
    /// `bound_ms >= 0` is how far behind the latest event time a record may come.
    pub fn new(bound_ms: i64, idle_after_ms: i64, now: WallTime) -> SourceClock {
        SourceClock { bound_ms, idle_after_ms, watermark: Watermark::UNKNOWN, active_at: now, is_at_end: false }
    }

    /// Something came at wall time `now`, good or not: the partition is active.
    pub fn heard(&mut self, now: WallTime) {
        self.active_at = self.active_at.max(now);
    }

    /// The log said, at wall time `now`, whether it has more than was read.
    pub fn reading(&mut self, is_at_end: bool, now: WallTime) {
        if is_at_end && !self.is_at_end {
            self.heard(now);
        }
        self.is_at_end = is_at_end;
    }

    /// A record with event time `at` was accepted. Refused records (dead letters) must not come here.
    pub fn accepted(&mut self, at: EventTime) {
        self.watermark = self.watermark.max(Watermark(at.0.saturating_sub(self.bound_ms)));
    }

    /// The partition's own records promise that nothing below `watermark` will come.
    pub fn promised(&mut self, watermark: Watermark) {
        self.watermark = self.watermark.max(watermark);
    }

    /// The partition's `__end` record came. Stays, whatever comes after it.
    pub fn end(&mut self) {
        self.watermark = Watermark::END;
    }

    /// The watermark alone: what to write down for [`SourceClock::restore`].
    pub fn watermark(&self) -> Watermark {
        self.watermark
    }

    /// Whether there was nothing to read for `idle_after_ms`, up to wall time `now`. A partition that ended is not idle.
    pub fn is_idle(&self, now: WallTime) -> bool {
        self.watermark != Watermark::END && self.is_at_end && now.0.saturating_sub(self.active_at.0) >= self.idle_after_ms
    }

    pub fn mark(&self, now: WallTime) -> InputMark {
        InputMark { watermark: self.watermark, is_idle: self.is_idle(now) }
    }

    /// Continues from the watermark of an earlier life. Never goes back.
    pub fn restore(&mut self, watermark: Watermark) {
        self.watermark = self.watermark.max(watermark);
    }
}

/// What the tasks upstream of a shuffle said last, one for each of their partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstreams {
    marks: Vec<InputMark>,
    /// How far the others may go without each while it is idle.
    untils: Vec<Watermark>,
    low: LowWatermark,
}

impl Upstreams {
    /// `n_upstreams` tasks that have not said anything yet.
    pub fn new(n_upstreams: u32) -> Upstreams {
        let n_upstreams = n_upstreams as usize;
        let (marks, untils) = (vec![InputMark::UNKNOWN; n_upstreams], vec![Watermark::END; n_upstreams]);
        Upstreams { marks, untils, low: LowWatermark::default() }
    }

    /// The upstream task of partition `upstream` said `mark`. Returns `false`, and changes nothing, for a partition that does not exist.
    ///
    /// A lower watermark than before is an epoch that was written twice (at-least-once): the higher one stays.
    pub fn heard(&mut self, upstream: u32, mark: InputMark) -> bool {
        self.heard_until(upstream, mark, Watermark::END)
    }

    /// As [`Upstreams::heard`]; while that task is idle, the others may not go beyond `until` without it.
    pub fn heard_until(&mut self, upstream: u32, mark: InputMark, until: Watermark) -> bool {
        let Some(known) = self.marks.get_mut(upstream as usize) else { return false };
        *known = InputMark { watermark: known.watermark.max(mark.watermark), is_idle: mark.is_idle };
        self.untils[upstream as usize] = until;
        self.low.update_until(self.marks.iter().copied(), limit(&self.marks, &self.untils));
        true
    }

    /// What [`Upstreams::mark`] would be if the upstream task of partition `upstream` were at each of `marks`.
    pub fn before(&self, upstream: u32, marks: Vec<Watermark>) -> Vec<Watermark> {
        let mut others = self.marks.clone();
        if upstream as usize >= others.len() {
            return vec![self.low.watermark(); marks.len()];
        }
        each_once(marks, |watermark| {
            let known = self.marks[upstream as usize].watermark;
            others[upstream as usize] = InputMark { watermark: known.max(watermark), is_idle: false };
            self.low.after_until(others.iter().copied(), limit(&others, &self.untils)).watermark
        })
    }

    /// The minimum over the upstream tasks; idle when all that have not ended are.
    pub fn mark(&self) -> InputMark {
        self.low.mark()
    }

    /// What each upstream task said last, and how far the others may go without it: together with [`Upstreams::mark`] all there is to
    /// write down.
    pub fn marks(&self) -> impl ExactSizeIterator<Item = (InputMark, Watermark)> + '_ {
        self.marks.iter().copied().zip(self.untils.iter().copied())
    }

    /// Continues from the marks of an earlier life and the minimum that it had reached.
    pub fn restore(&mut self, marks: &[(InputMark, Watermark)], low: Watermark) {
        for (upstream, (mark, until)) in marks.iter().enumerate() {
            self.heard_until(upstream as u32, *mark, *until);
        }
        self.low.restore(low);
    }
}

/// How far the others may go without those that are idle.
fn limit(marks: &[InputMark], untils: &[Watermark]) -> Watermark {
    let idle = marks.iter().zip(untils).filter(|(mark, _)| mark.is_idle && mark.watermark != Watermark::END);
    idle.map(|(_, until)| *until).min().unwrap_or(Watermark::END)
}

/// The minimum over inputs, which never goes back: not when an idle input wakes up behind the others, nor after a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LowWatermark {
    watermark: Watermark,
    is_idle: bool,
}

impl Default for LowWatermark {
    fn default() -> LowWatermark {
        LowWatermark { watermark: Watermark::UNKNOWN, is_idle: false }
    }
}

impl LowWatermark {
    /// Takes the minimum over `inputs` as they are now. Returns whether the watermark rose.
    pub fn update(&mut self, inputs: impl IntoIterator<Item = InputMark>) -> bool {
        self.update_until(inputs, Watermark::END)
    }

    /// As [`LowWatermark::update`], but not beyond `until`, unless all have ended.
    fn update_until(&mut self, inputs: impl IntoIterator<Item = InputMark>, until: Watermark) -> bool {
        let InputMark { watermark, is_idle } = self.after_until(inputs, until);
        let rose = watermark > self.watermark;
        *self = LowWatermark { watermark, is_idle };
        rose
    }

    /// What [`LowWatermark::mark`] is after an [`LowWatermark::update`] with `inputs`.
    pub fn after(&self, inputs: impl IntoIterator<Item = InputMark>) -> InputMark {
        self.after_until(inputs, Watermark::END)
    }

    fn after_until(&self, inputs: impl IntoIterator<Item = InputMark>, until: Watermark) -> InputMark {
        let low = lowest(inputs).map(|low| if low == Watermark::END { low } else { low.min(until) });
        InputMark { watermark: low.map_or(self.watermark, |low| low.max(self.watermark)), is_idle: low.is_none() }
    }

    pub fn watermark(&self) -> Watermark {
        self.watermark
    }

    /// What to tell a task downstream.
    pub fn mark(&self) -> InputMark {
        InputMark { watermark: self.watermark, is_idle: self.is_idle }
    }

    /// Continues from the watermark of an earlier life. Never goes back.
    pub fn restore(&mut self, watermark: Watermark) {
        self.watermark = self.watermark.max(watermark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: WallTime = WallTime(1_000_000);

    fn mark(watermark: i64, is_idle: bool) -> InputMark {
        InputMark { watermark: Watermark(watermark), is_idle }
    }

    const ENDED: InputMark = InputMark { watermark: Watermark::END, is_idle: false };

    #[test]
    fn a_source_is_its_greatest_event_time_minus_the_bound() {
        let mut clock = SourceClock::new(10, 60_000, START);
        assert_eq!(clock.watermark(), Watermark::UNKNOWN);
        for (at, expected) in [(-5, -15), (-20, -15), (-5, -15), (-4, -14), (0, -10), (10, 0), (3, 0)] {
            clock.accepted(EventTime(at));
            assert_eq!(clock.watermark(), Watermark(expected), "after {at}");
        }
        clock.accepted(EventTime::MAX);
        assert_eq!(clock.watermark(), Watermark(EventTime::MAX.0 - 10));
    }

    #[test]
    fn records_after_the_end_change_nothing() {
        let mut clock = SourceClock::new(10, 60_000, START);
        clock.end();
        clock.accepted(EventTime(5));
        clock.restore(Watermark(7));
        assert_eq!(clock.mark(WallTime(START.0 + 99_000_000)), ENDED);
    }

    #[test]
    fn a_source_is_active_from_the_start_until_the_silence_is_long_enough() {
        let mut clock = SourceClock::new(0, 60_000, START);
        assert!(!clock.is_idle(WallTime(START.0 + 60_000)), "nobody knows yet whether there is more to read");
        clock.reading(true, START);
        assert!(!clock.is_idle(START));
        assert!(!clock.is_idle(WallTime(START.0 + 59_999)));
        assert!(clock.is_idle(WallTime(START.0 + 60_000)));
        clock.heard(WallTime(START.0 + 70_000));
        assert!(!clock.is_idle(WallTime(START.0 + 129_999)));
        assert!(clock.is_idle(WallTime(START.0 + 130_000)));
        // A wall clock that is set back neither wakes the partition nor makes it idle.
        clock.heard(WallTime(0));
        assert!(!clock.is_idle(WallTime(START.0)));
        assert!(clock.is_idle(WallTime(START.0 + 130_000)));
    }

    #[test]
    fn a_source_with_more_to_read_is_not_idle() {
        let mut clock = SourceClock::new(0, 60_000, START);
        clock.reading(true, START);
        let after = |ms: i64| WallTime(START.0 + ms);
        assert!(clock.is_idle(after(60_000)));
        clock.reading(false, after(61_000));
        assert!(!clock.is_idle(after(999_000)));
        // Silence counts from the end on.
        clock.reading(true, after(1_000_000));
        clock.reading(true, after(1_059_000));
        assert!(!clock.is_idle(after(1_059_999)));
        assert!(clock.is_idle(after(1_060_000)));
    }

    #[test]
    fn a_restored_source_does_not_go_back() {
        let mut clock = SourceClock::new(100, 60_000, START);
        clock.restore(Watermark(500));
        clock.accepted(EventTime(550));
        assert_eq!(clock.watermark(), Watermark(500));
        clock.accepted(EventTime(601));
        assert_eq!(clock.watermark(), Watermark(501));
    }

    #[test]
    fn the_lowest_active_input_counts() {
        for (inputs, expected) in [
            (vec![], None),
            (vec![mark(5, false)], Some(5)),
            (vec![mark(5, false), mark(-3, false), mark(9, false)], Some(-3)),
            (vec![mark(5, false), mark(5, false)], Some(5)),
            (vec![mark(5, false), mark(-3, true)], Some(5)),
            (vec![mark(5, true), mark(-3, true)], None),
            (vec![mark(5, false), InputMark::UNKNOWN], Some(i64::MIN)),
            (vec![ENDED, mark(5, false)], Some(5)),
            (vec![ENDED, ENDED], Some(i64::MAX)),
            // The idle input has not ended: what it may still bring would all be late.
            (vec![ENDED, mark(5, true)], None),
            (vec![ENDED, mark(5, true), mark(7, false)], Some(7)),
        ] {
            assert_eq!(lowest(inputs.iter().copied()), expected.map(Watermark), "{inputs:?}");
        }
    }

    #[test]
    fn an_input_that_wakes_up_behind_the_others_holds_but_does_not_move_back() {
        let mut low = LowWatermark::default();
        assert!(!low.update([mark(100, false), InputMark::UNKNOWN]));
        assert!(low.update([mark(100, false), mark(20, true)]));
        assert!(!low.update([mark(110, false), mark(30, false)]));
        assert_eq!(low.mark(), mark(100, false));
        assert!(!low.update([mark(110, true), mark(30, true)]));
        assert_eq!(low.mark(), mark(100, true));
        assert!(low.update([mark(110, false), mark(105, false)]));
        assert_eq!(low.watermark(), Watermark(105));
        low.restore(Watermark(50));
        assert_eq!(low.watermark(), Watermark(105));
    }

    #[test]
    fn a_shuffle_waits_for_every_upstream_task() {
        let mut upstreams = Upstreams::new(3);
        assert!(upstreams.heard(0, mark(10, false)));
        assert!(upstreams.heard(1, mark(20, false)));
        assert_eq!(upstreams.mark(), InputMark::UNKNOWN);
        assert!(upstreams.heard(2, mark(-7, false)));
        assert_eq!(upstreams.mark(), mark(-7, false));
        assert!(upstreams.heard(2, mark(-7, true)));
        assert_eq!(upstreams.mark(), mark(10, false));
        assert!(!upstreams.heard(3, mark(0, false)));
        // An epoch that was written twice.
        upstreams.heard(1, mark(5, false));
        assert_eq!(upstreams.marks().nth(1), Some((mark(20, false), Watermark::END)));
        for upstream in 0..3 {
            assert!(upstreams.heard(upstream, mark(30, true)));
        }
        // Task 1, at 20, was the last to fall silent.
        assert_eq!(upstreams.mark(), mark(20, true));
        for upstream in 0..3 {
            assert!(upstreams.heard(upstream, ENDED));
        }
        assert_eq!(upstreams.mark(), ENDED);
    }

    #[test]
    fn others_go_on_without_an_idle_task_as_far_as_it_said() {
        let mut upstreams = Upstreams::new(2);
        upstreams.heard(0, mark(5, false));
        assert!(upstreams.heard_until(1, mark(3, true), Watermark(8)));
        assert_eq!(upstreams.mark(), mark(5, false));
        assert_eq!(upstreams.before(0, vec![Watermark(7), Watermark(20)]), [Watermark(7), Watermark(8)]);
        upstreams.heard(0, mark(20, false));
        assert_eq!(upstreams.mark(), mark(8, false));
        let mut again = Upstreams::new(2);
        again.restore(&upstreams.marks().collect::<Vec<_>>(), Watermark(8));
        assert_eq!(again, upstreams);
        upstreams.heard_until(1, mark(3, true), Watermark(30));
        assert_eq!(upstreams.mark(), mark(20, false));
        // Awake, and behind: nothing moves back, and nothing goes on.
        upstreams.heard(1, mark(3, false));
        upstreams.heard(0, mark(25, false));
        assert_eq!(upstreams.mark(), mark(20, false));
        upstreams.heard(0, ENDED);
        upstreams.heard_until(1, mark(9, true), Watermark(40));
        assert_eq!(upstreams.mark(), mark(20, true), "an end is reached only together");
        upstreams.heard(1, ENDED);
        assert_eq!(upstreams.mark(), ENDED);
    }

    #[test]
    fn a_restored_shuffle_input_continues_where_it_was() {
        let mut before = Upstreams::new(2);
        before.heard(0, mark(10, false));
        before.heard(1, mark(4, true));
        before.heard(1, mark(4, false));
        let mut after = Upstreams::new(2);
        after.restore(&before.marks().collect::<Vec<_>>(), before.mark().watermark);
        assert_eq!(after, before);
        assert_eq!(after.mark(), mark(10, false));
    }
}
