//! The global window, against a model that takes one row after the other.

mod model;
mod properties;

use super::*;
use crate::stage::{
    RowsOf,
    testing::id_lists::{END, row},
};

use model::*;

const HOUR: i64 = 10;

fn by_rows(every_rows: u64, clear: bool) -> GlobalWindow {
    GlobalWindow { every_rows: Some(every_rows), every_ms: None, clear, idle_ms: 100 }
}

fn told(at: i64, key: &str, window: (i64, i64), ids: &[i64], revision: Option<(u32, bool)>) -> Told {
    Told { at, key: Some(key.to_owned()), window, ids: ids.to_vec(), revision }
}

#[test]
fn a_key_is_told_with_every_so_many_rows_and_goes_on() {
    let mut harness = Harness::new(by_rows(2, false));
    let rows = [row(5, "a", 10), row(3, "a", 20), row(7, "b", 30), row(9, "a", 40), row(8, "a", 50), row(8, "a", 60)];
    assert_eq!(
        harness.give(&rows, &[1; 6]),
        [
            told(5, "a", (3, 6), &[10, 20], Some((0, false))),
            // All that a result covers is not later than the watermark: then that is its time.
            told(9, "a", (3, 10), &[10, 20, 40, 50], Some((1, false))),
        ]
    );
    harness.restart(false);
    assert_eq!(harness.give(&[row(8, "a", 70)], &[30]), [told(30, "a", (3, 10), &[10, 20, 40, 50, 60, 70], Some((2, false)))]);
    // Both end: with the last time when they were silent, in that order.
    assert_eq!(
        harness.advance(END),
        [told(107, "b", (7, 8), &[30], Some((0, true))), told(109, "a", (3, 10), &[10, 20, 40, 50, 60, 70], Some((3, true)))]
    );
    assert_eq!(harness.stage.state_bytes(), 0);
}

#[test]
fn a_key_that_is_cleared_begins_anew() {
    let mut harness = Harness::new(by_rows(2, true));
    let rows = [row(5, "a", 10), row(3, "a", 20), row(9, "a", 30), row(8, "a", 40), row(8, "a", 50)];
    assert_eq!(harness.give(&rows, &[1; 5]), [told(5, "a", (3, 6), &[10, 20], None), told(9, "a", (8, 10), &[30, 40], None)]);
    harness.restart(true);
    assert_eq!(harness.advance(108), []);
    assert_eq!(harness.advance(109), [told(108, "a", (8, 9), &[50], None)]);
    assert_eq!(harness.stage.state_bytes(), 0);
}

#[test]
fn keys_with_new_rows_are_told_when_a_multiple_is_passed() {
    let window = GlobalWindow { every_rows: Some(3), every_ms: Some(HOUR), clear: false, idle_ms: 100 };
    let mut harness = Harness::new(window);
    harness.give(&[row(5, "b", 10), row(12, "a", 20)], &[-3, -3]);
    assert_eq!(harness.advance(-1), [], "nothing was passed");
    // The first multiple that is passed is the one that counts, as nothing came in between.
    assert_eq!(
        harness.advance(35),
        [told(-1, "a", (12, 13), &[20], Some((0, false))), told(-1, "b", (5, 6), &[10], Some((0, false)))]
    );
    harness.restart(false);
    assert_eq!(harness.advance(45), [], "nothing has changed");
    harness.give(&[row(15, "a", 30)], &[45]);
    // Two rows that come together, a multiple lying between them: what came before it is told without the other one.
    assert_eq!(
        harness.give(&[row(16, "a", 40), row(60, "a", 50)], &[49, 51]),
        [told(49, "a", (12, 17), &[20, 30, 40], Some((1, false)))]
    );
    // Rows are counted from when the key was told last.
    assert_eq!(harness.give(&[row(61, "a", 60)], &[51]), []);
    assert_eq!(harness.give(&[row(62, "a", 70)], &[51]).len(), 1);
    assert_eq!(harness.advance(60), [], "it was told by its rows");
}

