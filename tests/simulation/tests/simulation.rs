//! Hundreds of seeded runs. A failing one prints the command that replays it.

use std::panic;

use reelflow_simulation::driver::{
    Report,
    resets::{run_with_reset, run_with_reset_at_start},
    run, run_with_stores, run_with_upgrades,
};

/// Runs each of `seeds` on a few threads; panics with the first failing seed.
fn run_all<T: Send + 'static>(seeds: std::ops::Range<u64>, run: fn(u64, bool) -> T) -> Vec<T> {
    let seeds: Vec<u64> = seeds.collect();
    let half = seeds.len().div_ceil(2).max(1);
    let threads: Vec<_> = seeds
        .chunks(half)
        .map(|part| {
            let part = part.to_vec();
            std::thread::spawn(move || part.into_iter().map(|seed| run_one(seed, false, run)).collect::<Vec<_>>())
        })
        .collect();
    threads.into_iter().flat_map(|thread| thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic))).collect()
}

fn run_one<T>(seed: u64, is_loud: bool, run: fn(u64, bool) -> T) -> T {
    panic::catch_unwind(|| run(seed, is_loud)).unwrap_or_else(|panic| {
        eprintln!("\nseed {seed} failed; replay it with\n  REEL_SEED={seed} cargo test -p reelflow-simulation -- --nocapture\n");
        panic::resume_unwind(panic)
    })
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not \"{text}\"")))
}

/// I-2, I-4, I-5: whatever fails and in whatever order things happen, the output is that of a batch job.
#[test]
fn the_stream_gives_the_batch_answer() {
    if let Some(seed) = number("REEL_SEED") {
        eprintln!("{:?}", run_one(seed, true, run));
        return;
    }
    let n_seeds = number("REEL_SEEDS").unwrap_or(3_000);
    let reports = run_all(0..n_seeds, run);
    let sum = |of: fn(&Report) -> usize| reports.iter().map(of).sum::<usize>();
    eprintln!(
        "{n_seeds} seeds: {} steps, {} epochs sealed, {} crashes, {} sessions lost",
        sum(|report| report.n_steps),
        sum(|report| report.n_sealed),
        sum(|report| report.n_crashes),
        sum(|report| report.n_retries),
    );
    assert!(sum(|report| report.n_crashes) > 0 && sum(|report| report.n_retries) > 0, "the seeds try something");
}

/// I-2: one seed, two runs, equal traces.
#[test]
fn a_seed_gives_the_same_run_twice() {
    assert_eq!(run_all(0..20, run), run_all(0..20, run));
    assert_eq!(run_all(0..20, run_with_upgrades), run_all(0..20, run_with_upgrades));
    assert_eq!(run_all(0..20, run_with_stores), run_all(0..20, run_with_stores));
    assert_ne!(run_one(1, false, run).trace, run_one(2, false, run).trace, "the trace tells runs apart");
}

/// I-14: code that changes while workers crash, pause and are replaced changes no row; what fails its trial is never seen.
#[test]
fn upgrades_change_nothing_but_the_code() {
    if let Some(seed) = number("REEL_SEED") {
        eprintln!("{:?}", run_one(seed, true, run_with_upgrades));
        return;
    }
    let reports = run_all(0..number("REEL_SEEDS").unwrap_or(1_000), run_with_upgrades);
    let sum = |of: fn(&Report) -> usize| reports.iter().map(of).sum::<usize>();
    let (accepted, rolled_back) = (sum(|report| report.n_accepted), sum(|report| report.n_rolled_back));
    eprintln!("{accepted} programs accepted, {rolled_back} rolled back, {} crashes", sum(|report| report.n_crashes));
    assert!(accepted > reports.len() && rolled_back > 0, "the seeds try something");
}

/// I-14: a reset is done in all partitions or in none, and once: what comes of it is what a batch job gives over what was not forgotten.
#[test]
fn a_reset_forgets_once_whatever_fails() {
    if let Some(seed) = number("REEL_SEED") {
        eprintln!("{:?}", run_one(seed, true, run_with_reset));
        return;
    }
    let reports = run_all(0..number("REEL_SEEDS").unwrap_or(100), run_with_reset);
    // Code that could not read what the code before it writes was accepted, as nothing had been written yet.
    run_one(504, false, run_with_reset);
    let n_accepted = reports.iter().filter(|(is_accepted, _)| *is_accepted).count();
    let n_crashes: usize = reports.iter().map(|(_, n_crashes)| n_crashes).sum();
    eprintln!("{n_accepted} of {} resets accepted, {n_crashes} crashes around them", reports.len());
    assert!(n_accepted > reports.len() / 2 && n_crashes > 0, "the seeds try something");
}

/// I-14: what a start has a stage forget is forgotten once in each partition, by whoever recovers it, however often those who begin die of it.
#[test]
fn a_reset_at_a_start_forgets_once_whatever_fails() {
    if let Some(seed) = number("REEL_SEED") {
        eprintln!("{} crashes", run_one(seed, true, run_with_reset_at_start));
        return;
    }
    let crashes = run_all(0..number("REEL_SEEDS").unwrap_or(100), run_with_reset_at_start);
    let n_with = crashes.iter().filter(|n_crashes| **n_crashes > 0).count();
    eprintln!(
        "{} crashes around the first epochs of {} starts, in {n_with} of them",
        crashes.iter().sum::<usize>(),
        crashes.len()
    );
    assert!(n_with > crashes.len() / 10, "the seeds try something");
}

/// I-16: with bases in a store that fails, and loses or damages one of the two that a task names, the answer is the same.
#[test]
fn i_16_a_lost_base_costs_no_state() {
    if let Some(seed) = number("REEL_SEED") {
        eprintln!("{:?}", run_one(seed, true, run_with_stores));
        return;
    }
    let reports = run_all(0..number("REEL_SEEDS").unwrap_or(1_500), run_with_stores);
    let sum = |of: fn(&Report) -> usize| reports.iter().map(of).sum::<usize>();
    let (named, spoilt, skipped) =
        (sum(|report| report.bases.n_named), sum(|report| report.bases.n_spoilt), sum(|report| report.n_skipped));
    let orphans = sum(|report| report.bases.n_orphans);
    eprintln!("{named} bases named in the end, {orphans} others left, {spoilt} spoilt, {skipped} skipped by a recovery");
    assert!(named > reports.len() / 2 && spoilt > 0 && skipped > 0, "the seeds try something");
    assert!(orphans < named, "what nobody names goes");
}
