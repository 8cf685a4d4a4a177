//! What a shadow has found, as text for people and as JSON for programs.

use std::{collections::BTreeSet, time::Duration};

use reelflow_config::moment::Calendar;
use reelflow_core::{
    plan::{Plan, StageIdx},
    shadow::{
        Pair, Tally,
        comparison::Compared,
        states::KeptKeys,
        written::{Outlet, Written},
    },
    time::Watermark,
};
use reelflow_runtime::{shadow::Report, usage::CallUsage};
use serde_json::{Map, Value, json};

use super::named;
use crate::{
    args::Format,
    commands::{
        reload::Wanted,
        state::shown,
        test::row::{self, Fields},
    },
    failure::Failure,
    output::{Output, print as print_line, printable},
    summary::{self, calls},
};

pub(super) fn print(format: Format, candidate: &Wanted, found: &Report, took: Duration) -> Result<(), Failure> {
    let old = &candidate.was.as_ref().expect("both programs ran").plan;
    let plans = [&**old, &*candidate.new.plan];
    match format {
        Format::Json => print_line(&json_of(plans, candidate, found, took).to_string()),
        Format::Text => text(plans, found, took),
    }
}

fn text(plans: [&Plan; 2], found: &Report, took: Duration) -> Result<(), Failure> {
    let mut output = Output::new();
    let Report { n_records, n_tasks, .. } = found;
    output.line(&format!("{n_records} records in {} s, given to both in {n_tasks} tasks", took.as_secs()))?;
    if found.n_copies > 1 {
        let n_times = found.n_copies - 1;
        output.line(&format!(
            "{n_times} times too late for what the pipeline had cut: new copies were taken, records between were not compared"
        ))?;
    }
    if found.n_unread > 0 {
        output.line(&format!("{} offsets were not read", found.n_unread))?;
    }
    for (at, compared) in &found.outlets {
        of_outlet(plans, *at, compared, &mut output)?;
    }
    for (stage, kept) in &found.states.by_stage {
        of_state(plans[0], *stage, kept, &mut output)?;
    }
    of_calls(plans[0], &found.usage, &mut output)?;
    for (who, stopped) in ["the code that runs", "the candidate"].iter().zip(&found.stopped) {
        if let Some(why) = stopped {
            output.line(&format!("{who} would have stopped the pipeline: {why}"))?;
        }
    }
    output.line(if found.differs() { "different" } else { "no difference" })?;
    output.finish()
}

fn of_outlet(plans: [&Plan; 2], at: Outlet, compared: &Compared, output: &mut Output) -> Result<(), Failure> {
    let Compared { rows, n_keys } = compared;
    let (kind, name, _) = named::outlet(plans[0], at);
    let of_keys = match (rows.differing(), n_keys) {
        (0, _) => String::new(),
        (_, 1) => ", of 1 key".to_owned(),
        (_, n) => format!(", of {n} keys"),
    };
    output.line(&format!("{kind} \"{name}\": {}{of_keys}", counts(rows)))?;
    for pair in &rows.first {
        let text = |plan, written: &Written| row::text(&named::fields(plan, written), &BTreeSet::new(), &Calendar::utc());
        let line = match pair {
            Pair::Changed { old, new } => {
                let [was, is] = [named::fields(plans[0], old), named::fields(plans[1], new)];
                format!("  ~ {}  {}", place(old), changes(&was, &is))
            }
            Pair::OnlyOld(old) => format!("  - {}  {}", place(old), text(plans[0], old)),
            Pair::OnlyNew(new) => format!("  + {}  {}", place(new), text(plans[1], new)),
        };
        output.line(&printable(&line))?;
    }
    more(rows, output)
}

fn counts<T>(tally: &Tally<T>) -> String {
    let parts = [("changed", tally.changed), ("only old", tally.only_old), ("only new", tally.only_new)];
    let parts = parts.iter().filter(|(_, n)| *n > 0).map(|(what, n)| format!(", {n} {what}"));
    format!("{} equal{}", tally.equal, parts.collect::<String>())
}

fn more<T>(tally: &Tally<T>, output: &mut Output) -> Result<(), Failure> {
    match tally.differing() - tally.first.len() as u64 {
        0 => Ok(()),
        n => output.line(&format!("  and {n} more")),
    }
}

fn place(written: &Written) -> String {
    format!("{}  {}", named::key(written).unwrap_or_else(|| "no key".to_owned()), summary::date(Watermark(written.time_ms)))
}

/// The fields that differ, `old → new`.
fn changes(old: &Fields, new: &Fields) -> String {
    let text = |of: &Fields, path: &str| {
        of.iter().find(|(name, _)| name == path).map_or("null".to_owned(), |(_, value)| value.to_string())
    };
    let mut paths: Vec<&String> = old.iter().chain(new).map(|(path, _)| path).collect();
    let mut seen = BTreeSet::new();
    paths.retain(|path| seen.insert(*path));
    let differing = paths.iter().map(|path| (path, text(old, path), text(new, path))).filter(|(_, was, is)| was != is);
    differing.map(|(path, was, is)| format!("{path}: {was} → {is}")).collect::<Vec<_>>().join(", ")
}

