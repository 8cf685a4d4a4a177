//! The aggregate against a brute-force recomputation.

mod combined;
mod harness;
mod properties;

use super::*;
use crate::{
    plan::WindowSpec,
    stage::{DeadReason, RowsOf, testing::Written},
    time::Window,
};

use harness::*;

#[test]
fn a_window_fires_once_its_end_and_the_lateness_have_passed() {
    let mut harness = Harness::new(TUMBLING, 5, Emission::Final);
    assert_eq!(harness.accept(&[row(9, "b", 1), row(0, "a", 2), row(10, "a", 3), row(9, "a", 4)]), []);
    assert_eq!(harness.advance(14), []);
    assert_eq!(harness.advance(15), [emitted(10, "a", &[2, 4], None), emitted(10, "b", &[1], None)]);
    assert_eq!(harness.accept(&[row(9, "a", 5)]), []);
    assert_eq!(harness.advance(END), [emitted(20, "a", &[3], None)]);
    assert_eq!(harness.late(), [(5, (0, 10))].into());
    assert_eq!(harness.stage.state_bytes(), 0);
}

#[test]
fn an_upsert_window_fires_at_its_end_after_each_late_batch_and_when_final() {
    let mut harness = Harness::new(TUMBLING, 5, Emission::Upsert);
    harness.accept(&[row(-1, "a", 1), row(-10, "b", 2)]);
    assert_eq!(harness.advance(-1), []);
    assert_eq!(harness.advance(0), [emitted(0, "a", &[1], Some((0, false))), emitted(0, "b", &[2], Some((0, false)))]);
    assert_eq!(
        harness.accept(&[row(-1, "c", 3), row(-2, "a", 4), row(-3, "a", 5)]),
        [emitted(0, "a", &[1, 4, 5], Some((1, false))), emitted(0, "c", &[3], Some((0, false)))]
    );
    harness.restart(false);
    assert_eq!(
        harness.advance(5),
        [
            emitted(0, "a", &[1, 4, 5], Some((2, true))),
            emitted(0, "b", &[2], Some((1, true))),
            emitted(0, "c", &[3], Some((1, true)))
        ]
    );
    assert_eq!(harness.stage.state_bytes(), 0);
}

#[test]
fn a_changed_window_is_told_early_at_the_end_of_each_interval() {
    let mut harness = Harness::early(TUMBLING, 5);
    harness.accept(&[row(1, "a", 1)]);
    assert_eq!((harness.clock(100), harness.clock(109)), (vec![], vec![]));
    harness.accept(&[row(2, "a", 2), row(11, "b", 3)]);
    assert_eq!(harness.clock(110), [emitted(10, "a", &[1, 2], Some((0, false))), emitted(20, "b", &[3], Some((0, false)))]);
    harness.accept(&[row(3, "a", 4)]);
    assert_eq!((harness.clock(119), harness.clock(150)), (vec![], vec![emitted(10, "a", &[1, 2, 4], Some((1, false)))]));
    assert_eq!(harness.clock(200), [], "nothing has changed");
    // What fires goes on from there, and is told early no more.
    assert_eq!(harness.advance(10), [emitted(10, "a", &[1, 2, 4], Some((2, false)))]);
    assert_eq!(harness.accept(&[row(4, "a", 5)]), [emitted(10, "a", &[1, 2, 4, 5], Some((3, false)))]);
    assert_eq!(harness.clock(300), []);
    assert_eq!(harness.advance(15), [emitted(10, "a", &[1, 2, 4, 5], Some((4, true)))]);
    assert_eq!(harness.advance(END), [emitted(20, "b", &[3], Some((1, true)))]);
    assert_eq!(harness.stage.state_bytes(), 0);
}

#[test]
fn after_a_restart_open_windows_are_told_once_more() {
    let mut harness = Harness::early(HOPPING, 0);
    harness.accept(&[row(5, "a", 1)]);
    harness.advance(10);
    harness.clock(0);
    let of_both =
        |rev| [emitted_in((-10, 20), "a", &[1], Some((rev, false))), emitted_in((0, 30), "a", &[1], Some((rev, false)))];
    assert_eq!(harness.clock(10), of_both(0));
    harness.restart(true);
    assert_eq!((harness.clock(11), harness.clock(21), harness.clock(31)), (vec![], of_both(1).to_vec(), vec![]));
    assert_eq!(
        harness.advance(END),
        [emitted_in((-10, 20), "a", &[1], Some((2, true))), emitted_in((0, 30), "a", &[1], Some((2, true)))]
    );
}

