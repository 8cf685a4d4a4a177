//! A candidate beside a pipeline that runs: equal code never differs, whatever comes; other code differs where it is other; and the log never
//! learns of it.

use std::sync::Arc;

use reelflow_core::{
    column::{Column, Rows, Value, Values},
    plan::Emission,
    plugin::Response,
    schema::{FieldType, Schema},
    shadow::{Pair, written::Outlet},
};
use reelflow_ports::{
    engine::Plugin,
    native::{
        NativePlugin,
        ready::{field, tally},
    },
};
use reelflow_runtime::{
    shadow::Report,
    worker::{Step, Worker},
};
use reelflow_simulation::{
    input,
    shape::{FOR_EVER_MS, Kind},
    versioned::{On99, versioned},
};

mod world;

use world::*;

fn sum(report: &Report, at: &Outlet) -> u64 {
    report.outlets.get(at).map_or(0, |compared| compared.rows.equal)
}

/// Whatever comes, and however late the shadow is.
#[test]
fn two_equal_programs_never_differ() {
    let (mut n_records, mut n_rows, mut n_late) = (0, 0, 0);
    for kind in KINDS {
        for seed in 0..40 {
            let mut world = World::new(kind, seed);
            let same = world.same();
            let report = run(&mut world, &same);
            assert!(!report.differs(), "{kind:?}, seed {seed}: {:?} {:?}", report.outlets, report.states);
            assert_eq!(report.n_unread, 0, "{kind:?}, seed {seed}");
            n_records += report.n_records;
            n_rows += report.outlets.values().map(|compared| compared.rows.equal).sum::<u64>();
            n_late += u64::from(report.n_copies > 1);
        }
    }
    eprintln!("{n_records} records, {n_rows} rows; {n_late} shadows were too late once");
    assert!(n_records > 1_000 && n_rows > 1_000 && n_late > 0, "the seeds try something: {n_records} {n_rows} {n_late}");
}

/// What the shadow writes with the code that runs is what the pipeline has written since its state was copied.
#[test]
fn a_shadow_does_what_the_pipeline_does() {
    let mut n_rows = 0;
    for kind in KINDS {
        for seed in 0..20 {
            let mut world = World::new(kind, seed);
            // Intermediate results depend on batches, and what is late of two sources on which of them was read first.
            let has_two = matches!(kind, Kind::Join | Kind::Union);
            if world.shape.emission == Emission::Upsert || (has_two && world.shape.lateness_ms != FOR_EVER_MS) {
                continue;
            }
            // Nothing is cut, so nobody is too late.
            world.job.settings.trim_slack = i64::MAX / 4;
            world.worker = Worker::new(0, world.job.clone()).expect("native plugins need nothing");
            let events = input::events(&world.shape, &mut world.rng.clone());
            let (before, rest) = events.split_at(events.len() / 2);
            world.write(before);
            world.settle();
            let late = format!("late.{}", world.shape.last_stage());
            let counts = |world: &World| ["out", &late, "dead.sim"].map(|topic| world.n_rows(topic) as u64);
            let at_first = counts(&world);
            let mut shadow = world.shadow(&world.same());
            world.write(rest);
            world.end();
            world.settle();
            while world.look(&mut shadow) != Step::Idle {}
            let report = shadow.finish();
            let of_shadow = report.outlets.iter().fold([0; 3], |mut sums, (at, _)| {
                match at {
                    Outlet::Sink(_) => sums[0] += sum(&report, at),
                    Outlet::Late(_) => sums[1] += sum(&report, at),
                    Outlet::DeadLetters => sums[2] += sum(&report, at),
                    Outlet::Shuffle(_) => {}
                }
                sums
            });
            let since: Vec<u64> = counts(&world).iter().zip(at_first).map(|(now, before)| now - before).collect();
            assert_eq!(of_shadow.to_vec(), since, "{kind:?}, seed {seed}");
            n_rows += since.iter().sum::<u64>();
        }
    }
    assert!(n_rows > 1_000, "{n_rows}");
}

