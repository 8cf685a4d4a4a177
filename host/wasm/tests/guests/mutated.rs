//! Damage at random: components with some bytes changed, and guests whose answers are noise. Each is loaded and called, or refused; the
//! host never panics, and a neighbour answers as before.
//!
//! The seeds are the guests themselves. `REEL_MUTANTS=100000 cargo test -p reelflow-wasm mutated` tries more; a failure names its mutant.

use reelflow_core::plugin::Request;
use reelflow_ports::engine::{Limits, PluginEngine};

use crate::{
    support::{LIMITS, engine, guests_dir, instance, int_rows, listed, out, transform, transform_rows, wat},
    written::{component, guest},
};

/// A mutant may loop.
const BRIEF: Limits = Limits { call_ms_max: 20, ..LIMITS };

fn n_mutants() -> u64 {
    std::env::var("REEL_MUTANTS").map_or(300, |text| text.parse().expect("REEL_MUTANTS is a number"))
}

/// SplitMix64: the same mutants on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// Numbers that decoders trip over more often than others.
    fn telling(&mut self) -> u32 {
        let telling = [0, 1, 3, 4, 255, 512, 1024, 2048, 65_535, 1 << 20, (1 << 20) - 8, i32::MAX as u32, u32::MAX - 7, u32::MAX];
        match self.below(4) {
            0 => self.next() as u32,
            _ => telling[self.below(telling.len())],
        }
    }
}

/// Loads and calls; gives whether it got as far as an answer.
fn answers(component: &[u8]) -> bool {
    let Ok(plugin) = engine().load(component, "{}", &BRIEF) else { return false };
    let Ok(mut instance) = plugin.instance() else { return false };
    let request = Request::Transform { rows: int_rows(&[1, 2, 3]) };
    plugin.declaration().world.name() == "transform"
        && plugin.declaration().inputs[0].len() == 1
        && instance.call(&request).is_ok()
}

#[track_caller]
fn check_neighbour() {
    let answer = instance("transform", "{}", LIMITS).call(&transform(&[4, 5])).unwrap();
    assert_eq!(out(&answer), &transform_rows(&[4, 5]));
}

#[test]
fn mutated_components_are_refused_or_run() {
    let names = |folder: &str| listed(&guests_dir().join(folder), |path| Some(path.file_stem()?.to_str()?.to_owned()));
    let mut seeds: Vec<Vec<u8>> = names("core").iter().map(|name| guest(name)).collect();
    seeds.extend(names("wat").iter().map(|name| wat(name)));
    let honest = component("");
    let mut n_answers = 0;
    for mutant in 0..n_mutants() {
        let mut random = Random(mutant);
        // Every other mutant has an honest parent, or few would get as far as a call.
        let mut bytes = if mutant % 2 == 0 { honest.clone() } else { seeds[random.below(seeds.len())].clone() };
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            match random.below(3) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes[at] = random.next() as u8,
                _ => drop(bytes.remove(at)),
            }
        }
        let outcome = std::panic::catch_unwind(|| answers(&bytes));
        n_answers += u64::from(*outcome.as_ref().unwrap_or_else(|_| panic!("mutant {mutant}")));
    }
    assert!(n_answers > 0, "no mutant came through: the seeds are not what they were");
    check_neighbour();
}

#[test]
fn answers_of_noise_are_refused_or_right() {
    let mut n_answers = 0;
    for mutant in 0..n_mutants() {
        let mut random = Random(!mutant);
        // The answer at 512, its lists at 1024, and what those point to at 2048, as words of the guest's memory.
        let mut noise = |at: u32, n_words: usize, sound: &[u32]| {
            let words = (0..n_words).map(|word| match (random.below(6), sound.get(word)) {
                (0, _) | (_, None) => random.telling(),
                (_, Some(sound)) => *sound,
            });
            let bytes: String = words.flat_map(u32::to_le_bytes).map(|byte| format!("\\{byte:02x}")).collect();
            format!("(data (i32.const {at}) \"{bytes}\")")
        };
        // One output of two rows, each with the number 7 (or noise in its place), from the rows 0 and 1.
        let fields = [
            noise(512, 4, &[1024, 1, 0, 0]),
            noise(1024, 6, &[0, 2, 2048, 1, 3072, 2]),
            noise(2048, 7, &[1, 3080, 2, 0, 0, 0, 0]),
            noise(3072, 6, &[0, 1, 7, 0, 7, 0]),
        ];
        let component = component(&fields.concat());
        let outcome = std::panic::catch_unwind(|| answers(&component));
        n_answers += u64::from(*outcome.as_ref().unwrap_or_else(|_| panic!("mutant {mutant}")));
    }
    assert!(n_answers > 0, "no answer came through: the sound ones are not what they were");
    check_neighbour();
}
