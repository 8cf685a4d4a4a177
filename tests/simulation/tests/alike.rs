//! The results of each key are the same bytes in the same order, however many workers there are, and however records are cut into batches and
//! epochs.

use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use reelflow_core::plan::Emission;
use reelflow_runtime::settings::Alignment;
use reelflow_simulation::{
    input::events,
    shape::{FOR_EVER_MS, Kind, Shape},
    undisturbed::{Manner, run_as},
};

const N_SEEDS: u64 = 12;
/// Some rows are later than that. Which ones does not depend on the manner where there is one input, and no shuffle, whose watermarks come
/// with epochs.
const LATENESS_MS: i64 = 20_000;

fn check(kind: Kind, lateness_ms: i64) {
    let shape = Shape { kind, n_partitions: 4, lateness_ms, horizon_ms: FOR_EVER_MS, emission: Emission::Final };
    // A partition waits for no other: pieces are only a way to make batches short.
    let pieces_of = |piece_records| Some(Alignment { max_drift: Duration::from_millis(FOR_EVER_MS as u64), piece_records });
    let manners = [(1, 1, 1), (1, 50, 7), (2, 3, 1_000), (2, 100, 2), (4, 1_000, 1), (4, 5, 1_000)];
    let mut n_results = 0;
    for seed in 0..N_SEEDS {
        let events = events(&shape, &mut ChaCha8Rng::seed_from_u64(seed));
        let given = run_as(&shape, &[&events], Manner::STANDARD).by_key;
        n_results += given.values().map(Vec::len).sum::<usize>();
        for (n_workers, epoch_records_max, piece_records) in manners {
            let manner = Manner { n_workers, epoch_records_max, alignment: pieces_of(piece_records) };
            assert_eq!(run_as(&shape, &[&events], manner).by_key, given, "seed {seed} of {kind:?} as {manner:?}");
        }
    }
    assert!(n_results > 100, "{n_results} results of {kind:?}");
}

#[test]
fn i_12_workers_batches_and_epochs_change_no_byte_of_a_key() {
    for kind in [Kind::Tumbling, Kind::Session, Kind::Process, Kind::Global] {
        check(kind, LATENESS_MS);
    }
    for kind in [Kind::Join, Kind::Hopping, Kind::Combined, Kind::Union] {
        check(kind, FOR_EVER_MS);
    }
}
