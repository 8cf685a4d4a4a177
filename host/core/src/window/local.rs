//! Windows by the clocks of a time zone: days of New York have 23, 24 or 25 hours.
//!
//! Window i is where clocks show `i * size + offset` or later for the first time, up to where they do so for i + 1. So windows tile: each
//! instant is in exactly one, whatever the clocks do. What comes twice belongs to the window that had begun; a local time that never
//! comes begins when clocks skip it, and a window that is skipped whole is none.

use std::sync::Arc;

use crate::{
    time::{EventTime, Window},
    zone::Zone,
};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Windows of `size_ms` by the clocks of a zone, one of which begins when they show 1970-01-01 00:00 + `offset_ms`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalWindows {
    zone: Arc<Zone>,
    size_ms: i64,
    offset_ms: i64,
    longest_ms: i64,
}

impl LocalWindows {
    /// Whether a day of clocks is made of such windows, or such a window of days.
    pub fn allows(size_ms: i64) -> bool {
        size_ms > 0 && (size_ms % DAY_MS == 0 || (size_ms % HOUR_MS == 0 && DAY_MS % size_ms == 0))
    }

    /// Panics unless [`LocalWindows::allows`] the size and `0 <= offset_ms < size_ms`: the config has checked it. O(changes of the zone).
    pub fn new(zone: Arc<Zone>, size_ms: i64, offset_ms: i64) -> LocalWindows {
        assert!(Self::allows(size_ms), "local windows of {size_ms} ms");
        assert!((0..size_ms).contains(&offset_ms), "an offset of {offset_ms} ms in {size_ms} ms");
        let mut windows = LocalWindows { zone, size_ms, offset_ms, longest_ms: size_ms };
        // Only a window in or at the border of which clocks are set has another length.
        let around = windows.zone.changes().iter().flat_map(|change| [change.at_ms - 1, change.at_ms]);
        let lengths = around.map(|at_ms| windows.holding(EventTime(at_ms))).map(|window| window.end().0 - window.start().0);
        windows.longest_ms = lengths.fold(size_ms, i64::max);
        windows
    }

    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    pub fn size_ms(&self) -> i64 {
        self.size_ms
    }

    pub fn offset_ms(&self) -> i64 {
        self.offset_ms
    }

    /// How long the longest of them is.
    pub fn longest_ms(&self) -> i64 {
        self.longest_ms
    }