#[test]
fn a_row_is_late_for_closed_windows_only() {
    let mut harness = Harness::new(HOPPING, 0, Emission::Final);
    harness.accept(&[row(5, "a", 1)]);
    assert_eq!(harness.advance(20), [emitted_in((-20, 10), "a", &[1], None), emitted_in((-10, 20), "a", &[1], None)]);
    harness.accept(&[row(5, "a", 2)]);
    assert_eq!(harness.late(), [(2, (-20, 10)), (2, (-10, 20))].into());
    assert_eq!((harness.out.counts.accepted, harness.out.counts.late, harness.out.counts.late_panes), (2, 0, 2));
    assert_eq!(harness.advance(30), [emitted_in((0, 30), "a", &[1, 2], None)]);
    harness.accept(&[row(5, "a", 3)]);
    assert_eq!((harness.out.counts.accepted, harness.out.counts.late, harness.out.counts.late_panes), (2, 1, 2));
    assert_eq!(harness.late().len(), 5);
}

#[test]
fn guilty_rows_are_dead_and_all_others_count_once() {
    let mut harness = Harness::new(TUMBLING, 0, Emission::Final);
    harness.accept(&[row(1, "a", 11), row(2, "b", 19), row(3, "a", 29), row(4, "b", 18), row(5, "a", 12), row(6, "c", 28)]);
    let dead = &harness.out.dead[0];
    assert_eq!(dead.of, RowsOf::Input(0));
    let reasons: Vec<(i64, bool)> = (0..)
        .zip(&dead.reasons)
        .map(|(row, why)| (int(dead.batch.rows.column(1), row), matches!(why, DeadReason::Fault(_))))
        .collect();
    assert_eq!(reasons, [(19, true), (29, true), (18, false), (28, false)]);
    let counts = &harness.out.counts;
    assert_eq!((counts.rows_in, counts.accepted, counts.dead), (6, 2, 4));
    // Keys that only dead rows had fire nothing, and are not kept.
    assert_eq!(harness.advance(END), [emitted(10, "a", &[11, 12], None)]);
}

#[test]
fn keys_of_dead_rows_are_not_kept() {
    let mut harness = Harness::new(TUMBLING, 0, Emission::Upsert);
    harness.accept(&[row(1, "a", 18), row(2, "b", 19)]);
    assert_eq!(harness.stage.state_bytes(), 0);
    harness.restart(true);
    assert_eq!(harness.advance(END), []);
}

#[test]
fn a_window_that_breaks_the_plugin_is_one_dead_row_and_counts_as_emitted() {
    let mut harness = Harness::new(HOPPING, 5, Emission::Upsert);
    harness.plugin.poison_end = Some(20);
    harness.accept(&[row(5, "a", 1), row(15, "b", 2)]);
    let panes: Vec<i64> = harness.advance(30).iter().map(|one| one.pane.0.1).collect();
    assert_eq!(panes, [10, 30, 30]);
    let dead: Vec<i64> = harness.out.dead.iter().flat_map(|dead| dead.batch.times.iter().map(|at| at.0)).collect();
    assert_eq!(dead, [19, 19]);
    assert!(harness.out.dead.iter().all(|dead| dead.of == RowsOf::Key));
    assert_eq!(harness.out.counts.dead_panes, 2);
}

#[test]
fn a_merge_that_breaks_the_plugin_harms_no_other_key() {
    let mut harness = Harness::new(HOPPING, 0, Emission::Final);
    harness.plugin.poison_merge = Some(3);
    harness.accept(&[row(5, "a", 1), row(15, "a", 2), row(5, "b", 3), row(15, "b", 4)]);
    let fired = harness.advance(20);
    assert_eq!(
        fired,
        [
            emitted_in((-20, 10), "a", &[1], None),
            emitted_in((-20, 10), "b", &[3], None),
            emitted_in((-10, 20), "a", &[1, 2], None)
        ]
    );
    assert_eq!(harness.out.counts.dead_panes, 1);
}

/// The cost of a row must not grow with the number of panes: each is merged into the young state, into a suffix, and its result
/// from these two.
#[test]
fn sliding_merges_a_bounded_number_of_parts_for_each_row() {
    for n_panes in [6, 60, 600] {
        let mut harness = Harness::new(WindowSpec::Hopping { size_ms: n_panes, slide_ms: 1, offset_ms: 0 }, 0, Emission::Final);
        let n_rows = 3 * n_panes;
        for at in 0..n_rows {
            harness.accept(&[row(at, "a", at * 10)]);
            harness.advance(at + 1);
        }
        let expected: Vec<i64> = (n_rows - n_panes..n_rows).map(|at| at * 10).collect();
        assert_eq!(harness.emitted.last().unwrap().ids, expected);
        assert!(harness.plugin.n_parts <= 6 * n_rows as usize, "{} parts for {n_rows} rows", harness.plugin.n_parts);
    }
}

