//! The batch job's answer, recomputed in the simplest way that can be right: all records in memory, one loop per dataset.
//!
//! It shares no code with the engine. The demo needs nothing but Rust, so it is not SQL; `cargo xtask test` has the same in DuckDB.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt, fs,
    path::Path,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// How a dataset compares with its batch answer.
pub(crate) struct Verdict {
    matched: usize,
    missing: usize,
    unexpected: usize,
    late: usize,
}

impl Verdict {
    pub(crate) fn is_equal(&self) -> bool {
        self.missing == 0 && self.unexpected == 0 && self.matched > 0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.is_equal() { "equal to the batch job" } else { "DIFFERENT" };
        let Verdict { matched, missing, unexpected, late } = self;
        write!(
            f,
            "{matched} rows matched, {missing} missing, {unexpected} unexpected; {late} too late, left out on both sides: {word}"
        )
    }
}

/// source_of_discovery, trending and frequency_cap, in this order.
pub(crate) fn check(data: &Path, outputs: &Path) -> Result<Vec<Verdict>> {
    let impressions = unique(&data.join("batch/impressions.ndjson"))?;
    let plays: Vec<Value> =
        unique(&data.join("batch/play_starts.ndjson"))?.into_iter().filter(|play| play["trailer"] == false).collect();
    let late = |stage: &str| Late::read(&outputs.join(format!("late.{stage}.ndjson")));
    let (discovery, trending, cap) = (late("discovery")?, late("trending")?, late("frequency_cap")?);
    Ok(vec![
        compare(
            discovered(&plays, &impressions, &discovery),
            last_revisions(&outputs.join("source_of_discovery.ndjson"))?,
            &discovery,
        ),
        compare(trends(&plays, &trending), rows(&outputs.join("trending.ndjson"))?, &trending),
        compare(caps(&impressions, &cap), rows(&outputs.join("frequency_cap.ndjson"))?, &cap),
    ])
}

/// What the stream put aside: (event id, end of the window it missed).
struct Late(HashSet<(String, Option<i64>)>);

impl Late {
    fn read(path: &Path) -> Result<Late> {
        let id = |line: &Value| (text(&line["record"], "event_id").to_owned(), line["window_end"].as_i64());
        Ok(Late(rows(path)?.iter().map(id).collect()))
    }

    fn has(&self, record: &Value, window_end: Option<i64>) -> bool {
        self.0.contains(&(text(record, "event_id").to_owned(), window_end))
    }
}

fn compare(wanted: Vec<Value>, got: Vec<Value>, late: &Late) -> Verdict {
    let bag = |rows: Vec<Value>| {
        let mut bag: BTreeMap<String, i64> = BTreeMap::new();
        rows.iter().for_each(|row| *bag.entry(row.to_string()).or_default() += 1);
        bag
    };
    let (wanted, got) = (bag(wanted), bag(got));
    let beyond = |a: &BTreeMap<String, i64>, b: &BTreeMap<String, i64>| -> usize {
        a.iter().map(|(row, n)| (n - b.get(row).unwrap_or(&0)).max(0) as usize).sum()
    };
    let (missing, unexpected) = (beyond(&wanted, &got), beyond(&got, &wanted));
    let total: i64 = wanted.values().sum();
    Verdict { matched: total as usize - missing, missing, unexpected, late: late.0.len() }
}

/// For each play the latest impression of its title by its profile, at most six hours before.
fn discovered(plays: &[Value], impressions: &[Value], late: &Late) -> Vec<Value> {
    let mut seen: BTreeMap<(i64, i64), Vec<&Value>> = BTreeMap::new();
    for impression in impressions.iter().filter(|impression| !late.has(impression, None)) {
        seen.entry((int(impression, "profile_id"), int(impression, "title_id"))).or_default().push(impression);
    }
    let answer = |play: &Value| {
        let at = int(play, "event_ts");
        let of_title = seen.get(&(int(play, "profile_id"), int(play, "title_id")));
        let found = of_title
            .into_iter()
            .flatten()
            .filter(|impression| (at - 6 * HOUR..=at).contains(&int(impression, "event_ts")))
            .max_by_key(|impression| (int(impression, "event_ts"), text(impression, "event_id")));
        let of = |field: &str| found.map_or(Value::Null, |impression| impression[field].clone());
        json!({
            "playback_id": play["playback_id"], "profile_id": play["profile_id"], "title_id": play["title_id"], "country": play["country"],
            "play_ts": at, "offline": play["offline"], "imp_id": of("event_id"), "imp_ts": of("event_ts"), "row": of("row"),
            "row_type": of("row_type"), "position": of("position"), "algo": of("algo"),
            "age_ms": found.map(|impression| at - int(impression, "event_ts")),
        })
    };
    plays.iter().filter(|play| !late.has(play, None)).map(answer).collect()
}

