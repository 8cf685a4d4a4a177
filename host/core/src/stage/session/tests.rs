//! Sessions against a recomputation of everything that was accepted.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::{
    column::Value,
    plan::{Emission, SessionCuts},
    stage::{
        LateRows,
        testing::{
            self, Written,
            id_lists::{
                END, IdLists, REFUSED, Row, Step, cases, ids_of, int, is_end, one_by_one, row, rows_of, stage_plan, steps,
            },
        },
    },
};

const GAP: i64 = 10;

/// (key, window start, window end, ids)
type Found = (Option<String>, i64, i64, Vec<i64>);

/// Sessions, and all that they gave away.
struct Harness {
    plan: StagePlan,
    stage: Session,
    plugin: IdLists,
    written: Written,
    watermark: i64,
    out: Outbox,
    emitted: Vec<Found>,
}

impl Harness {
    fn new(lateness_ms: i64) -> Harness {
        Harness::cut(SessionCuts::NONE, lateness_ms)
    }

    fn cut(cuts: SessionCuts, lateness_ms: i64) -> Harness {
        let plan = stage_plan(WindowSpec::Session { gap_ms: GAP, cuts }, lateness_ms, Emission::Final);
        let (plugin, written, out) = (IdLists::default(), Written::default(), Outbox::default());
        Harness { stage: Session::new(&plan), plan, plugin, written, watermark: i64::MIN, out, emitted: Vec::new() }
    }

    fn accept(&mut self, rows: &[Row]) {
        let plugin = &mut self.plugin;
        testing::accept(&mut self.stage, 0, rows_of(rows), self.watermark, &mut |request| plugin.answer(request), &mut self.out);
        assert_eq!(self.take_emitted(), [], "rows alone close nothing");
    }

    fn advance(&mut self, watermark: i64) -> Vec<Found> {
        self.watermark = self.watermark.max(watermark);
        let plugin = &mut self.plugin;
        testing::advance(&mut self.stage, self.watermark, &mut |request| plugin.answer(request), &mut self.out);
        self.take_emitted()
    }

    /// Seals, and goes on with a stage that was restored from what is written.
    fn restart(&mut self, with_image: bool) {
        let n_bytes = self.stage.state_bytes();
        match with_image {
            true => self.written.image(&mut self.stage),
            false => self.written.changes(&mut self.stage),
        }
        self.stage = Session::new(&self.plan);
        self.written.restore(&mut self.stage);
        assert_eq!(self.stage.state_bytes(), n_bytes);
    }

    fn take_emitted(&mut self) -> Vec<Found> {
        let mut taken = Vec::new();
        for (_, batch) in self.out.emitted.drain(..) {
            for row in 0..batch.len() {
                let key = match batch.rows.column(2).at(row) {
                    Value::Bytes(key) => Some(String::from_utf8(key.to_vec()).unwrap()),
                    _ => None,
                };
                let Value::Bytes(state) = batch.rows.column(3).at(row) else { panic!("a state is bytes") };
                let (start, end) = (int(batch.rows.column(0), row), int(batch.rows.column(1), row));
                assert_eq!(batch.times[row].0, end - 1);
                taken.push((key, start, end, ids_of(state)));
            }
        }
        let mut order: Vec<(i64, &Option<String>)> = taken.iter().map(|(key, _, end, _)| (*end, key)).collect();
        if self.stage.facts.rules.has_cuts() {
            // Key by key.
            order.sort_by_key(|(_, key)| *key);
            assert!(order.chunk_by(|a, b| a.1 == b.1).all(<[_]>::is_sorted), "{order:?}");
        } else {
            assert!(order.is_sorted(), "{order:?}");
        }
        self.emitted.extend(taken.iter().cloned());
        taken
    }

    fn late(&self) -> BTreeSet<i64> {
        let ids = |late: &LateRows| (0..late.batch.len()).map(|row| int(late.batch.rows.column(1), row)).collect::<Vec<_>>();
        self.out.late.iter().flat_map(ids).collect()
    }

    /// The ids of all dead rows.
    fn dead(&self) -> BTreeSet<i64> {
        let of_rows = self.out.dead.iter().filter(|dead| dead.of == RowsOf::Input(0));
        of_rows.flat_map(|dead| (0..dead.batch.len()).map(|row| int(dead.batch.rows.column(1), row))).collect()
    }
}

fn found(key: &str, start: i64, end: i64, ids: &[i64]) -> Found {
    (Some(key.to_owned()), start, end, ids.to_vec())
}

