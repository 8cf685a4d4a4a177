//! Stages of kind `join`.

use reelflow_core::plan::{Emission, JoinKind, Matching, WindowSpec};

use super::{flow, window::window};
use crate::{
    code::Code,
    config::StageKind,
    problem::{At, Problem, Problems},
    walk::Table,
};

/// The ways of matching, as manifests write them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Match {
    LatestBefore,
    All,
    Window,
}

/// Keys that some ways of matching have and some have not, with those that have them and what to say where one stands elsewhere.
const SOME_HAVE: [(&str, &[Match], &str); 5] = [
    ("within", &[Match::LatestBefore, Match::All], "all rows of a window are partners, however far they are apart"),
    ("after", &[Match::All], "a key of joins with match = \"all\""),
    ("window", &[Match::Window], "a key of joins with match = \"window\""),
    ("tie", &[Match::LatestBefore], "a key of joins with match = \"latest-before\""),
    ("emit", &[Match::LatestBefore], "a pair never changes: each is written once, when the later row comes"),
];

/// `match`, and the keys that say how far partners may be from each other.
fn matching(table: &mut Table<'_>, problems: &mut Problems) -> Option<At<Matching>> {
    let is_said = table.peek("match").is_some();
    let ways = [("latest-before", Match::LatestBefore), ("all", Match::All), ("window", Match::Window)];
    let way = match table.choice("match", &ways, problems) {
        Some(way) => Some(*way),
        None if is_said => None,
        None => Some(Match::LatestBefore),
    };
    if let Some(way) = way {
        no_keys_of_others(way, table, problems);
    }
    let needed =
        if way == Some(Match::Window) { ("window", "{ kind = \"tumbling\", size = \"1h\" }") } else { ("within", "\"6h\"") };
    if way.is_some() && table.peek(needed.0).is_none() {
        table.missing(needed.0, needed.1, problems);
    }
    let within = table.positive_duration("within", problems);
    let after = table.duration("after", problems);
    let window = table.peek("window").is_some().then(|| window(table, problems)).flatten().map(|window| window.spec);
    match way? {
        Match::LatestBefore => within.map(|within| At::new(Matching::LatestBefore { within_ms: within.value }, within.span)),
        Match::All => within.map(|within| {
            let after_ms = after.map_or(0, |after| *after);
            At::new(Matching::All { within_ms: within.value, after_ms }, within.span)
        }),
        Match::Window => window.and_then(|window| shared_window(table, window, problems)),
    }
}

/// What the way of matching has no key for.
fn no_keys_of_others(way: Match, table: &mut Table<'_>, problems: &mut Problems) {
    for (key, ways, why) in SOME_HAVE {
        if ways.contains(&way) {
            continue;
        }
        if let Some(entry) = table.take(key) {
            let message = format!("{} has no key \"{key}\"", table.what);
            problems.push(Problem::at(Code::KeyOfAnotherMatch, entry.key_span, message, why));
        }
    }
}

/// Windows that are there before any row is: the rows of two inputs can share them.
fn shared_window(table: &Table<'_>, window: At<WindowSpec>, problems: &mut Problems) -> Option<At<Matching>> {
    let wrong = match window.value {
        WindowSpec::Session { .. } => Some(("by sessions", "which session a row is in changes with the rows that follow")),
        WindowSpec::Global(_) => Some(("all rows of a key", "no row of a window of all time could ever be forgotten")),
        WindowSpec::Tumbling { .. } | WindowSpec::Hopping { .. } | WindowSpec::Local(_) => None,
    };
    if let Some((how, label)) = wrong {
        let message = format!("{} joins {how}", table.what);
        let problem = Problem::at(Code::WindowOfJoin, window.span.clone(), message, label);
        problems.push(
            problem.help("use windows of kind \"tumbling\" or \"hopping\", or `match = \"all\"` with `within` and `after`"),
        );
        return None;
    }
    Some(At::new(Matching::Window(window.value), window.span))
}

/// `join`: what is emitted without a partner.
fn join_kind(table: &mut Table<'_>, matching: Option<&Matching>, problems: &mut Problems) -> JoinKind {
    let kinds = [JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full].map(|kind| (kind.name(), kind));
    let Some(kind) = table.choice("join", &kinds, problems) else { return JoinKind::Inner };
    if let (true, Some(Matching::LatestBefore { .. })) = (kind.keeps_right(), matching) {
        let message = format!("{} has no join \"{}\"", table.what, kind.name());
        let label = "a join latest before is told for each left row: \"inner\" or \"left\"";
        let problem = Problem::at(Code::KeyOfAnotherMatch, kind.span, message, label);
        problems.push(problem.help("right rows without a partner are emitted with `match = \"all\"` and `match = \"window\"`"));
    }
    kind.value
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
    let join = join_kind(table, matching.as_deref(), problems);
    let tie = table.string("tie", problems);
    let lateness_ms = flow::lateness(table, problems);
    let emission = flow::emission(table, problems).map_or(Emission::Final, |emit| *emit);
    let ([left, right], plugin) = (sides, plugin.clone());
    Some(StageKind::Join {
        left: left?,
        right: right?,
        on: on?.value,
        matching: matching?,
        join,
        tie,
        lateness_ms,
        emission,
        plugin: plugin?,
    })
}
