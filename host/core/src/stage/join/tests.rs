//! The join latest before, against a brute-force recomputation.

mod harness;
mod properties;

use super::{testing::*, *};
use crate::stage::testing::{self};

use harness::*;

#[test]
fn a_play_is_provisional_then_better_then_final() {
    let mut harness = Harness::new(SETTINGS);
    harness.accept(1, &[row(0, "k", 0, 101), row(3, "other", 0, 102)]);
    assert_eq!(harness.accept(0, &[row(10, "k", 0, 1), row(11, "k", 0, 2)]), []);
    assert_eq!(harness.advance(9), []);
    assert_eq!(harness.advance(10), [emitted(10, 1, Some(101), Some((0, false)))]);
    // Also for a play that the watermark has not reached: no row yet.
    assert_eq!(harness.accept(1, &[row(8, "k", 0, 103)]), [emitted(10, 1, Some(103), Some((1, false)))]);
    harness.restart(false);
    assert_eq!(harness.accept(1, &[row(7, "k", 9, 104), row(8, "k", -1, 105)]), []);
    assert_eq!(harness.accept(1, &[row(8, "k", 1, 106)]), [emitted(10, 1, Some(106), Some((2, false)))]);
    assert_eq!(harness.advance(15), [emitted(11, 2, Some(106), Some((0, false)))]);
    // At exactly watermark − lateness rows are still accepted.
    assert_eq!(harness.accept(1, &[row(10, "k", 0, 107)]).len(), 2);
    assert_eq!(harness.advance(16), [emitted(10, 1, Some(107), Some((4, true)))]);
    assert_eq!(harness.advance(17), [emitted(11, 2, Some(107), Some((2, true)))]);
    harness.check();
}

#[test]
fn lateness_and_state_end_strictly_after_the_horizon() {
    let mut harness = Harness::new(Settings { emission: Emission::Final, ..SETTINGS });
    harness.advance(20);
    harness.accept(0, &[row(15, "k", 0, 1), row(14, "k", 0, 2)]);
    harness.accept(1, &[row(15, "k", 0, 101), row(14, "k", 0, 102)]);
    assert_eq!((harness.out.counts.accepted, harness.out.counts.late), (2, 2));
    assert_eq!(harness.out.late.iter().map(|late| late.port).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(harness.advance(21), [emitted(15, 1, Some(101), None)]);
    assert_eq!(harness.stage.sides.rights().count(), 1);
    harness.advance(30);
    assert_eq!(harness.stage.sides.rights().count(), 1);
    harness.advance(31);
    assert_eq!(harness.stage.state_bytes(), 0);
}

#[test]
fn null_keys_match_nothing() {
    for (outer, expected) in [(true, vec![emitted(5, 1, None, None)]), (false, vec![])] {
        let mut harness = Harness::new(Settings { outer, emission: Emission::Final, ..SETTINGS });
        harness.accept(1, &[Row { at: 5, key: None, tie: 0, id: 101 }]);
        harness.accept(0, &[Row { at: 5, key: None, tie: 0, id: 1 }]);
        assert_eq!(harness.advance(END), expected);
        harness.check();
    }
}

#[test]
fn a_dead_left_row_is_whole_and_harms_no_other() {
    let mut harness = Harness::new(SETTINGS);
    harness.accept(0, &[row(1, "k", 0, 11), row(2, "k", 0, 19), row(3, "k", 0, 18), row(4, "k", 0, 12)]);
    assert_eq!(harness.advance(4).len(), 2);
    assert!(harness.out.dead.is_empty());
    assert_eq!(harness.advance(END).len(), 2);
    let dead = &harness.out.dead[0];
    assert_eq!(dead.batch.rows, batch_of(0, &[row(2, "k", 0, 19), row(3, "k", 0, 18)]).rows);
    harness.check();
}

#[test]
fn many_plays_become_due_in_calls_of_bounded_size() {
    let mut harness = Harness::new(Settings { outer: true, emission: Emission::Final, ..SETTINGS });
    let rows: Vec<Row> = (0..10_000).map(|idx| row(idx % 97, "k", 0, idx * 10)).collect();
    harness.accept(0, &rows);
    let mut sizes = Vec::new();
    let mut plugin = |request: &Request| {
        sizes.push(request.n_units());
        pair(request)
    };
    testing::advance(&mut harness.stage, END, &mut plugin, &mut harness.out);
    assert_eq!(sizes, [4096, 4096, 10_000 - 2 * 4096]);
}
