//! Which windows and panes an event time belongs to. Pure arithmetic; windows are `[start, end)` and aligned to 1970 + offset, by UTC
//! or by the clocks of a time zone ([`local`]).
//!
//! A window is cut into panes of one slide each, and a record is put into its one pane, so that what is kept per record does not
//! grow with size / slide. A tumbling window is its own only pane.
//!
//! Sources: Akidau et al., "The Dataflow Model", PVLDB 8(12), 2015, section 2.2; Li et al., "No pane, no gain: efficient
//! evaluation of sliding-window aggregates over data streams", SIGMOD Record 34(1), 2005.

use std::sync::Arc;

use self::local::LocalWindows;
use crate::{
    plan::WindowSpec,
    time::{EventTime, Watermark, Window},
};

pub mod local;

/// Fixed windows: `size_ms` long, one every `slide_ms`, one of them starting at `offset_ms`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windowing {
    size_ms: i64,
    slide_ms: i64,
    offset_ms: i64,
    /// Windows by local time: then lengths are those of its clocks, and only it knows where a window starts.
    local: Option<Arc<LocalWindows>>,
}

impl Windowing {
    /// The longest window, in ms: half of all accepted event time, so that no sum of times overflows.
    pub const SIZE_MS_MAX: i64 = EventTime::MAX.0;

    /// The most panes that a window may have: listing and merging them must stay affordable.
    pub const PANES_MAX: i64 = 1 << 20;

    /// Panics unless `0 <= offset < slide <= size <= SIZE_MS_MAX`, the size is a multiple of the slide and a window has at most
    /// [`Windowing::PANES_MAX`] panes: the config has checked it. Sessions are no fixed windows.
    pub fn new(spec: WindowSpec) -> Windowing {
        let (size_ms, slide_ms, offset_ms, local) = match spec {
            WindowSpec::Tumbling { size_ms, offset_ms } => (size_ms, size_ms, offset_ms, None),
            WindowSpec::Local(windows) => (windows.size_ms(), windows.size_ms(), windows.offset_ms(), Some(windows)),
            WindowSpec::Hopping { size_ms, slide_ms, offset_ms } => (size_ms, slide_ms, offset_ms, None),
            WindowSpec::Session { gap_ms, .. } => unreachable!("sessions with a gap of {gap_ms} ms are no fixed windows"),
        };
        assert!(
            0 < slide_ms && slide_ms <= size_ms && size_ms <= Self::SIZE_MS_MAX,
            "a window of {size_ms} ms every {slide_ms} ms"
        );
        assert!(size_ms % slide_ms == 0, "{size_ms} ms is no multiple of {slide_ms} ms");
        assert!(size_ms / slide_ms <= Self::PANES_MAX, "a window of {} panes", size_ms / slide_ms);
        assert!((0..slide_ms).contains(&offset_ms), "an offset of {offset_ms} ms in {slide_ms} ms");
        Windowing { size_ms, slide_ms, offset_ms, local }
    }

    pub fn n_panes_per_window(&self) -> i64 {
        self.size_ms / self.slide_ms
    }

    /// The pane that holds `at`, which may be negative: `start <= at < end`, `start` the offset plus a multiple of the slide.
    pub fn pane(&self, at: EventTime) -> Window {
        if let Some(local) = &self.local {
            return local.holding(at);
        }
        // Not `/`: it rounds towards zero, wrong before 1970.
        let start = (at.0 - self.offset_ms).div_euclid(self.slide_ms) * self.slide_ms + self.offset_ms;
        Window::new(EventTime(start), EventTime(start + self.slide_ms))
    }

    /// The window that ends at `end`, where a pane ends.
    pub fn window_ending(&self, end: EventTime) -> Window {
        if let Some(local) = &self.local {
            return local.holding(EventTime(end.0 - 1));
        }
        debug_assert!((end.0 - self.offset_ms).rem_euclid(self.slide_ms) == 0, "no window ends at {end}");
        Window::new(EventTime(end.0 - self.size_ms), end)
    }

    /// The windows that hold `pane`, in the order of their ends: the first one ends with the pane.
    pub fn windows_of(&self, pane: Window) -> impl DoubleEndedIterator<Item = Window> + ExactSizeIterator {
        (0..self.n_panes_per_window() as u32)
            .map(move |idx| self.window_ending(EventTime(pane.end().0 + i64::from(idx) * self.slide_ms)))
    }

    /// The end of the last window that holds `pane` and ends until the watermark `until`; of windows that share panes, which are fixed.
    pub fn newest_end_until(&self, pane: Window, until: Watermark) -> Option<EventTime> {
        let n_ended = (until.0.saturating_sub(pane.end().0)).div_euclid(self.slide_ms).saturating_add(1);
        let n_ended = n_ended.min(self.n_panes_per_window());
        (n_ended > 0).then(|| EventTime(pane.end().0 + (n_ended - 1) * self.slide_ms))
    }

    /// The end of the last window that holds the pane starting at `pane_start`.
    pub fn last_end(&self, pane_start: EventTime) -> EventTime {
        match &self.local {
            Some(local) => local.holding(pane_start).end(),
            None => EventTime(pane_start.0 + self.size_ms),
        }
    }

    /// The end of the first window that ends after `after`.
    pub fn first_end_after(&self, after: EventTime) -> EventTime {
        self.pane(after).end()
    }

