//! The join against a brute-force recomputation.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::{
    column::{Rows, Value},
    key::empty_columns,
    plugin::{Reject, Routed},
    schema::FieldType,
    stage::testing::{self, Written, batch, field},
};

const END: i64 = i64::MAX;
/// Left ids with this remainder (mod 10) are refused, or break the plugin.
const REFUSED: i64 = 8;
const POISON: i64 = 9;

#[derive(Clone, Copy, Debug)]
struct Settings {
    within_ms: i64,
    lateness_ms: i64,
    outer: bool,
    with_tie: bool,
    emission: Emission,
}

fn stage_plan(settings: Settings) -> StagePlan {
    let left = Schema { fields: vec![field("id", FieldType::Int, true), field("key", FieldType::Text, false)] };
    let right_fields = [("key", FieldType::Text), ("tie", FieldType::Int), ("id", FieldType::Int)];
    let right = Schema { fields: right_fields.map(|(name, field_type)| field(name, field_type, false)).into() };
    let kind = StageKind::Join {
        plugin: 0,
        left_columns: vec![0],
        right_columns: vec![2],
        left_key: vec![1],
        right_key: vec![0],
        within_ms: settings.within_ms,
        tie: settings.with_tie.then_some(1),
        outer: settings.outer,
        lateness_ms: settings.lateness_ms,
        emission: settings.emission,
    };
    StagePlan { name: "tested".into(), fragment: 0, inputs: vec![left, right], kind, outputs: Vec::new(), late_topic: None }
}

#[derive(Clone, Debug, PartialEq)]
struct Row {
    at: i64,
    key: Option<&'static str>,
    /// Right rows only.
    tie: i64,
    id: i64,
}

fn batch_of(port: usize, rows: &[Row]) -> Batch {
    let key = |row: &Row| row.key.map_or(Value::Null, |key| Value::Bytes(key.as_bytes()));
    let mut columns = empty_columns(if port == 0 { &[Kind::Int, Kind::Bytes] } else { &[Kind::Bytes, Kind::Int, Kind::Int] });
    for row in rows {
        match &mut columns[..] {
            [id, key_column] => {
                id.push(Value::Int(row.id));
                key_column.push(key(row));
            }
            [key_column, tie, id] => {
                key_column.push(key(row));
                tie.push(Value::Int(row.tie));
                id.push(Value::Int(row.id));
            }
            _ => panic!("two ports"),
        }
    }
    let times: Vec<i64> = rows.iter().map(|row| row.at).collect();
    batch(Rows::new(rows.len(), columns).unwrap(), &times)
}

fn int(rows: &Rows, column: usize, row: usize) -> Option<i64> {
    match rows.column(column).at(row) {
        Value::Int(value) => Some(value),
        Value::Null => None,
        value => panic!("{value:?} is no int"),
    }
}

/// Emits (left id, right id or null).
fn pair(request: &Request) -> Result<Response, PluginFault> {
    let Request::Pair { left, right, matched } = request else { panic!("a join asked {request:?}") };
    let mut columns = empty_columns(&[Kind::Int, Kind::Int]);
    let (mut origins, mut rejects) = (Vec::new(), Vec::new());
    for row in 0..left.len() {
        let id = int(left, 0, row).unwrap();
        assert_eq!(matched.at(row), right.column(0).is_valid(row));
        match id % 10 {
            POISON => return Err(PluginFault::Trap("poison".to_owned())),
            REFUSED => rejects.push(Reject { row: row as u32, code: 0, message: "refused".to_owned() }),
            _ => {
                columns[0].push(Value::Int(id));
                columns[1].push(right.column(0).at(row));
                origins.push(row as u32);
            }
        }
    }
    let rows = Rows::new(origins.len(), columns).unwrap();
    Ok(Response::Rows { outputs: vec![Routed { output: 0, rows, origins }], rejects })
}

#[derive(Clone, Debug, PartialEq)]
struct Emitted {
    at: i64,
    left: i64,
    right: Option<i64>,
    revision: Option<(u32, bool)>,
}

/// A join, all that it gave away, and all rows that it accepted.
struct Harness {
    settings: Settings,
    stage: Join,
    written: Written,
    watermark: i64,
    out: Outbox,
    emitted: Vec<Emitted>,
    lefts: Vec<Row>,
    rights: Vec<Row>,
    late: BTreeSet<i64>,
}

impl Harness {
    fn new(settings: Settings) -> Harness {
        Harness {
            settings,
            stage: Join::new(&stage_plan(settings)),
            written: Written::default(),
            watermark: i64::MIN,
            out: Outbox::default(),
            emitted: Vec::new(),
            lefts: Vec::new(),
            rights: Vec::new(),
            late: BTreeSet::new(),
        }
    }

