//! Lookups, each step checked against a brute-force recomputation.

use std::collections::BTreeSet;

use super::*;
use crate::{
    plugin::{Reject, Routed},
    schema::FieldType,
    stage::testing::{self, Written, batch, field},
};

mod properties;

const END: i64 = i64::MAX;
/// Row ids with this remainder (mod 10) are refused, or break the plugin.
const REFUSED: i64 = 8;
const POISON: i64 = 9;

#[derive(Clone, Copy, Debug)]
struct Settings {
    lateness_ms: Option<i64>,
    outer: bool,
}

#[derive(Clone, Debug)]
struct Row {
    at: i64,
    key: Option<&'static str>,
    id: i64,
}

#[derive(Clone, Debug)]
struct Told {
    at: i64,
    key: &'static str,
    /// `None`: the key is deleted.
    value: Option<i64>,
}

fn row(at: i64, key: &'static str, id: i64) -> Row {
    Row { at, key: Some(key), id }
}

fn told(at: i64, key: &'static str, value: i64) -> Told {
    Told { at, key, value: Some(value) }
}

fn stage(settings: Settings) -> Lookup {
    let left = Schema { fields: vec![field("id", FieldType::Int, true), field("key", FieldType::Text, false)] };
    let right = Schema {
        fields: vec![
            field("value", FieldType::Int, false),
            field("key", FieldType::Text, true),
            field("@deleted", FieldType::Bool, true),
        ],
    };
    Lookup::new(&StagePlan {
        name: "tested".into(),
        fragment: 0,
        inputs: vec![left, right],
        kind: StageKind::Lookup {
            plugin: 0,
            left_columns: vec![0],
            right_columns: vec![0],
            left_key: vec![1],
            right_key: vec![1],
            deleted: 2,
            outer: settings.outer,
            is_broadcast: false,
            lateness_ms: settings.lateness_ms,
        },
        state: None,
        retime: None,
        failing: crate::plan::Failing::STANDARD,
        outputs: Vec::new(),
        late_topic: None,
        union: Vec::new(),
    })
}

fn int(rows: &Rows, column: usize, row: usize) -> Option<i64> {
    match rows.column(column).at(row) {
        Value::Int(value) => Some(value),
        Value::Null => None,
        value => panic!("{value:?} is no int"),
    }
}

