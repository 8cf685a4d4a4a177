//! Which part of a batch the next call of a plugin covers, until a batch that breaks the plugin is down to its guilty units.
//!
//! A unit is what a fault is pinned on: a row, or a group. A call that fails is cut in half, and each half is called again, until
//! a failing call covers one unit alone: that one is guilty. The calls come in the order of the units, so what they emit keeps
//! its order, and every innocent unit is in exactly one call that succeeds. With `g` guilty units of `n` that takes at most
//! `2 g log2(n)` calls more than a batch without any.

use std::ops::Range;

/// The calls that are still to be made for the units of one batch.
#[derive(Debug, Default)]
pub struct Bisect {
    /// The ranges that are not yet called, the first one last.
    pending: Vec<Range<u32>>,
    open: Option<Range<u32>>,
}

/// What a failed call means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// The call was cut in half; its parts come next.
    Cut,
    /// This unit breaks the plugin on its own.
    Guilty(u32),
}

impl Bisect {
    /// The units `0..n_units` in calls of at most `units_max` (> 0) each.
    pub fn new(n_units: usize, units_max: usize) -> Bisect {
        let bound = |at: usize| u32::try_from(at).expect("a batch holds less than 2^32 units");
        let starts = (0..n_units).step_by(units_max).rev();
        Bisect { pending: starts.map(|start| bound(start)..bound((start + units_max).min(n_units))).collect(), open: None }
    }

    /// The units of the next call, which is now open, or `None` when all units are through. Panics while a call is open.
    pub fn open_next(&mut self) -> Option<Range<u32>> {
        assert!(self.open.is_none(), "one call at a time");
        self.open = self.pending.pop();
        self.open.clone()
    }

    /// The units of the open call, or `None` when none is open.
    pub fn open(&self) -> Option<Range<u32>> {
        self.open.clone()
    }

    /// The open call is too large: it covers only its first `n_units` (> 0) units, the others come next. Panics when none is open.
    pub fn shorten(&mut self, n_units: u32) {
        assert!(n_units > 0, "a call covers at least one unit");
        let range = self.open.as_mut().expect("only an open call is shortened");
        let end = range.end.min(range.start + n_units);
        if end < range.end {
            self.pending.push(end..range.end);
            range.end = end;
        }
    }

    /// The open call was answered: the units that it covered. Panics when none is open.
    pub fn succeeded(&mut self) -> Range<u32> {
        self.open.take().expect("an answer follows a call")
    }

    /// The open call failed. Panics when none is open.
    pub fn failed(&mut self) -> Failed {
        let range = self.open.take().expect("a fault follows a call");
        if range.len() <= 1 {
            return Failed::Guilty(range.start);
        }
        let middle = range.start + (range.end - range.start) / 2;
        self.pending.push(middle..range.end);
        self.pending.push(range.start..middle);
        Failed::Cut
    }

    /// Whether no unit is left and no call is open.
    pub fn is_done(&self) -> bool {
        self.pending.is_empty() && self.open.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Plays a plugin that breaks on `guilty`: (units in answered calls, units found guilty, number of calls).
    fn run(n_units: usize, units_max: usize, guilty: &[u32]) -> (Vec<u32>, Vec<u32>, usize) {
        let (mut answered, mut found, mut n_calls) = (Vec::new(), Vec::new(), 0);
        let mut bisect = Bisect::new(n_units, units_max);
        while let Some(range) = bisect.open_next() {
            assert!(range.len() <= units_max, "{range:?}");
            n_calls += 1;
            if guilty.iter().any(|unit| range.contains(unit)) {
                if let Failed::Guilty(unit) = bisect.failed() {
                    found.push(unit);
                }
            } else {
                answered.extend(bisect.succeeded());
            }
        }
        assert!(bisect.is_done());
        (answered, found, n_calls)
    }

    #[test]
    fn nothing_takes_no_call_and_a_full_call_takes_one() {
        assert_eq!(run(0, 4, &[]).2, 0);
        assert_eq!(run(4, 4, &[]).2, 1);
        assert_eq!(run(5, 4, &[]).2, 2);
    }

    #[test]
    fn what_a_call_is_too_small_for_comes_next() {
        let mut bisect = Bisect::new(10, 8);
        assert_eq!(bisect.open_next(), Some(0..8));
        bisect.shorten(3);
        assert_eq!(bisect.succeeded(), 0..3);
        assert_eq!(bisect.open_next(), Some(3..8));
        bisect.shorten(5);
        assert_eq!(bisect.failed(), Failed::Cut);
        assert_eq!(bisect.open_next(), Some(3..5));
    }

    #[test]
    fn one_guilty_unit_of_4096_takes_25_calls() {
        assert_eq!(run(4096, 4096, &[4095]).2, 25);
    }

    proptest! {
        #[test]
        fn exactly_the_guilty_are_found_and_the_others_are_answered_once_in_order(
            n_units in 0_usize..70, units_max in 1_usize..40, guilty in prop::collection::btree_set(0_u32..70, 0..6),
        ) {
            let guilty: Vec<u32> = guilty.into_iter().filter(|unit| (*unit as usize) < n_units).collect();
            let (answered, found, _) = run(n_units, units_max, &guilty);
            prop_assert_eq!(&found, &guilty);
            let innocent: Vec<u32> = (0..n_units as u32).filter(|unit| !guilty.contains(unit)).collect();
            prop_assert_eq!(answered, innocent);
        }
    }
}
