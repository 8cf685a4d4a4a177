//! A global window that is driven as a task drives it, all that it gave away, and what it should have given.

use std::collections::{BTreeMap, BTreeSet};

use super::super::*;
use crate::{
    column::Value,
    stage::testing::{
        Written, answer,
        id_lists::{IdLists, REFUSED, Row, ids_of, int, rows_of, stage_plan},
    },
};

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    pub(super) at: i64,
    pub(super) key: Option<String>,
    pub(super) window: (i64, i64),
    pub(super) ids: Vec<i64>,
    pub(super) revision: Option<(u32, bool)>,
}

pub(super) struct Harness {
    plan: StagePlan,
    pub(super) stage: Global,
    pub(super) plugin: IdLists,
    pub(super) written: Written,
    pub(super) out: Outbox,
    pub(super) late: BTreeSet<i64>,
    /// All that was told.
    pub(super) told: Vec<Told>,
}

impl Harness {
    pub(super) fn new(window: GlobalWindow) -> Harness {
        let emission = if window.clear { Emission::Final } else { Emission::Upsert };
        let plan = stage_plan(WindowSpec::Global(window), 0, emission);
        Harness {
            stage: Global::new(&plan),
            plan,
            plugin: IdLists::default(),
            written: Written::default(),
            out: Outbox::default(),
            late: BTreeSet::new(),
            told: Vec::new(),
        }
    }

    /// Gives one batch of rows as a task does: as many as can be taken, or first the watermark that the next one needs.
    pub(super) fn give(&mut self, rows: &[Row], marks: &[i64]) -> Vec<Told> {
        let (batch, marks) = (rows_of(rows), marks.iter().map(|mark| Watermark(*mark)).collect::<Vec<_>>());
        let mut from = 0;
        while from < batch.len() {
            match self.stage.n_acceptable(&batch, &marks, from) {
                0 => {
                    assert!(marks[from] > self.stage.watermark, "a row waits for what has come");
                    self.stage.advance(marks[from], &mut self.out);
                }
                n_rows => {
                    let taken: Vec<u32> = (from as u32..(from + n_rows) as u32).collect();
                    self.stage.accept(0, batch.take(&taken), &marks[from..from + n_rows], &mut self.out);
                    from += n_rows;
                }
            }
            answer(&mut self.stage, &mut |request| self.plugin.answer(request), &mut self.out);
        }
        self.take_told()
    }

    pub(super) fn advance(&mut self, watermark: i64) -> Vec<Told> {
        self.stage.advance(Watermark(watermark), &mut self.out);
        answer(&mut self.stage, &mut |request| self.plugin.answer(request), &mut self.out);
        self.take_told()
    }

    /// Seals, and goes on with a stage that was restored from what is written.
    pub(super) fn restart(&mut self, with_image: bool) {
        let n_bytes = self.stage.state_bytes();
        match with_image {
            true => self.written.image(&mut self.stage),
            false => self.written.changes(&mut self.stage),
        }
        self.stage = Global::new(&self.plan);
        self.written.restore(&mut self.stage);
        assert_eq!(self.stage.state_bytes(), n_bytes);
        let mut nothing = Written::default();
        nothing.changes(&mut self.stage);
        assert_eq!(nothing.n_bytes(), 0, "what was restored is written down");
    }

    fn take_told(&mut self) -> Vec<Told> {
        let mut taken = Vec::new();
        for (_, batch) in self.out.emitted.drain(..) {
            for row in 0..batch.len() {
                let key = match batch.rows.column(2).at(row) {
                    Value::Bytes(key) => Some(String::from_utf8(key.to_vec()).unwrap()),
                    _ => None,
                };
                let Value::Bytes(state) = batch.rows.column(3).at(row) else { panic!("a state is bytes") };
                let window = (int(batch.rows.column(0), row), int(batch.rows.column(1), row));
                let revision = batch.revisions.as_ref().map(|revisions| (revisions[row].rev, revisions[row].is_final));
                taken.push(Told { at: batch.times[row].0, key, window, ids: ids_of(state), revision });
            }
        }
        for late in self.out.late.drain(..) {
            assert!(late.windows.iter().all(Option::is_none));
            (0..late.batch.len()).for_each(|row| assert!(self.late.insert(int(late.batch.rows.column(1), row)), "late twice"));
        }
        self.told.extend(taken.iter().cloned());
        taken
    }
}