/// While nobody runs the pipeline, a shadow does to the end what the pipeline does then.
#[test]
fn a_shadow_alone_does_what_the_pipeline_will_do() {
    let mut n_rows = 0;
    for kind in [Kind::Hopping, Kind::Combined, Kind::Tumbling, Kind::Process] {
        for seed in 0..20 {
            let mut world = World::new(kind, seed);
            if world.shape.emission == Emission::Upsert {
                continue;
            }
            let events = input::events(&world.shape, &mut world.rng.clone());
            let (before, rest) = events.split_at(events.len() / 2);
            world.write(before);
            world.settle();
            let at_first = world.n_rows("out");
            world.write(rest);
            world.end();
            let mut shadow = world.shadow_of(&world.same(), true);
            for _ in 0..STEPS_MAX {
                if shadow.is_over() {
                    break;
                }
                world.look(&mut shadow);
            }
            let report = shadow.finish();
            assert!(!report.differs(), "{kind:?}, seed {seed}: {:?} {:?}", report.outlets, report.states);
            world.settle();
            let since = (world.n_rows("out") - at_first) as u64;
            assert_eq!(sum(&report, &Outlet::Sink(0)), since, "{kind:?}, seed {seed}");
            n_rows += since;
        }
    }
    assert!(n_rows > 300, "{n_rows}");
}

/// `inner`, whose rows with `p3` in their first column have 1000 more in their fourth.
fn more_of_p3(inner: &Arc<dyn Plugin>) -> Arc<dyn Plugin> {
    let (declaration, inner) = (inner.declaration().clone(), inner.clone());
    Arc::new(NativePlugin::new("candidate", declaration, move |request| {
        let mut response = inner.instance().expect("native plugins need nothing").call(request)?;
        if let Response::Rows { outputs, .. } = &mut response {
            for routed in outputs {
                let rows = &routed.rows;
                let is_p3 = |row: usize| rows.column(0).at(row) == Value::Bytes(b"p3");
                let more = |row: usize| match rows.column(3).at(row) {
                    Value::Int(value) => value + if is_p3(row) { 1_000 } else { 0 },
                    other => unreachable!("the fourth column is a required number, not {other:?}"),
                };
                let column = Column::from_parts(Values::Int((0..rows.len()).map(more).collect()), None).expect("no validity");
                let mut columns = rows.columns().to_vec();
                columns[3] = column;
                routed.rows = Rows::new(rows.len(), columns).expect("equally many values");
            }
        }
        Ok(response)
    }))
}

/// The rows of one key, all of them, with what they were and what they would be.
#[test]
fn a_changed_key_is_told_and_no_other() {
    let mut n_changed = 0;
    for kind in [Kind::Tumbling, Kind::Session] {
        for seed in 0..20 {
            let mut world = World::new(kind, seed);
            let new = world.program(|idx, plugin| if idx == 1 { more_of_p3(plugin) } else { plugin.clone() });
            let report = run(&mut world, &new);
            let rows = report.outlets.get(&Outlet::Sink(0)).cloned().unwrap_or_default().rows;
            assert_eq!(
                report.outlets.values().map(|compared| compared.rows.differing()).sum::<u64>(),
                rows.changed,
                "{kind:?} {seed}"
            );
            assert_eq!(rows.first.len() as u64, rows.changed);
            for pair in &rows.first {
                let Pair::Changed { old, new } = pair else { panic!("{kind:?}, seed {seed}: {pair:?}") };
                let key = String::from_utf8_lossy(old.key.as_deref().unwrap_or_default()).into_owned();
                assert!(key.starts_with("[\"p3\","), "{kind:?}, seed {seed}: {key}");
                let number = |value: &Option<Vec<u8>>| -> i64 {
                    let row: serde_json::Value = serde_json::from_slice(value.as_deref().unwrap_or_default()).expect("a row");
                    row["count"].as_i64().expect("a count")
                };
                assert_eq!(number(&new.value), number(&old.value) + 1_000);
            }
            // The plugin's states are as they were: only what it tells of them is other.
            assert!(report.states.by_stage.values().all(|kept| kept.keys.differing() == 0), "{kind:?}, seed {seed}");
            n_changed += rows.changed;
        }
    }
    assert!(n_changed > 20, "{n_changed}");
}