    /// The window that holds `at`. O(log changes of the zone).
    pub fn holding(&self, at: EventTime) -> Window {
        let shown_ms = self.zone.local_ms(at.0);
        let mut local_ms = (shown_ms - self.offset_ms).div_euclid(self.size_ms) * self.size_ms + self.offset_ms;
        // Clocks may have shown a later window already, and were set back since; and a window may be skipped.
        let mut end_ms = self.zone.first_instant_ms(local_ms + self.size_ms);
        while end_ms <= at.0 {
            local_ms += self.size_ms;
            end_ms = self.zone.first_instant_ms(local_ms + self.size_ms);
        }
        Window::new(EventTime(self.zone.first_instant_ms(local_ms)), EventTime(end_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::Change;
    use proptest::prelude::*;

    /// Two hours before UTC; set forward by an hour at 02:00 on the 2nd of January 1970, back at 02:00 on the 4th.
    fn zone() -> Arc<Zone> {
        let change = |(at_h, offset_h): (i64, i64)| Change { at_ms: at_h * HOUR_MS, offset_ms: offset_h * HOUR_MS };
        Arc::new(Zone::new("made up", -2 * HOUR_MS, [(28, -1), (75, -2)].map(change).into()))
    }

    /// The windows from hour `from` on, each as (start, end) in hours.
    fn check(size_h: i64, offset_h: i64, from: i64, expected: &[(i64, i64)]) {
        let windows = LocalWindows::new(zone(), size_h * HOUR_MS, offset_h * HOUR_MS);
        let mut at = EventTime(from * HOUR_MS);
        for (start, end) in expected {
            let window = windows.holding(at);
            assert_eq!((window.start().0, window.end().0), (start * HOUR_MS, end * HOUR_MS), "the window that holds {at}");
            at = window.end();
        }
    }

    #[test]
    fn days_have_23_24_or_25_hours() {
        check(24, 0, 2, &[(2, 26), (26, 49), (49, 73), (73, 98), (98, 122)]);
        assert_eq!(LocalWindows::new(zone(), DAY_MS, 0).longest_ms(), 25 * HOUR_MS);
    }

    #[test]
    fn an_offset_moves_the_hour_at_which_days_begin() {
        check(24, 5, 7, &[(7, 30), (30, 54), (54, 79), (79, 103)]);
    }

    #[test]
    fn an_hour_that_is_skipped_is_no_window_and_one_that_comes_twice_is_one() {
        check(1, 0, 27, &[(27, 28), (28, 29)]);
        check(1, 0, 73, &[(73, 74), (74, 76), (76, 77)]);
    }

    #[test]
    fn hours_are_counted_from_midnight_and_days_from_1970() {
        check(6, 0, 26, &[(26, 31), (31, 37), (37, 43), (43, 49)]);
        check(48, 0, 2, &[(2, 49), (49, 98), (98, 146)]);
    }

    #[test]
    fn only_what_divides_a_day_or_is_made_of_days_is_allowed() {
        let hours: Vec<i64> = (-24..100).filter(|hours| LocalWindows::allows(hours * HOUR_MS)).collect();
        assert_eq!(hours, [1, 2, 3, 4, 6, 8, 12, 24, 48, 72, 96]);
        assert!(!LocalWindows::allows(HOUR_MS / 2));
        assert!(!LocalWindows::allows(DAY_MS + 1));
    }

    /// The window that holds hour `at_h` by the rule: a new one begins whenever clocks show the time of a later one than ever before.
    fn brute_force(at_h: i64, size_h: i64, offset_h: i64, base_h: i64, changes: &[(i64, i64)]) -> (i64, i64) {
        let shown_h = |h: i64| h + changes.iter().rfind(|(from_h, _)| *from_h <= h).map_or(base_h, |(_, offset_h)| *offset_h);
        let mut latest = i64::MIN;
        let mut begins: Vec<i64> = Vec::new();
        for h in -200..400 {
            let window = (shown_h(h) - offset_h).div_euclid(size_h);
            if window > latest {
                latest = window;
                begins.push(h);
            }
        }
        let next = begins.partition_point(|begin| *begin <= at_h);
        (begins[next - 1], begins[next])
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(10_000), ..ProptestConfig::default() })]

        #[test]
        fn windows_are_those_of_the_rule(
            at_h in -90_i64..250, edge_ms in -1_i64..=1, size_h in prop::sample::select(vec![1_i64, 2, 3, 4, 6, 8, 12, 24, 48, 72]),
            offset in 0_i64..72, base_h in -12_i64..14, changes in prop::collection::btree_map(-50_i64..200, -3_i64..=3, 0..4),
        ) {
            let offset_h = offset % size_h;
            let changes: Vec<(i64, i64)> = changes.into_iter().map(|(from_h, more_h)| (from_h, base_h + more_h)).collect();
            let change = |(from_h, offset_h): &(i64, i64)| Change { at_ms: from_h * HOUR_MS, offset_ms: offset_h * HOUR_MS };
            let zone = Arc::new(Zone::new("made up", base_h * HOUR_MS, changes.iter().map(change).collect()));
            let windows = LocalWindows::new(zone, size_h * HOUR_MS, offset_h * HOUR_MS);
            let at_ms = at_h * HOUR_MS + edge_ms;
            let found = windows.holding(EventTime(at_ms));
            let (start_h, end_h) = brute_force(at_ms.div_euclid(HOUR_MS), size_h, offset_h, base_h, &changes);
            prop_assert_eq!((found.start().0, found.end().0), (start_h * HOUR_MS, end_h * HOUR_MS));
        }
    }
}
