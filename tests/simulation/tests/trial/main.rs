//! When a trial begins, how much it takes, and when it has failed: the settings of `[upgrade]`, by the model's clock.

use std::time::Duration;

use reelflow_runtime::settings::{Settings, TrialRules};
use reelflow_simulation::shape::Kind;

mod world;

use world::*;

const RECORDS_MAX: usize = 20;
/// A poll that finds nothing takes up to 100 ms.
const LATE_MS: i64 = 250;

fn settings(interval_ms: u64, trial: TrialRules) -> Settings {
    Settings { commit_interval: Duration::from_millis(interval_ms), trial, ..Settings::standard("sim".into()) }
}

/// A trial is an epoch, and an epoch is bounded: what is beyond waits for the verdict.
#[test]
fn a_trial_that_is_full_reads_on_after_its_verdict() {
    let rules = TrialRules { n_epochs: 5, ..TrialRules::STANDARD };
    let mut world = World::new(Kind::Tumbling, 1, Settings { epoch_records_max: RECORDS_MAX, ..settings(500, rules) });
    world.enter(0);
    (0..100).for_each(|_| world.step(&[0]));
    world.upgrades.propose_version("v2", &[]);
    let begin = world.until(&[0], is_tried);
    world.write(200, "");
    while world.now_ms() < begin + 2_000 {
        world.step(&[0]);
    }
    assert_eq!(world.heard(is_accepted), None, "it lasts for five intervals");
    let read = world.n_read(0);
    assert!((RECORDS_MAX..RECORDS_MAX + FETCH_MAX).contains(&read), "{read} records are more than an epoch may have");
    (0..4_000).for_each(|_| world.step(&[0]));
    assert!(world.heard(is_accepted).is_some());
    assert_eq!(world.n_read(0), 200, "all are read after the verdict");
}

/// Behind a change of key the code before leaves the rows where they are for so many intervals, and no longer than a trial may last.
#[test]
fn rows_gather_in_front_of_a_trial_for_as_long_as_was_set() {
    for (n_epochs_gathering, gathers_ms) in [(0, 0), (1, 1_000), (7, 7_000), (50, 20_000)] {
        let (mut world, proposed) = proposed(Kind::Hopping, n_epochs_gathering);
        let before = world.positions("reel.sim.tally");
        assert!(before.0 > 0, "what came before was read");
        while world.heard(is_tried).is_none() {
            world.write(1, "");
            world.step(&[0]);
        }
        let took = world.until(&[0], is_tried) - proposed;
        assert!((gathers_ms..gathers_ms + LATE_MS).contains(&took), "{n_epochs_gathering} intervals: begun after {took} ms");
        let (committed, written) = world.positions("reel.sim.tally");
        if gathers_ms > 0 {
            assert_eq!(committed, before.0, "{n_epochs_gathering} intervals: rows are read while they gather");
            assert!(written - before.1 > gathers_ms / 10, "{n_epochs_gathering} intervals: only {written} rows to be tried on");
        }
        world.until(&[0], is_accepted);
        (0..5_000).for_each(|_| world.step(&[0]));
        assert!(world.positions("reel.sim.tally").0 >= written, "{n_epochs_gathering} intervals: rows are left unread");
    }
}

/// Where no key changes in front of new code there is nothing to wait for.
#[test]
fn nothing_gathers_where_no_key_changes() {
    let (mut world, proposed) = proposed(Kind::Tumbling, 7);
    let took = world.until(&[0], is_tried) - proposed;
    assert!(took < LATE_MS, "begun after {took} ms");
}

/// A pipeline of `kind` that has read something, and when other code was proposed to it.
fn proposed(kind: Kind, n_epochs_gathering: u32) -> (World, i64) {
    let rules = TrialRules { n_epochs: 1, n_epochs_gathering, ..TrialRules::STANDARD };
    let mut world = World::new(kind, 1, Settings { transaction_timeout: Duration::from_secs(60), ..settings(1_000, rules) });
    world.enter(0);
    world.write(50, "");
    (0..5_000).for_each(|_| world.step(&[0]));
    world.upgrades.propose_version("v2", &[]);
    let at = world.until(&[0], begins);
    (world, at)
}

/// One of two processes stands still in the trial: the other one gives it up when it has waited for so long, and not before.
#[test]
fn a_trial_that_somebody_does_not_answer_is_given_up_after_the_wait_that_was_set() {
    for wait_ms in [500, 2_000, 9_000] {
        let rules = TrialRules { n_epochs: 2, verdict_max: Duration::from_millis(wait_ms), ..TrialRules::STANDARD };
        let hour = Duration::from_secs(3_600);
        let mut world = World::new(Kind::Tumbling, 2, Settings { session_timeout: hour, ..settings(500, rules) });
        world.enter(0);
        world.enter(1);
        (0..1_000).for_each(|_| world.step(&[0, 1]));
        world.write(100, "");
        (0..1_000).for_each(|_| world.step(&[0, 1]));
        assert!(world.n_read(0) > 0 && world.n_read(1) > 0, "both have a partition: {} {}", world.n_read(0), world.n_read(1));
        world.upgrades.propose_version("v2", &[]);
        world.until(&[0, 1], begins);
        let begin = world.until(&[0], is_tried);
        let given_up = world.until(&[0], is_rolled_back) - begin;
        let expected = 1_000 + wait_ms as i64;
        assert!((expected..expected + LATE_MS).contains(&given_up), "{wait_ms} ms: given up after {given_up} ms");
        let why = if wait_ms == 500 { "within 500 ms".to_owned() } else { format!("within {} s", wait_ms / 1_000) };
        let why = format!("not all partitions have passed {why}");
        assert!(world.heard(|event| is_rolled_back_as(event, &why)).is_some(), "{wait_ms} ms: it says another wait");
        // The other one has slept through it all.
        (0..1_000).for_each(|_| world.step(&[0, 1]));
        assert_eq!(world.heard(is_accepted), None, "{wait_ms} ms");
    }
}

/// Of 100 rows, new code may refuse as many as the share that was set makes by chance; with one row more it is rolled back.
#[test]
fn the_share_of_bad_rows_that_was_set_decides() {
    for (bad_share_max, n_bad_max) in [(0.01, 6), (0.05, 14), (0.5, 68)] {
        for n_bad in [n_bad_max, n_bad_max + 1] {
            let rules = TrialRules { n_epochs: 2, bad_share_max, ..TrialRules::STANDARD };
            let mut world = World::new(Kind::Tumbling, 1, settings(500, rules));
            world.enter(0);
            // The code before refuses none of these.
            world.write(20, "odd");
            (0..1_000).for_each(|_| world.step(&[0]));
            world.upgrades.propose_version("strict", &[]);
            world.until(&[0], is_tried);
            world.write(n_bad, "odd");
            world.write(100 - n_bad, "");
            let is_over = |event: &_| is_accepted(event) || is_rolled_back(event);
            world.until(&[0], is_over);
            let why = format!("plugin \"p0\" refused {n_bad}.0 % of its 100 rows, the one before 0.0 %");
            let is_given_up = world.heard(|event| is_rolled_back_as(event, &why)).is_some();
            assert_eq!(is_given_up, n_bad > n_bad_max, "{n_bad} of 100, where {bad_share_max} may be");
            assert_eq!(world.heard(is_accepted).is_some(), !is_given_up, "{n_bad} of 100, where {bad_share_max} may be");
        }
    }
}
