//! Random runs of the join latest before against a recomputation.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{
    super::{testing::*, *},
    harness::*,
};

fn settings() -> impl Strategy<Value = Settings> {
    (0_i64..30, 0_i64..30, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(within_ms, lateness_ms, outer, with_tie, upsert)| Settings {
            within_ms,
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
    // A quiet time of what the join looks back and waits, and a ms. Only what lies as far off as time goes is not behind it.
    let last = harness.lefts.iter().chain(&harness.rights).map(|row| row.at).max().unwrap_or(0);
    harness.advance(last + settings.within_ms + settings.lateness_ms + 1);
    harness.check();
    harness.check_forgotten();
    harness.advance(END);
    harness.check();
    harness
}

proptest! {
    #![proptest_config(crate::stage::testing::id_lists::cases())]

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