#[test]
fn a_difference_equal_to_the_gap_joins_and_one_more_does_not() {
    let mut harness = Harness::new(0);
    harness.accept(&[row(0, "a", 1), row(10, "a", 2), row(21, "a", 3), row(-10, "b", 4)]);
    assert_eq!(harness.advance(END), [found("b", -10, 0, &[4]), found("a", 0, 20, &[1, 2]), found("a", 21, 31, &[3])]);
    assert_eq!(harness.stage.state_bytes(), 0);
}

#[test]
fn a_session_closes_when_no_row_on_time_can_join_it() {
    let mut harness = Harness::new(5);
    harness.accept(&[row(0, "a", 1)]);
    // At 15 a row of 10 is still accepted, and joins.
    assert_eq!(harness.advance(15), []);
    harness.accept(&[row(10, "a", 2), row(9, "a", 3)]);
    assert_eq!(harness.late(), [3].into());
    assert_eq!(harness.advance(25), []);
    assert_eq!(harness.advance(26), [found("a", 0, 20, &[1, 2])]);
}

#[test]
fn a_row_between_two_sessions_makes_one_of_them() {
    let mut harness = Harness::new(100);
    harness.accept(&[row(0, "a", 1), row(20, "a", 2), row(40, "a", 3), row(20, "b", 4)]);
    harness.accept(&[row(10, "a", 5)]);
    harness.restart(false);
    harness.accept(&[row(30, "a", 6)]);
    assert_eq!(harness.advance(END), [found("b", 20, 30, &[4]), found("a", 0, 50, &[1, 2, 3, 5, 6])]);
}

#[test]
fn a_refused_row_holds_nothing_together() {
    for id in [18, 19] {
        let mut harness = Harness::new(100);
        harness.accept(&[row(0, "a", 1), row(10, "a", id), row(20, "a", 2)]);
        assert_eq!(harness.dead(), [id].into());
        assert_eq!(harness.advance(END), [found("a", 0, 10, &[1]), found("a", 20, 30, &[2])]);
        let counts = harness.out.counts;
        assert_eq!((counts.rows_in, counts.accepted, counts.dead, counts.rows_out), (3, 2, 1, 2));
    }
}

#[test]
fn a_merge_that_breaks_the_plugin_leaves_the_sessions_as_they_were() {
    let mut harness = Harness::new(100);
    harness.accept(&[row(0, "a", 1), row(20, "a", 2), row(0, "b", 3)]);
    harness.plugin.poison_merge = Some(4);
    harness.accept(&[row(10, "a", 4), row(10, "b", 5)]);
    assert_eq!(harness.dead(), [4].into());
    assert_eq!(harness.advance(END), [found("a", 0, 10, &[1]), found("b", 0, 20, &[3, 5]), found("a", 20, 30, &[2])]);
}

#[test]
fn a_session_that_breaks_the_plugin_is_one_dead_row_of_its_key() {
    let mut harness = Harness::new(0);
    harness.plugin.poison_end = Some(15);
    harness.accept(&[row(5, "a", 1), row(5, "b", 2), row(50, "a", 3)]);
    assert_eq!(harness.advance(END), [found("a", 50, 60, &[3])]);
    assert_eq!(harness.out.counts.dead_panes, 2);
    let dead = &harness.out.dead[0];
    assert_eq!((dead.of, dead.batch.len(), dead.batch.times[0].0), (RowsOf::Key, 2, 14));
}

#[test]
fn changes_hold_touched_keys_only_and_a_closed_session_costs_nothing() {
    let mut harness = Harness::new(0);
    let keys: Vec<Row> = ["a", "b", "c", "d"].iter().map(|key| row(0, key, 1)).collect();
    harness.accept(&keys);
    harness.restart(false);
    let all = harness.written.n_bytes();
    let mut written = Written::default();
    harness.accept(&[row(1, "a", 2)]);
    written.changes(&mut harness.stage);
    assert!(0 < written.n_bytes() && written.n_bytes() < all, "{} of {all}", written.n_bytes());
    let mut nothing = Written::default();
    nothing.changes(&mut harness.stage);
    assert_eq!(nothing.n_bytes(), 0);
}

