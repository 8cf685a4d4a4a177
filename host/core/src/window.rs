//! Which windows and panes an event time belongs to. Pure arithmetic; windows are `[start, end)` and aligned to 1970 + offset, by UTC
//! or by the clocks of a time zone ([`local`]).
//!
//! A window is cut into panes of one slide each, and a record is put into its one pane, so that what is kept per record does not
//! grow with size / slide. A tumbling window is its own only pane.
//!
//! All of it comes from *borders*, which are numbered: pane i lies between borders i and i + 1, and a window of n panes, number i, between
//! borders i and i + n. Borders never fall, but by the clocks of a zone some are equal: what is skipped is an empty pane. So
//!
//! - a window is known by its start and end: two may begin, or end, at the same instant, and panes have odd lengths. Numbers whose borders are
//!   the same are one window; one whose panes are all skipped is none.
//! - Windows are a chain: of two, the later one begins no earlier and ends no earlier. That is the order in which they are listed and fire, and
//!   the order of [`Window`]s of one stage.
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

/// Fixed windows: of `n_panes` panes each, one that begins at every border.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windowing {
    borders: Borders,
    n_panes: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Borders {
    Utc { slide_ms: i64, offset_ms: i64 },
    Local(Arc<LocalWindows>),
}

impl Borders {
    fn at(&self, idx: i64) -> EventTime {
        match self {
            Borders::Utc { slide_ms, offset_ms } => EventTime(idx * slide_ms + offset_ms),
            Borders::Local(local) => local.border(idx),
        }
    }

    /// The last border at or before `at`, which may be negative.
    fn last_until(&self, at: EventTime) -> i64 {
        match self {
            // Not `/`: it rounds towards zero, wrong before 1970.
            Borders::Utc { slide_ms, offset_ms } => (at.0 - offset_ms).div_euclid(*slide_ms),
            Borders::Local(local) => local.last_border_until(at),
        }
    }
}

impl Windowing {
    /// The longest window, in ms: half of all accepted event time, so that no sum of times overflows.
    pub const SIZE_MS_MAX: i64 = EventTime::MAX.0;

    /// The most panes that a window may have: listing and merging them must stay affordable.
    pub const PANES_MAX: i64 = 1 << 20;

    /// Panics unless `0 <= offset < slide <= size <= SIZE_MS_MAX`, the size is a multiple of the slide and a window has at most
    /// [`Windowing::PANES_MAX`] panes: the config has checked it. Sessions and global windows are no fixed windows.
    pub fn new(spec: WindowSpec) -> Windowing {
        let (size_ms, slide_ms, offset_ms) = match &spec {
            WindowSpec::Tumbling { size_ms, offset_ms } => (*size_ms, *size_ms, *offset_ms),
            WindowSpec::Local(windows) => (windows.size_ms(), windows.slide_ms(), windows.offset_ms()),
            WindowSpec::Hopping { size_ms, slide_ms, offset_ms } => (*size_ms, *slide_ms, *offset_ms),
            WindowSpec::Session { .. } | WindowSpec::Global(_) => unreachable!("these are no fixed windows: {spec:?}"),
        };
        assert!(
            0 < slide_ms && slide_ms <= size_ms && size_ms <= Self::SIZE_MS_MAX,
            "a window of {size_ms} ms every {slide_ms} ms"
        );
        assert!(size_ms % slide_ms == 0, "{size_ms} ms is no multiple of {slide_ms} ms");
        assert!(size_ms / slide_ms <= Self::PANES_MAX, "a window of {} panes", size_ms / slide_ms);
        assert!((0..slide_ms).contains(&offset_ms), "an offset of {offset_ms} ms in {slide_ms} ms");
        let borders = match spec {
            WindowSpec::Local(windows) => Borders::Local(windows),
            _ => Borders::Utc { slide_ms, offset_ms },
        };
        Windowing { borders, n_panes: size_ms / slide_ms }
    }

    pub fn n_panes_per_window(&self) -> i64 {
        self.n_panes
    }

    /// The pane that holds `at`: `start <= at < end`.
    pub fn pane(&self, at: EventTime) -> Window {
        let idx = self.borders.last_until(at);
        Window::new(self.borders.at(idx), self.borders.at(idx + 1))
    }

    /// The windows that hold `pane`, in their order.
    pub fn windows_of(&self, pane: Window) -> impl Iterator<Item = Window> {
        let last = self.borders.last_until(pane.start());
        let mut before = None;
        (last + 1 - self.n_panes..=last).filter_map(move |idx| {
            let window = self.numbered(idx)?;
            (before.replace(window) != Some(window)).then_some(window)
        })
    }

    /// The first window that ends after `after`, which may be infinite. It is the first one that holds that time.
    pub fn first_after(&self, after: Watermark) -> Window {
        // No window that holds a row ends outside of these.
        let limits = [EventTime::MIN.0 - Self::SIZE_MS_MAX, EventTime::MAX.0 + 2 * Self::SIZE_MS_MAX];
        let after = EventTime(after.0.clamp(limits[0], limits[1]));
        self.numbered(self.borders.last_until(after) + 1 - self.n_panes).expect("a window that holds a time is not empty")
    }

