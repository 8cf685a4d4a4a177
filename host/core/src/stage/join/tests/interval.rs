//! Random runs of an interval join against all pairs.

use proptest::prelude::*;

use super::{
    super::*,
    harness::*,
    properties::{Step, steps},
};

fn settings() -> impl Strategy<Value = Settings> {
    (0_i64..30, 0_i64..30, 0_i64..30, any::<bool>()).prop_map(|(within_ms, after_ms, lateness_ms, outer)| Settings {
        within_ms,
        matching: Matching::All { after_ms },
        lateness_ms,
        outer,
        with_tie: false,
        emission: Emission::Final,
    })
}

/// What was emitted so far is what the rows so far give; what the plugin refuses, or breaks on, is dead, pair by pair.
fn check(harness: &Harness) {
    let (dead, expected): (Vec<_>, Vec<_>) = harness.all_pairs().into_iter().partition(|(left, _)| left % 10 >= REFUSED);
    let mut found: Vec<_> = harness.emitted.iter().map(|one| (one.left, one.right)).collect();
    found.sort_unstable();
    assert_eq!(found, expected, "at watermark {}", harness.watermark);
    assert_eq!(harness.out.counts.dead_panes as usize, dead.len());
    if harness.watermark == END {
        assert_eq!(harness.stage.state_bytes(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn pairs_are_those_of_a_batch_job_at_every_watermark(steps in steps(), settings in settings()) {
        let mut harness = Harness::new(settings);
        for step in &steps {
            match step {
                Step::Rows(port, rows) => drop(harness.accept(*port, rows)),
                Step::Advance(to) => drop(harness.advance(*to)),
                Step::Restart { with_image } => harness.restart(*with_image),
            }
            check(&harness);
        }
        harness.advance(END);
        check(&harness);
        prop_assert!(harness.emitted.iter().all(|one| one.revision.is_none()), "a pair is told once");
        let counts = harness.out.counts;
        prop_assert_eq!(counts.rows_in, counts.accepted + counts.late);
    }
}
