//! Windows by the clocks of a time zone: days of New York have 23, 24 or 25 hours.
//!
//! Border i is where clocks show `i * slide + offset` or later for the first time. So panes tile: each instant is in exactly one, whatever the
//! clocks do. What comes twice belongs to the pane that had begun; a local time that never comes begins when clocks skip it, and a pane that is
//! skipped whole is empty: its borders are equal, and so windows that begin or end with it share a start or an end with others.

use std::sync::Arc;

use crate::{time::EventTime, zone::Zone};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Windows of `size_ms` by the clocks of a zone, one every `slide_ms`; one of them begins when they show 1970-01-01 00:00 + `offset_ms`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalWindows {
    zone: Arc<Zone>,
    size_ms: i64,
    slide_ms: i64,
    offset_ms: i64,
    longest_ms: i64,
}

impl LocalWindows {
    /// Whether a day of clocks is made of such slides, or such a slide of days.
    pub fn allows(slide_ms: i64) -> bool {
        slide_ms > 0 && (slide_ms % DAY_MS == 0 || (slide_ms % HOUR_MS == 0 && DAY_MS % slide_ms == 0))
    }

    /// Panics unless [`LocalWindows::allows`] the slide, it divides the size, and `0 <= offset_ms < slide_ms`: the config has checked it.
    /// O(changes of the zone).
    pub fn new(zone: Arc<Zone>, size_ms: i64, slide_ms: i64, offset_ms: i64) -> LocalWindows {
        assert!(Self::allows(slide_ms) && size_ms >= slide_ms, "local windows of {size_ms} ms every {slide_ms} ms");
        assert!(size_ms % slide_ms == 0, "{size_ms} ms is no multiple of {slide_ms} ms");
        assert!((0..slide_ms).contains(&offset_ms), "an offset of {offset_ms} ms in {slide_ms} ms");
        let mut windows = LocalWindows { zone, size_ms, slide_ms, offset_ms, longest_ms: size_ms };
        windows.longest_ms = windows.lengths_around_changes().fold(size_ms, i64::max);
        windows
    }

    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    pub fn size_ms(&self) -> i64 {
        self.size_ms
    }

    pub fn slide_ms(&self) -> i64 {
        self.slide_ms
    }

    pub fn offset_ms(&self) -> i64 {
        self.offset_ms
    }

    /// How long the longest of them is.
    pub fn longest_ms(&self) -> i64 {
        self.longest_ms
    }

    /// Border `idx`. O(log changes of the zone).
    pub fn border(&self, idx: i64) -> EventTime {
        EventTime(self.zone.first_instant_ms(idx * self.slide_ms + self.offset_ms))
    }

    /// The last border at or before `at`. O(log changes of the zone).
    pub fn last_border_until(&self, at: EventTime) -> i64 {
        let mut idx = (self.zone.local_ms(at.0) - self.offset_ms).div_euclid(self.slide_ms);
        // Clocks may have shown a later local time already, and were set back since.
        while self.border(idx + 1) <= at {
            idx += 1;
        }
        idx
    }

    /// The lengths of all windows of which the one before has another length, and of some more.
    ///
    /// From one window to the next the length changes by the pane that comes in and the one that goes out. Only a pane in or at the border of
    /// which clocks are set has another length than the slide.
    fn lengths_around_changes(&self) -> impl Iterator<Item = i64> + '_ {
        let n_panes = self.size_ms / self.slide_ms;
        let of_change = move |at_ms: i64| {
            let [first, last] = [at_ms - 1, at_ms].map(|at_ms| self.last_border_until(EventTime(at_ms)));
            (first..=last + 1).flat_map(move |pane| [pane, pane + 1 - n_panes])
        };
        let windows = self.zone.changes().iter().flat_map(move |change| of_change(change.at_ms));
        windows.map(move |idx| self.border(idx + n_panes).0 - self.border(idx).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        plan::WindowSpec,
        time::{Watermark, Window},
        window::Windowing,
        zone::Change,
    };
    use proptest::prelude::*;

    /// Two hours before UTC; set forward by an hour at 02:00 on the 2nd of January 1970, back at 02:00 on the 4th.
    fn zone() -> Arc<Zone> {
        let change = |(at_h, offset_h): (i64, i64)| Change { at_ms: at_h * HOUR_MS, offset_ms: offset_h * HOUR_MS };
        Arc::new(Zone::new("made up", -2 * HOUR_MS, [(28, -1), (75, -2)].map(change).into()))
    }

    /// The windows from hour `from` on, each as (start, end) in hours.
    fn check(size_h: i64, offset_h: i64, from: i64, expected: &[(i64, i64)]) {
        check_hopping(size_h, size_h, offset_h, from, expected);
    }

    fn check_hopping(size_h: i64, slide_h: i64, offset_h: i64, from: i64, expected: &[(i64, i64)]) {
        let windowing = windowing(zone(), size_h, slide_h, offset_h);
        let mut window = windowing.first_after(Watermark(from * HOUR_MS));
        for (start, end) in expected {
            assert_eq!(hours(window), (*start, *end), "the window behind those before");
            window = windowing.next(window);
        }
    }

    fn windowing(zone: Arc<Zone>, size_h: i64, slide_h: i64, offset_h: i64) -> Windowing {
        let [size_ms, slide_ms, offset_ms] = [size_h, slide_h, offset_h].map(|hours| hours * HOUR_MS);
        Windowing::new(WindowSpec::Local(Arc::new(LocalWindows::new(zone, size_ms, slide_ms, offset_ms))))
    }

