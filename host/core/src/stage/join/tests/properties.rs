//! Random runs of the join against a recomputation.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{super::*, harness::*};

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

fn settings() -> impl Strategy<Value = Settings> {
    (0_i64..30, 0_i64..30, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(within_ms, lateness_ms, outer, with_tie, upsert)| Settings {
            within_ms,
            matching: Matching::LatestBefore,
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
