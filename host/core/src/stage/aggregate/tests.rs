//! The aggregate against a brute-force recomputation.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::{
    column::{Column, Packed, Rows, Value},
    key::empty_columns,
    plan::WindowSpec,
    plugin::{Reject, Routed},
    schema::{FieldType, Schema},
    stage::{
        DeadReason, RowsOf,
        testing::{self, Written, batch, field},
    },
};

const END: i64 = i64::MAX;
/// Ids with this remainder (mod 10) are refused, or break the plugin.
const REFUSED: i64 = 8;
const POISON: i64 = 9;

fn stage_plan(window: WindowSpec, lateness_ms: i64, emission: Emission) -> StagePlan {
    let input = Schema { fields: vec![field("key", FieldType::Text, false), field("id", FieldType::Int, true)] };
    let kind = StageKind::Aggregate { plugin: 0, columns: vec![1], key: vec![0], window, lateness_ms, emission };
    StagePlan { name: "tested".into(), fragment: 0, inputs: vec![input], kind, outputs: Vec::new(), late_topic: None }
}

#[derive(Clone, Debug, PartialEq)]
struct Row {
    at: i64,
    key: Option<&'static str>,
    id: i64,
}

fn rows_of(rows: &[Row]) -> Batch {
    let mut columns = empty_columns(&[Kind::Bytes, Kind::Int]);
    for row in rows {
        columns[0].push(row.key.map_or(Value::Null, |key| Value::Bytes(key.as_bytes())));
        columns[1].push(Value::Int(row.id));
    }
    let times: Vec<i64> = rows.iter().map(|row| row.at).collect();
    batch(Rows::new(rows.len(), columns).unwrap(), &times)
}

fn int(column: &Column, row: usize) -> i64 {
    match column.at(row) {
        Value::Int(value) => value,
        value => panic!("{value:?} is no int"),
    }
}

/// A plugin whose state is the sorted list of all ids that were added, so that a wrong row, or one that counts twice, shows.
/// Emits (start, key, ids). Counts what it was asked to do.
#[derive(Default)]
struct IdLists {
    n_calls: usize,
    n_parts: usize,
    /// A window that ends here breaks the plugin when it is emitted.
    poison_end: Option<i64>,
    /// A merge that touches this id breaks the plugin.
    poison_merge: Option<i64>,
}

impl IdLists {
    fn answer(&mut self, request: &Request) -> Result<Response, PluginFault> {
        self.n_calls += 1;
        match request {
            Request::Add { grouped, states } => add(grouped, states),
            Request::Merge { parts, ends } => {
                self.n_parts += parts.len();
                self.merge(parts, ends)
            }
            Request::Emit { windows, keys, states } => self.emit(windows, keys, states),
            request => panic!("an aggregate asked {request:?}"),
        }
    }

    fn merge(&self, parts: &Packed, ends: &[u32]) -> Result<Response, PluginFault> {
        let mut states = Packed::default();
        let mut start = 0;
        for end in ends {
            assert!(start + 1 < *end as usize, "a merge of one part is a wasted call");
            let mut ids: Vec<i64> = (start..*end as usize).flat_map(|part| ids_of(parts.at(part))).collect();
            ids.sort();
            if self.poison_merge.is_some_and(|id| ids.contains(&id)) {
                return Err(PluginFault::Trap("poison".to_owned()));
            }
            states.push(&bytes_of(&ids));
            start = *end as usize;
        }
        Ok(Response::States { states, rejects: Vec::new() })
    }

    fn emit(&self, windows: &[crate::time::Window], keys: &Rows, states: &Packed) -> Result<Response, PluginFault> {
        if windows.iter().any(|window| Some(window.end().0) == self.poison_end) {
            return Err(PluginFault::Trap("poison".to_owned()));
        }
        let mut columns = empty_columns(&[Kind::Int, Kind::Bytes, Kind::Bytes]);
        for (group, window) in windows.iter().enumerate() {
            columns[0].push(Value::Int(window.start().0));
            columns[1].push(keys.column(0).at(group));
            columns[2].push(Value::Bytes(states.at(group)));
        }
        let rows = Rows::new(windows.len(), columns).unwrap();
        let origins = (0..windows.len() as u32).collect();
        Ok(Response::Rows { outputs: vec![Routed { output: 0, rows, origins }], rejects: Vec::new() })
    }
}

