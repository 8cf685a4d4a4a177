//! A test of a pipeline has one answer, in whatever manner it is played (I-6, I-12): a difference is the plugin's, never ours.

use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reelflow_core::{
    plan::{Emission, Plan},
    rehearsal::{Arrival, Rehearsal},
    time::WallTime,
};
use reelflow_ports::engine::Plugin;
use reelflow_runtime::rehearsal::{Manner, rehearse};
use reelflow_simulation::{
    input::{self, Event},
    shape::{FOR_EVER_MS, Kind, Shape},
};

fn rehearsal(plan: &Plan, events: &[Event]) -> Rehearsal {
    let arrival = |event: &Event| Arrival {
        source: plan.sources.iter().position(|source| *source.topic == *event.topic).expect("events are of sources"),
        at: WallTime(event.logged_ms),
        timestamp_ms: event.logged_ms,
        key: Some(event.profile.clone().into_bytes()),
        value: Some(event.json.clone().into_bytes()),
    };
    let mut arrivals: Vec<Arrival> = events.iter().map(arrival).collect();
    arrivals.sort_by_key(|arrival| arrival.at);
    Rehearsal { name: "seed".into(), arrivals, until: None, ends: true }
}

/// What came of it: the topic of results, late records and dead letters, each line with its topic; sorted. Dead letters are the same by their
/// value and reason.
fn outputs(shape: &Shape, plan: &Arc<Plan>, plugins: &[Arc<dyn Plugin>], rehearsal: &Rehearsal, manner: Manner) -> Vec<String> {
    let played = rehearse(plan, plugins, rehearsal, manner).expect("nothing goes wrong that was not meant to");
    assert_eq!(played.unaccounted, [], "{shape:?}");
    let mut lines = Vec::new();
    for topic in ["out", &format!("late.{}", shape.last_stage()), "dead.sim"] {
        for given in played.records(topic) {
            let reason = given.headers.iter().find(|(name, _)| **name == *"reel-reason").map(|(_, reason)| reason.clone());
            let text = |bytes: Option<Vec<u8>>| String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
            lines.push(format!("{topic} {}{}", text(given.value), text(reason)));
        }
    }
    lines.sort();
    lines
}

#[test]
fn i_12_every_manner_of_a_rehearsal_gives_the_same() {
    let (mut n_late, mut n_rows, mut n_dead) = (0, 0, 0);
    for seed in 0..48 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let kinds = [Kind::Tumbling, Kind::Hopping, Kind::Session, Kind::Process, Kind::Join, Kind::Union, Kind::Combined];
        let shape = Shape {
            kind: kinds[seed as usize % kinds.len()],
            n_partitions: 1,
            lateness_ms: rng.random_range(0..60_000),
            horizon_ms: FOR_EVER_MS,
            emission: Emission::Final,
        };
        let events = input::events(&shape, &mut rng);
        let (plan, plugins) = shape.build();
        let plan = Arc::new(plan.of_rehearsal());
        let rehearsal = rehearsal(&plan, &events);
        let of = |manner| outputs(&shape, &plan, &plugins, &rehearsal, manner);
        let one_by_one = of(Manner::OneByOne);
        assert_eq!(of(Manner::InBatches), one_by_one, "seed {seed}: {shape:?}");
        assert_eq!(of(Manner::Crashing), one_by_one, "seed {seed}: {shape:?}");
        let count = |topic: &str| one_by_one.iter().filter(|line| line.starts_with(topic)).count();
        n_late += count("late.");
        n_rows += count("out ");
        n_dead += count("dead.");
    }
    assert!(n_late > 50 && n_rows > 100 && n_dead > 50, "{n_late} late, {n_rows} rows, {n_dead} dead: the seeds try something");
}
