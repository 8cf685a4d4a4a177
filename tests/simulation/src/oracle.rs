//! The batch answer: what a few loops over the whole input give, and how the committed outputs are compared with it.

use std::collections::{BTreeMap, BTreeSet};

use reelflow_core::plan::Emission;
use reelflow_ports::{log::Guarantee, simulated::StoredRecord};
use reelflow_runtime::summary::Summary;
use serde_json::Value;

use crate::{
    input::{Event, Fate},
    shape::{FOR_EVER_MS, GAP_MS, HOPPING_MS, Kind, SPAN_MS, Shape, TUMBLING_MS, WITHIN_MS},
};

/// The figures of a result, by its key: what a row says, `rev` and `final` aside.
pub type Answer = BTreeMap<Vec<String>, Value>;

/// What a run left in the log.
#[derive(Debug, Default)]
pub struct Outcome {
    /// All committed rows of the sink; in offset order within a key, since a key has one partition.
    pub rows: Vec<Value>,
    pub late: Vec<Value>,
    pub n_dead_letters: usize,
}

impl Outcome {
    pub fn new(out: &[Vec<StoredRecord>], late: &[Vec<StoredRecord>], dead: &[Vec<StoredRecord>]) -> Outcome {
        let parse = |record: &StoredRecord| {
            serde_json::from_slice(record.value.as_deref().unwrap_or_default()).expect("outputs are JSON objects")
        };
        Outcome {
            rows: out.iter().flatten().map(parse).collect(),
            late: late.iter().flatten().map(parse).collect(),
            n_dead_letters: dead.iter().map(Vec::len).sum(),
        }
    }
}

/// Panics unless `outcome` is what a batch job over `events` gives.
pub fn check(shape: &Shape, guarantee: Guarantee, events: &[Event], outcome: &Outcome) {
    if shape.lateness_ms == FOR_EVER_MS {
        assert!(outcome.late.is_empty(), "nothing is late in complete mode: {:?}", outcome.late);
    }
    let answer = answer(shape, events, &outcome.late);
    let streamed = match guarantee {
        Guarantee::ExactlyOnce => exactly_once(shape, &outcome.rows),
        Guarantee::AtLeastOnce => at_least_once(shape, &outcome.rows, &answer),
    };
    let missing: Vec<_> = answer.iter().filter(|(key, _)| !streamed.contains_key(*key)).collect();
    let surplus: Vec<_> = streamed.iter().filter(|(key, _)| !answer.contains_key(*key)).collect();
    assert!(missing.is_empty() && surplus.is_empty(), "missing results: {missing:?}\nsurplus results: {surplus:?}");
    for (key, expected) in &answer {
        assert_eq!(&streamed[key], expected, "the result of {key:?}");
    }
}

/// Panics unless `outcome` is what comes of a last stage that has forgotten the first `n_forgotten` of `events`, of which nothing was final yet. What was
/// told of them before may stand.
pub fn check_forgotten(shape: &Shape, events: &[Event], n_forgotten: usize, outcome: &Outcome) {
    assert!(shape.lateness_ms == FOR_EVER_MS && outcome.late.is_empty(), "nothing is late in complete mode");
    let forgotten: BTreeSet<*const Event> = events[..n_forgotten].iter().map(std::ptr::from_ref).collect();
    let (before, after): (Vec<&Event>, Vec<&Event>) =
        unique(events).into_iter().partition(|event| forgotten.contains(&std::ptr::from_ref(*event)));
    let (before, after) = (answer_of(shape, &before, &BTreeSet::new()), answer_of(shape, &after, &BTreeSet::new()));
    let mut last = last_revisions(shape, &outcome.rows);
    for (key, expected) in &after {
        let (fields, _, is_final) = last.remove(key).unwrap_or_else(|| panic!("no result of {key:?}"));
        assert_eq!((&fields, is_final != Some(false)), (expected, true), "the result of {key:?}");
    }
    for (key, told) in last {
        assert!(before.contains_key(&key) && told.2 == Some(false), "{key:?} was told before, or never: {told:?}");
    }
}

/// Panics unless every record had exactly one fate.
pub fn check_fates(shape: &Shape, guarantee: Guarantee, events: &[Event], outcome: &Outcome, summary: &Summary) {
    let n = |wanted: &dyn Fn(&Event) -> bool| events.iter().filter(|event| wanted(event)).count() as u64;
    for source in &summary.sources {
        let total = source.total;
        let of_source = |event: &Event| *event.topic == *source.name;
        let is_dead = |event: &Event| of_source(event) && matches!(event.fate, Fate::Malformed | Fate::Future);
        assert_eq!((total.records_in, total.dead), (n(&of_source), n(&is_dead)), "source {}", source.name);
    }
    assert!(summary.unaccounted().is_empty(), "{summary:?}");
    let n_duplicates: u64 = summary.stages.iter().map(|stage| stage.total.duplicate).sum();
    let n_rows = n(&|event| event.fate == Fate::Row);
    assert_eq!(n_duplicates, n_rows - unique(events).len() as u64, "duplicates");
    let entered =
        summary.stages.iter().find(|stage| *stage.name == *shape.last_stage()).expect("it has a last stage").total.rows_in;
    assert_eq!(entered, unique(events).len() as u64, "rows that reached the last stage");
    if guarantee == Guarantee::ExactlyOnce {
        let n_dead = n(&|event| event.fate != Fate::Row);
        assert_eq!(outcome.n_dead_letters as u64, n_dead, "dead letters");
    }
}