#[test]
fn state_of_another_gap_is_refused() {
    let mut harness = Harness::new(0);
    harness.accept(&[row(0, "a", 1), row(15, "a", 2)]);
    let mut writer = ChangeWriter::default();
    writer.stage("tested");
    harness.stage.image(&mut writer);
    let chunk = writer.finish().remove(0);
    let StageKind::Aggregate { window, .. } = &mut harness.plan.kind else { panic!("it is an aggregate") };
    *window = WindowSpec::Session { gap_ms: 15, cuts: SessionCuts::NONE };
    let (_, mut body) = crate::state::sections(&chunk).unwrap().remove(0);
    let restored = Session::new(&harness.plan).restore(&mut body);
    assert_eq!(restored, Err(StateError::Damaged("sessions of another gap than the manifest's")));
}

fn rows() -> impl Strategy<Value = Vec<(i64, Option<&'static str>, i64)>> {
    let far = prop::sample::select(vec![5_000, EventTime::MIN.0, EventTime::MAX.0, -5_001]);
    let at = prop_oneof![16 => -60_i64..60, 1 => far];
    let key = prop::sample::select(vec![None, Some("a"), Some("a"), Some("b")]);
    prop::collection::vec((at, key, 0_i64..40), 0..10)
}

fn cuts() -> impl Strategy<Value = SessionCuts> {
    let end = prop::option::of(Just(2_usize));
    let (rows_max, length_ms_max) = (prop::option::of(1_u64..5), prop::option::of(1_i64..60));
    (end, rows_max, length_ms_max).prop_map(|(end, rows_max, length_ms_max)| SessionCuts { end, rows_max, length_ms_max })
}

/// As [`rows`], closer together, so that there is something to cut.
fn close_rows() -> impl Strategy<Value = Vec<(i64, Option<&'static str>, i64)>> {
    let at = prop_oneof![20 => -30_i64..30, 1 => prop::sample::select(vec![EventTime::MIN.0, EventTime::MAX.0])];
    prop::collection::vec((at, prop::sample::select(vec![Some("a"), Some("a"), Some("b")]), 0_i64..40), 0..10)
}

fn run(steps: &[Step], cuts: SessionCuts, lateness_ms: i64) -> Harness {
    let mut harness = Harness::cut(cuts, lateness_ms);
    for step in steps {
        match step {
            Step::Rows(rows) => harness.accept(rows),
            Step::Advance(to) => drop(harness.advance(*to)),
            Step::Restart { with_image } => harness.restart(*with_image),
        }
    }
    harness.advance(END);
    harness
}

/// What a batch job makes of all rows that are neither late nor refused: sorted by time, a new session after a gap or a cut.
fn brute_force(steps: &[Step], cuts: SessionCuts, lateness_ms: i64) -> (BTreeSet<Found>, BTreeSet<i64>) {
    let (mut watermark, mut late, mut rows) = (i64::MIN, BTreeSet::new(), Vec::new());
    for step in steps {
        match step {
            Step::Rows(all) => {
                for row in all {
                    match row.at < Watermark(watermark).minus(lateness_ms).0 {
                        true => drop(late.insert(row.id)),
                        false if row.id % 10 < REFUSED => rows.push(row.clone()),
                        false => {}
                    }
                }
            }
            Step::Advance(to) => watermark = watermark.max(*to),
            Step::Restart { .. } => {}
        }
    }
    rows.sort_by_key(|row| (row.key, row.at));
    let mut sessions = BTreeSet::new();
    let mut open: Vec<&Row> = Vec::new();
    let is_complete = |open: &[&Row]| {
        cuts.rows_max.is_some_and(|max| open.len() as u64 >= max) || (cuts.end.is_some() && open.iter().any(|row| is_end(row.id)))
    };
    let mut close = |open: &mut Vec<&Row>| {
        let Some((first, last)) = open.first().zip(open.last()) else { return };
        let by_length = first.at + cuts.length_ms_max.unwrap_or(i64::MAX / 2);
        let end = if is_complete(open) { last.at + 1 } else { by_length.min(last.at + GAP) };
        let mut ids: Vec<i64> = open.iter().map(|row| row.id).collect();
        ids.sort();
        sessions.insert((first.key.map(str::to_owned), first.at, end, ids));
        open.clear();
    };
    for row in &rows {
        if let Some((first, last)) = open.first().zip(open.last())
            && (first.key != row.key
                || row.at - last.at > GAP
                || row.at - first.at >= cuts.length_ms_max.unwrap_or(i64::MAX)
                || (last.at < row.at && is_complete(&open)))
        {
            close(&mut open);
        }
        open.push(row);
    }
    close(&mut open);
    (sessions, late)
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn sessions_are_those_of_a_batch_job(steps in steps(rows(), 15), lateness_ms in 0_i64..40) {
        check(&steps, SessionCuts::NONE, lateness_ms)?;
    }

    #[test]
    fn cut_sessions_are_those_of_a_batch_job(steps in steps(close_rows(), 15), cuts in cuts(), lateness_ms in 0_i64..40) {
        check(&steps, cuts, lateness_ms)?;
    }

    #[test]
    fn cutting_a_batch_changes_no_session(steps in steps(rows(), 15), lateness_ms in 0_i64..40) {
        let whole = run(&steps, SessionCuts::NONE, lateness_ms).emitted;
        prop_assert_eq!(run(&one_by_one(&steps), SessionCuts::NONE, lateness_ms).emitted, whole);
    }

    #[test]
    fn cutting_a_batch_changes_no_cut_session(steps in steps(close_rows(), 15), cuts in cuts(), lateness_ms in 0_i64..40) {
        prop_assert_eq!(run(&one_by_one(&steps), cuts, lateness_ms).emitted, run(&steps, cuts, lateness_ms).emitted);
    }
}

