//! What was compared, in words.

use reelflow_core::{
    letter::Letter,
    plan::Plan,
    record::Record,
    shadow::written::{Outlet, Written},
};
use reelflow_runtime::rehearsal::Given;

use crate::commands::test::{
    found,
    row::{Fields, flatten},
};

/// (kind, name, topic)
pub(super) fn outlet(plan: &Plan, at: Outlet) -> (&'static str, &str, &str) {
    match at {
        Outlet::Sink(idx) => ("sink", &plan.sinks[idx].name, &plan.sinks[idx].topic),
        Outlet::Shuffle(idx) => ("change of key", &plan.shuffles[idx].topic, &plan.shuffles[idx].topic),
        Outlet::Late(idx) => {
            ("late rows of stage", &plan.stages[idx].name, plan.stages[idx].late_topic.as_deref().unwrap_or_default())
        }
        Outlet::DeadLetters => ("dead letters of pipeline", &plan.name, &plan.dead_letter_topic),
    }
}

/// The fields of a row, as tests see them; all that a dead letter says.
pub(super) fn fields(plan: &Plan, written: &Written) -> Fields {
    let mut fields = Fields::new();
    match (written.at, &written.value) {
        (Outlet::Sink(idx), None) => fields = found::of_tombstone(&plan.sinks[idx], written.key.as_deref().unwrap_or_default()),
        (Outlet::Sink(idx), Some(value)) => fields = found::in_order(&plan.sinks[idx], found::parsed(value)),
        (Outlet::Shuffle(_) | Outlet::Late(_), value) => {
            let members = found::parsed(value.as_deref().unwrap_or(b"{}"));
            members.into_iter().for_each(|(name, value)| flatten(&name, value, &mut fields));
        }
        (Outlet::DeadLetters, value) => {
            let (key, headers) = (written.key.clone(), written.headers.clone());
            fields = found::of_dead_letter(&Given { key, value: value.clone(), headers, moment: 0 });
        }
    }
    fields
}

/// What it is about: the row's key, or the record that died.
pub(super) fn key(written: &Written) -> Option<String> {
    let record = Record {
        offset: 0,
        timestamp_ms: written.time_ms,
        key: written.key.as_deref(),
        value: written.value.as_deref(),
        headers: &written.headers,
    };
    let origin =
        || Letter::read(record)?.origin.map(|origin| format!("{}[{}] at {}", origin.topic, origin.partition, origin.offset));
    let died = if written.at == Outlet::DeadLetters { origin() } else { None };
    died.or_else(|| written.key.as_ref().map(|key| String::from_utf8_lossy(key).into_owned()))
}