    /// Gives the rows to the stage and returns what it emitted.
    fn accept(&mut self, port: usize, rows: &[Row]) -> Vec<Emitted> {
        for row in rows {
            match row.at.saturating_add(self.settings.lateness_ms) < self.watermark {
                true => assert!(self.late.insert(row.id)),
                false => [&mut self.lefts, &mut self.rights][port].push(row.clone()),
            }
        }
        testing::accept(&mut self.stage, port, batch_of(port, rows), self.watermark, &mut pair, &mut self.out);
        self.take_emitted()
    }

    fn advance(&mut self, watermark: i64) -> Vec<Emitted> {
        self.watermark = self.watermark.max(watermark);
        testing::advance(&mut self.stage, self.watermark, &mut pair, &mut self.out);
        self.take_emitted()
    }

    /// Seals, and goes on with a stage that was restored from what is written.
    fn restart(&mut self, with_image: bool) {
        let n_bytes = self.stage.state_bytes();
        match with_image {
            true => self.written.image(&mut self.stage),
            false => self.written.changes(&mut self.stage),
        }
        self.stage = Join::new(&stage_plan(self.settings));
        self.written.restore(&mut self.stage);
        assert_eq!(self.stage.state_bytes(), n_bytes);
        let mut nothing = Written::default();
        nothing.changes(&mut self.stage);
        assert_eq!(nothing.n_bytes(), 0, "what was restored is written down");
    }

    fn take_emitted(&mut self) -> Vec<Emitted> {
        let mut taken = Vec::new();
        for (output, batch) in self.out.emitted.drain(..) {
            assert_eq!(output, 0);
            for row in 0..batch.len() {
                let revision = batch.revisions.as_ref().map(|revisions| (revisions[row].rev, revisions[row].is_final));
                let (left, right) = (int(&batch.rows, 0, row).unwrap(), int(&batch.rows, 1, row));
                taken.push(Emitted { at: batch.times[row].0, left, right, revision });
            }
        }
        assert!(taken.is_sorted_by_key(|one| one.at), "{taken:?}");
        self.emitted.extend(taken.iter().cloned());
        taken
    }

    /// The match of each accepted left row with `time <= until`, straight from the rules; unmatched ones only if outer.
    fn brute_force(&self, until: i64) -> BTreeMap<i64, Option<i64>> {
        let is_match = |left: &Row, right: &&Row| {
            left.key.is_some() && left.key == right.key && right.at <= left.at && left.at - right.at <= self.settings.within_ms
        };
        let rank = |right: &&Row| {
            let mut packed = Vec::new();
            encode_row(&batch_of(1, &[(*right).clone()]).rows, &[2], 0, &mut packed);
            (right.at, if self.settings.with_tie { right.tie } else { 0 }, packed)
        };
        let lefts = self.lefts.iter().filter(|left| left.at <= until);
        let matched = lefts.map(|left| (left.id, self.rights.iter().filter(|right| is_match(left, right)).max_by_key(rank)));
        let matched = matched.filter(|(_, right)| right.is_some() || self.settings.outer);
        matched.map(|(left, right)| (left, right.map(|right| right.id))).collect()
    }

    /// The last row of each left id. Checks that revisions rise by one from 0 and that nothing follows a final row.
    fn last_rows(&self) -> BTreeMap<i64, Emitted> {
        let mut last: BTreeMap<i64, Emitted> = BTreeMap::new();
        for one in &self.emitted {
            match (last.insert(one.left, one.clone()), one.revision) {
                (None, None | Some((0, _))) => {}
                (Some(Emitted { revision: Some((rev, false)), .. }), Some((next, _))) if next == rev + 1 => {}
                (before, _) => panic!("{one:?} after {before:?}"),
            }
        }
        last
    }

    /// Checks what was emitted so far against all rows that were accepted so far, and that nothing is kept for too long.
    fn check(&self) {
        let until = match self.settings.emission {
            Emission::Upsert => self.watermark,
            Emission::Final if self.watermark == END => END,
            Emission::Final => self.watermark.saturating_sub(self.settings.lateness_ms + 1),
        };
        let mut expected = self.brute_force(until);
        let n_dead = expected.keys().filter(|id| **id % 10 >= REFUSED).count();
        expected.retain(|id, _| id % 10 < REFUSED);
        let found: BTreeMap<i64, Option<i64>> = self.last_rows().into_iter().map(|(id, one)| (id, one.right)).collect();
        assert_eq!(found, expected, "at watermark {}", self.watermark);
        let final_before = if self.watermark == END { END } else { self.watermark.saturating_sub(self.settings.lateness_ms) };
        assert!(self.stage.sides.lefts().all(|((time, _), _)| time.0 >= final_before));
        assert!(self.stage.sides.rights().all(|(_, right)| right.time.0 + self.settings.within_ms >= final_before));
        if self.watermark == END {
            assert_eq!(self.stage.state_bytes(), 0);
            assert_eq!(self.out.dead.iter().map(|dead| dead.reasons.len()).sum::<usize>(), n_dead);
            assert_eq!(self.out.counts.dead_panes as usize, n_dead);
        }
    }
}

