//! Seeds and mutants through a target.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    Target,
    mutation::{Random, mutant},
};

/// Parents of mutants: the seeds, and mutants that were read.
const PARENTS_MAX: usize = 512;

/// How long a run is.
#[derive(Clone, Copy, Debug)]
pub enum Length {
    Mutants(u64),
    For(Duration),
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    pub n_seeds: usize,
    pub n_seeds_read: usize,
    pub n_mutants: u64,
    pub n_mutants_read: u64,
}

/// The folder of a target's seeds.
pub fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

/// Runs all seeds, and mutants from number `from` on. Panics with the file of the first input that fails.
pub fn run(target: &Target, from: u64, length: Length) -> Ran {
    let mut ran = Ran::default();
    let mut parents = Vec::new();
    let mut paths: Vec<PathBuf> = entries(&corpus(target.name));
    paths.sort();
    for path in paths {
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let outcome = catch_unwind(|| (target.run)(&bytes));
        ran.n_seeds += 1;
        ran.n_seeds_read += usize::from(outcome.unwrap_or_else(|_| panic!("target {}: {} fails", target.name, path.display())));
        parents.push(bytes);
    }
    assert!(!parents.is_empty(), "target {} has no seeds", target.name);
    let began = Instant::now();
    let is_over = |n_mutants: u64| match length {
        Length::Mutants(n) => n_mutants >= n,
        Length::For(time) => began.elapsed() >= time,
    };
    while !is_over(ran.n_mutants) {
        let mut random = Random(from.wrapping_add(ran.n_mutants));
        let bytes = mutant(&parents, &mut random);
        let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(&bytes)));
        let is_read = outcome.unwrap_or_else(|_| {
            let path = keep(target, &bytes);
            panic!("target {}: mutant {} fails, and is now the seed {}", target.name, from + ran.n_mutants, path.display());
        });
        ran.n_mutants += 1;
        ran.n_mutants_read += u64::from(is_read);
        if is_read && parents.len() < PARENTS_MAX {
            parents.push(bytes);
        } else if is_read && random.below(64) == 0 {
            // The seeds stay.
            let at = ran.n_seeds + random.below(PARENTS_MAX - ran.n_seeds);
            parents[at] = bytes;
        }
    }
    ran
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    found.map(|entry| entry.expect("a folder can be read to its end").path()).collect()
}

/// Makes a seed of what fails.
fn keep(target: &Target, bytes: &[u8]) -> PathBuf {
    let path = corpus(target.name).join(format!("found-{:08x}", crc32fast::hash(bytes)));
    fs::write(&path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path
}