/// What of a key is known.
#[derive(Default)]
struct Of {
    /// (time, id) of the rows in its state.
    rows: Vec<(i64, i64)>,
    n_new: u64,
    n_told: u32,
}

impl Of {
    fn last(&self) -> i64 {
        self.rows.iter().map(|(at, _)| *at).max().expect("a key that is known has rows")
    }
}

/// By the rules, row by row.
pub(super) struct Model {
    window: GlobalWindow,
    watermark: i64,
    keys: BTreeMap<Option<String>, Of>,
    pub(super) told: Vec<Told>,
    pub(super) late: BTreeSet<i64>,
}

impl Model {
    pub(super) fn new(window: GlobalWindow) -> Model {
        Model { window, watermark: i64::MIN, keys: BTreeMap::new(), told: Vec::new(), late: BTreeSet::new() }
    }

    pub(super) fn advance(&mut self, to: i64) {
        if to <= self.watermark {
            return;
        }
        let old = std::mem::replace(&mut self.watermark, to);
        let idle_ms = self.window.idle_ms;
        let ended: Vec<_> =
            self.keys.iter().filter(|(_, of)| to == i64::MAX || of.last() + idle_ms < to).map(|(key, _)| key.clone()).collect();
        for key in ended {
            let at = self.keys[&key].last() + idle_ms;
            self.tell(&key, at, true);
        }
        // Every ms that was passed is looked at; what is known begins with the first watermark.
        let Some(every_ms) = self.window.every_ms else { return };
        if old == i64::MIN || to == i64::MAX {
            return;
        }
        if let Some(multiple) = (old + 1..=to).find(|at| at.rem_euclid(every_ms) == 0) {
            let changed: Vec<_> = self.keys.iter().filter(|(_, of)| of.n_new > 0).map(|(key, _)| key.clone()).collect();
            changed.iter().for_each(|key| self.tell(key, multiple - 1, false));
        }
    }

    pub(super) fn row(&mut self, row: &Row) {
        if self.watermark == i64::MAX || row.at + self.window.idle_ms < self.watermark {
            self.late.insert(row.id);
            return;
        }
        if row.id % 10 >= REFUSED {
            return;
        }
        let key = row.key.map(str::to_owned);
        let of = self.keys.entry(key.clone()).or_default();
        of.rows.push((row.at, row.id));
        of.n_new += 1;
        if Some(of.n_new) == self.window.every_rows {
            let at = of.last().max(self.watermark);
            self.tell(&key, at, false);
        }
    }

    fn tell(&mut self, key: &Option<String>, at: i64, ends: bool) {
        let of = self.keys.get_mut(key).expect("a key that is known is told");
        let times = || of.rows.iter().map(|(at, _)| *at);
        let window = (times().min().unwrap(), times().max().unwrap() + 1);
        let mut ids: Vec<i64> = of.rows.iter().map(|(_, id)| *id).collect();
        ids.sort();
        let revision = (!self.window.clear).then_some((of.n_told, ends));
        self.told.push(Told { at, key: key.clone(), window, ids, revision });
        (of.n_new, of.n_told) = (0, of.n_told + 1);
        if ends || self.window.clear {
            self.keys.remove(key);
        }
    }
}

/// What each key was told, in its order.
pub(super) fn by_key(told: &[Told]) -> BTreeMap<Option<String>, Vec<Told>> {
    let mut by_key: BTreeMap<_, Vec<Told>> = BTreeMap::new();
    told.iter().for_each(|one| by_key.entry(one.key.clone()).or_default().push(one.clone()));
    by_key
}
