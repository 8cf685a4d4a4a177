//! Random steps: rows, versions, watermarks and restarts.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Rows(Vec<Row>),
    Table(Vec<Told>),
    Advance(usize, i64),
    Restart { with_image: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let at = || {
        let far = prop::sample::select(vec![5_000, EventTime::MIN.0, EventTime::MAX.0, -5_001]);
        prop_oneof![16 => -20_i64..20, 1 => far]
    };
    let rows = prop::collection::vec((at(), prop::sample::select(vec![None, Some("a"), Some("a"), Some("b")]), 0_i64..40), 0..8);
    let told =
        prop::collection::vec((at(), prop::sample::select(vec!["a", "a", "b"]), prop::option::weighted(0.8, 0_i64..9)), 0..8);
    let step = prop_oneof![
        5 => rows.prop_map(|rows| Step::Rows(rows.into_iter().map(|(at, key, id)| Row { at, key, id }).collect())),
        4 => told.prop_map(|told| Step::Table(told.into_iter().map(|(at, key, value)| Told { at, key, value }).collect())),
        5 => (0_usize..2, -30_i64..30).prop_map(|(port, to)| Step::Advance(port, to)),
        1 => (0_usize..2, prop::sample::select(vec![4_000, i64::MIN, -5_000])).prop_map(|(port, to)| Step::Advance(port, to)),
        2 => any::<bool>().prop_map(|with_image| Step::Restart { with_image }),
    ];
    prop::collection::vec(step, 1..20).prop_map(|mut steps| {
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

fn run(steps: &[Step], settings: Settings) -> Harness {
    let mut harness = Harness::new(settings);
    for step in steps {
        match step {
            Step::Rows(rows) => drop(harness.rows(rows)),
            Step::Table(told) => harness.table(told),
            Step::Advance(port, to) => drop(harness.advance(*port, *to)),
            Step::Restart { with_image } => harness.restart(*with_image),
        }
        harness.check();
    }
    harness.advance(TABLE, END);
    harness.advance(ROWS, END);
    harness.check();
    assert_eq!(harness.stage.state_bytes(), 0);
    harness
}

proptest! {
    #![proptest_config(crate::stage::testing::id_lists::cases())]

    #[test]
    fn rows_are_those_of_a_batch_job(steps in steps(), lateness_ms in prop::option::of(0_i64..20), outer in any::<bool>()) {
        run(&steps, Settings { lateness_ms, outer });
    }

    #[test]
    fn cutting_a_batch_changes_nothing(steps in steps(), lateness_ms in prop::option::of(0_i64..20), outer in any::<bool>()) {
        let single = |step: &Step| match step {
            Step::Rows(rows) => rows.iter().map(|row| Step::Rows(vec![row.clone()])).collect(),
            Step::Table(told) => told.iter().map(|told| Step::Table(vec![told.clone()])).collect(),
            step => vec![step.clone()],
        };
        let cut: Vec<Step> = steps.iter().flat_map(single).collect();
        let settings = Settings { lateness_ms, outer };
        prop_assert_eq!(run(&cut, settings).emitted, run(&steps, settings).emitted);
    }
}
