//! Rows that are added up before a shuffle, against the same rows as they are.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{
    super::{combine::Combine, *},
    harness::*,
    properties::{last_rows, windows},
};
use crate::{
    column::Value,
    plan::WindowSpec,
    stage::{
        Crossing, StageCounts,
        testing::{
            self,
            id_lists::{ids_of, rows_of},
        },
    },
};

/// A batch as a task before the shuffle has it: rows, each with the mark of that task, and how far behind it the stage is.
#[derive(Clone, Debug)]
struct Sent {
    rows: Vec<(Row, i64)>,
    behind: i64,
    restarts: bool,
}

fn sent() -> impl Strategy<Value = Vec<Sent>> {
    let row = (-70_i64..15, prop::sample::select(vec![Some("a"), Some("b"), None]), 0_i64..40, 0_i64..9);
    let batch = (prop::collection::vec(row, 0..14), 0_i64..25, prop::bool::weighted(0.1));
    prop::collection::vec(batch, 1..12).prop_map(|batches| {
        let (mut mark, mut n_rows) = (-40, 0);
        let mut sent = Vec::new();
        for (rows, behind, restarts) in batches {
            let rows = rows.into_iter().map(|(distance, key, kind, rise)| {
                n_rows += 1;
                let id = n_rows * 10 + if kind < 10 { kind } else { kind % 8 };
                let row = (Row { at: mark + distance, key, id }, mark);
                mark += rise;
                row
            });
            sent.push(Sent { rows: rows.collect(), behind, restarts });
        }
        sent
    })
}

/// Both stages, and what was sent from one to the other.
struct Pair {
    /// `None`: rows cross as they are.
    combine: Option<Combine>,
    before: Outbox,
    behind: Harness,
    n_partials: usize,
}

impl Pair {
    fn new(is_combined: bool, window: WindowSpec, lateness_ms: i64, emission: Emission) -> Pair {
        let behind = Harness::new(window, lateness_ms, emission);
        let combine = is_combined.then(|| Combine::new(&behind.plan));
        Pair { combine, before: Outbox::default(), behind, n_partials: 0 }
    }

    fn send(&mut self, sent: &Sent) {
        let rows: Vec<Row> = sent.rows.iter().map(|(row, _)| row.clone()).collect();
        let marks: Vec<Watermark> = sent.rows.iter().map(|(_, mark)| Watermark(*mark)).collect();
        let Some(combine) = &mut self.combine else { return self.cross(0, &rows_of(&rows), &marks, sent.behind) };
        combine.accept(0, rows_of(&rows), &marks, &mut self.before);
        let plugin = &mut self.behind.plugin;
        testing::answer(combine, &mut |request| plugin.answer(request), &mut self.before);
        for Crossing { partials, partial_marks, rows, marks } in std::mem::take(&mut self.before.crossing) {
            self.n_partials += partials.len();
            self.cross(PARTIALS_PORT, &partials, &partial_marks, sent.behind);
            self.cross(0, &rows, &marks, sent.behind);
        }
    }

    /// As a task gives rows to the stage: by the marks that they have there, and no more at once than it takes.
    fn cross(&mut self, port: usize, batch: &Batch, marks: &[Watermark], behind: i64) {
        let marks: Vec<Watermark> = marks.iter().map(|mark| Watermark((mark.0 - behind).max(self.behind.watermark))).collect();
        let mut from = 0;
        while from < batch.len() {
            let n_rows = self.behind.stage.n_acceptable(batch, &marks, from);
            if n_rows == 0 {
                self.behind.advance(marks[from].0);
                continue;
            }
            let rows: Vec<u32> = (from as u32..(from + n_rows) as u32).collect();
            let Harness { stage, plugin, out, .. } = &mut self.behind;
            stage.accept(port, batch.take(&rows), &marks[from..from + n_rows], out);
            testing::answer(stage, &mut |request| plugin.answer(request), out);
            self.behind.take_emitted();
            from += n_rows;
        }
    }

    /// Ids of rows that are dead.
    fn dead(&self) -> BTreeSet<i64> {
        let mut dead = BTreeSet::new();
        for one in self.before.dead.iter().chain(&self.behind.out.dead) {
            assert_eq!(one.of, RowsOf::Input(0));
            (0..one.batch.len()).for_each(|row| assert!(dead.insert(int(one.batch.rows.column(1), row)), "dead twice"));
        }
        dead
    }
}

fn run(is_combined: bool, all: &[Sent], window: &WindowSpec, lateness_ms: i64, emission: Emission) -> Pair {
    let mut pair = Pair::new(is_combined, window.clone(), lateness_ms, emission);
    for sent in all {
        pair.send(sent);
        if let Some((_, mark)) = sent.rows.last() {
            pair.behind.advance(mark - sent.behind);
        }
        if sent.restarts {
            pair.behind.restart(sent.behind % 2 == 0);
        }
    }
    pair.behind.advance(END);
    pair
}

/// Each batch in pieces of `n_rows`.
fn cut(all: &[Sent], n_rows: usize) -> Vec<Sent> {
    let pieces = |sent: &Sent| {
        let last = sent.rows.len().div_ceil(n_rows).saturating_sub(1);
        let piece = |(at, rows): (usize, &[(Row, i64)])| Sent {
            rows: rows.to_vec(),
            behind: sent.behind,
            restarts: sent.restarts && at == last,
        };
        sent.rows.chunks(n_rows).enumerate().map(piece).collect::<Vec<_>>()
    };
    all.iter().flat_map(pieces).collect()
}

