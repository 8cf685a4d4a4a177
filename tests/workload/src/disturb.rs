//! What goes wrong between a device and the log: delays, stalls, duplicates, broken bytes. And what must become of each record.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal};

use crate::{
    model::{HOUR, MINUTE, Model},
    sessions::{Detail, Event, Topic, uuid_v7},
};

/// What must become of a record, whatever is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The first of its id, well-formed.
    Accepted,
    /// A trailer: well-formed, of no interest.
    Filtered,
    /// Not the first of its id.
    Duplicate { conflicting: bool },
    /// Refused, with this reason code.
    Dead(&'static str),
}

/// A record on its way into the log.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub topic: Topic,
    pub arrival_ms: i64,
    pub profile_id: i64,
    pub event_id: String,
    /// The log timestamp: what the device said at its first attempt.
    pub sent_ms: i64,
    pub value: Vec<u8>,
    pub fate: Fate,
}

/// All records in the order in which the log gets them.
pub fn arrivals(model: &Model, events: &[Event], rng: &mut ChaCha8Rng) -> Vec<Arrival> {
    let mut all = Vec::with_capacity(events.len() + events.len() / 50);
    let halfway = i64::midpoint(model.start_ms, model.end_ms());
    for event in events {
        let arrival_ms = held_back(model, event, event.flushed_at.unwrap_or_else(|| event.true_ts + delay(rng)));
        let version_2 = event.true_ts > halfway && rng.random_bool(0.1);
        let value = line(event, arrival_ms, version_2);
        let first = Arrival {
            topic: event.topic,
            arrival_ms,
            profile_id: event.profile_id,
            event_id: event.event_id.clone(),
            sent_ms: arrival_ms,
            value: value.into_bytes(),
            fate: fate_of(event),
        };
        if rng.random_bool(0.01) {
            duplicates(&first, event, &mut all, rng);
        }
        if rng.random_bool(0.003) {
            all.push(broken(event, arrival_ms, rng));
        }
        all.push(first);
    }
    all.sort_by(|a, b| (a.arrival_ms, &a.event_id).cmp(&(b.arrival_ms, &b.event_id)));
    settle(&mut all);
    all
}

fn fate_of(event: &Event) -> Fate {
    if matches!(event.detail, Detail::Play { trailer: true, .. }) { Fate::Filtered } else { Fate::Accepted }
}

/// Decides in arrival order which record of an id came first.
fn settle(all: &mut [Arrival]) {
    let mut first_of: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
    for idx in 0..all.len() {
        if !matches!(all[idx].fate, Fate::Accepted | Fate::Duplicate { .. }) {
            continue;
        }
        match first_of.get(&all[idx].event_id) {
            None => {
                first_of.insert(all[idx].event_id.clone(), idx);
                all[idx].fate = Fate::Accepted;
            }
            Some(&first) => all[idx].fate = Fate::Duplicate { conflicting: all[idx].value != all[first].value },
        }
    }
}

/// 90 % lognormal(median 1.5 s), 7 % lognormal(45 s), 2 % uniform 5 min–4 h, 0.95 % log-uniform 1–48 h, 0.05 % 48 h–7 d; in ms.
fn delay(rng: &mut ChaCha8Rng) -> i64 {
    let lognormal = |median_ms: f64, sigma: f64| LogNormal::new(median_ms.ln(), sigma).expect("sigma > 0");
    match rng.random_range(0.0..100.0) {
        share if share < 90.0 => lognormal(1_500.0, 1.0).sample(rng) as i64,
        share if share < 97.0 => lognormal(45_000.0, 1.2).sample(rng) as i64,
        share if share < 99.0 => rng.random_range(5 * MINUTE..4 * HOUR),
        share if share < 99.95 => (HOUR as f64 * 48.0_f64.powf(rng.random_range(0.0..1.0))) as i64,
        _ => rng.random_range(48 * HOUR..168 * HOUR),
    }
}

/// The two stalls: an eighth of the profiles is held back for exactly four hours once, one partition for two.
fn held_back(model: &Model, event: &Event, arrival_ms: i64) -> i64 {
    let upstream = model.start_ms + 12 * HOUR..model.start_ms + 16 * HOUR;
    let partition = model.start_ms + 40 * HOUR..model.start_ms + 42 * HOUR;
    if event.profile_id % 8 == 3 && upstream.contains(&arrival_ms) {
        return upstream.end;
    }
    if event.profile_id % i64::from(model.n_partitions) == 1 && partition.contains(&arrival_ms) {
        return partition.end;
    }
    arrival_ms
}