/// A row that goes to another key is told where it leaves; what the pipeline makes of its own row is the same for both.
#[test]
fn behind_a_change_of_key_the_row_itself_is_told() {
    let mut n_changed = 0;
    for seed in 0..20 {
        let mut world = World::new(Kind::Hopping, seed);
        let new = world.program(|idx, plugin| if idx == 0 { more_of_p3(plugin) } else { plugin.clone() });
        let report = run(&mut world, &new);
        for (at, compared) in &report.outlets {
            let rows = &compared.rows;
            match at {
                Outlet::Shuffle(0) => n_changed += rows.changed,
                _ => assert_eq!(rows.differing(), 0, "seed {seed}: {at:?} {rows:?}"),
            }
            assert_eq!(rows.only_old + rows.only_new, 0, "seed {seed}: {rows:?}");
        }
        // The tally is no other code.
        assert!(!report.outlets.contains_key(&Outlet::Sink(0)), "seed {seed}: a task without new code was run");
    }
    assert!(n_changed > 20, "{n_changed}");
}

/// Before any window closes, only what is kept tells that the code is other.
#[test]
fn states_that_differ_are_told_by_key() {
    let mut world = World::new(Kind::Tumbling, 1);
    world.shape.lateness_ms = FOR_EVER_MS;
    let row = |profile: &str, after_ms: i64| input::of_profile(&world.shape, "plays", profile.to_owned(), after_ms);
    let (first, second) = ([row("p1", 1), row("p3", 2)], [row("p1", 3), row("p2", 4), row("p3", 5)]);
    world.write(&first);
    world.settle();
    let new = world.program(|idx, plugin| if idx == 0 { more_of_p3(plugin) } else { plugin.clone() });
    let mut shadow = world.shadow(&new);
    world.write(&second);
    world.settle();
    while world.look(&mut shadow) != Step::Idle {}
    assert_eq!(shadow.n_differing(), 0);
    let report = shadow.finish();
    let stages: Vec<(usize, u64, u64)> =
        report.states.by_stage.iter().map(|(stage, kept)| (*stage, kept.keys.equal, kept.keys.changed)).collect();
    // Five ids of the dedup, three keys of the tally.
    assert_eq!(stages, [(1, 5, 0), (2, 2, 1)]);
    let [Pair::Changed { old: key, .. }] = &report.states.by_stage[&2].keys.first[..] else { panic!("{:?}", report.states) };
    assert!(key.windows(2).any(|two| two == b"p3"), "{key:?}");
    assert!(report.differs());
}

/// A newer state is read from the older one where it is touched, as in a run; what is kept is not compared then.
#[test]
fn a_candidate_with_a_newer_state_reads_the_older_one() {
    let key = || Schema { fields: vec![field("profile", FieldType::Text)] };
    let version = |version, reads: &[u32]| versioned(tally(key()), version, reads, On99::Migrates);
    let mut n_rows = 0;
    for seed in 0..20 {
        let mut world = World::new(Kind::Tumbling, seed);
        world.begin_with(1, || version(1, &[]));
        let new = world.program(|idx, plugin| if idx == 1 { Arc::new(version(2, &[1])) } else { plugin.clone() });
        let report = run(&mut world, &new);
        assert!(!report.differs(), "seed {seed}: {:?} {:?}", report.outlets, report.states);
        assert!(report.states.by_stage.get(&2).is_none_or(|kept| kept.versions == Some([1, 2])), "{:?}", report.states);
        n_rows += sum(&report, &Outlet::Sink(0));
    }
    assert!(n_rows > 200, "{n_rows}");
}
