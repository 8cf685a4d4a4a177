//! Windows of kind `global`.

use reelflow_core::plan::{Emission, GlobalWindow, WindowSpec};

use super::window::RawWindow;
use crate::{
    code::Code,
    problem::{At, Problem, Problems},
    walk::Table,
};

/// For the message about a window of another kind that has one.
pub(super) const KEYS: [(&str, &str); 4] = [
    ("every_rows", "windows of kind \"global\""),
    ("every", "windows of kind \"global\""),
    ("clear", "windows of kind \"global\""),
    ("idle", "windows of kind \"global\""),
];

pub(super) fn global(mut window: Table<'_>, elsewhere: &[(&str, &str)], problems: &mut Problems) -> Option<WindowSpec> {
    const ROWS_MAX: u64 = 1_000_000_000;
    let is_ever_told = window.peek("every_rows").is_some() || window.peek("every").is_some();
    if !is_ever_told {
        let message = format!("{} is never told", window.what);
        let problem =
            Problem::at(Code::MissingKey, window.span.clone(), message, "neither \"every_rows\" nor \"every\" is there");
        problems.push(problem.help("add `every_rows = 100`, or `every = \"1h\"` of event time, or both"));
    }
    if window.peek("idle").is_none() {
        let message = format!("{} lacks \"idle\"", window.what);
        let problem = Problem::at(Code::MissingKey, window.span.clone(), message, "its keys would be kept for ever");
        problems.push(problem.help("add `idle = \"30d\"`: a key without a row for so long is told a last time and forgotten"));
    }
    let every_rows = window.integer("every_rows", 1..=ROWS_MAX, problems).map(|rows| *rows);
    let every_ms = window.positive_duration("every", problems).map(|every| *every);
    let says_clear = window.peek("clear").is_some();
    let clear = window.flag("clear", problems).map(|clear| *clear);
    let idle = window.positive_duration("idle", problems);
    window.finish(elsewhere, problems);
    let idle_ms = *idle?;
    let clear = if says_clear { clear? } else { false };
    (every_rows.is_some() || every_ms.is_some()).then_some(WindowSpec::Global(GlobalWindow {
        every_rows,
        every_ms,
        clear,
        idle_ms,
    }))
}

/// What a stage with a global window may not say, or say otherwise: how often a key is told follows from the window.
pub(super) fn check(
    table: &mut Table<'_>,
    window: Option<&RawWindow>,
    emit: Option<&At<Emission>>,
    says_emit: bool,
    problems: &mut Problems,
) {
    let Some(RawWindow { spec, .. }) = window else { return };
    let WindowSpec::Global(GlobalWindow { clear, .. }) = **spec else { return };
    if let Some(entry) = table.take("lateness") {
        let message = format!("{} has no lateness", table.what);
        let label = "a row of any age counts, until its key is forgotten";
        let problem = Problem::at(Code::LatenessWithoutWindow, entry.key_span, message, label);
        problems.push(problem.also(spec.span.clone(), "the window of all time").help("raise `idle` of the window"));
    }
    // What `emit` is wrong about is told by itself.
    let emit = match (emit, says_emit) {
        (Some(emit), _) => Some((**emit, emit.span.clone())),
        (None, false) => Some((Emission::Final, spec.span.clone())),
        (None, true) => None,
    };
    let (message, label, help) = match emit {
        Some((Emission::Final, _)) if !clear => (
            format!("{} tells a key again and again, and once", table.what),
            "each result holds the rows of those before it",
            "write `emit = \"upsert\"`, so that the last row of a key counts, or `clear = true` in the window, so that each result has rows of its own",
        ),
        Some((Emission::Upsert, _)) if clear => (
            format!("{} tells results of rows of their own as if they took each other's place", table.what),
            "a result is none of the key's before it",
            "write `emit = \"final\"`, or leave out `clear`",
        ),
        _ => return,
    };
    let (_, span) = emit.expect("it was just looked at");
    let mut problem = Problem::at(Code::GlobalEmit, span.clone(), message, label);
    if span != spec.span {
        problem = problem.also(spec.span.clone(), "the window of all time");
    }
    problems.push(problem.help(help));
}
