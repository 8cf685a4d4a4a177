//! What the stages that aggregate are tested with: rows with ids, a plugin that keeps the ids, and steps of a random run.

use proptest::prelude::*;

use super::{batch, field};
use crate::{
    column::{Column, Kind, Packed, Rows, Value},
    key::empty_columns,
    plan::{Emission, Failing, StageKind, StagePlan, WindowSpec},
    plugin::{Grouped, PluginFault, Reject, Request, Response, Routed},
    schema::{FieldType, Schema},
    stage::Batch,
    time::Window,
};

pub(in crate::stage) const END: i64 = i64::MAX;
/// Ids with this remainder (mod 10) are refused, or break the plugin.
pub(in crate::stage) const REFUSED: i64 = 8;
pub(in crate::stage) const POISON: i64 = 9;

pub(in crate::stage) fn stage_plan(window: WindowSpec, lateness_ms: i64, emission: Emission) -> StagePlan {
    let input = Schema {
        fields: vec![
            field("key", FieldType::Text, false),
            field("id", FieldType::Int, true),
            field("end", FieldType::Bool, false),
        ],
    };
    let kind = StageKind::Aggregate { plugin: 0, columns: vec![1], key: vec![0], window, lateness_ms, emission, early_ms: None };
    StagePlan {
        name: "tested".into(),
        fragment: 0,
        inputs: vec![input],
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
pub(in crate::stage) struct Row {
    pub(in crate::stage) at: i64,
    pub(in crate::stage) key: Option<&'static str>,
    pub(in crate::stage) id: i64,
}

pub(in crate::stage) fn row(at: i64, key: &'static str, id: i64) -> Row {
    Row { at, key: Some(key), id }
}

pub(in crate::stage) fn rows_of(rows: &[Row]) -> Batch {
    let mut columns = empty_columns(&[Kind::Bytes, Kind::Int, Kind::Bool]);
    for row in rows {
        columns[0].push(row.key.map_or(Value::Null, |key| Value::Bytes(key.as_bytes())));
        columns[1].push(Value::Int(row.id));
        columns[2].push(if is_end(row.id) { Value::Bool(true) } else { Value::Null });
    }
    let times: Vec<i64> = rows.iter().map(|row| row.at).collect();
    batch(Rows::new(rows.len(), columns).unwrap(), &times)
}

/// Whether the field `end`, column 2, of a row with this id is true.
pub(in crate::stage) fn is_end(id: i64) -> bool {
    id / 10 % 6 == 5
}

pub(in crate::stage) fn int(column: &Column, row: usize) -> i64 {
    match column.at(row) {
        Value::Int(value) => value,
        value => panic!("{value:?} is no int"),
    }
}

/// A plugin whose state is the sorted list of all ids that were added, so that a wrong row, or one that counts twice, shows.
/// Emits (start, end, key, ids). Counts what it was asked to do.
#[derive(Default)]
pub(in crate::stage) struct IdLists {
    pub(in crate::stage) n_calls: usize,
    pub(in crate::stage) n_parts: usize,
    /// A window that ends here breaks the plugin when it is emitted.
    pub(in crate::stage) poison_end: Option<i64>,
    /// A merge that touches this id breaks the plugin.
    pub(in crate::stage) poison_merge: Option<i64>,
}

impl IdLists {
    pub(in crate::stage) fn answer(&mut self, request: &Request) -> Result<Response, PluginFault> {
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

    pub(in crate::stage) fn merge(&self, parts: &Packed, ends: &[u32]) -> Result<Response, PluginFault> {
        let mut states = Packed::default();
        let mut start = 0;
        for end in ends {
            assert!(start + 1 < *end as usize, "a merge of one part is a wasted call");
            let mut ids: Vec<i64> = (start..*end as usize).flat_map(|part| ids_of(parts.at(part))).collect();
            ids.sort();
            if self.poison_merge.is_some_and(|id| ids.contains(&id)) {
                return Err(PluginFault::Trap("poison".into()));
            }
            states.push(&bytes_of(&ids));
            start = *end as usize;
        }
        Ok(Response::States { states, rejects: Vec::new() })
    }

    pub(in crate::stage) fn emit(&self, windows: &[Window], keys: &Rows, states: &Packed) -> Result<Response, PluginFault> {
        if windows.iter().any(|window| Some(window.end().0) == self.poison_end) {
            return Err(PluginFault::Trap("poison".into()));
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
}

pub(in crate::stage) fn add(grouped: &Grouped, states: &Packed) -> Result<Response, PluginFault> {
    let (mut out, mut rejects, mut start) = (Packed::default(), Vec::new(), 0);
    for (group, end) in grouped.ends.iter().enumerate() {
        let mut ids = ids_of(states.at(group));
        for row in start..*end {
            match int(grouped.rows.column(0), row as usize) {
                id if id % 10 == POISON => return Err(PluginFault::Trap("poison".into())),
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

pub(in crate::stage) fn ids_of(state: &[u8]) -> Vec<i64> {
    state.chunks_exact(8).map(|bytes| i64::from_be_bytes(bytes.try_into().unwrap())).collect()
}

pub(in crate::stage) fn bytes_of(ids: &[i64]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.to_be_bytes()).collect()
}

/// How many cases a property of event time is tested with: 100,000, or more by `PROPTEST_CASES`.
pub(in crate::stage) fn cases() -> ProptestConfig {
    let of_environment = ProptestConfig::default();
    ProptestConfig { cases: of_environment.cases.max(100_000), ..of_environment }
}

/// One step of a random run.
#[derive(Clone, Debug)]
pub(in crate::stage) enum Step {
    Rows(Vec<Row>),
    Advance(i64),
    Restart { with_image: bool },
}

/// Up to `most` steps, whose rows (time, key, id below 40) are of `rows`.
pub(in crate::stage) fn steps(
    rows: impl Strategy<Value = Vec<(i64, Option<&'static str>, i64)>>,
    most: usize,
) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => rows.prop_map(|rows| Step::Rows(rows.into_iter().map(|(at, key, id)| Row { at, key, id }).collect())),
        4 => (-80_i64..120).prop_map(Step::Advance),
        1 => prop::sample::select(vec![4_000, i64::MIN, -5_000]).prop_map(Step::Advance),
        2 => any::<bool>().prop_map(|with_image| Step::Restart { with_image }),
    ];
    prop::collection::vec(step, 1..=most).prop_map(|mut steps| {
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

/// The same steps with every row in a batch of its own.
pub(in crate::stage) fn one_by_one(steps: &[Step]) -> Vec<Step> {
    let single = |step: &Step| match step {
        Step::Rows(rows) => rows.iter().map(|row| Step::Rows(vec![row.clone()])).collect(),
        step => vec![step.clone()],
    };
    steps.iter().flat_map(single).collect()
}
