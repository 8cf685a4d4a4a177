//! The join of all pairs, against brute force.

mod oracle;
mod properties;

use super::{super::testing::*, *};
use crate::{
    column::Rows,
    plan::JoinKind,
    stage::{RowsOf, testing::windows::TestWindows},
};

use oracle::*;

const INTERVAL: Settings =
    Settings { span: TestSpan::Interval { within_ms: 10, after_ms: 3 }, join: JoinKind::Full, lateness_ms: 5 };
const HOPPING: Settings = Settings {
    span: TestSpan::Windows(TestWindows::Utc { slide_ms: 10, n_panes: 2, offset_ms: 0 }),
    join: JoinKind::Full,
    lateness_ms: 5,
};

fn both(at: i64, left: i64, right: i64) -> Emitted {
    Emitted { at, left: Some(left), right: Some(right), revision: None }
}

fn left(at: i64, id: i64) -> Emitted {
    Emitted { at, left: Some(id), right: None, revision: None }
}

fn right(at: i64, id: i64) -> Emitted {
    Emitted { at, left: None, right: Some(id), revision: None }
}

#[test]
fn a_right_row_is_alone_once_no_left_row_can_come_for_it() {
    let mut harness = Harness::new(INTERVAL);
    harness.accept(1, &[row(0, "k", 0, 101), row(1, "k", 0, 102)]);
    // A left row of up to 0 + 10 matches it, and is accepted until the watermark is past 10 + 5.
    assert_eq!(harness.advance(15), []);
    harness.restart(false);
    assert_eq!(harness.accept(0, &[row(10, "k", 0, 1)]), [both(10, 1, 101), both(10, 1, 102)]);
    harness.restart(true);
    assert_eq!(harness.advance(16), []);
    harness.accept(1, &[row(14, "k", 0, 103)]);
    assert_eq!(harness.advance(29), []);
    assert_eq!(harness.advance(30), [right(14, 103)]);
    assert_eq!(harness.stage.state_bytes(), 0);
    harness.check();
}

#[test]
fn a_left_row_is_alone_once_no_right_row_can_come_for_it() {
    let mut harness = Harness::new(INTERVAL);
    harness.accept(0, &[row(0, "k", 0, 1), row(1, "k", 0, 2)]);
    assert_eq!(harness.advance(8), []);
    assert_eq!(harness.accept(1, &[row(4, "k", 0, 101)]), [both(4, 2, 101)]);
    assert_eq!(harness.advance(9), [left(0, 1)]);
    assert_eq!(harness.advance(END), []);
    harness.check();
}

#[test]
fn null_is_alone_on_either_side() {
    for settings in [INTERVAL, HOPPING] {
        let mut harness = Harness::new(settings.clone());
        harness.accept(1, &[Row { at: 5, key: None, tie: 0, id: 101 }]);
        harness.accept(0, &[Row { at: 5, key: None, tie: 0, id: 1 }]);
        harness.restart(true);
        let n_windows = if let TestSpan::Windows(windows) = &settings.span { windows.holding(5).len() } else { 1 };
        assert_eq!(harness.advance(END).len(), 2 * n_windows);
        harness.check();
        let mut inner = Harness::new(Settings { join: JoinKind::Inner, ..settings });
        inner.accept(0, &[Row { at: 5, key: None, tie: 0, id: 1 }]);
        assert_eq!(inner.stage.state_bytes(), 0, "it can have no partner, and is not kept");
    }
}

#[test]
fn a_hopping_window_has_a_pair_for_each_window_that_both_are_in() {
    let mut harness = Harness::new(HOPPING);
    harness.accept(0, &[row(5, "k", 0, 1), row(15, "k", 0, 2)]);
    assert_eq!(harness.accept(1, &[row(9, "k", 0, 101)]), [both(9, 1, 101), both(19, 1, 101), both(19, 2, 101)]);
    // [0, 20) is closed at 20 + 5, [10, 30) at 30 + 5.
    assert_eq!(harness.advance(25), []);
    // Late for [0, 20), and not for [10, 30).
    assert_eq!(harness.accept(1, &[row(12, "k", 0, 102)]), [both(29, 2, 102)]);
    assert_eq!((harness.out.counts.late, harness.out.counts.late_panes), (0, 1));
    assert_eq!(harness.accept(1, &[row(9, "k", 0, 103)]), []);
    assert_eq!((harness.out.counts.late, harness.out.counts.late_panes), (1, 1));
    assert_eq!(harness.advance(END), []);
    harness.check();
}

#[test]
fn what_is_alone_in_a_window_may_have_a_partner_in_the_next() {
    let mut harness = Harness::new(HOPPING);
    harness.accept(0, &[row(12, "k", 0, 1)]);
    harness.accept(1, &[row(25, "k", 0, 101), row(1, "other", 0, 102)]);
    assert_eq!(harness.advance(35), [right(9, 102), left(19, 1), right(19, 102)]);
    harness.restart(false);
    assert_eq!(harness.advance(45), [right(39, 101)]);
    assert_eq!(harness.stage.state_bytes(), 0);
    harness.check();
}

#[test]
fn a_dead_row_without_a_left_one_is_a_whole_right_row() {
    let mut harness = Harness::new(INTERVAL);
    harness.accept(1, &[row(1, "k", 7, 108), row(2, "k", 0, 101)]);
    harness.accept(0, &[row(9, "l", 0, 19)]);
    assert_eq!(harness.advance(END), [right(2, 101)]);
    let dead = &harness.out.dead;
    let packed = |rows: &Rows| {
        let mut packed = Vec::new();
        encode_row(rows, &(0..rows.columns().len()).collect::<Vec<_>>(), 0, &mut packed);
        packed
    };
    for (side, whole) in [(LEFT, row(9, "l", 0, 19)), (RIGHT, row(1, "k", 7, 108))] {
        assert_eq!(dead[side].of, RowsOf::Input(side));
        assert_eq!(packed(&dead[side].batch.rows), packed(&batch_of(side, &[whole]).rows));
    }
    assert_eq!(harness.out.counts.dead_panes, 2);
}

#[test]
fn a_gap_of_years_costs_no_look_at_its_windows() {
    let mut harness = Harness::new(HOPPING);
    harness.accept(0, &[row(-4_000_000_000_000, "k", 0, 1), row(4_000_000_000_000, "k", 0, 2)]);
    assert_eq!(harness.advance(END).len(), 4);
    harness.check();
}
