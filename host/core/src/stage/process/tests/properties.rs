//! Against a model that keeps a list of timers for each key and does everything one by one.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::harness::{Acts, Emitted, Harness, OfTimer, Row, of_row, of_timer};
use crate::{
    plugin::{Clock, Timer},
    stage::Operator,
};

#[derive(Clone, Debug)]
enum Step {
    Rows(Vec<Row>),
    Advance(i64),
    Clock(i64),
    Restart { with_image: bool },
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let acts = prop_oneof![
        2 => Just(Acts::Nothing),
        4 => (0_i64..60).prop_map(Acts::Set),
        2 => (0_i64..60).prop_map(Acts::Delete),
        2 => (0_i64..60).prop_map(Acts::SetWall),
        1 => Just(Acts::Forget),
        1 => Just(Acts::Refuse),
        1 => Just(Acts::Trap),
    ];
    let row = (0_i64..4, 0_i64..50, acts).prop_map(|(key, at, acts)| Row { key, at, acts });
    prop::collection::vec(row, 1..9)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => rows().prop_map(Step::Rows),
        4 => (0_i64..60).prop_map(Step::Advance),
        2 => (0_i64..60).prop_map(Step::Clock),
        2 => any::<bool>().prop_map(|with_image| Step::Restart { with_image }),
    ];
    prop::collection::vec(step, 0..25)
}

#[derive(Default)]
struct OfKey {
    count: i64,
    last: i64,
    timers: Vec<Timer>,
}

struct Model {
    lateness_ms: Option<i64>,
    ttl_ms: Option<i64>,
    watermark: i64,
    now: i64,
    keys: BTreeMap<i64, OfKey>,
    emitted: BTreeMap<i64, Vec<Emitted>>,
    late: BTreeSet<(i64, i64)>,
    n_dead_rows: u64,
    n_dead_timers: u64,
}

impl Model {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Rows(rows) => rows.iter().for_each(|row| self.row(row)),
            Step::Advance(to) => self.watermark = self.watermark.max(*to),
            Step::Clock(to) => self.now = self.now.max(*to),
            Step::Restart { .. } => return,
        }
        let keys: Vec<i64> = self.keys.keys().copied().collect();
        keys.into_iter().for_each(|key| while self.event(key) {});
        if self.watermark == i64::MAX {
            self.keys.clear();
        }
    }

    fn row(&mut self, row: &Row) {
        if self.lateness_ms.is_some_and(|lateness_ms| row.at < self.watermark.saturating_sub(lateness_ms)) {
            self.late.insert((row.key, row.at));
            return;
        }
        if matches!(row.acts, Acts::Refuse | Acts::Trap) {
            self.n_dead_rows += 1;
            return;
        }
        let of_key = self.keys.entry(row.key).or_insert(OfKey { last: row.at, ..OfKey::default() });
        let (count, change) = of_row(of_key.count, row);
        of_key.count = count;
        of_key.last = of_key.last.max(row.at);
        if let Some((is_set, timer)) = change {
            of_key.timers.retain(|other| *other != timer);
            of_key.timers.extend(is_set.then_some(timer));
        }
        self.emit(Emitted { key: row.key, at: row.at, is_timer: false, count });
    }

    /// One thing that time brings for `key`. Whether there was one.
    fn event(&mut self, key: i64) -> bool {
        let Some(of_key) = self.keys.get_mut(&key) else { return false };
        if of_key.count == 0 && of_key.timers.is_empty() {
            self.keys.remove(&key);
            return false;
        }
        let of_clock = |clock| of_key.timers.iter().copied().filter(move |timer| timer.clock == clock).min();
        let expiry = self.ttl_ms.map(|ttl_ms| of_key.last + ttl_ms + 1);
        let event = of_clock(Clock::EventTime);
        let is_over = expiry.is_some_and(|expiry| expiry <= self.watermark && event.is_none_or(|timer| expiry <= timer.at));
        if is_over {
            self.keys.remove(&key);
            return false;
        }
        let event = event.filter(|timer| timer.at <= self.watermark);
        let Some(timer) = event.or_else(|| of_clock(Clock::WallTime).filter(|timer| timer.at <= self.now)) else { return false };
        of_key.timers.retain(|other| *other != timer);
        match of_timer(of_key.count, timer) {
            OfTimer::Trap | OfTimer::Refuse => self.n_dead_timers += 1,
            OfTimer::Counts(count, set) => {
                of_key.count = count;
                if let Some(next) = set.filter(|next| !of_key.timers.contains(next)) {
                    of_key.timers.push(next);
                }
                self.emit(Emitted { key, at: timer.at, is_timer: true, count });
            }
        }
        true
    }

    fn emit(&mut self, row: Emitted) {
        self.emitted.entry(row.key).or_default().push(row);
    }
}

fn by_key(rows: &[Emitted]) -> BTreeMap<i64, Vec<Emitted>> {
    let mut by_key: BTreeMap<i64, Vec<Emitted>> = BTreeMap::new();
    rows.iter().for_each(|row| by_key.entry(row.key).or_default().push(row.clone()));
    by_key
}

proptest! {
    #![proptest_config(crate::stage::testing::id_lists::cases())]

    #[test]
    fn a_process_does_what_one_by_one_would_do(
        steps in steps(), lateness_ms in prop::option::of(0_i64..20), ttl_ms in prop::option::of(1_i64..40),
    ) {
        let mut harness = Harness::new(lateness_ms, ttl_ms);
        let mut model = Model {
            lateness_ms,
            ttl_ms,
            watermark: i64::MIN,
            now: i64::MIN,
            keys: BTreeMap::new(),
            emitted: BTreeMap::new(),
            late: BTreeSet::new(),
            n_dead_rows: 0,
            n_dead_timers: 0,
        };
        for step in steps.iter().chain([&Step::Advance(i64::MAX)]) {
            match step {
                Step::Rows(rows) => harness.accept(rows),
                Step::Advance(to) => harness.advance(*to),
                Step::Clock(now) => harness.clock(*now),
                Step::Restart { with_image } => harness.restart(*with_image),
            }
            model.step(step);
            prop_assert_eq!(&by_key(&harness.emitted), &model.emitted, "after {:?}", step);
        }
        prop_assert_eq!(harness.late(), model.late);
        let counts = harness.out.counts;
        prop_assert_eq!((counts.dead, counts.dead_panes), (model.n_dead_rows, model.n_dead_timers));
        prop_assert_eq!(counts.rows_in, counts.accepted + counts.late + counts.dead);
        prop_assert_eq!(counts.rows_out as usize, harness.emitted.len());
        prop_assert_eq!(harness.stage.state_bytes(), 0);
    }
}
