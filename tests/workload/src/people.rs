//! Who watches and what there is to watch.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Zipf};

use crate::model::{MINUTE, Model};

/// The profile that never pauses: a test device with 0.5 % of all traffic.
pub const TEST_PROFILE: i64 = 8_000_000;

pub const COUNTRIES: [(&str, f64); 10] = [
    ("US", 0.30),
    ("IN", 0.14),
    ("BR", 0.12),
    ("GB", 0.10),
    ("DE", 0.09),
    ("FR", 0.08),
    ("JP", 0.07),
    ("MX", 0.05),
    ("KR", 0.03),
    ("NL", 0.02),
];
pub const DEVICES: [(&str, f64); 4] = [("tv", 0.60), ("mobile", 0.22), ("web", 0.10), ("tablet", 0.08)];

#[derive(Clone, Debug)]
pub struct Profile {
    pub id: i64,
    pub account_id: i64,
    pub country: &'static str,
    /// What the clock of this profile's devices adds to the true time, ms.
    pub skew_ms: i64,
}

#[derive(Clone, Debug)]
pub struct Title {
    pub id: i64,
    pub runtime_ms: i64,
}

/// All profiles and titles, and how popular they are.
pub struct People {
    pub profiles: Vec<Profile>,
    pub titles: Vec<Title>,
    profile_ranks: Zipf<f64>,
    title_ranks: Zipf<f64>,
}

impl People {
    pub fn new(model: &Model, rng: &mut ChaCha8Rng) -> People {
        let profiles = (0..model.n_profiles)
            .map(|idx| {
                // Half a per cent of the devices have a clock that is 1 to 9 minutes off.
                let skew_ms = if idx > 0 && rng.random_bool(0.005) { rng.random_range(MINUTE..=9 * MINUTE) } else { 0 };
                let skew_ms = if rng.random_bool(0.5) { skew_ms } else { -skew_ms };
                Profile {
                    id: TEST_PROFILE + i64::from(idx),
                    account_id: 3_000_000 + i64::from(idx) * 2 / 5,
                    country: weighted(&COUNTRIES, rng),
                    skew_ms,
                }
            })
            .collect();
        let titles = (0..model.n_titles)
            .map(|idx| Title { id: 70_000_000 + i64::from(idx), runtime_ms: rng.random_range(20 * MINUTE..=150 * MINUTE) })
            .collect();
        let ranks = |n: u32, exponent: f64| Zipf::new(f64::from(n), exponent).expect("n >= 1 and exponent > 0");
        People { profiles, titles, profile_ranks: ranks(model.n_profiles - 1, 0.8), title_ranks: ranks(model.n_titles, 1.05) }
    }

    /// A profile by popularity; never the test profile.
    pub fn any_profile(&self, rng: &mut ChaCha8Rng) -> &Profile {
        &self.profiles[self.profile_ranks.sample(rng) as usize]
    }

    /// A title by popularity.
    pub fn any_title(&self, rng: &mut ChaCha8Rng) -> &Title {
        &self.titles[self.title_ranks.sample(rng) as usize - 1]
    }
}

/// One of `choices` by its weight; the weights add up to 1.
pub fn weighted(choices: &[(&'static str, f64)], rng: &mut ChaCha8Rng) -> &'static str {
    let mut rest = rng.random_range(0.0..1.0);
    for (choice, weight) in choices {
        if rest < *weight {
            return choice;
        }
        rest -= weight;
    }
    choices[choices.len() - 1].0
}