fn check(steps: &[Step], cuts: SessionCuts, lateness_ms: i64) -> Result<(), TestCaseError> {
    let harness = run(steps, cuts, lateness_ms);
    let (sessions, late) = brute_force(steps, cuts, lateness_ms);
    prop_assert_eq!(harness.emitted.iter().cloned().collect::<BTreeSet<_>>(), sessions);
    prop_assert_eq!(harness.late(), late);
    let counts = harness.out.counts;
    prop_assert_eq!(counts.rows_in, counts.accepted + counts.late + counts.dead);
    prop_assert_eq!(counts.rows_out as usize, harness.emitted.len(), "no session twice");
    prop_assert_eq!(harness.stage.state_bytes(), 0);
    Ok(())
}

const ENDED: SessionCuts = SessionCuts { end: Some(2), ..SessionCuts::NONE };

#[test]
fn an_end_closes_its_session_once_nothing_before_it_can_come() {
    let mut harness = Harness::cut(ENDED, 5);
    harness.accept(&[row(0, "a", 1), row(4, "a", 50), row(6, "a", 2)]);
    // At 9 a row of 4 is still accepted.
    assert_eq!(harness.advance(9), []);
    harness.accept(&[row(4, "a", 3), row(5, "a", 4)]);
    harness.restart(false);
    assert_eq!(harness.advance(10), [found("a", 0, 5, &[1, 3, 50])]);
    harness.restart(true);
    assert_eq!(harness.advance(END), [found("a", 5, 16, &[2, 4])]);
}

#[test]
fn an_end_that_comes_late_cuts_what_was_together() {
    let mut harness = Harness::cut(ENDED, 100);
    harness.accept(&[row(0, "a", 1), row(8, "a", 2), row(16, "a", 3)]);
    harness.accept(&[row(9, "a", 50)]);
    // A refused end is none.
    harness.accept(&[row(3, "a", 58)]);
    assert_eq!(harness.advance(END), [found("a", 0, 10, &[1, 2, 50]), found("a", 16, 26, &[3])]);
}

#[test]
fn a_long_session_is_cut_and_its_state_stays_small() {
    let mut harness = Harness::cut(SessionCuts { length_ms_max: Some(20), ..SessionCuts::NONE }, 0);
    let mut n_bytes = 0;
    for at in 0..200 {
        harness.accept(&[row(at, "a", at * 10 + 1)]);
        harness.advance(at);
        n_bytes = n_bytes.max(harness.stage.state_bytes());
    }
    let ends: Vec<(i64, i64)> = harness.emitted.iter().map(|(_, start, end, _)| (*start, *end)).collect();
    assert_eq!(ends, (0..9).map(|n| (n * 20, n * 20 + 20)).collect::<Vec<_>>());
    assert!(n_bytes < 300, "{n_bytes} bytes");
}

#[test]
fn a_cut_session_whose_merging_breaks_the_plugin_is_one_dead_row_of_its_key() {
    let mut harness = Harness::cut(ENDED, 0);
    harness.plugin.poison_merge = Some(1);
    harness.accept(&[row(0, "a", 1), row(1, "a", 2), row(0, "b", 3), row(1, "b", 50), row(5, "a", 4)]);
    assert_eq!(harness.advance(4), [found("b", 0, 2, &[3, 50])]);
    assert_eq!(harness.advance(END), [found("a", 5, 15, &[4])]);
    assert_eq!(harness.out.counts.dead_panes, 1);
}
