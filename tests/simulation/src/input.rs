//! Random inputs, with what is true about each record.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use reelflow_core::record::{END_KEY, Outgoing, Partition, partition_of};

use crate::shape::{FUTURE_MS, Kind, Shape};

/// When event time begins: 2026-01-01.
pub const BEGIN_MS: i64 = 1_767_225_600_000;

/// What will become of a record, before dedup and lateness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Row,
    /// No JSON.
    Malformed,
    Future,
    /// The transform's plugin refuses it, or breaks on it.
    Refused,
}

/// A record of the input.
#[derive(Clone, Debug)]
pub struct Event {
    pub topic: &'static str,
    pub partition: Partition,
    pub fate: Fate,
    pub profile: String,
    pub id: String,
    pub at_ms: i64,
    pub value: i64,
    pub country: String,
    /// The bytes of the record's value, and its log timestamp.
    pub json: String,
    pub logged_ms: i64,
}

/// Events in the order in which they are written, so in offset order within a partition.
pub fn events(shape: &Shape, rng: &mut ChaCha8Rng) -> Vec<Event> {
    let n_events = rng.random_range(20..200);
    let mut events: Vec<Event> = Vec::new();
    for n in 0..n_events {
        let duplicate = (!events.is_empty() && rng.random_bool(0.1)).then(|| events[rng.random_range(0..events.len())].clone());
        let mut event = match duplicate {
            Some(original) if original.fate == Fate::Row => original,
            _ => fresh(shape, n, rng),
        };
        if events.iter().any(|earlier| earlier.id == event.id) && rng.random_bool(0.3) {
            // A conflicting duplicate: the first one counts.
            event.value += 1;
            event.json = json(&event, "");
        }
        events.push(event);
    }
    events
}

/// Puts events into one [`Outgoing`].
pub fn outgoing(events: &[Event]) -> Vec<Outgoing> {
    let mut all: Vec<Outgoing> = Vec::new();
    for event in events {
        if all.last().is_none_or(|last| *last.topic != *event.topic) {
            all.push(Outgoing::new(event.topic.into()));
        }
        let last = all.last_mut().expect("one was just pushed");
        last.push(event.partition, event.logged_ms, Some(event.profile.as_bytes()), Some(event.json.as_bytes()), &[]);
    }
    all
}

/// The control records that end every partition of `topic`.
pub fn ends(topic: &str, n_partitions: u32) -> Outgoing {
    let mut outgoing = Outgoing::new(topic.into());
    (0..n_partitions).for_each(|partition| outgoing.push(partition, BEGIN_MS, Some(END_KEY), Some(b"{}"), &[]));
    outgoing
}

/// A row of `topic` that happens, and is logged, `after_ms` after the beginning.
pub fn on_time(shape: &Shape, topic: &'static str, after_ms: i64, rng: &mut ChaCha8Rng) -> Event {
    of_profile(shape, topic, format!("p{}", rng.random_range(0..6)), after_ms)
}

/// The same, of one profile.
pub fn of_profile(shape: &Shape, topic: &'static str, profile: String, after_ms: i64) -> Event {
    let at_ms = BEGIN_MS + after_ms;
    let partition = partition_of(profile.as_bytes(), shape.n_partitions);
    let (id, country) = (format!("{topic}{after_ms}"), "DE".to_owned());
    let (fate, value, logged_ms, json_of) = (Fate::Row, 1, at_ms, String::new());
    let event = Event { topic, partition, fate, profile, id, at_ms, value, country, json: json_of, logged_ms };
    Event { json: json(&event, ""), ..event }
}

fn fresh(shape: &Shape, n: usize, rng: &mut ChaCha8Rng) -> Event {
    let is_of_two = matches!(shape.kind, Kind::Join | Kind::Union);
    let fate = match rng.random_range(0..100) {
        0..3 => Fate::Malformed,
        3..6 => Fate::Future,
        // By the transform.
        6..12 if !is_of_two => Fate::Refused,
        _ => Fate::Row,
    };
    let topic = if is_of_two && rng.random_bool(0.6) { "impressions" } else { "plays" };
    // On time, disordered, or hours late; the stream proceeds by about a second an event.
    let back_ms = match rng.random_range(0..20) {
        0 => rng.random_range(0..4 * 3_600_000),
        1..5 => rng.random_range(0..60_000),
        _ => rng.random_range(0..4_000),
    };
    let logged_ms = BEGIN_MS + 1_000 * n as i64;
    let at_ms = if fate == Fate::Future { logged_ms + FUTURE_MS + 1 + back_ms } else { logged_ms - back_ms };
    let profile = format!("p{}", rng.random_range(0..6));
    let mut event = Event {
        topic,
        partition: partition_of(profile.as_bytes(), shape.n_partitions),
        fate,
        profile,
        id: format!("e{n}"),
        at_ms,
        value: rng.random_range(0..10),
        country: ["DE", "IN", "US"][rng.random_range(0..3)].to_owned(),
        json: String::new(),
        logged_ms,
    };
    let mark = match fate {
        Fate::Refused => ["reject", "trap"][rng.random_range(0..2)],
        _ => "",
    };
    event.json = match fate {
        Fate::Malformed => "{\"profile\":".to_owned(),
        _ => json(&event, mark),
    };
    event
}

fn json(event: &Event, mark: &str) -> String {
    let Event { profile, id, at_ms, value, country, .. } = event;
    format!(
        r#"{{"profile":"{profile}","id":"{id}","ts":{at_ms},"value":{value},"mark":"{mark}","country":"{country}","unknown":[1,2]}}"#
    )
}