/// What one epoch writes follows what it touched, not what is there.
#[test]
fn changes_hold_touched_groups_only() {
    let mut harness = Harness::new(TUMBLING, 5, Emission::Upsert);
    let rows: Vec<Row> = (0..1000).map(|idx| Row { at: idx % 50, key: Some("a"), id: idx * 10 }).collect();
    harness.accept(&rows);
    harness.written.image(&mut harness.stage);
    let mut changes = Written::default();
    harness.accept(&[row(100, "a", 1)]);
    changes.changes(&mut harness.stage);
    assert!(changes.n_bytes() < 60, "{} bytes", changes.n_bytes());
    let mut nothing = Written::default();
    nothing.changes(&mut harness.stage);
    assert_eq!(nothing.n_bytes(), 0);
}

/// Window 10 has fired and is open, window 20 has not fired, and was told early.
#[test]
fn an_aggregate_that_begins_anew_goes_on_with_its_revisions() {
    let mut harness = Harness::early(TUMBLING, 100);
    harness.accept(&[row(1, "a", 1), row(2, "b", 2), row(12, "a", 3)]);
    harness.clock(0);
    assert_eq!(harness.clock(10).len(), 3);
    harness.accept(&[row(3, "c", 4)]);
    harness.advance(11);
    harness.stage.forget_states();
    for with_image in [true, false] {
        harness.restart(with_image);
        let mut kept = Vec::new();
        harness.stage.kept(&mut |kept_one| kept.push(matches!(kept_one, Kept::Revision { .. })));
        assert_eq!(kept, [true; 4], "each that was told, and no state");
    }
    assert_eq!(harness.clock(100), [], "nothing is left to be told");
    // Told when the window fired, and early.
    assert_eq!(harness.accept(&[row(4, "c", 5)]), [emitted(10, "c", &[5], Some((1, false)))]);
    assert_eq!(harness.accept(&[row(5, "a", 6)]), [emitted(10, "a", &[6], Some((2, false)))]);
    assert_eq!(harness.accept(&[row(5, "d", 7)]), [emitted(10, "d", &[7], Some((0, false)))], "never told");
    harness.accept(&[row(13, "a", 11)]);
    assert_eq!(harness.advance(20), [emitted(20, "a", &[11], Some((1, false)))]);
    let finals = harness.advance(END);
    assert_eq!(finals.iter().map(|one| one.pane.clone()).collect::<Vec<_>>().len(), 4, "a, c and d of 10, a of 20: {finals:?}");
}

/// The stored form of before windows were known by their starts: changelogs outlive a build, so it must be read for ever (I-10).
#[test]
fn a_revision_by_the_end_of_its_window_is_read() {
    // 03, window end 20, key "a", revision 4; a watermark would drop it, and none is there.
    let read = |spec: WindowSpec| {
        let mut harness = Harness::new(spec, 5, Emission::Upsert);
        let mut writer = ChangeWriter::default();
        writer.stage("tested");
        [3, 40, 1, b'a', 4].into_iter().for_each(|byte| writer.body().u8(byte));
        let chunk = writer.finish().remove(0);
        let (_, mut body) = crate::state::sections(&chunk).unwrap().remove(0);
        let result = harness.stage.restore(&mut body);
        let mut kept = Vec::new();
        harness
            .stage
            .kept(&mut |one| kept.extend(if let Kept::Revision { window, rev, .. } = one { Some((window, rev)) } else { None }));
        result.map(|()| kept)
    };
    let window = |start, end| Window::new(EventTime(start), EventTime(end));
    assert_eq!(read(TUMBLING), Ok(vec![(window(10, 20), 4)]));
    assert_eq!(read(HOPPING), Ok(vec![(window(-10, 20), 4)]));
    let refused = read(WindowSpec::Tumbling { size_ms: 15, offset_ms: 0 });
    assert_eq!(refused, Err(StateError::Damaged("a revision of other windows than the manifest's")));
}

#[test]
fn state_of_other_windows_is_refused() {
    let mut harness = Harness::new(TUMBLING, 0, Emission::Final);
    harness.accept(&[row(15, "a", 1)]);
    harness.written.image(&mut harness.stage);
    let mut other = Aggregate::new(&stage_plan(WindowSpec::Tumbling { size_ms: 20, offset_ms: 0 }, 0, Emission::Final));
    let mut writer = ChangeWriter::default();
    writer.stage("tested");
    harness.stage.image(&mut writer);
    let chunk = writer.finish().remove(0);
    let (_, mut body) = crate::state::sections(&chunk).unwrap().remove(0);
    assert_eq!(other.restore(&mut body), Err(StateError::Damaged("a pane of other windows than the manifest's")));
}
