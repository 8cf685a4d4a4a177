//! Catching up changes nothing: a backlog gives what the same records gave live, and aligned reading bounds what it keeps meanwhile.

use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reelflow_core::plan::Emission;
use reelflow_runtime::settings::Alignment;
use reelflow_simulation::{
    input::{self, Event},
    shape::{FOR_EVER_MS, Kind, Shape},
    undisturbed::run,
};

/// With a bound on lateness that many records exceed. Of one source partition, whose order the log keeps: between partitions there is none.
#[test]
fn a_backlog_gives_what_it_gave_live() {
    let (mut n_late, mut n_rows) = (0, 0);
    for seed in 0..150 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let kind = [Kind::Tumbling, Kind::Hopping, Kind::Session, Kind::Process][rng.random_range(0..4)];
        let shape = Shape {
            kind,
            n_partitions: 1,
            lateness_ms: rng.random_range(0..60_000),
            horizon_ms: FOR_EVER_MS,
            emission: Emission::Final,
        };
        let mut events = input::events(&shape, &mut rng);
        if rng.random_bool(0.5) {
            with_a_gap(&mut events, 3_600_000);
        }
        let one_by_one: Vec<&[Event]> = events.chunks(1).collect();
        let live = run(&shape, &one_by_one, None).outputs;
        assert_eq!(run(&shape, &[&events], None).outputs, live, "seed {seed}: {shape:?}");
        n_late += live.iter().filter(|line| line.starts_with("late.")).count();
        n_rows += live.iter().filter(|line| line.starts_with("out ")).count();
    }
    assert!(n_late > 100 && n_rows > 100, "{n_late} late, {n_rows} rows: the seeds try something");
}

/// From the middle on, everything happens and is logged so much later.
fn with_a_gap(events: &mut [Event], gap_ms: i64) {
    let half = events.len() / 2;
    for event in &mut events[half..] {
        let (at_ms, logged_ms) = (event.at_ms + gap_ms, event.logged_ms + gap_ms);
        event.json = event.json.replace(&format!("\"ts\":{}", event.at_ms), &format!("\"ts\":{at_ms}"));
        (event.at_ms, event.logged_ms) = (at_ms, logged_ms);
    }
}

/// A day of two topics, one of them with ten times the records: read side by side by number, the other one would be read to its end, and kept,
/// while the first is still in the morning.
#[test]
fn aligned_reading_bounds_the_state_of_a_join() {
    let shape = Shape { kind: Kind::Join, n_partitions: 1, lateness_ms: 1_000, horizon_ms: 1_000, emission: Emission::Final };
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut draw = |topic: &'static str, n_events: usize, every_ms: i64| -> Vec<Event> {
        (0..n_events).map(|n| input::on_time(&shape, topic, n as i64 * every_ms, &mut rng)).collect()
    };
    let (plays, impressions) = (draw("plays", 8_640, 10_000), draw("impressions", 864, 100_000));
    let all = [plays, impressions].concat();
    let free = run(&shape, &[&all], None);
    let aligned = run(&shape, &[&all], Some(Alignment { max_drift: Duration::from_secs(60), piece_records: 10 }));
    assert_eq!(aligned.outputs, free.outputs, "nothing is late either way");
    eprintln!("at most {} bytes of state without aligned reading, {} with it", free.state_bytes_max, aligned.state_bytes_max);
    assert!(aligned.state_bytes_max * 5 < free.state_bytes_max, "the bound bounds");
}