    /// The window behind `window`.
    pub fn next(&self, window: Window) -> Window {
        let mut idx = self.last_number_of(window) + 1;
        loop {
            match self.numbered(idx) {
                Some(window) => return window,
                None => idx += 1,
            }
        }
    }

    /// Whether `window` is one of these.
    pub fn is_one(&self, window: Window) -> bool {
        let times = EventTime::MIN.0 - Self::SIZE_MS_MAX..=EventTime::MAX.0 + Self::SIZE_MS_MAX;
        let is_in_time = times.contains(&window.start().0) && times.contains(&window.end().0);
        is_in_time && self.numbered(self.last_number_of(window)) == Some(window)
    }

    /// The end of the last window that holds `at`.
    pub fn last_end(&self, at: EventTime) -> EventTime {
        self.borders.at(self.borders.last_until(at) + self.n_panes)
    }

    /// Window `idx`. `None`: clocks skip all of it.
    fn numbered(&self, idx: i64) -> Option<Window> {
        let (start, end) = (self.borders.at(idx), self.borders.at(idx + self.n_panes));
        (start < end).then(|| Window::new(start, end))
    }

    /// The last number with the borders of `window`, if it is one.
    fn last_number_of(&self, window: Window) -> i64 {
        let [start, end] = [window.start(), window.end()].map(|at| self.borders.last_until(at));
        start.min(end - self.n_panes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TUMBLING: WindowSpec = WindowSpec::Tumbling { size_ms: 10, offset_ms: 0 };
    const HOPPING: WindowSpec = WindowSpec::Hopping { size_ms: 30, slide_ms: 10, offset_ms: 0 };

    fn ends(window: Window) -> (i64, i64) {
        (window.start().0, window.end().0)
    }

    fn check(spec: WindowSpec, at: i64, pane: (i64, i64), windows: &[(i64, i64)]) {
        let windowing = Windowing::new(spec);
        let found = windowing.pane(EventTime(at));
        assert_eq!(ends(found), pane, "pane of {at}");
        assert_eq!(windowing.windows_of(found).map(ends).collect::<Vec<_>>(), windows, "windows of {at}");
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
        let times = [EventTime::MIN, EventTime::MAX];
        for (at, offset_ms) in times.into_iter().flat_map(|at| [(at, 0), (at, 1), (at, Windowing::SIZE_MS_MAX - 1)]) {
            let windowing = Windowing::new(WindowSpec::Tumbling { size_ms: Windowing::SIZE_MS_MAX, offset_ms });
            let pane = windowing.pane(at);
            assert!(pane.start() <= at && at < pane.end());
            assert!(windowing.is_one(pane));
            assert!(windowing.first_after(Watermark::END).start() > at, "no window that holds a row is open at the end");
            assert!(windowing.first_after(Watermark::UNKNOWN).end() <= pane.start());
        }
    }

    #[test]
    fn windows_follow_each_other() {
        let windowing = Windowing::new(HOPPING);
        for (after, first) in
            [(-11, (-40, -10)), (-10, (-30, 0)), (-1, (-30, 0)), (0, (-20, 10)), (9, (-20, 10)), (10, (-10, 20))]
        {
            assert_eq!(ends(windowing.first_after(Watermark(after))), first, "after {after}");
        }
        assert_eq!(ends(windowing.next(Window::new(EventTime(-30), EventTime(0)))), (-20, 10));
        assert_eq!(windowing.last_end(EventTime(-10)), EventTime(20));
        for (start, end, is_one) in [(-30, 0, true), (-31, -1, false), (-30, 10, false), (0, 10, false)] {
            assert_eq!(windowing.is_one(Window::new(EventTime(start), EventTime(end))), is_one, "[{start}, {end})");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(10_000), ..ProptestConfig::default() })]

        #[test]
        fn windows_of_utc_are_those_of_the_rule(
            at in -200_i64..200, slide_ms in 1_i64..20, n_panes in 1_i64..8, offset in 0_i64..20,
        ) {
            let (size_ms, offset_ms) = (slide_ms * n_panes, offset % slide_ms);
            let windowing = Windowing::new(WindowSpec::Hopping { size_ms, slide_ms, offset_ms });
            let all = (-300..300).map(|idx| idx * slide_ms + offset_ms).map(|start| (start, start + size_ms));
            let holding: Vec<(i64, i64)> = all.filter(|(start, end)| (*start..*end).contains(&at)).collect();
            let pane = windowing.pane(EventTime(at));
            prop_assert_eq!(windowing.windows_of(pane).map(ends).collect::<Vec<_>>(), holding.clone());
            prop_assert_eq!(ends(windowing.first_after(Watermark(at))), holding[0]);
            prop_assert_eq!(windowing.last_end(EventTime(at)).0, holding[holding.len() - 1].1);
        }
    }
}