    fn hours(window: Window) -> (i64, i64) {
        let [start, end] = [window.start().0, window.end().0];
        assert!(start % HOUR_MS == 0 && end % HOUR_MS == 0, "{window:?}");
        (start / HOUR_MS, end / HOUR_MS)
    }

    #[test]
    fn days_have_23_24_or_25_hours() {
        check(24, 0, 2, &[(2, 26), (26, 49), (49, 73), (73, 98), (98, 122)]);
        let longest_h = |size_ms, slide_ms| LocalWindows::new(zone(), size_ms, slide_ms, 0).longest_ms() / HOUR_MS;
        assert_eq!([longest_h(DAY_MS, DAY_MS), longest_h(2 * DAY_MS, DAY_MS), longest_h(3 * DAY_MS, DAY_MS)], [25, 49, 73]);
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

    /// The 2nd of January has no 02:00 to 03:00: windows that begin or end there are known by start and end only.
    #[test]
    fn hopping_windows_share_a_start_or_an_end_where_clocks_skip_a_slide() {
        check_hopping(2, 1, 0, 25, &[(24, 26), (25, 27), (26, 28), (27, 28), (28, 29), (28, 30), (29, 31)]);
        check_hopping(48, 24, 0, 2, &[(-22, 26), (2, 49), (26, 73), (49, 98), (73, 122)]);
    }

    /// On the 4th of January 01:00 to 02:00 comes twice: one slide of two hours, from 74 to 76.
    #[test]
    fn what_comes_twice_belongs_to_the_slide_that_had_begun() {
        check_hopping(2, 1, 0, 73, &[(72, 74), (73, 76), (74, 77), (76, 78)]);
    }

    /// The windows by the rule, as (start, end) in hours: a border is where clocks show its time, or a later one, for the first time.
    fn brute_force(size_h: i64, slide_h: i64, offset_h: i64, base_h: i64, changes: &[(i64, i64)]) -> Vec<(i64, i64)> {
        const FIRST_H: i64 = -450;
        let shown_h = |h: i64| h + changes.iter().rfind(|(from_h, _)| *from_h <= h).map_or(base_h, |(_, offset_h)| *offset_h);
        let latest_h: Vec<i64> = (FIRST_H..700)
            .scan(i64::MIN, |latest, h| {
                *latest = shown_h(h).max(*latest);
                Some(*latest)
            })
            .collect();
        let border = |local_h: i64| FIRST_H + latest_h.partition_point(|latest| *latest < local_h) as i64;
        let starts = ((-340_i64).div_euclid(slide_h)..).map(|idx| idx * slide_h + offset_h).take_while(|start_h| *start_h < 420);
        let mut all: Vec<(i64, i64)> = starts.map(|start_h| (border(start_h), border(start_h + size_h))).collect();
        all.retain(|(start, end)| start < end);
        all.dedup();
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(10_000), ..ProptestConfig::default() })]

        #[test]
        fn windows_are_those_of_the_rule(
            at_h in -90_i64..250, edge_ms in -1_i64..=1, slide_h in prop::sample::select(vec![1_i64, 2, 3, 4, 6, 8, 12, 24, 48, 72]),
            n_panes in 1_i64..4, offset in 0_i64..72, base_h in -12_i64..14, changes in prop::collection::btree_map(-50_i64..200, -3_i64..=3, 0..4),
        ) {
            let (offset_h, size_h) = (offset % slide_h, slide_h * n_panes);
            let changes: Vec<(i64, i64)> = changes.into_iter().map(|(from_h, more_h)| (from_h, base_h + more_h)).collect();
            let change = |(from_h, offset_h): &(i64, i64)| Change { at_ms: from_h * HOUR_MS, offset_ms: offset_h * HOUR_MS };
            let zone = Arc::new(Zone::new("made up", base_h * HOUR_MS, changes.iter().map(change).collect()));
            let windowing = windowing(zone.clone(), size_h, slide_h, offset_h);
            let all = brute_force(size_h, slide_h, offset_h, base_h, &changes);
            let at_ms = at_h * HOUR_MS + edge_ms;
            let holds = |(start_h, end_h): &&(i64, i64)| (start_h * HOUR_MS..end_h * HOUR_MS).contains(&at_ms);
            let holding: Vec<(i64, i64)> = all.iter().filter(holds).copied().collect();
            let pane = windowing.pane(EventTime(at_ms));
            let found: Vec<Window> = windowing.windows_of(pane).collect();
            prop_assert_eq!(found.iter().map(|window| hours(*window)).collect::<Vec<_>>(), holding);
            prop_assert_eq!(windowing.first_after(Watermark(at_ms)), found[0]);
            prop_assert_eq!(windowing.last_end(EventTime(at_ms)), found[found.len() - 1].end());
            prop_assert!(found.iter().all(|window| windowing.is_one(*window)));
            // Each border is where a window begins, and one where another ends.
            prop_assert!(!windowing.is_one(Window::new(pane.start(), EventTime(pane.end().0 + 1))));
            let behind = all.iter().position(|window| *window == hours(found[0])).expect("it was listed") + 1;
            prop_assert_eq!(hours(windowing.next(found[0])), all[behind]);
            let longest_h = all.iter().map(|(start, end)| end - start).max();
            let [size_ms, slide_ms, offset_ms] = [size_h, slide_h, offset_h].map(|hours| hours * HOUR_MS);
            prop_assert_eq!(Some(LocalWindows::new(zone, size_ms, slide_ms, offset_ms).longest_ms() / HOUR_MS), longest_h);
        }
    }
}
