//! Random runs against brute force: disorder, equal times, times before 1970, gaps, nulls, and every border within a ms.

use proptest::prelude::*;

use super::{super::super::testing::*, oracle::*};
use crate::{
    plan::JoinKind,
    stage::testing::windows::{HALF_HOUR_MS, TestWindows, in_half_hours, zoned},
};

fn join() -> impl Strategy<Value = JoinKind> {
    prop::sample::select(vec![JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full])
}

fn intervals() -> impl Strategy<Value = Settings> {
    (0_i64..30, 0_i64..30, join(), 0_i64..30).prop_map(|(within_ms, after_ms, join, lateness_ms)| Settings {
        span: TestSpan::Interval { within_ms, after_ms },
        join,
        lateness_ms,
    })
}

fn windows() -> impl Strategy<Value = Settings> {
    (1_i64..15, 1_i64..5, 0_i64..15, join(), 0_i64..30).prop_map(|(slide_ms, n_panes, offset, join, lateness_ms)| Settings {
        span: TestSpan::Windows(TestWindows::Utc { slide_ms, n_panes, offset_ms: offset % slide_ms }),
        join,
        lateness_ms,
    })
}

fn windows_of_a_zone() -> impl Strategy<Value = Settings> {
    (zoned(), join(), 0_i64..30).prop_map(|(windows, join, lateness)| Settings {
        span: TestSpan::Windows(windows),
        join,
        lateness_ms: lateness * HALF_HOUR_MS,
    })
}

/// The same steps, in half hours and not in ms, without the rows that are far away.
fn slowly(mut steps: Vec<Step>) -> Vec<Step> {
    for step in &mut steps {
        match step {
            Step::Rows(_, rows) => {
                rows.retain(|row| row.at.abs() < 100);
                rows.iter_mut().for_each(|row| row.at = in_half_hours(row.at, row.id / 10));
            }
            Step::Advance(to) => *to = in_half_hours(*to, *to),
            Step::Restart { .. } => {}
        }
    }
    steps
}

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
    harness.end();
    harness
}

/// Rows of one stream.
#[derive(Clone, Debug)]
struct Run {
    /// Where they come in: a stream may be both sides of a join.
    ports: &'static [usize],
    /// Each with how far the watermark goes on before it.
    rows: Vec<(Row, i64)>,
}

fn runs() -> impl Strategy<Value = Vec<Run>> {
    let key = prop::sample::select(vec![None, Some("a"), Some("a"), Some("b")]);
    let row = (-30_i64..30, key, 0_i64..10, prop_oneof![2 => Just(0_i64), 1 => 0_i64..12]);
    let ports = prop::sample::select(vec![&[0][..], &[1], &[0, 1]]);
    let run = (ports, prop::collection::vec(row, 0..12));
    prop::collection::vec(run, 1..8).prop_map(|runs| {
        let mut n_rows = 0;
        let mut numbered = |(at, key, id, on): (i64, Option<&'static str>, i64, i64)| {
            n_rows += 1;
            (Row { at, key, tie: 0, id: n_rows * 10 + id }, on)
        };
        runs.into_iter().map(|(ports, rows)| Run { ports, rows: rows.into_iter().map(&mut numbered).collect() }).collect()
    })
}

/// What comes of `runs`, cut into batches of at most `n_rows_max`.
fn cut(runs: &[Run], settings: &Settings, n_rows_max: usize) -> (Vec<Emitted>, crate::stage::StageCounts) {
    let mut harness = Harness::new(settings.clone());
    let mut mark = -40;
    for Run { ports, rows } in runs {
        for piece in rows.chunks(n_rows_max) {
            let rows: Vec<Row> = piece.iter().map(|(row, _)| row.clone()).collect();
            let marks: Vec<i64> = piece
                .iter()
                .map(|(_, on)| {
                    mark += on;
                    mark
                })
                .collect();
            harness.accept_marked(ports, &rows, &marks);
        }
    }
    harness.end();
    harness.emitted.sort_unstable();
    (harness.emitted, harness.out.counts)
}

proptest! {
    #![proptest_config(crate::stage::testing::id_lists::cases())]

    #[test]
    fn pairs_within_an_interval_are_those_of_a_batch_job_at_every_watermark(steps in steps(), settings in intervals()) {
        run(&steps, settings);
    }

    #[test]
    fn pairs_within_windows_are_those_of_a_batch_job_at_every_watermark(steps in steps(), settings in windows()) {
        run(&steps, settings);
    }

    /// Two windows may share an end: a row may have a partner in one of them and be alone in the other.
    #[test]
    fn pairs_within_windows_of_a_time_zone_are_those_of_a_batch_job_at_every_watermark(
        steps in steps(), settings in windows_of_a_zone(),
    ) {
        run(&slowly(steps), settings);
    }

    /// I-12
    #[test]
    fn cutting_batches_changes_nothing(runs in runs(), settings in prop_oneof![intervals(), windows()]) {
        prop_assert_eq!(cut(&runs, &settings, usize::MAX), cut(&runs, &settings, 1));
        prop_assert_eq!(cut(&runs, &settings, 3), cut(&runs, &settings, 1));
    }
}