/// Every minute, per country: the ten titles with the most viewers of the last five minutes.
fn trends(plays: &[Value], late: &Late) -> Vec<Value> {
    type Titles = BTreeMap<i64, (BTreeSet<i64>, u64)>;
    // Plays that do not know their country are a group like any other.
    let mut windows: BTreeMap<(Option<&str>, i64), Titles> = BTreeMap::new();
    for play in plays {
        let minute = int(play, "event_ts").div_euclid(MINUTE) * MINUTE;
        for end in (1..=5).map(|step| minute + step * MINUTE) {
            if !late.has(play, Some(end)) {
                let window = windows.entry((play["country"].as_str(), end)).or_default();
                let title = window.entry(int(play, "title_id")).or_default();
                title.0.insert(int(play, "profile_id"));
                title.1 += 1;
            }
        }
    }
    let mut rows = Vec::new();
    for ((country, end), titles) in windows {
        let mut ranked: Vec<_> = titles.into_iter().map(|(title, (viewers, plays))| (viewers.len(), plays, title)).collect();
        ranked.sort_by_key(|(viewers, plays, title)| (std::cmp::Reverse((*viewers, *plays)), *title));
        for (idx, (viewers, plays, title)) in ranked.into_iter().take(10).enumerate() {
            rows.push(json!({
                "country": country, "w_start": end - 5 * MINUTE, "w_end": end, "rank": idx + 1, "title_id": title, "viewers": viewers, "plays": plays,
            }));
        }
    }
    rows
}

/// Days on which a profile saw a title three times or more.
fn caps(impressions: &[Value], late: &Late) -> Vec<Value> {
    let mut days: BTreeMap<(i64, i64, i64), (u64, i64)> = BTreeMap::new();
    for impression in impressions {
        let at = int(impression, "event_ts");
        let day = at.div_euclid(DAY) * DAY;
        if !late.has(impression, Some(day + DAY)) {
            let seen = days.entry((int(impression, "profile_id"), int(impression, "title_id"), day)).or_insert((0, i64::MIN));
            *seen = (seen.0 + 1, seen.1.max(at));
        }
    }
    let row = |((profile, title, day), (imps, last)): ((i64, i64, i64), (u64, i64))| json!({ "profile_id": profile, "title_id": title, "day": day, "imps": imps, "last_imp_ts": last });
    days.into_iter().filter(|(_, (imps, _))| *imps >= 3).map(row).collect()
}

/// The first record of each id, in the order of the log.
fn unique(path: &Path) -> Result<Vec<Value>> {
    let mut ids = HashSet::new();
    Ok(rows(path)?.into_iter().filter(|row| ids.insert(text(row, "event_id").to_owned())).collect())
}

/// Of each key the row with the highest `rev`, which must be final; without `rev` and `final`.
fn last_revisions(path: &Path) -> Result<Vec<Value>> {
    let mut last: BTreeMap<String, Value> = BTreeMap::new();
    for row in rows(path)? {
        let key = text(&row, "playback_id").to_owned();
        if last.get(&key).is_none_or(|before| int(before, "rev") < int(&row, "rev")) {
            last.insert(key, row);
        }
    }
    let strip = |mut row: Value| {
        let fields = row.as_object_mut().expect("a row is an object");
        // A row that is not final keeps the field, and so matches nothing.
        fields.remove("rev");
        if fields["final"] == true {
            fields.remove("final");
        }
        row
    };
    Ok(last.into_values().map(strip).collect())
}

fn rows(path: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("parse a line of {}", path.display()))).collect()
}

fn int(row: &Value, field: &str) -> i64 {
    row[field].as_i64().unwrap_or(i64::MIN)
}

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or("")
}