fn row(at: i64, key: &'static str, tie: i64, id: i64) -> Row {
    Row { at, key: Some(key), tie, id }
}

fn emitted(at: i64, left: i64, right: Option<i64>, revision: Option<(u32, bool)>) -> Emitted {
    Emitted { at, left, right, revision }
}

const SETTINGS: Settings = Settings { within_ms: 10, lateness_ms: 5, outer: true, with_tie: true, emission: Emission::Upsert };

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

#[derive(Clone, Debug)]
enum Step {
    Rows(usize, Vec<Row>),
    Advance(i64),
    Restart { with_image: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let far = prop::sample::select(vec![5_000, crate::time::EventTime::MIN.0, crate::time::EventTime::MAX.0, -5_001]);
    let at = prop_oneof![16 => -40_i64..40, 1 => far];
    let key = prop::sample::select(vec![None, Some("a"), Some("a"), Some("b")]);
    let rows = prop::collection::vec((at, key, -2_i64..2, 0_i64..40), 0..12);
    let step = prop_oneof![
        7 => (0_usize..2, rows).prop_map(|(port, rows)| {
            Step::Rows(port, rows.into_iter().map(|(at, key, tie, id)| Row { at, key, tie, id }).collect())
        }),
        4 => (-60_i64..80).prop_map(Step::Advance),
        1 => prop::sample::select(vec![4_000, i64::MIN, -5_000]).prop_map(Step::Advance),
        2 => any::<bool>().prop_map(|with_image| Step::Restart { with_image }),
    ];
    prop::collection::vec(step, 1..16).prop_map(|mut steps| {
        // The last digit of an id says what the plugin does with it; the rest makes it unique.
        let mut n_rows = 0;
        for step in &mut steps {
            if let Step::Rows(_, rows) = step {
                for row in rows {
                    n_rows += 1;
                    row.id = n_rows * 10 + if row.id < 10 { row.id } else { row.id % 8 };
                }
            }
        }
        steps
    })
}

fn settings() -> impl Strategy<Value = Settings> {
    (0_i64..30, 0_i64..30, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(within_ms, lateness_ms, outer, with_tie, upsert)| Settings {
            within_ms,
            lateness_ms,
            outer,
            with_tie,
            emission: if upsert { Emission::Upsert } else { Emission::Final },
        },
    )
}

/// Runs the steps, checks after each, and closes the streams.
fn run(steps: &[Step], settings: Settings) -> Harness {
    let mut harness = Harness::new(settings);
    for step in steps {
        match step {
            Step::Rows(port, rows) => drop(harness.accept(*port, rows)),
            Step::Advance(to) => drop(harness.advance(*to)),
            Step::Restart { with_image } => harness.restart(*with_image),
        }
        harness.check();
    }
    harness.advance(END);
    harness.check();
    harness
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn rows_are_those_of_a_batch_job_at_every_watermark(steps in steps(), settings in settings()) {
        let harness = run(&steps, settings);
        prop_assert!(harness.last_rows().values().all(|one| one.revision.is_none_or(|(_, is_final)| is_final)));
        let late: BTreeSet<i64> = harness.out.late.iter().flat_map(|late| {
            let column = if late.port == 0 { 0 } else { 2 };
            (0..late.batch.len()).map(move |row| int(&late.batch.rows, column, row).unwrap())
        }).collect();
        prop_assert_eq!(&late, &harness.late);
        let counts = harness.out.counts;
        prop_assert_eq!(counts.rows_in, counts.accepted + counts.late);
        prop_assert_eq!(counts.rows_out as usize, harness.emitted.len());
    }

    #[test]
    fn cutting_a_batch_changes_no_last_row(steps in steps(), settings in settings()) {
        let single = |step: &Step| match step {
            Step::Rows(port, rows) => rows.iter().map(|row| Step::Rows(*port, vec![row.clone()])).collect(),
            step => vec![step.clone()],
        };
        let cut: Vec<Step> = steps.iter().flat_map(single).collect();
        let last = |steps: &[Step]| run(steps, settings).last_rows().into_iter().map(|(id, one)| (id, one.right)).collect::<BTreeMap<_, _>>();
        prop_assert_eq!(last(&cut), last(&steps));
    }
}