#[test]
fn a_key_that_was_silent_ends_and_may_come_again() {
    let mut harness = Harness::new(by_rows(5, false));
    harness.give(&[row(0, "a", 10)], &[0]);
    assert_eq!(harness.advance(100), [], "a row of 0 would still be on time");
    assert_eq!(harness.advance(101), [told(100, "a", (0, 1), &[10], Some((0, true)))]);
    assert_eq!(harness.give(&[row(0, "a", 20), row(1, "a", 30)], &[101, 101]), [], "the first one is late");
    assert_eq!(harness.late, [20].into());
    // A row that ends its key's silence comes after the end.
    assert_eq!(harness.give(&[row(150, "a", 40)], &[140]), [told(101, "a", (1, 2), &[30], Some((0, true)))]);
    assert_eq!(harness.advance(END), [told(250, "a", (150, 151), &[40], Some((0, true)))]);
    harness.give(&[row(150, "a", 50)], &[END]);
    assert_eq!(harness.late, [20, 50].into(), "after the end everything is late");
}

#[test]
fn what_breaks_the_plugin_is_dead_and_counts_as_told() {
    let mut harness = Harness::new(by_rows(1, false));
    harness.plugin.poison_end = Some(3);
    assert_eq!(harness.give(&[row(2, "a", 10), row(5, "b", 19), row(6, "b", 20)], &[0; 3]).len(), 1);
    assert_eq!(harness.give(&[row(3, "a", 30)], &[0]), [told(3, "a", (2, 4), &[10, 30], Some((1, false)))]);
    let counts = harness.out.counts;
    assert_eq!((counts.rows_in, counts.accepted, counts.dead, counts.dead_panes), (4, 3, 1, 1));
    let dead: Vec<RowsOf> = harness.out.dead.iter().map(|dead| dead.of).collect();
    assert_eq!(dead, [RowsOf::Input(0), RowsOf::Key]);
}

#[test]
fn a_window_that_begins_anew_goes_on_with_its_revisions() {
    let mut harness = Harness::new(by_rows(2, false));
    harness.give(&[row(1, "a", 10), row(2, "a", 20), row(3, "b", 30), row(4, "c", 40), row(5, "c", 50)], &[0; 5]);
    harness.stage.forget_states();
    harness.restart(false);
    assert_eq!(harness.give(&[row(6, "a", 60), row(7, "a", 70)], &[0; 2]), [told(7, "a", (6, 8), &[60, 70], Some((1, false)))]);
    // Nothing came of c, and b was never told.
    assert_eq!(harness.advance(END), [told(107, "a", (6, 8), &[60, 70], Some((2, true)))]);
    assert_eq!(harness.stage.state_bytes(), 0);
}

/// What one epoch writes follows what it touched, not what is there. The stored form may only change with a new change (I-10).
#[test]
fn changes_hold_touched_keys_only() {
    let mut harness = Harness::new(by_rows(3, false));
    harness.give(&[row(0, "a", 10), row(0, "b", 10)], &[0; 2]);
    harness.written.image(&mut harness.stage);
    harness.give(&[row(2, "b", 20)], &[0]);
    let mut writer = ChangeWriter::default();
    writer.stage("tested");
    harness.stage.changes(&mut writer);
    let chunk = writer.finish().remove(0);
    let (_, mut body) = crate::state::sections(&chunk).unwrap().remove(0);
    let mut bytes = Vec::new();
    while !body.is_empty() {
        bytes.push(body.u8().unwrap());
    }
    let key = {
        let mut key = Vec::new();
        encode_key_bytes(&crate::stage::testing::id_lists::rows_of(&[row(0, "b", 0)]).rows, &[0], 0, &mut key);
        key
    };
    let state = [[0, 0, 0, 0, 0, 0, 0, 10], [0, 0, 0, 0, 0, 0, 0, 20]].concat();
    // First 0, last 2, two new rows, never told.
    let expected = [&[2, key.len() as u8][..], &key, &[0, 4, 2, 0, state.len() as u8], &state].concat();
    assert_eq!(bytes, expected);
}
