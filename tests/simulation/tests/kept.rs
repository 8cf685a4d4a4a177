//! State is bounded by what is alive: it follows the keys that are, ends with the horizon, and never grows with one that never ends (R14).

use reelflow_core::plan::Emission;
use reelflow_simulation::{
    input::{self, Event},
    shape::{Kind, SPAN_MS, Shape},
    undisturbed::{Kept, run},
};

const KINDS: [Kind; 8] =
    [Kind::Tumbling, Kind::Hopping, Kind::Combined, Kind::Session, Kind::Join, Kind::Union, Kind::Process, Kind::Global];
const HOUR_MS: i64 = 3_600_000;

fn shape(kind: Kind) -> Shape {
    let emission = if matches!(kind, Kind::Session | Kind::Process) { Emission::Final } else { Emission::Upsert };
    Shape { kind, n_partitions: 1, lateness_ms: 20_000, horizon_ms: 40_000, emission }
}

/// A row of `profile` in each of the pipeline's sources.
fn rows(shape: &Shape, profile: &str, after_ms: i64) -> Vec<Event> {
    let topics: &[&'static str] = match shape.kind {
        Kind::Join | Kind::Union => &["plays", "impressions"],
        Kind::Tumbling | Kind::Hopping | Kind::Combined | Kind::Session | Kind::Process | Kind::Global => &["plays"],
    };
    topics.iter().map(|topic| input::of_profile(shape, topic, profile.to_owned(), after_ms)).collect()
}

/// Ten generations of keys, an hour apart: only the last one is kept, in memory and in the changelog.
#[test]
fn state_follows_live_keys() {
    for kind in KINDS {
        let shape = shape(kind);
        let generation = |nth: i64| -> Vec<Event> {
            // Within the horizon, so that all of a generation is alive at its end.
            (0..1_000).flat_map(|key| rows(&shape, &format!("generation {nth} key {key}"), nth * HOUR_MS + 10 * key)).collect()
        };
        let generations: Vec<Vec<Event>> = (0..10).map(generation).collect();
        let slices: Vec<&[Event]> = generations.iter().map(Vec::as_slice).collect();
        let given = run(&shape, &slices, None);
        let alive = given.kept[0].state_bytes;
        eprintln!(
            "{kind:?}: {alive} bytes of state of one generation, then {:?}; trimmed {:?}",
            given.kept[9],
            given.trimmed.last()
        );
        assert!(given.state_bytes_max * 2 <= alive * 3, "{kind:?}: {} bytes at most, {alive} alive", given.state_bytes_max);
        let ratio = |kept: &Kept| kept.changelog_bytes as f64 / kept.state_bytes as f64;
        // Where hardly anything is kept, what a task itself remembers is most of a base.
        let long: Vec<f64> = given.trimmed.iter().filter(|kept| kept.state_bytes * 4 > alive).map(ratio).collect();
        assert!(!long.is_empty(), "{kind:?}: {:?}", given.trimmed);
        let worst = long.iter().copied().fold(0.0, f64::max);
        eprintln!("{kind:?}: behind {} trims the changelog has at most {worst:.2} times the state", long.len());
        // Two tasks share a partition of the changelog where a shuffle is: it begins at the older of their bases.
        let at_most = if matches!(kind, Kind::Hopping | Kind::Combined) { 3.0 } else { 1.5 };
        assert!(worst <= at_most, "{kind:?}: {worst} in {:?}", given.trimmed);
        let changelog = given.kept.iter().map(|kept| kept.changelog_bytes).max().expect("ten generations");
        assert!(changelog < 4 * alive + 64 * 1024, "{kind:?}: {changelog} bytes of changelog, {alive} alive");
    }
}

/// Once everything is older than the horizon and the lateness, what is kept is what two rows alone would leave.
#[test]
fn nothing_is_left_after_a_quiet_period() {
    for kind in KINDS {
        let shape = shape(kind);
        let busy: Vec<Event> = (0..500).flat_map(|nth| rows(&shape, &format!("p{}", nth % 40), 1_000 * nth)).collect();
        let beats: Vec<Event> = [2 * HOUR_MS, 2 * HOUR_MS + 1].into_iter().flat_map(|at| rows(&shape, "beat", at)).collect();
        let kept = |slices: &[&[Event]]| run(&shape, slices, None).kept.iter().map(|kept| kept.state_bytes).collect::<Vec<_>>();
        let (after, alone) = (kept(&[&busy, &beats]), kept(&[&beats]));
        eprintln!("{kind:?}: {} bytes in between, {} in the end", after[0], after[1]);
        assert!(after[0] > 10 * alone[0], "{kind:?}: the busy time leaves something");
        assert_eq!(after[1], alone[0], "{kind:?}");
    }
}

/// A profile that is never silent for long has one session for ever, or rows and timers that end behind it.
#[test]
fn a_profile_that_never_ends_stays_bounded() {
    for kind in [Kind::Session, Kind::Union, Kind::Process] {
        let shape = shape(kind);
        let all: Vec<Event> = (0..20_000).flat_map(|nth| rows(&shape, "test", 1_000 * nth)).collect();
        let slices: Vec<&[Event]> = all.chunks(all.len() / 10).collect();
        let given = run(&shape, &slices, None);
        let kept: Vec<u64> = given.kept.iter().map(|kept| kept.state_bytes).collect();
        eprintln!("{kind:?}: a row a second for 20,000 s, with {SPAN_MS} ms in reach: {kept:?} bytes");
        assert!(kept[9] <= kept[0] + kept[0] / 10, "{kind:?}: {kept:?}");
        let changelog = given.kept.iter().map(|kept| kept.changelog_bytes).max().expect("ten slices");
        assert!(changelog < 512 * 1024, "{kind:?}: {changelog} bytes of changelog");
    }
}
