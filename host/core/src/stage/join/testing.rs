//! What the tests of joins share: rows, a plugin that shows what it was given, and random steps.

use proptest::prelude::*;

use crate::{
    column::{Kind, Rows, Value},
    key::empty_columns,
    plan::{Emission, Failing, JoinKind, Matching, StageKind, StagePlan},
    plugin::{PluginFault, Reject, Request, Response, Routed},
    schema::{FieldType, Schema},
    stage::{
        Batch, Operator, Outbox,
        testing::{Written, batch, field},
    },
    time::Watermark,
};

pub(super) const END: i64 = i64::MAX;
/// Ids with this remainder (mod 10) are refused, or break the plugin: of the left row, or of the right one that is alone.
pub(super) const REFUSED: i64 = 8;
pub(super) const POISON: i64 = 9;

pub(super) fn stage_plan(
    matching: Matching,
    join: JoinKind,
    lateness_ms: i64,
    tie: Option<usize>,
    emission: Emission,
) -> StagePlan {
    let left = Schema { fields: vec![field("id", FieldType::Int, true), field("key", FieldType::Text, false)] };
    let right_fields = [("key", FieldType::Text), ("tie", FieldType::Int), ("id", FieldType::Int)];
    let right = Schema { fields: right_fields.map(|(name, field_type)| field(name, field_type, false)).into() };
    let kind = StageKind::Join {
        plugin: 0,
        left_columns: vec![0],
        right_columns: vec![2],
        left_key: vec![1],
        right_key: vec![0],
        matching,
        tie,
        join,
        lateness_ms,
        emission,
    };
    StagePlan {
        name: "tested".into(),
        fragment: 0,
        inputs: vec![left, right],
        kind,
        state: None,
        retime: None,
        failing: Failing::STANDARD,
        outputs: Vec::new(),
        late_topic: None,
        union: Vec::new(),
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) at: i64,
    pub(super) key: Option<&'static str>,
    /// Right rows only.
    pub(super) tie: i64,
    pub(super) id: i64,
}

pub(super) fn batch_of(port: usize, rows: &[Row]) -> Batch {
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

pub(super) fn int(rows: &Rows, column: usize, row: usize) -> Option<i64> {
    match rows.column(column).at(row) {
        Value::Int(value) => Some(value),
        Value::Null => None,
        value => panic!("{value:?} is no int"),
    }
}

/// Emits (left id or null, right id or null).
pub(super) fn pair(request: &Request) -> Result<Response, PluginFault> {
    let Request::Pair { left, right, matched, has_left } = request else { panic!("a join asked {request:?}") };
    let mut columns = empty_columns(&[Kind::Int, Kind::Int]);
    let (mut origins, mut rejects) = (Vec::new(), Vec::new());
    for row in 0..left.len() {
        let has_left = has_left.as_ref().is_none_or(|bits| bits.at(row));
        assert!(has_left || matched.at(row), "nobody at all");
        assert_eq!((has_left, matched.at(row)), (left.column(0).is_valid(row), right.column(0).is_valid(row)));
        let id = int(if has_left { left } else { right }, 0, row).unwrap();
        match id % 10 {
            POISON => return Err(PluginFault::Trap("poison".into())),
            REFUSED => rejects.push(Reject { row: row as u32, code: 0, message: "refused".to_owned() }),
            _ => {
                columns[0].push(left.column(0).at(row));
                columns[1].push(right.column(0).at(row));
                origins.push(row as u32);
            }
        }
    }
    let rows = Rows::new(origins.len(), columns).unwrap();
    Ok(Response::Rows { outputs: vec![Routed { output: 0, rows, origins }], rejects })
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Emitted {
    pub(super) at: i64,
    pub(super) left: Option<i64>,
    pub(super) right: Option<i64>,
    pub(super) revision: Option<(u32, bool)>,
}

/// What was emitted since the last call.
pub(super) fn take_emitted(out: &mut Outbox) -> Vec<Emitted> {
    let mut taken = Vec::new();
    for (output, batch) in out.emitted.drain(..) {
        assert_eq!(output, 0);
        for row in 0..batch.len() {
            let revision = batch.revisions.as_ref().map(|revisions| (revisions[row].rev, revisions[row].is_final));
            let (left, right) = (int(&batch.rows, 0, row), int(&batch.rows, 1, row));
            taken.push(Emitted { at: batch.times[row].0, left, right, revision });
        }
    }
    taken
}

pub(super) fn row(at: i64, key: &'static str, tie: i64, id: i64) -> Row {
    Row { at, key: Some(key), tie, id }
}

/// After a quiet time nothing is left but the watermark: what is written is what a join writes that was never given a row.
pub(super) fn check_forgotten(stage: &mut dyn Operator, fresh: &mut dyn Operator, watermark: i64) {
    assert_eq!(stage.state_bytes(), 0, "at watermark {watermark}");
    fresh.advance(Watermark(watermark), &mut Outbox::default());
    let (mut ours, mut empty) = (Written::default(), Written::default());
    ours.image(stage);
    empty.image(fresh);
    assert_eq!(ours.n_bytes(), empty.n_bytes());
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Rows(usize, Vec<Row>),
    Advance(i64),
    Restart { with_image: bool },
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
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