/// The rows that count: the first of each id, in the order of writing.
fn unique(events: &[Event]) -> Vec<&Event> {
    let mut seen = BTreeSet::new();
    events.iter().filter(|event| event.fate == Fate::Row && seen.insert((event.topic, event.id.clone()))).collect()
}

fn answer(shape: &Shape, events: &[Event], late: &[Value]) -> Answer {
    let late: BTreeSet<(String, Option<i64>)> = late.iter().map(|row| (late_id(row), row["window_end"].as_i64())).collect();
    answer_of(shape, &unique(events), &late)
}

fn answer_of(shape: &Shape, rows: &[&Event], late: &BTreeSet<(String, Option<i64>)>) -> Answer {
    match shape.kind {
        Kind::Tumbling => tallies(rows, late, TUMBLING_MS, TUMBLING_MS, &|event| event.profile.clone(), "profile"),
        Kind::Hopping | Kind::Combined => {
            let (size_ms, slide_ms) = HOPPING_MS;
            tallies(rows, late, size_ms, slide_ms, &|event| event.country.clone(), "country")
        }
        Kind::Session | Kind::Union => sessions(rows, late),
        Kind::Process => rolling(rows, late),
        Kind::Global => profiles(rows),
        Kind::Join => pairs(rows, late),
    }
}

/// Ids are unique over both sources.
fn late_id(row: &Value) -> String {
    let record = &row["record"];
    let id = record["id"].as_str().or_else(|| record["imp_id"].as_str());
    id.expect("a late record holds the row").to_owned()
}

fn tallies(
    rows: &[&Event],
    late: &BTreeSet<(String, Option<i64>)>,
    size_ms: i64,
    slide_ms: i64,
    key: &dyn Fn(&Event) -> String,
    key_name: &str,
) -> Answer {
    let mut windows: BTreeMap<(String, i64), Vec<i64>> = BTreeMap::new();
    for event in rows {
        let mut start = event.at_ms.div_euclid(slide_ms) * slide_ms;
        while start > event.at_ms - size_ms {
            if !late.contains(&(event.id.clone(), Some(start + size_ms))) {
                windows.entry((key(event), start)).or_default().push(event.value);
            }
            start -= slide_ms;
        }
    }
    let result = |((key, start), values): ((String, i64), Vec<i64>)| {
        (vec![key.clone(), start.to_string()], tally(key_name, &key, start, start + size_ms, &values))
    };
    windows.into_iter().map(result).collect()
}

/// The row of a window.
fn tally(key_name: &str, key: &str, start: i64, end: i64, values: &[i64]) -> Value {
    let distinct = values.iter().collect::<BTreeSet<_>>().len();
    serde_json::json!({
        key_name: key, "window_start": start, "window_end": end,
        "count": values.len(), "sum": values.iter().sum::<i64>(), "distinct": distinct,
    })
}

fn sessions(rows: &[&Event], late: &BTreeSet<(String, Option<i64>)>) -> Answer {
    let mut on_time: Vec<&&Event> = rows.iter().filter(|event| !late.contains(&(event.id.clone(), None))).collect();
    on_time.sort_by_key(|event| (&event.profile, event.at_ms));
    let session = |run: &[&&Event]| {
        let (profile, start, end) = (&run[0].profile, run[0].at_ms, run[run.len() - 1].at_ms + GAP_MS);
        let values: Vec<i64> = run.iter().map(|event| event.value).collect();
        (vec![profile.clone(), start.to_string()], tally("profile", profile, start, end, &values))
    };
    on_time.chunk_by(|a, b| a.profile == b.profile && b.at_ms - a.at_ms <= GAP_MS).map(session).collect()
}

/// All rows of a profile.
fn profiles(rows: &[&Event]) -> Answer {
    let mut profiles: BTreeMap<&String, Vec<&Event>> = BTreeMap::new();
    rows.iter().for_each(|event| profiles.entry(&event.profile).or_default().push(event));
    let result = |(profile, events): (&String, Vec<&Event>)| {
        let times = || events.iter().map(|event| event.at_ms);
        let (start, end) = (times().min().expect("it has a row"), times().max().expect("it has a row") + 1);
        let values: Vec<i64> = events.iter().map(|event| event.value).collect();
        (vec![profile.clone()], tally("profile", profile, start, end, &values))
    };
    profiles.into_iter().map(result).collect()
}