fn of_state(plan: &Plan, stage_idx: StageIdx, kept: &KeptKeys, output: &mut Output) -> Result<(), Failure> {
    let name = &plan.stages[stage_idx].name;
    if let Some([was, is]) = kept.versions {
        return output.line(&format!("state of stage \"{name}\": not compared, version {was} → {is}"));
    }
    output.line(&format!("state of stage \"{name}\", by key: {}", counts(&kept.keys)))?;
    for pair in &kept.keys.first {
        let (mark, key) = match pair {
            Pair::Changed { new: key, .. } => ("~", key),
            Pair::OnlyOld(key) => ("-", key),
            Pair::OnlyNew(key) => ("+", key),
        };
        output.line(&printable(&format!("  {mark} {}", state_key(plan, stage_idx, key))))?;
    }
    more(&kept.keys, output)
}

/// As `--key` of `reel state get` takes it; of a dedup the hash that it keeps.
fn state_key(plan: &Plan, stage_idx: StageIdx, key: &[u8]) -> String {
    let schema = plan.stages[stage_idx].key_schema().expect("a stage that keeps something has a key");
    match schema.decode_key(key) {
        Ok(row) if !key.is_empty() => shown::key_text(&schema, &row),
        _ => key.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// The stages that called a plugin, with what that cost.
fn called<'a>(plan: &'a Plan, usage: &'a [Vec<CallUsage>; 2]) -> impl Iterator<Item = (&'a str, [&'a CallUsage; 2])> {
    let stages = plan.stages.iter().enumerate().map(|(idx, stage)| (&*stage.name, [&usage[0][idx], &usage[1][idx]]));
    stages.filter(|(_, sides)| sides.iter().any(|side| side.calls > 0))
}

fn of_calls(plan: &Plan, usage: &[Vec<CallUsage>; 2], output: &mut Output) -> Result<(), Failure> {
    for (name, [old, new]) in called(plan, usage) {
        let per_row = |side: &CallUsage| side.ns_per_row().unwrap_or_default();
        let faults = |side: &CallUsage| side.faults.values().sum::<u64>();
        output.line(&format!(
            "calls of stage \"{name}\": {:.0} → {:.0} ns/row, {:.2} → {:.2} s, {} → {} faults",
            per_row(old),
            per_row(new),
            old.time.as_secs_f64(),
            new.time.as_secs_f64(),
            faults(old),
            faults(new),
        ))?;
    }
    Ok(())
}

fn json_of(plans: [&Plan; 2], candidate: &Wanted, found: &Report, took: Duration) -> Value {
    let calls = called(plans[0], &found.usage)
        .map(|(name, [old, new])| json!({ "stage": name, "old": calls::json_of(old), "new": calls::json_of(new) }));
    let [old, new] = found.stopped.each_ref().map(|stopped| stopped.as_ref().map(ToString::to_string));
    json!({
        "format": 1,
        "pipeline": &*plans[0].name,
        "plan": candidate.planned.told(),
        "elapsed_ms": took.as_millis() as u64,
        "records": found.n_records,
        "tasks": found.n_tasks,
        "copies": found.n_copies,
        "unread": found.n_unread,
        "differs": found.differs(),
        "outputs": found.outlets.iter().map(|(at, compared)| outlet_json(plans, *at, compared)).collect::<Vec<_>>(),
        "state": found.states.by_stage.iter().map(|(stage, kept)| state_json(plans[0], *stage, kept)).collect::<Vec<_>>(),
        "calls": calls.collect::<Vec<_>>(),
        "stopped": { "old": old, "new": new },
    })
}

fn outlet_json(plans: [&Plan; 2], at: Outlet, compared: &Compared) -> Value {
    let (kind, name, topic) = named::outlet(plans[0], at);
    let object =
        |side: usize, written: &Written| Value::Object(named::fields(plans[side], written).into_iter().collect::<Map<_, _>>());
    let difference = |pair: &Pair<Written>| match pair {
        Pair::Changed { old, new } => {
            json!({ "what": "changed", "key": named::key(old), "time": old.time_ms, "old": object(0, old), "new": object(1, new) })
        }
        Pair::OnlyOld(old) => json!({ "what": "only_old", "key": named::key(old), "time": old.time_ms, "old": object(0, old) }),
        Pair::OnlyNew(new) => json!({ "what": "only_new", "key": named::key(new), "time": new.time_ms, "new": object(1, new) }),
    };
    let mut members = tally_json(&compared.rows);
    members.extend([
        ("kind".to_owned(), json!(kind)),
        ("name".to_owned(), json!(name)),
        ("topic".to_owned(), json!(topic)),
        ("keys".to_owned(), json!(compared.n_keys)),
        ("differences".to_owned(), compared.rows.first.iter().map(difference).collect()),
    ]);
    Value::Object(members)
}

fn state_json(plan: &Plan, stage_idx: StageIdx, kept: &KeptKeys) -> Value {
    let difference = |pair: &Pair<Vec<u8>>| {
        let (what, key) = match pair {
            Pair::Changed { new: key, .. } => ("changed", key),
            Pair::OnlyOld(key) => ("only_old", key),
            Pair::OnlyNew(key) => ("only_new", key),
        };
        json!({ "what": what, "key": state_key(plan, stage_idx, key) })
    };
    let mut members = tally_json(&kept.keys);
    members.extend([
        ("stage".to_owned(), json!(&*plan.stages[stage_idx].name)),
        ("versions".to_owned(), json!(kept.versions)),
        ("differences".to_owned(), kept.keys.first.iter().map(difference).collect()),
    ]);
    Value::Object(members)
}

fn tally_json<T>(tally: &Tally<T>) -> Map<String, Value> {
    let counts = [
        ("equal", tally.equal),
        ("changed", tally.changed),
        ("only_old", tally.only_old),
        ("only_new", tally.only_new),
        ("differing", tally.differing()),
    ];
    counts.into_iter().map(|(name, n)| (name.to_owned(), json!(n))).collect()
}