fn add(grouped: &crate::plugin::Grouped, states: &Packed) -> Result<Response, PluginFault> {
    let (mut out, mut rejects, mut start) = (Packed::default(), Vec::new(), 0);
    for (group, end) in grouped.ends.iter().enumerate() {
        let mut ids = ids_of(states.at(group));
        for row in start..*end {
            match int(grouped.rows.column(0), row as usize) {
                id if id % 10 == POISON => return Err(PluginFault::Trap("poison".to_owned())),
                id if id % 10 == REFUSED => rejects.push(Reject { row, code: 7, message: "refused".to_owned() }),
                id => ids.push(id),
            }
        }
        ids.sort();
        // A plugin that writes a state for a group of which it refused every row.
        match ids.is_empty() {
            true => out.push(b"default!"),
            false => out.push(&bytes_of(&ids)),
        }
        start = *end;
    }
    Ok(Response::States { states: out, rejects })
}

fn ids_of(state: &[u8]) -> Vec<i64> {
    state.chunks_exact(8).map(|bytes| i64::from_be_bytes(bytes.try_into().unwrap())).collect()
}

fn bytes_of(ids: &[i64]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.to_be_bytes()).collect()
}

/// (window end, key)
type Pane = (i64, Option<String>);
type IdsOfPanes = BTreeMap<Pane, Vec<i64>>;

#[derive(Clone, Debug, PartialEq)]
struct Emitted {
    pane: Pane,
    ids: Vec<i64>,
    revision: Option<(u32, bool)>,
}

/// An aggregate, and all that it gave away.
struct Harness {
    plan: StagePlan,
    stage: Aggregate,
    plugin: IdLists,
    written: Written,
    watermark: i64,
    out: Outbox,
    emitted: Vec<Emitted>,
}

impl Harness {
    fn new(window: WindowSpec, lateness_ms: i64, emission: Emission) -> Harness {
        let plan = stage_plan(window, lateness_ms, emission);
        let stage = Aggregate::new(&plan);
        let (plugin, written, out) = (IdLists::default(), Written::default(), Outbox::default());
        Harness { plan, stage, plugin, written, watermark: i64::MIN, out, emitted: Vec::new() }
    }

    /// Gives the rows to the stage and returns what it emitted.
    fn accept(&mut self, rows: &[Row]) -> Vec<Emitted> {
        let plugin = &mut self.plugin;
        testing::accept(&mut self.stage, 0, rows_of(rows), self.watermark, &mut |request| plugin.answer(request), &mut self.out);
        self.take_emitted()
    }

    fn advance(&mut self, watermark: i64) -> Vec<Emitted> {
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
        self.stage = Aggregate::new(&self.plan);
        self.written.restore(&mut self.stage);
        assert_eq!(self.stage.state_bytes(), n_bytes);
    }

    fn take_emitted(&mut self) -> Vec<Emitted> {
        let mut taken = Vec::new();
        for (output, batch) in self.out.emitted.drain(..) {
            assert_eq!(output, 0);
            for row in 0..batch.len() {
                let key = match batch.rows.column(1).at(row) {
                    Value::Bytes(key) => Some(String::from_utf8(key.to_vec()).unwrap()),
                    _ => None,
                };
                let Value::Bytes(state) = batch.rows.column(2).at(row) else { panic!("a state is bytes") };
                let window_end = batch.times[row].0 + 1;
                let StageKind::Aggregate { window, .. } = self.plan.kind else { panic!("it is an aggregate") };
                assert_eq!(int(batch.rows.column(0), row), window_end - window.size_ms());
                let revision = batch.revisions.as_ref().map(|revisions| (revisions[row].rev, revisions[row].is_final));
                taken.push(Emitted { pane: (window_end, key), ids: ids_of(state), revision });
            }
        }
        let order: Vec<&Pane> = taken.iter().map(|one| &one.pane).collect();
        assert!(order.is_sorted(), "{order:?}");
        self.emitted.extend(taken.iter().cloned());
        taken
    }

