//! Random runs of the aggregate against a recomputation.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{super::*, harness::*};
use crate::stage::testing::windows::{HALF_HOUR_MS, TestWindows, in_half_hours, zoned};

fn rows() -> impl Strategy<Value = Vec<(i64, Option<&'static str>, i64)>> {
    let near = -60_i64..60;
    // Far away: a gap, and the ends of time.
    let far = prop::sample::select(vec![5_000, EventTime::MIN.0, EventTime::MAX.0, -5_001]);
    let boundary = prop::sample::select(vec![-31, -30, -29, -1, 0, 1, 29, 30, 31]);
    let at = prop_oneof![12 => near, 4 => boundary, 1 => far];
    let key =
        prop::sample::select(vec![None, Some("a"), Some("b"), Some("b\0"), Some("a key that is longer than sixteen bytes")]);
    prop::collection::vec((at, key, 0_i64..40), 0..12)
}

/// A stream that goes on for long, a little out of order, with few restarts: windows slide over what was merged before.
fn sliding_steps() -> impl Strategy<Value = Vec<Step>> {
    let row = (-25_i64..8, prop::sample::select(vec![Some("a"), Some("b"), None]));
    let round = (0_i64..12, prop::collection::vec(row, 0..4), prop::bool::weighted(0.03));
    prop::collection::vec(round, 10..50).prop_map(|rounds| {
        let (mut steps, mut watermark, mut n_rows) = (Vec::new(), -100, 0);
        for (rise, rows, restarts) in rounds {
            let rows = rows.into_iter().map(|(distance, key)| {
                n_rows += 1;
                Row { at: watermark + distance, key, id: n_rows * 10 }
            });
            steps.push(Step::Rows(rows.collect()));
            watermark += rise;
            steps.push(Step::Advance(watermark));
            if restarts {
                steps.push(Step::Restart { with_image: rise % 2 == 0 });
            }
        }
        steps
    })
}

pub(super) fn windows() -> impl Strategy<Value = TestWindows> {
    (1_i64..20, 1_i64..6, 0_i64..40).prop_map(|(slide_ms, n_panes, offset)| {
        let offset_ms = if offset < 20 { 0 } else { offset % slide_ms };
        TestWindows::Utc { slide_ms, n_panes, offset_ms }
    })
}

/// Around the hours in which clocks are set.
fn rows_in_a_zone() -> impl Strategy<Value = Vec<(i64, Option<&'static str>, i64)>> {
    let key = prop::sample::select(vec![None, Some("a"), Some("b")]);
    prop::collection::vec((-60_i64..60, key, 0_i64..40), 0..12)
}

/// The same steps, in half hours and not in ms.
fn slowly(mut steps: Vec<Step>) -> Vec<Step> {
    for step in &mut steps {
        match step {
            Step::Rows(rows) => rows.iter_mut().for_each(|row| row.at = in_half_hours(row.at, row.id / 10)),
            Step::Advance(to) => *to = in_half_hours(*to, *to),
            Step::Restart { .. } => {}
        }
    }
    steps
}

/// Which ids each window holds in the end, and for which windows rows are late: straight from the rules.
fn brute_force(steps: &[Step], windows: &TestWindows, lateness_ms: i64) -> (IdsOfPanes, Late) {
    let (mut panes, mut late) = (IdsOfPanes::new(), Late::new());
    let mut watermark = i64::MIN;
    for step in steps {
        match step {
            Step::Rows(rows) => {
                for row in rows {
                    let is_missed = |(_, end): &(i64, i64)| end + lateness_ms <= watermark;
                    let (missed, open): (Vec<_>, Vec<_>) = windows.holding(row.at).into_iter().partition(is_missed);
                    let is_dead = row.id % 10 >= REFUSED && !open.is_empty();
                    if !is_dead {
                        late.extend(missed.iter().map(|window| (row.id, *window)));
                        for window in open {
                            panes.entry((window, row.key.map(str::to_owned))).or_default().push(row.id);
                        }
                    }
                }
            }
            Step::Advance(to) => watermark = watermark.max(*to),
            Step::Restart { .. } => {}
        }
    }
    panes.values_mut().for_each(|ids| ids.sort());
    (panes, late)
}

fn run(steps: &[Step], windows: &TestWindows, lateness_ms: i64, emission: Emission) -> Harness {
    let mut harness = Harness::new(windows.spec(), lateness_ms, emission);
    for step in steps {
        match step {
            Step::Rows(rows) => drop(harness.accept(rows)),
            Step::Advance(to) => drop(harness.advance(*to)),
            Step::Restart { with_image } => harness.restart(*with_image),
        }
    }
    harness.advance(END);
    harness
}

/// The last row of each pane; checks that revisions rise by one from 0 and that nothing follows a final row.
pub(super) fn last_rows(harness: &Harness) -> IdsOfPanes {
    let mut last: BTreeMap<Pane, Emitted> = BTreeMap::new();
    for one in &harness.emitted {
        let before = last.insert(one.pane.clone(), one.clone());
        match (before, one.revision) {
            (None, None | Some((0, _))) => {}
            (Some(Emitted { revision: Some((rev, false)), .. }), Some((next, _))) if next == rev + 1 => {}
            (before, _) => panic!("{one:?} after {before:?}"),
        }
    }
    assert!(last.values().all(|one| one.revision.is_none_or(|(_, is_final)| is_final)), "not all is final: {last:?}");
    last.into_iter().map(|(pane, one)| (pane, one.ids)).collect()
}