    /// No window that ends after `closed_until`, which may be infinite, holds a pane that starts before this.
    pub fn oldest_start(&self, closed_until: i64) -> EventTime {
        let ends_of_time = EventTime::MIN.0 - Self::SIZE_MS_MAX..=EventTime::MAX.0 + 2 * Self::SIZE_MS_MAX;
        match &self.local {
            Some(local) if ends_of_time.contains(&closed_until) => local.holding(EventTime(closed_until)).start(),
            _ => EventTime(closed_until.saturating_sub(self.size_ms).saturating_add(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TUMBLING: WindowSpec = WindowSpec::Tumbling { size_ms: 10, offset_ms: 0 };
    const HOPPING: WindowSpec = WindowSpec::Hopping { size_ms: 30, slide_ms: 10, offset_ms: 0 };

    fn check(spec: WindowSpec, at: i64, pane: (i64, i64), windows: &[(i64, i64)]) {
        let windowing = Windowing::new(spec);
        let found = windowing.pane(EventTime(at));
        assert_eq!((found.start().0, found.end().0), pane, "pane of {at}");
        let found: Vec<_> = windowing.windows_of(found).map(|window| (window.start().0, window.end().0)).collect();
        assert_eq!(found, windows, "windows of {at}");
    }

    #[test]
    fn a_boundary_belongs_to_the_later_window() {
        check(TUMBLING, 9, (0, 10), &[(0, 10)]);
        check(TUMBLING, 10, (10, 20), &[(10, 20)]);
        check(HOPPING, 29, (20, 30), &[(0, 30), (10, 40), (20, 50)]);
        check(HOPPING, 30, (30, 40), &[(10, 40), (20, 50), (30, 60)]);
    }

    #[test]
    fn windows_before_1970_are_aligned_too() {
        check(TUMBLING, 0, (0, 10), &[(0, 10)]);
        check(TUMBLING, -1, (-10, 0), &[(-10, 0)]);
        check(TUMBLING, -10, (-10, 0), &[(-10, 0)]);
        check(TUMBLING, -11, (-20, -10), &[(-20, -10)]);
        check(HOPPING, -1, (-10, 0), &[(-30, 0), (-20, 10), (-10, 20)]);
    }

    #[test]
    fn an_offset_moves_all_windows() {
        check(WindowSpec::Tumbling { size_ms: 10, offset_ms: 3 }, 2, (-7, 3), &[(-7, 3)]);
        check(WindowSpec::Tumbling { size_ms: 10, offset_ms: 3 }, 3, (3, 13), &[(3, 13)]);
        check(WindowSpec::Tumbling { size_ms: 10, offset_ms: 9 }, -1, (-1, 9), &[(-1, 9)]);
        let hopping = WindowSpec::Hopping { size_ms: 30, slide_ms: 10, offset_ms: 3 };
        check(hopping, -8, (-17, -7), &[(-37, -7), (-27, 3), (-17, 13)]);
    }

    #[test]
    fn the_ends_of_time_have_windows() {
        let ends = [EventTime::MIN, EventTime::MAX];
        for (at, offset_ms) in ends.into_iter().flat_map(|at| [(at, 0), (at, 1), (at, Windowing::SIZE_MS_MAX - 1)]) {
            let windowing = Windowing::new(WindowSpec::Tumbling { size_ms: Windowing::SIZE_MS_MAX, offset_ms });
            let pane = windowing.pane(at);
            assert!(pane.start() <= at && at < pane.end());
        }
    }

    #[test]
    fn ends_follow_each_other() {
        let windowing = Windowing::new(HOPPING);
        for (after, end) in [(-11, -10), (-10, 0), (-1, 0), (0, 10), (9, 10), (10, 20)] {
            assert_eq!(windowing.first_end_after(EventTime(after)), EventTime(end), "after {after}");
        }
        assert_eq!(windowing.last_end(EventTime(-10)), EventTime(20));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(10_000), ..ProptestConfig::default() })]

        #[test]
        fn the_newest_window_that_has_ended_is_found(at in -200_i64..200, until in -300_i64..300, n_panes in 1_i64..8) {
            let windowing = Windowing::new(WindowSpec::Hopping { size_ms: 7 * n_panes, slide_ms: 7, offset_ms: 3 });
            let pane = windowing.pane(EventTime(at));
            let ended = windowing.windows_of(pane).map(|window| window.end()).rfind(|end| end.0 <= until);
            prop_assert_eq!(windowing.newest_end_until(pane, Watermark(until)), ended);
        }

        #[test]
        fn a_window_holds_a_time_exactly_if_it_is_listed(at in -200_i64..200, slide_ms in 1_i64..20, n_panes in 1_i64..8, offset in 0_i64..20, end in -30_i64..30) {
            let offset_ms = offset % slide_ms;
            let windowing = Windowing::new(WindowSpec::Hopping { size_ms: slide_ms * n_panes, slide_ms, offset_ms });
            let window = windowing.window_ending(EventTime(end * slide_ms + offset_ms));
            let holds = window.start().0 <= at && at < window.end().0;
            let listed = windowing.windows_of(windowing.pane(EventTime(at))).any(|one| one == window);
            prop_assert_eq!(holds, listed);
        }
    }
}
