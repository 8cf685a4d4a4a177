//! Sessions against a recomputation of everything that was accepted.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::{
    column::{Column, Packed, Rows, Value},
    key::empty_columns,
    plan::Emission,
    plugin::{Reject, Routed},
    schema::{FieldType, Schema},
    stage::testing::{self, Written, batch, field},
};

const END: i64 = i64::MAX;
const GAP: i64 = 10;
/// Ids with this remainder (mod 10) are refused, or break the plugin.
const REFUSED: i64 = 8;
const POISON: i64 = 9;

#[derive(Clone, Debug, PartialEq)]
struct Row {
    at: i64,
    key: Option<&'static str>,
    id: i64,
}

/// (key, window start, window end, ids)
type Found = (Option<String>, i64, i64, Vec<i64>);

/// A plugin whose state is the sorted list of all ids that were added.
#[derive(Default)]
struct IdLists {
    n_merges: usize,
    /// A session that ends here breaks the plugin when it is emitted.
    poison_end: Option<i64>,
    /// A merge that touches this id breaks the plugin.
    poison_merge: Option<i64>,
}

fn int(column: &Column, row: usize) -> i64 {
    match column.at(row) {
        Value::Int(value) => value,
        value => panic!("{value:?} is no int"),
    }
}

fn ids_of(state: &[u8]) -> Vec<i64> {
    state.chunks_exact(8).map(|bytes| i64::from_be_bytes(bytes.try_into().unwrap())).collect()
}

fn bytes_of(mut ids: Vec<i64>) -> Vec<u8> {
    ids.sort();
    ids.iter().flat_map(|id| id.to_be_bytes()).collect()
}

fn trap() -> Result<Response, PluginFault> {
    Err(PluginFault::Trap("poison".to_owned()))
}