/// Emits (id, value or null).
fn pair(request: &Request) -> Result<Response, PluginFault> {
    let Request::Pair { left, right, matched, has_left: None } = request else { panic!("a lookup asked {request:?}") };
    let mut columns = empty_columns(&[Kind::Int, Kind::Int]);
    let (mut origins, mut rejects) = (Vec::new(), Vec::new());
    for row in 0..left.len() {
        let id = int(left, 0, row).unwrap();
        assert_eq!(matched.at(row), right.column(0).is_valid(row));
        match id % 10 {
            POISON => return Err(PluginFault::Trap("poison".into())),
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

/// (time, id, value)
type Emitted = (i64, i64, Option<i64>);

/// A lookup, all that it gave away, and all that it accepted.
struct Harness {
    settings: Settings,
    stage: Lookup,
    written: Written,
    /// Of the rows and of the table.
    marks: [i64; 2],
    out: Outbox,
    emitted: Vec<Emitted>,
    rows: Vec<Row>,
    told: Vec<Told>,
    n_late: u64,
}

impl Harness {
    fn new(settings: Settings) -> Harness {
        Harness {
            settings,
            stage: stage(settings),
            written: Written::default(),
            marks: [i64::MIN; 2],
            out: Outbox::default(),
            emitted: Vec::new(),
            rows: Vec::new(),
            told: Vec::new(),
            n_late: 0,
        }
    }

    fn low(&self) -> i64 {
        self.marks[0].min(self.marks[1])
    }

    fn rows(&mut self, rows: &[Row]) -> Vec<Emitted> {
        let mut columns = empty_columns(&[Kind::Int, Kind::Bytes]);
        for row in rows {
            columns[0].push(Value::Int(row.id));
            columns[1].push(row.key.map_or(Value::Null, |key| Value::Bytes(key.as_bytes())));
            match self.settings.lateness_ms.is_some_and(|lateness_ms| row.at.saturating_add(lateness_ms) < self.low()) {
                true => self.n_late += 1,
                false => self.rows.push(row.clone()),
            }
        }
        let times: Vec<i64> = rows.iter().map(|row| row.at).collect();
        let batch = batch(Rows::new(rows.len(), columns).unwrap(), &times);
        let low = self.low();
        testing::accept(&mut self.stage, ROWS, batch, low, &mut pair, &mut self.out);
        self.take_emitted()
    }

    fn table(&mut self, versions: &[Told]) {
        let mut columns = empty_columns(&[Kind::Int, Kind::Bytes, Kind::Bool]);
        for told in versions {
            columns[0].push(told.value.map_or(Value::Null, Value::Int));
            columns[1].push(Value::Bytes(told.key.as_bytes()));
            columns[2].push(Value::Bool(told.value.is_none()));
            match told.at < self.marks[1] {
                true => self.n_late += 1,
                false => self.told.push(told.clone()),
            }
        }
        let times: Vec<i64> = versions.iter().map(|told| told.at).collect();
        let batch = batch(Rows::new(versions.len(), columns).unwrap(), &times);
        testing::accept(&mut self.stage, TABLE, batch, self.marks[1], &mut pair, &mut self.out);
        assert!(self.take_emitted().is_empty(), "a version makes no rows, its watermark does");
    }

    /// The watermark of the rows, or of the table, comes to `to`.
    fn advance(&mut self, port: usize, to: i64) -> Vec<Emitted> {
        self.marks[port] = self.marks[port].max(to);
        testing::advance_table(&mut self.stage, self.marks[1], &mut pair, &mut self.out);
        let low = self.low();
        testing::advance(&mut self.stage, low, &mut pair, &mut self.out);
        self.take_emitted()
    }

    fn restart(&mut self, with_image: bool) {
        match with_image {
            true => self.written.image(&mut self.stage),
            false => self.written.changes(&mut self.stage),
        }
        let n_bytes = self.stage.state_bytes();
        self.stage = stage(self.settings);
        self.written.restore(&mut self.stage);
        assert_eq!(self.stage.state_bytes(), n_bytes, "what was restored is what was there");
    }

    fn take_emitted(&mut self) -> Vec<Emitted> {
        let mut taken = Vec::new();
        for (output, batch) in self.out.emitted.drain(..) {
            assert_eq!(output, 0);
            let row = |row: usize| (batch.times[row].0, int(&batch.rows, 0, row).unwrap(), int(&batch.rows, 1, row));
            taken.extend((0..batch.len()).map(row));
        }
        self.emitted.extend(&taken);
        taken
    }

    /// What a batch job would emit of the rows that the table has come past.
    fn expected(&self) -> BTreeSet<Emitted> {
        let mut expected = BTreeSet::new();
        for row in self.rows.iter().filter(|row| row.at < self.marks[1] && row.id % 10 < REFUSED) {
            let of_row = self.told.iter().enumerate().filter(|(_, told)| Some(told.key) == row.key && told.at <= row.at);
            let value = of_row.max_by_key(|(order, told)| (told.at, *order)).and_then(|(_, told)| told.value);
            if value.is_some() || self.settings.outer {
                expected.insert((row.at, row.id, value));
            }
        }
        expected
    }

    fn check(&self) {
        let emitted: BTreeSet<Emitted> = self.emitted.iter().copied().collect();
        assert_eq!(emitted.len(), self.emitted.len(), "each row once");
        assert_eq!(emitted, self.expected());
        let counts = self.out.counts;
        assert_eq!(counts.late, self.n_late);
        assert_eq!(counts.rows_in, counts.accepted + counts.late);
        assert_eq!(counts.rows_out as usize, self.emitted.len());
    }
}

const OUTER: Settings = Settings { lateness_ms: Some(10), outer: true };

#[test]
fn a_row_waits_until_the_table_is_strictly_past_it() {
    let mut harness = Harness::new(OUTER);
    harness.table(&[told(3, "k", 103), told(9, "k", 109)]);
    assert_eq!(harness.rows(&[row(5, "k", 1), row(9, "k", 2), row(2, "k", 3)]), []);
    harness.restart(false);
    assert_eq!(harness.advance(TABLE, 5), [(2, 3, None)]);
    // A version of the very time of the row may still come; of two of one time the last one counts.
    harness.table(&[told(5, "k", 104), told(5, "k", 105)]);
    assert_eq!(harness.advance(TABLE, 6), [(5, 1, Some(105))]);
    // Too late for that row, and so for all others.
    harness.table(&[told(5, "k", 106)]);
    assert_eq!(harness.rows(&[row(5, "k", 4)]), [(5, 4, Some(105))], "known already: nobody waits");
    assert_eq!(harness.advance(TABLE, 10), [(9, 2, Some(109))]);
    harness.check();
}

#[test]
fn a_deleted_key_has_no_version_until_it_comes_back() {
    let mut harness = Harness::new(OUTER);
    harness.table(&[told(1, "k", 1), Told { at: 5, key: "k", value: None }, told(8, "k", 8)]);
    harness.advance(TABLE, 20);
    let rows: Vec<Row> = [0, 1, 4, 5, 7, 8].into_iter().map(|at| row(at, "k", at)).collect();
    let expected = [(0, 0, None), (1, 1, Some(1)), (4, 4, Some(1)), (5, 5, None), (7, 7, None), (8, 8, Some(8))];
    assert_eq!(harness.rows(&rows[..4]), expected[..4]);
    let mut again = rows[4..].to_vec();
    again[1].id = 18;
    assert_eq!(harness.rows(&again), [(7, 7, None)], "the plugin refused the other one");
    assert_eq!((harness.out.counts.accepted, harness.out.counts.dead_panes), (9, 1));
}

#[test]
fn what_no_row_can_need_is_forgotten() {
    let mut harness = Harness::new(OUTER);
    harness.table(&[
        told(1, "k", 1),
        told(5, "k", 5),
        told(9, "k", 9),
        told(2, "gone", 2),
        Told { at: 6, key: "gone", value: None },
    ]);
    harness.advance(TABLE, 30);
    harness.advance(ROWS, 15);
    assert_eq!(harness.stage.versions.all().count(), 4, "rows from 5 on may come");
    assert_eq!(harness.rows(&[row(5, "k", 1)]), [(5, 1, Some(5))]);
    harness.advance(ROWS, 16);
    let kept = |harness: &Harness| harness.stage.versions.all().map(|(_, at, _)| at.0).collect::<Vec<_>>();
    assert_eq!(kept(&harness), [6, 5, 9]);
    harness.restart(true);
    assert_eq!(kept(&harness), [5, 9], "a deletion that nothing precedes says nothing, once it is written down");
    harness.advance(ROWS, 19);
    assert_eq!(kept(&harness), [9]);
    assert_eq!(harness.rows(&[row(25, "k", 2)]), [(25, 2, Some(9))], "the last version stays for ever");
    harness.advance(ROWS, END);
    harness.advance(TABLE, END);
    assert_eq!(harness.stage.state_bytes(), 0);
}

#[test]
fn what_is_kept_is_shown() {
    let mut harness = Harness::new(OUTER);
    harness.table(&[told(3, "k", 7), Told { at: 4, key: "k", value: None }]);
    harness.rows(&[row(9, "k", 1), Row { at: 8, key: None, id: 2 }]);
    let mut shown = Vec::new();
    harness.stage.kept(&mut |kept| {
        let has_key = kept.key().is_some();
        shown.push(match kept {
            Kept::Version { time, row, .. } => ("version", time.0, row.is_some(), has_key),
            Kept::Waiting { time, row, .. } => ("waiting", time.0, !row.is_empty(), has_key),
            other => panic!("a lookup keeps no {other:?}"),
        });
    });
    assert_eq!(
        shown,
        [("version", 3, true, true), ("version", 4, false, true), ("waiting", 8, true, false), ("waiting", 9, true, true)]
    );
}

#[test]
fn without_a_lateness_rows_of_any_age_are_looked_up() {
    let mut harness = Harness::new(Settings { lateness_ms: None, outer: false });
    harness.table(&[told(1, "k", 1), told(500, "k", 500)]);
    harness.advance(TABLE, 1_000);
    harness.advance(ROWS, 1_000);
    assert_eq!(harness.rows(&[row(-3, "k", 1), row(499, "k", 2), Row { at: 600, key: None, id: 3 }]), [(499, 2, Some(1))]);
    harness.check();
}

#[test]
fn rows_that_are_known_keep_their_origins_and_marks() {
    let mut stage = stage(OUTER);
    let mut out = Outbox::default();
    testing::advance_table(&mut stage, 100, &mut pair, &mut out);
    let mut columns = empty_columns(&[Kind::Int, Kind::Bytes]);
    for id in [9, 1, 2] {
        columns[0].push(Value::Int(id));
        columns[1].push(Value::Bytes(b"k"));
    }
    let before = crate::stage::Before { input: 4, marks: [10, 11, 12].map(Watermark).into() };
    let rows = Batch { before: Some(before), ..batch(Rows::new(3, columns).unwrap(), &[20, 21, 22]) };
    testing::accept(&mut stage, ROWS, rows, 0, &mut pair, &mut out);
    let marks: Vec<i64> =
        out.emitted.iter().flat_map(|(_, batch)| &batch.before.as_ref().unwrap().marks).map(|mark| mark.0).collect();
    assert_eq!(marks, [11, 12]);
    assert_eq!(out.dead.len(), 1);
}
