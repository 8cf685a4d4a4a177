//! Stages of kind `join`.

use reelflow_core::plan::{Emission, Matching};

use super::flow;
use crate::{
    code::Code,
    config::StageKind,
    problem::{At, Problem, Problems},
    walk::Table,
};

/// `match`, and `after`; what the other way of matching has is no key here.
fn matching(table: &mut Table<'_>, problems: &mut Problems) -> Matching {
    let takes_all = table.choice("match", &[("latest-before", false), ("all", true)], problems).is_some_and(|all| *all);
    let foreign: &[(&'static str, &str)] = match takes_all {
        true => &[
            ("tie", "a key of joins with match = \"latest-before\""),
            ("emit", "a pair never changes: each is written once, when the later row comes"),
        ],
        false => &[("after", "a key of joins with match = \"all\"")],
    };
    let after = if takes_all { table.duration("after", problems) } else { None };
    for (key, why) in foreign {
        if let Some(entry) = table.take(key) {
            let message = format!("{} has no key \"{key}\"", table.what);
            problems.push(Problem::at(Code::KeyOfAnotherMatch, entry.key_span.clone(), message, *why));
        }
    }
    match takes_all {
        true => Matching::All { after_ms: after.map_or(0, |after| *after) },
        false => Matching::LatestBefore,
    }
}

pub(super) fn join(
    table: &mut Table<'_>,
    sides: [Option<At<String>>; 2],
    plugin: &Option<At<String>>,
    problems: &mut Problems,
) -> Option<StageKind> {
    if table.peek("on").is_none() {
        table.missing("on", "[\"profile_id\"]", problems);
    }
    let on = table.strings("on", problems);
    let matching = matching(table, problems);
    if table.peek("within").is_none() {
        table.missing("within", "\"6h\"", problems);
    }
    let within = table.positive_duration("within", problems);
    let outer = table.choice("join", &[("inner", false), ("left", true)], problems).is_some_and(|outer| *outer);
    let tie = table.string("tie", problems);
    let lateness_ms = flow::lateness(table, problems);
    let emission = flow::emission(table, problems).map_or(Emission::Final, |emit| *emit);
    let ([left, right], plugin) = (sides, plugin.clone());
    Some(StageKind::Join {
        left: left?,
        right: right?,
        on: on?.value,
        within_ms: within?,
        matching,
        outer,
        tie,
        lateness_ms,
        emission,
        plugin: plugin?,
    })
}