fn rolling(rows: &[&Event], late: &BTreeSet<(String, Option<i64>)>) -> Answer {
    let on_time: Vec<&&Event> = rows.iter().filter(|event| !late.contains(&(event.id.clone(), None))).collect();
    let row = |event: &&&Event| {
        let counts =
            |other: &&&&Event| other.profile == event.profile && (event.at_ms - SPAN_MS + 1..=event.at_ms).contains(&other.at_ms);
        let values: Vec<i64> = on_time.iter().filter(counts).map(|other| other.value).collect();
        let row = serde_json::json!({
            "profile": event.profile, "id": event.id, "ts": event.at_ms, "count": values.len(), "sum": values.iter().sum::<i64>(),
        });
        (vec![event.id.clone()], row)
    };
    on_time.iter().map(row).collect()
}

fn pairs(rows: &[&Event], late: &BTreeSet<(String, Option<i64>)>) -> Answer {
    let on_time = |event: &&&Event| !late.contains(&(event.id.clone(), None));
    let fields = |prefix: &str, event: Option<&Event>, row: &mut serde_json::Map<String, Value>| {
        let mut put = |name: &str, value: Option<Value>| row.insert(format!("{prefix}{name}"), value.unwrap_or(Value::Null));
        put("profile", event.map(|event| event.profile.clone().into()));
        put("id", event.map(|event| event.id.clone().into()));
        put("ts", event.map(|event| event.at_ms.into()));
        put("value", event.map(|event| event.value.into()));
        put("mark", event.map(|_| "".into()));
        put("country", event.map(|event| event.country.clone().into()));
    };
    let mut answer = Answer::new();
    for play in rows.iter().filter(on_time).filter(|event| event.topic == "plays") {
        let matches = |other: &&&Event| {
            other.topic == "impressions"
                && (&other.profile, &other.country) == (&play.profile, &play.country)
                && (play.at_ms - WITHIN_MS..=play.at_ms).contains(&other.at_ms)
        };
        let best = rows.iter().filter(on_time).filter(matches).max_by_key(|other| (other.at_ms, other.id.as_bytes()));
        let mut row = serde_json::Map::new();
        fields("", Some(play), &mut row);
        fields("imp_", best.copied(), &mut row);
        answer.insert(vec![play.id.clone()], Value::Object(row));
    }
    answer
}

/// Takes `rev` and `final` off a row.
fn split(row: &Value) -> (Value, Option<u64>, Option<bool>) {
    let mut fields = row.as_object().expect("outputs are JSON objects").clone();
    let (rev, is_final) = (fields.remove("rev"), fields.remove("final"));
    (Value::Object(fields), rev.and_then(|rev| rev.as_u64()), is_final.and_then(|is_final| is_final.as_bool()))
}

fn key_of(shape: &Shape, row: &Value) -> Vec<String> {
    let text = |name: &str| row[name].as_str().expect("a key is text").to_owned();
    match shape.kind {
        Kind::Tumbling | Kind::Session | Kind::Union => vec![text("profile"), row["window_start"].to_string()],
        Kind::Hopping | Kind::Combined => vec![text("country"), row["window_start"].to_string()],
        Kind::Global => vec![text("profile")],
        Kind::Join | Kind::Process => vec![text("id")],
    }
}

/// A row without `rev` and `final`, and these.
type Told = (Value, Option<u64>, Option<bool>);

/// The last row of each key. No row may be there twice: revisions rise by one, final rows are the last.
fn last_revisions(shape: &Shape, rows: &[Value]) -> BTreeMap<Vec<String>, Told> {
    let mut last: BTreeMap<Vec<String>, Told> = BTreeMap::new();
    for row in rows {
        let (fields, rev, is_final) = split(row);
        let key = key_of(shape, &fields);
        let before = last.get(&key);
        match shape.emission {
            Emission::Final => assert!(before.is_none(), "{key:?} was emitted twice: {before:?} and {row}"),
            Emission::Upsert => {
                let expected = before.map_or(0, |(_, rev, _)| rev.expect("checked before") + 1);
                assert_eq!(rev, Some(expected), "the revision of {row} after {before:?}");
                assert!(before.is_none_or(|(_, _, is_final)| *is_final == Some(false)), "{row} after the final {before:?}");
            }
        }
        last.insert(key, (fields, rev, is_final));
    }
    last
}

/// The last rows, all of which are final.
fn exactly_once(shape: &Shape, rows: &[Value]) -> Answer {
    let last = last_revisions(shape, rows);
    if shape.emission == Emission::Upsert {
        let open: Vec<_> = last.iter().filter(|(_, (_, _, is_final))| *is_final != Some(true)).collect();
        assert!(open.is_empty(), "everything is final at the end: {open:?}");
    }
    last.into_iter().map(|(key, (fields, ..))| (key, fields)).collect()
}

/// The final rows of each key, which may repeat but not differ.
fn at_least_once(shape: &Shape, rows: &[Value], answer: &Answer) -> Answer {
    let mut finals = Answer::new();
    for row in rows {
        let (fields, _, is_final) = split(row);
        let key = key_of(shape, &fields);
        if is_final != Some(false) {
            assert_eq!(Some(&fields), answer.get(&key), "a final result of {key:?}");
            finals.insert(key, fields);
        }
    }
    finals
}
