//! A run in which the last stage forgets what it keeps, between two halves of the inputs, while everything goes wrong.

use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reelflow_ports::{log::Guarantee, simulated::NoFaults};

use super::{Run, STEPS_MAX, draw};
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
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (shape, _) = draw(&mut rng, seed);
    // Without late rows it is known what is final: nothing, before the end.
    let shape = Shape { lateness_ms: FOR_EVER_MS, ..shape };
    let events = input::events(&shape, &mut rng);
    let n_first = rng.random_range(0..=events.len());
    let mut run = Run::new(seed, rng, shape, Guarantee::ExactlyOnce, is_loud);
    run.upgrades = Some(Upgrades::new(seed, shape, &run.log, &run.clock));
    run.write(&events[..n_first]);
    run.calm();
    let (is_accepted, n_crashes) = run.reset(seed);
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
}
