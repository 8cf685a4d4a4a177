//! The aggregate, and all that it gave away.

use std::collections::{BTreeMap, BTreeSet};

use super::super::*;
use crate::{
    column::Value,
    plan::WindowSpec,
    stage::testing::{
        self, Written,
        id_lists::{IdLists, ids_of, rows_of},
    },
};

pub(super) use crate::stage::testing::id_lists::{END, REFUSED, Row, Step, cases, int, one_by_one, row, stage_plan, steps};

/// (start and end of a window, key)
pub(super) type Pane = ((i64, i64), Option<String>);
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
        Harness::of(stage_plan(window, lateness_ms, emission))
    }

    /// Results are told also before their windows end, every 10 ms of wall time.
    pub(super) fn early(window: WindowSpec, lateness_ms: i64) -> Harness {
        let mut plan = stage_plan(window, lateness_ms, Emission::Upsert);
        let StageKind::Aggregate { early_ms, .. } = &mut plan.kind else { panic!("it is an aggregate") };
        *early_ms = Some(10);
        Harness::of(plan)
    }

    fn of(plan: StagePlan) -> Harness {
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

    pub(super) fn clock(&mut self, now: i64) -> Vec<Emitted> {
        let plugin = &mut self.plugin;
        testing::clock(&mut self.stage, now, &mut |request| plugin.answer(request), &mut self.out);
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
                let key = match batch.rows.column(2).at(row) {
                    Value::Bytes(key) => Some(String::from_utf8(key.to_vec()).unwrap()),
                    _ => None,
                };
                let Value::Bytes(state) = batch.rows.column(3).at(row) else { panic!("a state is bytes") };
                let [start, end] = [0, 1].map(|column| int(batch.rows.column(column), row));
                assert_eq!(batch.times[row].0, end - 1);
                let revision = batch.revisions.as_ref().map(|revisions| (revisions[row].rev, revisions[row].is_final));
                taken.push(Emitted { pane: ((start, end), key), ids: ids_of(state), revision });
            }
        }
        let order: Vec<&Pane> = taken.iter().map(|one| &one.pane).collect();
        assert!(order.is_sorted(), "{order:?}");
        self.emitted.extend(taken.iter().cloned());
        taken
    }

    /// (id, start and end of the window) of all late rows.
    pub(super) fn late(&self) -> Late {
        let mut late = BTreeSet::new();
        for one in &self.out.late {
            for (row, window) in one.windows.iter().enumerate() {
                let window = window.expect("rows are late for windows");
                let is_new = late.insert((int(one.batch.rows.column(1), row), (window.start().0, window.end().0)));
                assert!(is_new, "late twice");
            }
        }
        late
    }
}

/// (id, start and end of a window)
pub(super) type Late = BTreeSet<(i64, (i64, i64))>;

/// What [`TUMBLING`] tells of the window that ends at `end`.
pub(super) fn emitted(end: i64, key: &str, ids: &[i64], revision: Option<(u32, bool)>) -> Emitted {
    emitted_in((end - 10, end), key, ids, revision)
}

pub(super) fn emitted_in(window: (i64, i64), key: &str, ids: &[i64], revision: Option<(u32, bool)>) -> Emitted {
    Emitted { pane: (window, Some(key.to_owned())), ids: ids.to_vec(), revision }
}

pub(super) const TUMBLING: WindowSpec = WindowSpec::Tumbling { size_ms: 10, offset_ms: 0 };
pub(super) const HOPPING: WindowSpec = WindowSpec::Hopping { size_ms: 30, slide_ms: 10, offset_ms: 0 };