impl IdLists {
    fn answer(&mut self, request: &Request) -> Result<Response, PluginFault> {
        match request {
            Request::Add { grouped, states } => {
                let (mut out, mut rejects, mut start) = (Packed::default(), Vec::new(), 0);
                for (group, end) in grouped.ends.iter().enumerate() {
                    let mut ids = ids_of(states.at(group));
                    for row in start..*end {
                        match int(grouped.rows.column(0), row as usize) {
                            id if id % 10 == POISON => return trap(),
                            id if id % 10 == REFUSED => rejects.push(Reject { row, code: 7, message: "refused".to_owned() }),
                            id => ids.push(id),
                        }
                    }
                    out.push(&bytes_of(ids));
                    start = *end;
                }
                Ok(Response::States { states: out, rejects })
            }
            Request::Merge { parts, ends } => {
                let (mut out, mut start) = (Packed::default(), 0);
                for end in ends {
                    self.n_merges += 1;
                    let ids: Vec<i64> = (start..*end as usize).flat_map(|part| ids_of(parts.at(part))).collect();
                    if self.poison_merge.is_some_and(|id| ids.contains(&id)) {
                        return trap();
                    }
                    out.push(&bytes_of(ids));
                    start = *end as usize;
                }
                Ok(Response::States { states: out, rejects: Vec::new() })
            }
            Request::Emit { windows, keys, states } => {
                if windows.iter().any(|window| Some(window.end().0) == self.poison_end) {
                    return trap();
                }
                let mut columns = empty_columns(&[Kind::Int, Kind::Int, Kind::Bytes, Kind::Bytes]);
                for (group, window) in windows.iter().enumerate() {
                    columns[0].push(Value::Int(window.start().0));
                    columns[1].push(Value::Int(window.end().0));
                    columns[2].push(keys.column(0).at(group));
                    columns[3].push(Value::Bytes(states.at(group)));
                }
                let rows = Rows::new(windows.len(), columns).unwrap();
                let origins = (0..windows.len() as u32).collect();
                Ok(Response::Rows { outputs: vec![Routed { output: 0, rows, origins }], rejects: Vec::new() })
            }
            request => panic!("sessions asked {request:?}"),
        }
    }
}

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
        let input = Schema { fields: vec![field("key", FieldType::Text, false), field("id", FieldType::Int, true)] };
        let window = WindowSpec::Session { gap_ms: GAP };
        let emission = Emission::Final;
        let kind = StageKind::Aggregate { plugin: 0, columns: vec![1], key: vec![0], window, lateness_ms, emission };
        let plan =
            StagePlan { name: "tested".into(), fragment: 0, inputs: vec![input], kind, outputs: Vec::new(), late_topic: None };
        let (plugin, written, out) = (IdLists::default(), Written::default(), Outbox::default());
        Harness { stage: Session::new(&plan), plan, plugin, written, watermark: i64::MIN, out, emitted: Vec::new() }
    }

    fn accept(&mut self, rows: &[Row]) {
        let mut columns = empty_columns(&[Kind::Bytes, Kind::Int]);
        for row in rows {
            columns[0].push(row.key.map_or(Value::Null, |key| Value::Bytes(key.as_bytes())));
            columns[1].push(Value::Int(row.id));
        }
        let times: Vec<i64> = rows.iter().map(|row| row.at).collect();
        let batch = batch(Rows::new(rows.len(), columns).unwrap(), &times);
        let plugin = &mut self.plugin;
        testing::accept(&mut self.stage, 0, batch, self.watermark, &mut |request| plugin.answer(request), &mut self.out);
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
        let order: Vec<(i64, &Option<String>)> = taken.iter().map(|(key, _, end, _)| (*end, key)).collect();
        assert!(order.is_sorted(), "{order:?}");
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

fn row(at: i64, key: &'static str, id: i64) -> Row {
    Row { at, key: Some(key), id }
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
    *window = WindowSpec::Session { gap_ms: 15 };
    let (_, mut body) = crate::state::sections(&chunk).unwrap().remove(0);
    let restored = Session::new(&harness.plan).restore(&mut body);
    assert_eq!(restored, Err(StateError::Damaged("sessions of another gap than the manifest's")));
}

#[derive(Clone, Debug)]
enum Step {
    Rows(Vec<Row>),
    Advance(i64),
    Restart { with_image: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let far = prop::sample::select(vec![5_000, EventTime::MIN.0, EventTime::MAX.0, -5_001]);
    let at = prop_oneof![16 => -60_i64..60, 1 => far];
    let key = prop::sample::select(vec![None, Some("a"), Some("a"), Some("b")]);
    let rows = prop::collection::vec((at, key, 0_i64..40), 0..10);
    let step = prop_oneof![
        6 => rows.prop_map(|rows| Step::Rows(rows.into_iter().map(|(at, key, id)| Row { at, key, id }).collect())),
        4 => (-80_i64..100).prop_map(Step::Advance),
        1 => prop::sample::select(vec![4_000, i64::MIN, -5_000]).prop_map(Step::Advance),
        2 => any::<bool>().prop_map(|with_image| Step::Restart { with_image }),
    ];
    prop::collection::vec(step, 1..16).prop_map(|mut steps| {
        // The last digit of an id says what the plugin does with it; the rest makes it unique.
        let mut n_rows = 0;
        for step in &mut steps {
            if let Step::Rows(rows) = step {
                for row in rows {
                    n_rows += 1;
                    row.id = n_rows * 10 + if row.id < 10 { row.id } else { row.id % 8 };
                }
            }
        }
        steps
    })
}

fn run(steps: &[Step], lateness_ms: i64) -> Harness {
    let mut harness = Harness::new(lateness_ms);
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

/// What a batch job makes of all rows that are neither late nor refused: sorted by time, a new session after a gap.
fn brute_force(steps: &[Step], lateness_ms: i64) -> (BTreeSet<Found>, BTreeSet<i64>) {
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
    for run in rows.chunk_by(|a, b| a.key == b.key && b.at - a.at <= GAP) {
        let mut ids: Vec<i64> = run.iter().map(|row| row.id).collect();
        ids.sort();
        sessions.insert((run[0].key.map(str::to_owned), run[0].at, run[run.len() - 1].at + GAP, ids));
    }
    (sessions, late)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn sessions_are_those_of_a_batch_job(steps in steps(), lateness_ms in 0_i64..40) {
        let harness = run(&steps, lateness_ms);
        let (sessions, late) = brute_force(&steps, lateness_ms);
        prop_assert_eq!(harness.emitted.iter().cloned().collect::<BTreeSet<_>>(), sessions);
        prop_assert_eq!(harness.late(), late);
        let counts = harness.out.counts;
        prop_assert_eq!(counts.rows_in, counts.accepted + counts.late + counts.dead);
        prop_assert_eq!(counts.rows_out as usize, harness.emitted.len(), "no session twice");
        prop_assert_eq!(harness.stage.state_bytes(), 0);
    }

    #[test]
    fn cutting_a_batch_changes_no_session(steps in steps(), lateness_ms in 0_i64..40) {
        let single = |step: &Step| match step {
            Step::Rows(rows) => rows.iter().map(|row| Step::Rows(vec![row.clone()])).collect(),
            step => vec![step.clone()],
        };
        let cut: Vec<Step> = steps.iter().flat_map(single).collect();
        prop_assert_eq!(run(&cut, lateness_ms).emitted, run(&steps, lateness_ms).emitted);
    }
}
