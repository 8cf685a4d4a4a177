//! The aggregate with a plugin that shows what it was given, and all that it gave away.

use std::collections::{BTreeMap, BTreeSet};

use super::super::*;
use crate::{
    column::{Column, Packed, Rows, Value},
    key::empty_columns,
    plan::WindowSpec,
    plugin::{Reject, Routed},
    schema::{FieldType, Schema},
    stage::testing::{self, Written, batch, field},
};

pub(super) const END: i64 = i64::MAX;
/// Ids with this remainder (mod 10) are refused, or break the plugin.
pub(super) const REFUSED: i64 = 8;
pub(super) const POISON: i64 = 9;

pub(super) fn stage_plan(window: WindowSpec, lateness_ms: i64, emission: Emission) -> StagePlan {
    let input = Schema { fields: vec![field("key", FieldType::Text, false), field("id", FieldType::Int, true)] };
    let kind = StageKind::Aggregate { plugin: 0, columns: vec![1], key: vec![0], window, lateness_ms, emission };
    StagePlan { name: "tested".into(), fragment: 0, inputs: vec![input], kind, outputs: Vec::new(), late_topic: None }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) at: i64,
    pub(super) key: Option<&'static str>,
    pub(super) id: i64,
}

pub(super) fn rows_of(rows: &[Row]) -> Batch {
    let mut columns = empty_columns(&[Kind::Bytes, Kind::Int]);
    for row in rows {
        columns[0].push(row.key.map_or(Value::Null, |key| Value::Bytes(key.as_bytes())));
        columns[1].push(Value::Int(row.id));
    }
    let times: Vec<i64> = rows.iter().map(|row| row.at).collect();
    batch(Rows::new(rows.len(), columns).unwrap(), &times)
}

pub(super) fn int(column: &Column, row: usize) -> i64 {
    match column.at(row) {
        Value::Int(value) => value,
        value => panic!("{value:?} is no int"),
    }
}

/// A plugin whose state is the sorted list of all ids that were added, so that a wrong row, or one that counts twice, shows.
/// Emits (start, key, ids). Counts what it was asked to do.
#[derive(Default)]
pub(super) struct IdLists {
    pub(super) n_calls: usize,
    pub(super) n_parts: usize,
    /// A window that ends here breaks the plugin when it is emitted.
    pub(super) poison_end: Option<i64>,
    /// A merge that touches this id breaks the plugin.
    pub(super) poison_merge: Option<i64>,
}

impl IdLists {
    pub(super) fn answer(&mut self, request: &Request) -> Result<Response, PluginFault> {
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

    pub(super) fn merge(&self, parts: &Packed, ends: &[u32]) -> Result<Response, PluginFault> {
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

    pub(super) fn emit(&self, windows: &[crate::time::Window], keys: &Rows, states: &Packed) -> Result<Response, PluginFault> {
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

pub(super) fn add(grouped: &crate::plugin::Grouped, states: &Packed) -> Result<Response, PluginFault> {
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

pub(super) fn ids_of(state: &[u8]) -> Vec<i64> {
    state.chunks_exact(8).map(|bytes| i64::from_be_bytes(bytes.try_into().unwrap())).collect()
}

pub(super) fn bytes_of(ids: &[i64]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.to_be_bytes()).collect()
}

/// (window end, key)
pub(super) type Pane = (i64, Option<String>);
pub(super) type IdsOfPanes = BTreeMap<Pane, Vec<i64>>;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Emitted {
    pub(super) pane: Pane,
    pub(super) ids: Vec<i64>,
    pub(super) revision: Option<(u32, bool)>,
}

/// An aggregate, and all that it gave away.
pub(super) struct Harness {
    pub(super) plan: StagePlan,
    pub(super) stage: Aggregate,
    pub(super) plugin: IdLists,
    pub(super) written: Written,
    pub(super) watermark: i64,
    pub(super) out: Outbox,
    pub(super) emitted: Vec<Emitted>,
}

impl Harness {
    pub(super) fn new(window: WindowSpec, lateness_ms: i64, emission: Emission) -> Harness {
        let plan = stage_plan(window, lateness_ms, emission);
        let stage = Aggregate::new(&plan);
        let (plugin, written, out) = (IdLists::default(), Written::default(), Outbox::default());
        Harness { plan, stage, plugin, written, watermark: i64::MIN, out, emitted: Vec::new() }
    }

    /// Gives the rows to the stage and returns what it emitted.
    pub(super) fn accept(&mut self, rows: &[Row]) -> Vec<Emitted> {
        let plugin = &mut self.plugin;
        testing::accept(&mut self.stage, 0, rows_of(rows), self.watermark, &mut |request| plugin.answer(request), &mut self.out);
        self.take_emitted()
    }

    pub(super) fn advance(&mut self, watermark: i64) -> Vec<Emitted> {
        self.watermark = self.watermark.max(watermark);
        let plugin = &mut self.plugin;
        testing::advance(&mut self.stage, self.watermark, &mut |request| plugin.answer(request), &mut self.out);
        self.take_emitted()
    }

    /// Seals, and goes on with a stage that was restored from what is written.
    pub(super) fn restart(&mut self, with_image: bool) {
        let n_bytes = self.stage.state_bytes();
        match with_image {
            true => self.written.image(&mut self.stage),
            false => self.written.changes(&mut self.stage),
        }
        self.stage = Aggregate::new(&self.plan);
        self.written.restore(&mut self.stage);
        assert_eq!(self.stage.state_bytes(), n_bytes);
    }

    pub(super) fn take_emitted(&mut self) -> Vec<Emitted> {
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
    pub(super) fn late(&self) -> BTreeSet<(i64, i64)> {
        let mut late = BTreeSet::new();
        for one in &self.out.late {
            for (row, window_end) in one.window_ends.iter().enumerate() {
                assert!(late.insert((int(one.batch.rows.column(1), row), window_end.unwrap().0)), "late twice");
            }
        }
        late
    }
}

pub(super) fn row(at: i64, key: &'static str, id: i64) -> Row {
    Row { at, key: Some(key), id }
}

pub(super) fn emitted(end: i64, key: &str, ids: &[i64], revision: Option<(u32, bool)>) -> Emitted {
    Emitted { pane: (end, Some(key.to_owned())), ids: ids.to_vec(), revision }
}

pub(super) const TUMBLING: WindowSpec = WindowSpec::Tumbling { size_ms: 10 };
pub(super) const HOPPING: WindowSpec = WindowSpec::Hopping { size_ms: 30, slide_ms: 10 };