/// The same bytes again, one to five times; one in a hundred says something else under the same id.
fn duplicates(first: &Arrival, event: &Event, all: &mut Vec<Arrival>, rng: &mut ChaCha8Rng) {
    let n_copies = if rng.random_bool(0.9) { 1 } else { rng.random_range(2..=5) };
    for _ in 0..n_copies {
        let extra = match rng.random_range(0..100) {
            0..80 => rng.random_range(0..5_000),
            80..95 => rng.random_range(5_000..10 * MINUTE),
            _ => rng.random_range(10 * MINUTE..24 * HOUR),
        };
        let mut copy = Arrival { arrival_ms: first.arrival_ms + extra, ..first.clone() };
        if rng.random_bool(0.01) && copy.fate == Fate::Accepted {
            let other = Event { title_id: event.title_id + 1, ..event.clone() };
            copy.value = line(&other, first.sent_ms, false).into_bytes();
        }
        all.push(copy);
    }
}

/// A record that nobody can count: like `event`, under an id of its own.
fn broken(event: &Event, arrival_ms: i64, rng: &mut ChaCha8Rng) -> Arrival {
    let event = Event { event_id: uuid_v7(event.event_ts, rng), ..event.clone() };
    let whole = line(&event, arrival_ms, false);
    let (value, reason): (Vec<u8>, &'static str) = match rng.random_range(0..100) {
        0..30 => (whole.as_bytes()[..rng.random_range(1..whole.len() - 1)].to_vec(), "json"),
        30..50 => (whole.replace(&format!("\"title_id\":{}", event.title_id), "\"title_id\":\"none\"").into_bytes(), "type"),
        50..70 => (whole.replace(&format!("\"title_id\":{},", event.title_id), "").into_bytes(), "missing"),
        70..80 => (unknown_enum(&whole).into_bytes(), "rejected"),
        80..85 => (
            line(&Event { event_ts: arrival_ms + rng.random_range(11 * MINUTE..240 * HOUR), ..event.clone() }, arrival_ms, false)
                .into_bytes(),
            "future",
        ),
        85..90 => (
            line(&Event { event_ts: -rng.random_range(0..1_000_i64), ..event.clone() }, arrival_ms, false).into_bytes(),
            "rejected",
        ),
        90..95 => (bad_utf8(&whole), "utf8"),
        95..99 => (Vec::new(), "empty"),
        _ => (whole.replace("{\"v\":1", &format!("{{\"v\":1,\"padding\":\"{}\"", "x".repeat(900_000))).into_bytes(), "too-large"),
    };
    Arrival {
        topic: event.topic,
        arrival_ms,
        profile_id: event.profile_id,
        event_id: event.event_id,
        sent_ms: arrival_ms,
        value,
        fate: Fate::Dead(reason),
    }
}

/// An enum value that the contract does not know; plays have only the device.
fn unknown_enum(whole: &str) -> String {
    let field = ["\"row_type\":\"", "\"type\":\"", "\"device\":\""].into_iter().find(|field| whole.contains(field));
    let field = field.expect("each event has a device");
    let start = whole.find(field).expect("just found") + field.len();
    let end = start + whole[start..].find('"').expect("a string ends");
    format!("{}hologram{}", &whole[..start], &whole[end..])
}

fn bad_utf8(whole: &str) -> Vec<u8> {
    let mut bytes = whole.as_bytes().to_vec();
    let at = whole.find("\"device\":\"").expect("each event has a device") + "\"device\":\"".len();
    bytes[at] = 0xff;
    bytes
}

/// The event as its device writes it. Version 2 carries fields that nobody asked for; one event in a hundred does not know its country,
/// which is nothing wrong.
fn line(event: &Event, sent_ms: i64, version_2: bool) -> String {
    let Event { event_id, event_ts, profile_id, account_id, device, country, title_id, .. } = event;
    let (version, extra) = if version_2 { (2, ",\"ab\":{\"cell\":3,\"tags\":[\"x\",\"y\"]},\"net\":\"wifi\"") } else { (1, "") };
    let country = if event_ts % 100 == 7 { String::new() } else { format!(r#""country":"{country}","#) };
    let common = format!(
        r#"{{"v":{version},"event_id":"{event_id}","event_ts":{event_ts},"sent_ts":{sent_ms},"profile_id":{profile_id},"account_id":{account_id},"device":"{device}",{country}"title_id":{title_id}"#
    );
    match &event.detail {
        Detail::Impression { row, row_type, position, request } => format!(
            r#"{common},"page":"home","request_id":"r-{request:08x}","row":{row},"row_type":"{row_type}","position":{position},"algo":"pvr-{}","art_id":{}{extra}}}"#,
            request % 7,
            request % 50_000
        ),
        Detail::Play { playback, offline, trailer } => {
            format!(
                r#"{common},"playback_id":"p-{playback:016x}","resume_ms":0,"offline":{offline},"trailer":{trailer}{extra}}}"#
            )
        }
        Detail::Beat { playback, seq, kind, pos_ms, watched_ms } => format!(
            r#"{common},"playback_id":"p-{playback:016x}","seq":{seq},"type":"{kind}","pos_ms":{pos_ms},"watched_ms":{watched_ms}{extra}}}"#
        ),
    }
}
