//! Bytes from outside that must never panic the host: targets, seeds, mutations.
//!
//! A target is a function of bytes. It panics where the host would, and where what was read is not what its own checks promise. Its seeds are
//! the files in `corpus/<target>`: real ones (`cargo run -p reelflow-fuzz --example seeds` writes those), and `found-…`, which once failed.
//! `cargo test -p reelflow-fuzz` runs all seeds and a bounded number of mutants, the same on every machine. For more:
//!
//! ```sh
//! REEL_FUZZ_SECONDS=600 cargo test -p reelflow-fuzz --test targets state     # one target, for ten minutes
//! REEL_FUZZ_SECONDS=600 REEL_FUZZ_FROM=1000000 cargo test …                  # other mutants than the last time
//! ```
//!
//! What fails becomes a seed, whose file the failure names. What ends the whole process leaves no file, but comes again with the same numbers. A mutant
//! that is read becomes a parent of others, so what is behind the first checks is reached without knowing which code ran: coverage does not guide the
//! mutations. That takes `libfuzzer-sys` or `bolero`, and a second build of all that is below with instrumentation, the compiler of components
//! included; the targets are plain functions, so such a harness needs nothing else of this crate.
//!
//! Modules in reading order: [`run`], [`mutation`], [`targets`].

pub mod mutation;
pub mod run;
pub mod targets;

/// What bytes are given to.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Also of the folder of its seeds.
    pub name: &'static str,
    /// Gives whether the bytes were read as what they claim to be. Panics only where the host has a mistake.
    pub run: fn(&[u8]) -> bool,
    /// Mutants of a short run: about two seconds.
    pub n_mutants: u64,
}

/// All targets.
pub const TARGETS: [Target; 7] = [
    Target { name: "answer", run: targets::answer::run, n_mutants: 3_000 },
    Target { name: "changelog", run: targets::changelog::run, n_mutants: 20_000 },
    Target { name: "component", run: targets::component::run, n_mutants: 300 },
    Target { name: "frame", run: targets::frame::run, n_mutants: 20_000 },
    Target { name: "json", run: targets::json::run, n_mutants: 10_000 },
    Target { name: "letter_call", run: targets::letter_call::run, n_mutants: 20_000 },
    Target { name: "state", run: targets::state::run, n_mutants: 3_000 },
];

/// `body` behind a version and its right checksum, as chunks of state and frames have it: what only the checks behind these can refuse.
pub fn sealed(version: u8, body: &[u8]) -> Vec<u8> {
    [&[version][..], &crc32fast::hash(body).to_le_bytes(), body].concat()
}