/// As [`run`], with a reading of the clock after each step: what is told early is what windows hold so far, of all that changed, and nothing else.
fn run_early(steps: &[Step], rises: &[i64], windows: &TestWindows, lateness_ms: i64) -> Harness {
    let mut harness = Harness::early(windows.spec(), lateness_ms);
    let (mut now, mut until, mut told) = (0, None, IdsOfPanes::new());
    for (idx, step) in steps.iter().enumerate() {
        match step {
            Step::Rows(rows) => drop(harness.accept(rows)),
            Step::Advance(to) => drop(harness.advance(*to)),
            Step::Restart { with_image } => {
                harness.restart(*with_image);
                (until, told) = (None, IdsOfPanes::new());
            }
        }
        now += rises[idx % rises.len()];
        let early = harness.clock(now);
        let is_due = *until.get_or_insert(now + 10) <= now;
        let mut expected = IdsOfPanes::new();
        if is_due {
            until = Some(now + 10);
            let (mut panes, _) = brute_force(&steps[..=idx], windows, lateness_ms);
            panes.retain(|((_, end), _), _| *end > harness.watermark);
            expected = panes.clone().into_iter().filter(|(pane, ids)| told.get(pane) != Some(ids)).collect();
            told = panes;
        }
        assert!(early.iter().all(|one| one.revision.is_some_and(|(_, is_final)| !is_final)), "{early:?}");
        assert_eq!(early.into_iter().map(|one| (one.pane, one.ids)).collect::<IdsOfPanes>(), expected, "at {now} ms");
    }
    harness.advance(END);
    harness
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn early_rows_are_what_windows_hold_and_change_no_last_row(
        steps in steps(rows(), 13), rises in prop::collection::vec(0_i64..14, 1..6), windows in windows(), lateness_ms in 0_i64..40,
    ) {
        let harness = run_early(&steps, &rises, &windows, lateness_ms);
        let (panes, late) = brute_force(&steps, &windows, lateness_ms);
        prop_assert_eq!(last_rows(&harness), panes);
        prop_assert_eq!(harness.late(), late);
        prop_assert_eq!(harness.stage.state_bytes(), 0);
    }

    #[test]
    fn the_last_rows_are_those_of_a_batch_job(steps in steps(rows(), 13), windows in windows(), lateness_ms in 0_i64..40, is_final in any::<bool>()) {
        let emission = if is_final { Emission::Final } else { Emission::Upsert };
        let harness = run(&steps, &windows, lateness_ms, emission);
        let (panes, late) = brute_force(&steps, &windows, lateness_ms);
        prop_assert_eq!(last_rows(&harness), panes);
        prop_assert_eq!(harness.late(), late);
        let counts = harness.out.counts;
        prop_assert_eq!(counts.rows_in, counts.accepted + counts.late + counts.dead);
        prop_assert_eq!(counts.rows_out as usize, harness.emitted.len());
        prop_assert_eq!(harness.stage.state_bytes(), 0);
    }

    #[test]
    fn long_slides_merge_what_a_batch_job_would(
        steps in sliding_steps(), slide_ms in 1_i64..6, n_panes in 2_i64..12, lateness_ms in 0_i64..30, is_final in any::<bool>(),
    ) {
        let windows = TestWindows::Utc { slide_ms, n_panes, offset_ms: 0 };
        let emission = if is_final { Emission::Final } else { Emission::Upsert };
        let harness = run(&steps, &windows, lateness_ms, emission);
        let (panes, late) = brute_force(&steps, &windows, lateness_ms);
        prop_assert_eq!(last_rows(&harness), panes);
        prop_assert_eq!(harness.late(), late);
    }

    #[test]
    fn cutting_a_batch_changes_no_last_row(steps in steps(rows(), 13), windows in windows(), lateness_ms in 0_i64..40) {
        let cut = one_by_one(&steps);
        let whole = last_rows(&run(&steps, &windows, lateness_ms, Emission::Upsert));
        prop_assert_eq!(&last_rows(&run(&cut, &windows, lateness_ms, Emission::Upsert)), &whole);
        prop_assert_eq!(last_rows(&run(&cut, &windows, lateness_ms, Emission::Final)), whole);
    }

    /// Clocks are set forward and back, by half hours, hours and days: windows share starts and ends, and panes have odd lengths.
    #[test]
    fn windows_of_a_time_zone_are_those_of_a_batch_job(
        steps in steps(rows_in_a_zone(), 13), windows in zoned(), lateness in 0_i64..40, is_final in any::<bool>(),
    ) {
        let (steps, lateness_ms) = (slowly(steps), lateness * HALF_HOUR_MS);
        let emission = if is_final { Emission::Final } else { Emission::Upsert };
        let harness = run(&steps, &windows, lateness_ms, emission);
        let (panes, late) = brute_force(&steps, &windows, lateness_ms);
        prop_assert_eq!(&last_rows(&harness), &panes);
        prop_assert_eq!(harness.late(), late);
        prop_assert_eq!(harness.stage.state_bytes(), 0);
        prop_assert_eq!(last_rows(&run(&one_by_one(&steps), &windows, lateness_ms, emission)), panes);
    }

    #[test]
    fn early_rows_of_a_time_zone_are_what_windows_hold(
        steps in steps(rows_in_a_zone(), 13), rises in prop::collection::vec(0_i64..14, 1..6), windows in zoned(), lateness in 0_i64..40,
    ) {
        let (steps, lateness_ms) = (slowly(steps), lateness * HALF_HOUR_MS);
        let harness = run_early(&steps, &rises, &windows, lateness_ms);
        prop_assert_eq!(last_rows(&harness), brute_force(&steps, &windows, lateness_ms).0);
    }
}
