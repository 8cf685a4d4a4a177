//! A run in which the last stage forgets what it keeps, between two halves of the inputs, while everything goes wrong.

use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reelflow_ports::{log::Guarantee, simulated::NoFaults};

use super::{Run, STEPS_MAX, draw::draw};
use crate::{
    chaos::Chaos,
    input,
    oracle::{self, Outcome},
    shape::{FOR_EVER_MS, Shape},
    upgrades::Upgrades,
};

/// Within so much time everybody has heard of a verdict, and committed its trial, if nothing fails.
const QUIET_STEPS: usize = 6_000;
const QUIET_STEP: Duration = Duration::from_millis(9);

/// Runs `seed` to its end; gives whether the reset was accepted, and how many crashes there were meanwhile. Panics when the outputs are not those of a
/// batch job over what was not forgotten.
pub fn run_with_reset(seed: u64, is_loud: bool) -> (bool, usize) {
    run_around(seed, is_loud, true, |run| run.reset(seed))
}

/// The same, where the first process that begins after all have ended has the stage forget (`reel run --reset`), and everything goes wrong from then on.
/// Gives how many crashes there were before nothing of it was left to do.
pub fn run_with_reset_at_start(seed: u64, is_loud: bool) -> usize {
    // Files that a reload has replaced cannot say what is to be forgotten, so nobody reloads before that.
    run_around(seed, is_loud, false, |run| (true, run.reset_at_start(seed))).1
}

/// Runs `seed` to its end, with `reset` between two halves of the inputs, when all of the first is processed. `reset` gives whether the last stage has
/// forgotten what it kept, and how many crashes there were meanwhile.
///
/// `are_wanted`: whether somebody wants other code before that as well.
fn run_around(seed: u64, is_loud: bool, are_wanted: bool, reset: impl FnOnce(&mut Run) -> (bool, usize)) -> (bool, usize) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (shape, _) = draw(&mut rng, seed);
    // Without late rows it is known what is final: nothing, before the end.
    let shape = Shape { lateness_ms: FOR_EVER_MS, ..shape };
    let events = input::events(&shape, &mut rng);
    let n_first = rng.random_range(0..=events.len());
    let mut run = Run::new(seed, rng, shape, Guarantee::ExactlyOnce, is_loud);
    let mut upgrades = Upgrades::new(seed, shape, &run.log, &run.clock);
    upgrades.are_wanted = are_wanted;
    run.upgrades = Some(upgrades);
    run.write(&events[..n_first]);
    run.calm();
    let (is_accepted, n_crashes) = reset(&mut run);
    run.upgrades.as_mut().expect("this run has them").are_wanted = true;
    run.chaos(&events[n_first..]);
    run.calm();
    run.stop_all();
    let outcome = Outcome::new(
        &run.log.committed_records("out"),
        &run.log.committed_records(&format!("late.{}", shape.last_stage())),
        &run.log.committed_records("dead.sim"),
    );
    let n_forgotten = if is_accepted { n_first } else { 0 };
    oracle::check_forgotten(&shape, &events, n_forgotten, &outcome);
    let summary = run.recover_all();
    oracle::check_fates(&shape, Guarantee::ExactlyOnce, &events, &outcome, &summary);
    (is_accepted, n_crashes)
}

impl Run {
    /// All that was written is processed; the last stage is to forget what it keeps. Nothing else comes until all have done so, or nobody has.
    fn reset(&mut self, seed: u64) -> (bool, usize) {
        let stage = self.shape.last_stage();
        let before = self.n_crashes;
        self.log.set_faults(Box::new(Chaos::new(seed ^ 0x5e5e7)));
        let mut verdict = None;
        for _ in 0..STEPS_MAX {
            let upgrades = self.upgrades.as_mut().expect("this run has them");
            match self.rng.random_range(0..100) {
                0 => {
                    verdict = upgrades.reset_verdict();
                    if verdict.is_some() {
                        break;
                    }
                    upgrades.propose_reset(stage);
                }
                1..5 => self.clock.advance(Duration::from_millis(self.rng.random_range(0..300))),
                5..40 => upgrades.step(),
                _ => self.step(),
            }
        }
        let verdict = verdict.expect("a reset is tried to its end");
        // The first look at a verdict comes after it: these may be the steps in which a trial is committed, or is not.
        (0..self.rng.random_range(0..200)).for_each(|_| self.step());
        let n_crashes = self.n_crashes - before;
        self.log.set_faults(Box::new(NoFaults));
        for _ in 0..QUIET_STEPS {
            self.clock.advance(QUIET_STEP);
            self.step();
            self.upgrades.as_mut().expect("this run has them").step();
        }
        self.log.set_faults(Box::new(Chaos::new(seed ^ 0xacce55)));
        (verdict, n_crashes)
    }
    /// All that was written is processed, and everybody ends; whoever begins next has the last stage forget. Nobody waits for that to be done: what
    /// comes now counts, whatever fails.
    fn reset_at_start(&mut self, seed: u64) -> usize {
        self.stop_all();
        self.bury();
        let upgrades = self.upgrades.as_mut().expect("this run has them");
        upgrades.reset_at_start(self.shape.last_stage());
        let before = self.n_crashes;
        self.log.set_faults(Box::new(Chaos::new(seed ^ 0x57a27)));
        for _ in 0..STEPS_MAX {
            if self.upgrades.as_ref().is_some_and(|upgrades| upgrades.n_resets_at_start() > 0) {
                break;
            }
            self.step();
        }
        // The first lives of those who are to forget: some end before they have committed it, some after.
        let n_steps = self.rng.random_range(0..600);
        for _ in 0..n_steps {
            if self.rng.random_bool(0.1) {
                self.upgrades.as_mut().expect("this run has them").step();
            }
            self.step();
        }
        let n_said = self.upgrades.as_ref().map_or(0, Upgrades::n_resets_at_start);
        assert_eq!(n_said, 1, "it was to be said once");
        self.n_crashes - before
    }
}
