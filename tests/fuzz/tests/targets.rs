//! Seeds and mutants through each target. See the text of the crate for longer runs.

use std::time::Duration;

use reelflow_fuzz::{
    TARGETS,
    run::{Length, run},
};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

#[track_caller]
fn check(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    let length = number("REEL_FUZZ_SECONDS").map_or(Length::Mutants(target.n_mutants), |s| Length::For(Duration::from_secs(s)));
    let ran = run(target, number("REEL_FUZZ_FROM").unwrap_or(0), length);
    println!("{name}: {ran:?}");
    assert!(ran.n_seeds_read > 0, "no seed is read: they are not what they were");
    assert!(ran.n_mutants_read > 0 && ran.n_mutants_read < ran.n_mutants, "mutants are read, and refused: {ran:?}");
}

#[test]
fn answer() {
    check("answer");
}

#[test]
fn changelog() {
    check("changelog");
}

#[test]
fn component() {
    check("component");
}

#[test]
fn frame() {
    check("frame");
}

#[test]
fn json() {
    check("json");
}

#[test]
fn letter_call() {
    check("letter_call");
}

#[test]
fn state() {
    check("state");
}

#[test]
fn every_target_has_a_test() {
    let text = include_str!("targets.rs");
    for target in TARGETS {
        assert!(text.contains(&format!("check(\"{}\");", target.name)), "no test runs target {}", target.name);
    }
}
