//! Fixed windows by the rule, counted up: of UTC, and by clocks that are set.

use std::{fmt, sync::Arc};

use proptest::prelude::*;

use crate::{
    plan::WindowSpec,
    window::local::LocalWindows,
    zone::{Change, Zone},
};

pub(in crate::stage) const HALF_HOUR_MS: i64 = 1_800_000;

/// Windows of a stage that is tested.
#[derive(Clone, Debug)]
pub(in crate::stage) enum TestWindows {
    Utc { slide_ms: i64, n_panes: i64, offset_ms: i64 },
    Zoned(Zoned),
}

/// Windows by the clocks of a zone that is made up, and called by its rules.
#[derive(Clone)]
pub(in crate::stage) struct Zoned {
    spec: WindowSpec,
    /// (start, end) of all windows around 1970, in their order.
    all: Arc<[(i64, i64)]>,
}

/// Not all the windows: there are hundreds.
impl fmt::Debug for Zoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.spec.fmt(f)
    }
}

impl TestWindows {
    pub(in crate::stage) fn spec(&self) -> WindowSpec {
        match self {
            TestWindows::Utc { slide_ms, n_panes: 1, offset_ms } => {
                WindowSpec::Tumbling { size_ms: *slide_ms, offset_ms: *offset_ms }
            }
            TestWindows::Utc { slide_ms, n_panes, offset_ms } => {
                WindowSpec::Hopping { size_ms: slide_ms * n_panes, slide_ms: *slide_ms, offset_ms: *offset_ms }
            }
            TestWindows::Zoned(zoned) => zoned.spec.clone(),
        }
    }

    /// The windows that hold `at`, as (start, end).
    pub(in crate::stage) fn holding(&self, at: i64) -> Vec<(i64, i64)> {
        match self {
            TestWindows::Utc { slide_ms, n_panes, offset_ms } => {
                let size_ms = slide_ms * n_panes;
                let first = (at - offset_ms - size_ms).div_euclid(*slide_ms);
                let starts = (first..=first + n_panes + 1).map(|n| n * slide_ms + offset_ms);
                starts.map(|start| (start, start + size_ms)).filter(|(start, end)| (*start..*end).contains(&at)).collect()
            }
            TestWindows::Zoned(Zoned { all, .. }) => {
                let first = all.partition_point(|(_, end)| *end <= at);
                all[first..].iter().take_while(|(start, _)| *start <= at).copied().collect()
            }
        }
    }
}

/// Windows of hours or days, whose clocks are set several times in the 100 hours around 1970, by half hours and by whole days.
pub(in crate::stage) fn zoned() -> impl Strategy<Value = TestWindows> {
    let slide_h = prop::sample::select(vec![1_i64, 1, 2, 3, 6, 24]);
    let set_by = prop_oneof![6 => -4_i64..=4, 1 => prop::sample::select(vec![-48_i64, 48])];
    let changes = prop::collection::btree_map(-50_i64..50, set_by, 0..4);
    (slide_h, 1_i64..5, 0_i64..48, -24_i64..24, changes).prop_map(|(slide_h, n_panes, offset, base, changes)| {
        let slide = 2 * slide_h;
        let changes: Vec<(i64, i64)> = changes.into_iter().map(|(at, by)| (at, base + by)).collect();
        zoned_by(slide, slide * n_panes, offset % slide, base, &changes)
    })
}

/// All in half hours: clocks show `base` more than UTC, and from each of `changes` on another offset.
fn zoned_by(slide: i64, size: i64, offset: i64, base: i64, changes: &[(i64, i64)]) -> TestWindows {
    const FIRST: i64 = -800;
    let ms = |half_hours: i64| half_hours * HALF_HOUR_MS;
    let set = |(at, offset): &(i64, i64)| Change { at_ms: ms(*at), offset_ms: ms(*offset) };
    let name = format!("{base}, then (from, offset) {changes:?}, in half hours");
    let zone = Arc::new(Zone::new(&name, ms(base), changes.iter().map(set).collect()));
    let shown = |at: i64| at + changes.iter().rfind(|(from, _)| *from <= at).map_or(base, |(_, offset)| *offset);
    let latest: Vec<i64> = (FIRST..800)
        .scan(i64::MIN, |latest, at| {
            *latest = shown(at).max(*latest);
            Some(*latest)
        })
        .collect();
    // A border is where clocks show its time, or a later one, for the first time.
    let border = |local: i64| ms(FIRST + latest.partition_point(|latest| *latest < local) as i64);
    let starts = ((-500_i64).div_euclid(slide)..).map(|idx| idx * slide + offset).take_while(|start| *start < 400);
    let mut all: Vec<(i64, i64)> = starts.map(|start| (border(start), border(start + size))).collect();
    all.retain(|(start, end)| start < end);
    all.dedup();
    let spec = WindowSpec::Local(Arc::new(LocalWindows::new(zone, ms(size), ms(slide), ms(offset))));
    TestWindows::Zoned(Zoned { spec, all: all.into() })
}

/// A time of a few units as one of as many half hours, a ms before it, at it or after it. Times far away stay where they are.
pub(in crate::stage) fn in_half_hours(units: i64, edge: i64) -> i64 {
    if units.unsigned_abs() > 500 { units } else { units * HALF_HOUR_MS + edge.rem_euclid(3) - 1 }
}
