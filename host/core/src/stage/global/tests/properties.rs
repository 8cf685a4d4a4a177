//! Random runs against the model: disorder, late rows, keys that end and come again, rows that are refused, restarts, and every cut of batches.

use proptest::prelude::*;

use super::{super::*, model::*};
use crate::stage::testing::id_lists::{END, Row, cases};

#[derive(Clone, Debug)]
enum Step {
    /// A row, with how far the watermark goes on before it.
    Row(Row, i64),
    /// The watermark goes on, and nothing comes.
    Wait(i64),
    Restart {
        with_image: bool,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let on = || prop_oneof![4 => Just(0_i64), 3 => 0_i64..6, 1 => 0_i64..60];
    let key = prop::sample::select(vec![None, Some("a"), Some("a"), Some("a"), Some("b")]);
    let step = prop_oneof![
        12 => (-45_i64..20, key, 0_i64..40, on()).prop_map(|(at, key, id, on)| Step::Row(Row { at, key, id }, on)),
        1 => on().prop_map(Step::Wait),
        1 => any::<bool>().prop_map(|with_image| Step::Restart { with_image }),
    ];
    prop::collection::vec(step, 1..60).prop_map(|mut steps| {
        let mut n_rows = 0;
        for step in &mut steps {
            if let Step::Row(row, _) = step {
                n_rows += 1;
                // The last digit says what the plugin does with it; the rest makes it unique.
                row.id = n_rows * 10 + if row.id < 10 { row.id } else { row.id % 8 };
            }
        }
        steps
    })
}

fn windows() -> impl Strategy<Value = GlobalWindow> {
    let rows = prop::option::of(1_u64..6);
    let every = prop::option::of(1_i64..30);
    let window = |(every_rows, every_ms, clear, idle_ms)| GlobalWindow { every_rows, every_ms, clear, idle_ms };
    let fires = |window: &GlobalWindow| window.every_rows.is_some() || window.every_ms.is_some();
    (rows, every, any::<bool>(), 1_i64..60).prop_map(window).prop_filter("it is told sometimes", fires)
}

/// Gives the stage `steps` in batches that end where something else than a row comes, and where `is_cut` says so.
fn run(steps: &[Step], window: GlobalWindow, is_cut: impl Fn(usize) -> bool) -> Harness {
    let mut harness = Harness::new(window);
    let (mut rows, mut marks, mut watermark) = (Vec::new(), Vec::new(), i64::MIN);
    // Nothing is known before the first row that is not at once.
    let on = |watermark: &mut i64, by: i64| match (*watermark, by) {
        (i64::MIN, 0) => {}
        (i64::MIN, by) => *watermark = by - 30,
        _ => *watermark += by,
    };
    for (idx, step) in steps.iter().enumerate() {
        let is_row = matches!(step, Step::Row(..));
        if !is_row || is_cut(idx) {
            harness.give(&rows, &marks);
            (rows, marks) = (Vec::new(), Vec::new());
        }
        match step {
            Step::Row(row, by) => {
                on(&mut watermark, *by);
                let at = if watermark == i64::MIN { row.at } else { watermark + row.at };
                rows.push(Row { at, ..row.clone() });
                marks.push(watermark);
            }
            Step::Wait(by) => {
                on(&mut watermark, *by);
                harness.advance(watermark);
            }
            Step::Restart { with_image } => harness.restart(*with_image),
        }
    }
    harness.give(&rows, &marks);
    harness.advance(END);
    harness
}

fn expected(steps: &[Step], window: GlobalWindow) -> Model {
    let (mut model, mut watermark) = (Model::new(window), i64::MIN);
    for step in steps {
        let (Step::Row(_, by) | Step::Wait(by)) = step else { continue };
        watermark = match (watermark, *by) {
            (i64::MIN, 0) => i64::MIN,
            (i64::MIN, by) => by - 30,
            (watermark, by) => watermark + by,
        };
        model.advance(watermark);
        if let Step::Row(row, _) = step {
            let at = if watermark == i64::MIN { row.at } else { watermark + row.at };
            model.row(&Row { at, ..row.clone() });
        }
    }
    model.advance(END);
    model
}

proptest! {
    #![proptest_config(cases())]

    /// I-12: however batches are cut, what each key is told is the same, row by row, with its revisions, windows and times.
    #[test]
    fn what_is_told_follows_from_the_order_of_rows_and_not_from_batches(
        steps in steps(), window in windows(), cuts in prop::collection::vec(any::<bool>(), 60),
    ) {
        let model = expected(&steps, window);
        for is_cut in [&(|_| false) as &dyn Fn(usize) -> bool, &|idx| cuts[idx], &|_| true] {
            let harness = run(&steps, window, is_cut);
            prop_assert_eq!(by_key(&harness.told), by_key(&model.told));
            prop_assert_eq!(&harness.late, &model.late);
            let counts = harness.out.counts;
            prop_assert_eq!(counts.rows_in, counts.accepted + counts.late + counts.dead);
            prop_assert_eq!(harness.stage.state_bytes(), 0);
        }
    }
}