proptest! {
    // Three runs a case.
    #![proptest_config(ProptestConfig { cases: cases().cases / 5, ..cases() })]

    /// I-17: whatever is behind the shuffle, it is never further than the task before.
    #[test]
    fn rows_that_are_added_up_come_to_the_same(
        all in sent(), window in windows().prop_map(|windows| windows.spec()), lateness_ms in 0_i64..40, is_final in any::<bool>(), n_rows in 1_usize..6,
    ) {
        let emission = if is_final { Emission::Final } else { Emission::Upsert };
        let plain = run(false, &all, &window, lateness_ms, emission);
        for all in [cut(&all, n_rows), all] {
            let combined = run(true, &all, &window, lateness_ms, emission);
            prop_assert_eq!(last_rows(&combined.behind), last_rows(&plain.behind));
            prop_assert_eq!(combined.behind.late(), plain.behind.late());
            prop_assert_eq!(combined.dead(), plain.dead());
            let (before, behind, expected) = (combined.before.counts, combined.behind.out.counts, plain.behind.out.counts);
            prop_assert!(before.is_balanced() && behind.is_balanced());
            let sum = |of: fn(&StageCounts) -> u64| (of(&before) + of(&behind), of(&expected));
            for (found, expected) in [sum(|of| of.rows_in), sum(|of| of.accepted), sum(|of| of.late), sum(|of| of.dead), sum(|of| of.late_panes)] {
                prop_assert_eq!(found, expected);
            }
            prop_assert_eq!(combined.behind.stage.state_bytes(), 0);
        }
    }
}

/// What crosses of one batch: states, then rows.
fn crossing(granted: i64, mark: i64, rows: &[Row]) -> (Vec<Vec<i64>>, Vec<i64>) {
    let mut pair = Pair::new(true, HOPPING, 5, Emission::Final);
    let combine = pair.combine.as_mut().expect("rows are added up");
    combine.granted(Watermark(granted));
    combine.accept(0, rows_of(rows), &vec![Watermark(mark); rows.len()], &mut pair.before);
    let plugin = &mut pair.behind.plugin;
    testing::answer(combine, &mut |request| plugin.answer(request), &mut pair.before);
    let crossing = pair.before.crossing.pop().expect("a batch crosses at once");
    let states = (0..crossing.partials.len()).map(|row| match crossing.partials.rows.column(1).at(row) {
        Value::Bytes(state) => ids_of(state),
        other => panic!("{other:?} is no state"),
    });
    (states.collect(), (0..crossing.rows.len()).map(|row| int(crossing.rows.rows.column(1), row)).collect())
}

#[test]
fn only_rows_that_are_on_time_for_all_their_windows_are_added_up() {
    let rows = [row(11, "a", 10), row(5, "a", 20), row(12, "a", 30), row(6, "a", 40), row(13, "b", 50)];
    let unknown = i64::MIN;
    assert_eq!(crossing(unknown, 14, &rows), (vec![vec![10, 30], vec![20, 40]], vec![50]), "one row alone needs no state");
    assert_eq!(crossing(unknown, 15, &rows), (vec![vec![10, 30]], vec![20, 40, 50]), "the window up to 10 is closed at 15");
    assert_eq!(crossing(15, 0, &rows), (vec![vec![10, 30]], vec![20, 40, 50]), "others may have gone so far");
    assert_eq!(crossing(25, 0, &rows), (vec![], vec![10, 20, 30, 40, 50]));
    assert_eq!(crossing(unknown, END, &rows), (vec![], vec![10, 20, 30, 40, 50]), "nothing is on time behind the end");
    assert_eq!(crossing(END, 0, &rows), (vec![], vec![10, 20, 30, 40, 50]), "nobody knows how far others have gone");
}

#[test]
fn a_state_that_cannot_be_merged_is_a_lost_result() {
    let mut pair = Pair::new(true, TUMBLING, 0, Emission::Final);
    let sent = |ids: [i64; 2]| Sent { rows: ids.map(|id| (row(1, "a", id), -1)).to_vec(), behind: 0, restarts: false };
    pair.send(&sent([10, 20]));
    pair.behind.plugin.poison_merge = Some(40);
    pair.send(&sent([30, 40]));
    pair.behind.plugin.poison_merge = None;
    pair.send(&sent([50, 60]));
    assert_eq!(pair.behind.advance(END), [emitted(10, "a", &[10, 20, 50, 60], None)]);
    let dead = &pair.behind.out.dead;
    assert_eq!((dead.len(), dead[0].of, dead[0].batch.len()), (1, RowsOf::Key, 1));
    assert_eq!((pair.before.counts.accepted, pair.behind.out.counts.rows_in, pair.behind.out.counts.dead_panes), (6, 0, 1));
}

#[test]
fn a_state_of_a_closed_window_does_not_count() {
    let mut pair = Pair::new(true, TUMBLING, 0, Emission::Final);
    pair.behind.advance(10);
    let rows = [10, 20].map(|id| (row(1, "a", id), -1)).to_vec();
    pair.send(&Sent { rows, behind: 0, restarts: false });
    assert!(pair.behind.advance(END).is_empty());
    assert_eq!((pair.behind.out.counts.dead_panes, pair.n_partials), (1, 1));
}