    /// (id, window end) of all late rows.
    fn late(&self) -> BTreeSet<(i64, i64)> {
        let mut late = BTreeSet::new();
        for one in &self.out.late {
            for (row, window_end) in one.window_ends.iter().enumerate() {
                assert!(late.insert((int(one.batch.rows.column(1), row), window_end.unwrap().0)), "late twice");
            }
        }
        late
    }
}

fn row(at: i64, key: &'static str, id: i64) -> Row {
    Row { at, key: Some(key), id }
}

fn emitted(end: i64, key: &str, ids: &[i64], revision: Option<(u32, bool)>) -> Emitted {
    Emitted { pane: (end, Some(key.to_owned())), ids: ids.to_vec(), revision }
}

const TUMBLING: WindowSpec = WindowSpec::Tumbling { size_ms: 10 };
const HOPPING: WindowSpec = WindowSpec::Hopping { size_ms: 30, slide_ms: 10 };

#[test]
fn a_window_fires_once_its_end_and_the_lateness_have_passed() {
    let mut harness = Harness::new(TUMBLING, 5, Emission::Final);
    assert_eq!(harness.accept(&[row(9, "b", 1), row(0, "a", 2), row(10, "a", 3), row(9, "a", 4)]), []);
    assert_eq!(harness.advance(14), []);
    assert_eq!(harness.advance(15), [emitted(10, "a", &[2, 4], None), emitted(10, "b", &[1], None)]);
    assert_eq!(harness.accept(&[row(9, "a", 5)]), []);
    assert_eq!(harness.advance(END), [emitted(20, "a", &[3], None)]);
    assert_eq!(harness.late(), [(5, 10)].into());
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
fn a_row_is_late_for_closed_windows_only() {
    let mut harness = Harness::new(HOPPING, 0, Emission::Final);
    harness.accept(&[row(5, "a", 1)]);
    assert_eq!(harness.advance(20), [emitted(10, "a", &[1], None), emitted(20, "a", &[1], None)]);
    harness.accept(&[row(5, "a", 2)]);
    assert_eq!(harness.late(), [(2, 10), (2, 20)].into());
    assert_eq!((harness.out.counts.accepted, harness.out.counts.late, harness.out.counts.late_panes), (2, 0, 2));
    assert_eq!(harness.advance(30), [emitted(30, "a", &[1, 2], None)]);
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
    let panes: Vec<i64> = harness.advance(30).iter().map(|one| one.pane.0).collect();
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
    assert_eq!(fired, [emitted(10, "a", &[1], None), emitted(10, "b", &[3], None), emitted(20, "a", &[1, 2], None)]);
    assert_eq!(harness.out.counts.dead_panes, 1);
}

/// The cost of a row must not grow with the number of panes: each is merged into the young state, into a suffix, and its result
/// from these two.
#[test]
fn sliding_merges_a_bounded_number_of_parts_for_each_row() {
    for n_panes in [6, 60, 600] {
        let mut harness = Harness::new(WindowSpec::Hopping { size_ms: n_panes, slide_ms: 1 }, 0, Emission::Final);
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

#[test]
fn state_of_other_windows_is_refused() {
    let mut harness = Harness::new(TUMBLING, 0, Emission::Final);
    harness.accept(&[row(15, "a", 1)]);
    harness.written.image(&mut harness.stage);
    let mut other = Aggregate::new(&stage_plan(WindowSpec::Tumbling { size_ms: 20 }, 0, Emission::Final));
    let mut writer = ChangeWriter::default();
    writer.stage("tested");
    harness.stage.image(&mut writer);
    let chunk = writer.finish().remove(0);
    let (_, mut body) = crate::state::sections(&chunk).unwrap().remove(0);
    assert_eq!(other.restore(&mut body), Err(StateError::Damaged("a pane of other windows than the manifest's")));
}

/// One step of a random run.
#[derive(Clone, Debug)]
enum Step {
    Rows(Vec<Row>),
    Advance(i64),
    Restart { with_image: bool },
}

fn rows() -> impl Strategy<Value = Vec<(i64, Option<&'static str>, u8)>> {
    let near = -60_i64..60;
    // Far away: a gap, and the ends of time.
    let far = prop::sample::select(vec![5_000, EventTime::MIN.0, EventTime::MAX.0, -5_001]);
    let boundary = prop::sample::select(vec![-31, -30, -29, -1, 0, 1, 29, 30, 31]);
    let at = prop_oneof![12 => near, 4 => boundary, 1 => far];
    let key =
        prop::sample::select(vec![None, Some("a"), Some("b"), Some("b\0"), Some("a key that is longer than sixteen bytes")]);
    prop::collection::vec((at, key, 0_u8..40), 0..12)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => rows().prop_map(|rows| Step::Rows(rows.into_iter().map(|(at, key, id)| Row { at, key, id: id.into() }).collect())),
        4 => (-80_i64..120).prop_map(Step::Advance),
        1 => prop::sample::select(vec![4_000, i64::MIN, -5_000]).prop_map(Step::Advance),
        2 => any::<bool>().prop_map(|with_image| Step::Restart { with_image }),
    ];
    prop::collection::vec(step, 1..14).prop_map(|mut steps| {
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

fn specs() -> impl Strategy<Value = WindowSpec> {
    (1_i64..20, 1_i64..6).prop_map(|(slide_ms, n_panes)| match n_panes {
        1 => WindowSpec::Tumbling { size_ms: slide_ms },
        _ => WindowSpec::Hopping { size_ms: slide_ms * n_panes, slide_ms },
    })
}

/// Which ids each window holds in the end, and which (id, window end) pairs are late: straight from the rules.
fn brute_force(steps: &[Step], spec: WindowSpec, lateness_ms: i64) -> (IdsOfPanes, BTreeSet<(i64, i64)>) {
    let (size, slide) = (spec.size_ms(), spec.slide_ms());
    let (mut panes, mut late) = (IdsOfPanes::new(), BTreeSet::new());
    let mut watermark = i64::MIN;
    for step in steps {
        match step {
            Step::Rows(rows) => {
                for row in rows {
                    // All multiples of the slide that lie in (at, at + size].
                    let ends = (1..=size / slide).map(|n| row.at - row.at.rem_euclid(slide) + n * slide);
                    let (missed, open): (Vec<i64>, Vec<i64>) = ends.partition(|end| end + lateness_ms <= watermark);
                    let is_dead = row.id % 10 >= REFUSED && !open.is_empty();
                    if !is_dead {
                        late.extend(missed.iter().map(|end| (row.id, *end)));
                        for end in open {
                            panes.entry((end, row.key.map(str::to_owned))).or_default().push(row.id);
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

fn run(steps: &[Step], spec: WindowSpec, lateness_ms: i64, emission: Emission) -> Harness {
    let mut harness = Harness::new(spec, lateness_ms, emission);
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
fn last_rows(harness: &Harness) -> IdsOfPanes {
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn the_last_rows_are_those_of_a_batch_job(steps in steps(), spec in specs(), lateness_ms in 0_i64..40, is_final in any::<bool>()) {
        let emission = if is_final { Emission::Final } else { Emission::Upsert };
        let harness = run(&steps, spec, lateness_ms, emission);
        let (panes, late) = brute_force(&steps, spec, lateness_ms);
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
        let spec = WindowSpec::Hopping { size_ms: slide_ms * n_panes, slide_ms };
        let emission = if is_final { Emission::Final } else { Emission::Upsert };
        let harness = run(&steps, spec, lateness_ms, emission);
        let (panes, late) = brute_force(&steps, spec, lateness_ms);
        prop_assert_eq!(last_rows(&harness), panes);
        prop_assert_eq!(harness.late(), late);
    }

    #[test]
    fn cutting_a_batch_changes_no_last_row(steps in steps(), spec in specs(), lateness_ms in 0_i64..40) {
        let single = |step: &Step| match step {
            Step::Rows(rows) => rows.iter().map(|row| Step::Rows(vec![row.clone()])).collect(),
            step => vec![step.clone()],
        };
        let cut: Vec<Step> = steps.iter().flat_map(single).collect();
        let whole = last_rows(&run(&steps, spec, lateness_ms, Emission::Upsert));
        prop_assert_eq!(&last_rows(&run(&cut, spec, lateness_ms, Emission::Upsert)), &whole);
        prop_assert_eq!(last_rows(&run(&cut, spec, lateness_ms, Emission::Final)), whole);
    }
}
