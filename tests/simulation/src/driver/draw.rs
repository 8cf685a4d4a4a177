//! Which pipeline a seed runs.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use reelflow_core::plan::Emission;
use reelflow_ports::log::Guarantee;

use crate::shape::{FOR_EVER_MS, Kind, Shape};

/// Whether it is a process, or adds rows up, is not drawn, so that the other seeds are the runs that ARCHITECTURE.md tells of.
pub(super) fn draw(rng: &mut ChaCha8Rng, seed: u64) -> (Shape, Guarantee) {
    let kind = [Kind::Tumbling, Kind::Join, Kind::Hopping, Kind::Session][rng.random_range(0..4)];
    let kind = match kind {
        _ if seed % 5 == 4 => Kind::Process,
        Kind::Hopping if seed.is_multiple_of(2) => Kind::Combined,
        kind => kind,
    };
    // Without transactions a shuffle repeats rows like any output; and what is late may differ when an epoch is done again.
    let guarantee = match !matches!(kind, Kind::Hopping | Kind::Combined) && rng.random_bool(0.2) {
        true => Guarantee::AtLeastOnce,
        false => Guarantee::ExactlyOnce,
    };
    let is_complete = guarantee == Guarantee::AtLeastOnce || rng.random_bool(0.6);
    let lateness_ms = if is_complete { FOR_EVER_MS } else { rng.random_range(0..120_000) };
    let emission =
        if rng.random_bool(0.6) && !matches!(kind, Kind::Session | Kind::Process) { Emission::Upsert } else { Emission::Final };
    let n_partitions = rng.random_range(1..=3);
    let kind = if kind == Kind::Session && rng.random_bool(0.5) { Kind::Union } else { kind };
    (Shape { kind, n_partitions, lateness_ms, horizon_ms: FOR_EVER_MS, emission }, guarantee)
}

/// Nor is it drawn whether the window is that of all time.
pub(super) fn sometimes_global(shape: Shape, seed: u64) -> Shape {
    match seed % 10 == 7 {
        true => Shape { kind: Kind::Global, lateness_ms: FOR_EVER_MS, emission: Emission::Upsert, ..shape },
        false => shape,
    }
}
