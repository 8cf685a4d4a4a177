//! What fails in a run, decided by its seed.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reelflow_ports::simulated::{Call, Fault, Faults};

/// Faults at a rate. The steps of the seal fail more often than the rest: that is where order matters.
pub struct Chaos {
    rng: ChaCha8Rng,
    /// Of 10,000 calls, how many fail.
    rate: u32,
    /// How often a call of the seal fails, as a multiple of the rate.
    seal_factor: u32,
    fetch_max: usize,
    /// How many polls a member goes on to hear nothing.
    deaf: BTreeMap<String, u32>,
}

impl Chaos {
    pub fn new(seed: u64) -> Chaos {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5eed_0fc4_a055);
        let rate = [0, 10, 50, 200][rng.random_range(0..4)];
        let seal_factor = [1, 5, 20][rng.random_range(0..3)];
        let fetch_max = [1, 3, 10, 50][rng.random_range(0..4)];
        Chaos { rng, rate, seal_factor, fetch_max, deaf: BTreeMap::new() }
    }
}

impl Faults for Chaos {
    fn decide(&mut self, member: &str, call: Call) -> Fault {
        if call == Call::Poll
            && let Some(left) = self.deaf.get_mut(member).filter(|left| **left > 0)
        {
            *left -= 1;
            return Fault::Deaf;
        }
        let is_seal = matches!(call, Call::AppendDeltas | Call::Drain | Call::AddOffsets | Call::Commit);
        let rate = if is_seal { self.rate * self.seal_factor } else { self.rate };
        if self.rng.random_range(0..10_000) >= rate {
            return Fault::None;
        }
        let kind = self.rng.random_range(0..10);
        match call {
            Call::Commit if kind < 3 => Fault::DoneLater { ms: self.rng.random_range(0..4_000) },
            Call::Poll if kind < 5 => {
                self.deaf.insert(member.to_owned(), self.rng.random_range(1..200));
                Fault::Deaf
            }
            Call::Committed | Call::Scan | Call::Offsets => Fault::FailBefore,
            Call::Join
            | Call::Poll
            | Call::Start
            | Call::GiveUp
            | Call::Append
            | Call::AppendDeltas
            | Call::Drain
            | Call::AddOffsets
            | Call::Commit
            | Call::Abort
            | Call::Leave => [Fault::FailBefore, Fault::FailAfter, Fault::CrashBefore, Fault::CrashAfter][kind % 4],
        }
    }

    /// Sometimes a partition gives nothing although it has something: partitions run apart.
    fn fetch_max(&mut self) -> usize {
        self.rng.random_range(0..=self.fetch_max)
    }
}
