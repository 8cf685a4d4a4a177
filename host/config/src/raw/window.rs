//! Windows of aggregates.

use std::sync::Arc;

use reelflow_core::{
    plan::{SessionCuts, WindowSpec},
    time::duration_text,
    window::local::LocalWindows,
};

use super::{
    global,
    zoned::{TIME_ZONE, has_place_in_days, time_zone},
};
use crate::{
    code::Code,
    problem::{At, Problem, Problems},
    walk::Table,
};

pub(super) struct RawWindow {
    pub spec: At<WindowSpec>,
    /// The field that ends sessions; its column is not known yet.
    pub end: Option<At<String>>,
}

/// The keys of each kind of window, for the message about a key that belongs to another kind.
const ELSEWHERE: [(&str, &str); 12] = [
    ("size", "windows of fixed size"),
    ("slide", "windows of kind \"hopping\""),
    ("offset", "windows of fixed size"),
    TIME_ZONE,
    ("gap", "windows of kind \"session\""),
    ("end", "windows of kind \"session\""),
    ("max_rows", "windows of kind \"session\""),
    ("max_length", "windows of kind \"session\""),
    global::KEYS[0],
    global::KEYS[1],
    global::KEYS[2],
    global::KEYS[3],
];

pub(super) fn window(table: &mut Table<'_>, problems: &mut Problems) -> Option<RawWindow> {
    let what = format!("\"window\" of {}", table.what);
    let mut window = table.table("window", what, problems)?;
    let span = window.span.clone();
    if window.peek("kind").is_none() {
        window.missing("kind", "\"tumbling\"`, `kind = \"hopping\"`, `kind = \"session\"` or `kind = \"global\"", problems);
    }
    let kinds = ["tumbling", "hopping", "session", "global"].map(|kind| (kind, kind));
    let kind = window.choice("kind", &kinds, problems).map(|kind| *kind);
    let (spec, end) = match kind {
        Some("session") => session(window, problems),
        Some("global") => (global::global(window, &ELSEWHERE, problems), None),
        Some(kind) => (fixed_window(kind == "hopping", window, problems), None),
        None => {
            for (key, _) in ELSEWHERE {
                window.take(key);
            }
            window.finish(&[], problems);
            (None, None)
        }
    };
    spec.map(|spec| RawWindow { spec: At::new(spec, span), end })
}

/// After how much wall time, again and again, results are told before their windows end. Sessions are told once, whatever `emit` says.
pub(super) fn early(table: &mut Table<'_>, window: Option<&RawWindow>, emits_once: bool, problems: &mut Problems) -> Option<i64> {
    /// A row changes that many windows, and each of them merges as many states.
    const SLIDES_MAX: i64 = 60;
    let early = table.positive_duration("early", problems)?;
    let problem = |code, message: String, label: String| Problem::at(code, early.span.clone(), message, label);
    match window.map(|window| &window.spec) {
        Some(spec) if matches!(**spec, WindowSpec::Session { .. } | WindowSpec::Global(_)) => {
            let message = format!("{} has no key \"early\"", table.what);
            let problem = problem(Code::KeyOfAnotherKind, message, "a key of stages with windows of fixed size".to_owned());
            let what = if let WindowSpec::Global(_) = **spec { "the window of all time" } else { "sessions" };
            problems.push(problem.also(spec.span.clone(), what));
        }
        _ if emits_once => {
            let message = format!("{} tells results early, and once", table.what);
            let label = "a key of stages with `emit = \"upsert\"`".to_owned();
            problems.push(
                problem(Code::KeyOfAnotherKind, message, label)
                    .help("write `emit = \"upsert\"`: an early result is followed by others, and the last one counts"),
            );
        }
        Some(spec) => {
            let n_slides = match &**spec {
                WindowSpec::Hopping { size_ms, slide_ms, .. } => size_ms / slide_ms,
                WindowSpec::Local(windows) => windows.size_ms() / windows.slide_ms(),
                WindowSpec::Tumbling { .. } | WindowSpec::Session { .. } | WindowSpec::Global(_) => 1,
            };
            if n_slides > SLIDES_MAX {
                let message = format!("{} tells windows of too many slides early", table.what);
                let label = format!("{n_slides} slides; at most {SLIDES_MAX} with `early`");
                problems.push(Problem::at(Code::OutOfRange, spec.span.clone(), message, label).also(early.span.clone(), "early"));
            }
        }
        None => {}
    }
    Some(*early)
}

/// The window, and the field that ends it.
fn session(mut window: Table<'_>, problems: &mut Problems) -> (Option<WindowSpec>, Option<At<String>>) {
    const ROWS_MAX: u64 = 1_000_000_000;
    if window.peek("gap").is_none() {
        window.missing("gap", "\"30m\"", problems);
    }
    let gap = window.positive_duration("gap", problems);
    let end = window.string("end", problems);
    let rows_max = window.integer("max_rows", 1..=ROWS_MAX, problems).map(|rows| *rows);
    let length = window.positive_duration("max_length", problems);
    window.finish(&ELSEWHERE, problems);
    if let (Some(gap), Some(length)) = (&gap, &length)
        && **length <= **gap
    {
        let message = "the greatest length of a session is not more than its gap";
        let label = format!("{} is not more than {}", duration_text(**length), duration_text(**gap));
        problems.push(
            Problem::at(Code::OutOfRange, length.span.clone(), message, label)
                .also(gap.span.clone(), "no session would end by this")
                .help("raise `max_length`, or use tumbling windows"),
        );
    }
    let cuts = SessionCuts { end: None, rows_max, length_ms_max: length.map(|length| *length) };
    (gap.map(|gap| WindowSpec::Session { gap_ms: *gap, cuts }), end)
}

/// Tumbling windows are those whose slide is their size.
fn fixed_window(is_hopping: bool, mut window: Table<'_>, problems: &mut Problems) -> Option<WindowSpec> {
    if window.peek("size").is_none() {
        window.missing("size", "\"1h\"", problems);
    }
    let size = window.positive_duration("size", problems);
    let offset = window.duration("offset", problems);
    if is_hopping && window.peek("slide").is_none() {
        window.missing("slide", "\"1m\"", problems);
    }
    let slide = if is_hopping { window.positive_duration("slide", problems) } else { None };
    let zone = time_zone(&mut window, problems);
    window.finish(&ELSEWHERE, problems);
    let size = size?;
    let (slide, key) = if is_hopping { (slide?, "slide") } else { (size.clone(), "size") };
    let is_sliced = is_sliced(&size, &slide, problems);
    let offset_ms = offset_within(*slide, key, offset, problems);
    let zone = zone?;
    let has_place = zone.is_none() || has_place_in_days(&slide, key, problems);
    if !is_sliced || !has_place {
        return None;
    }
    let (size_ms, slide_ms, offset_ms) = (*size, *slide, offset_ms?);
    Some(match zone {
        Some(zone) => WindowSpec::Local(Arc::new(LocalWindows::new(zone, size_ms, slide_ms, offset_ms))),
        None if is_hopping => WindowSpec::Hopping { size_ms, slide_ms, offset_ms },
        None => WindowSpec::Tumbling { size_ms, offset_ms },
    })
}

/// Windows of one every `every_ms` repeat after it, so a greater offset would only be another way to write a smaller one.
fn offset_within(every_ms: i64, key: &str, offset: Option<At<i64>>, problems: &mut Problems) -> Option<i64> {
    let Some(offset) = offset else { return Some(0) };
    if *offset < every_ms {
        return Some(*offset);
    }
    let [offset_text, every, same] = [*offset, every_ms, *offset % every_ms].map(duration_text);
    let message = format!("the offset of a window is not less than its {key}");
    let label = format!("{offset_text} is not less than {every}");
    let problem = Problem::at(Code::OutOfRange, offset.span.clone(), message, label);
    problems.push(problem.patch("the same windows", offset.span, format!("\"{same}\"")));
    None
}

/// Whether a window is made of whole slides, and not of too many.
fn is_sliced(size: &At<i64>, slide: &At<i64>, problems: &mut Problems) -> bool {
    /// Each key keeps a state per slide, and each firing merges all of them.
    const PANES_MAX: i64 = 10_000;
    let (size_ms, slide_ms) = (**size, **slide);
    if size_ms % slide_ms != 0 {
        let nearest = (size_ms + slide_ms / 2).div_euclid(slide_ms).max(1) * slide_ms;
        problems.push(
            Problem::at(
                Code::NotAMultiple,
                size.span.clone(),
                "the size of a hopping window is not a multiple of its slide",
                format!("{} is not a multiple of {}", duration_text(size_ms), duration_text(slide_ms)),
            )
            .also(slide.span.clone(), "the slide")
            .patch("the nearest size that is", size.span.clone(), format!("\"{}\"", duration_text(nearest))),
        );
        return false;
    }
    if size_ms / slide_ms > PANES_MAX {
        let message = "a hopping window has too many slides";
        let label = format!("{} slides; at most {PANES_MAX}", size_ms / slide_ms);
        let problem = Problem::at(Code::OutOfRange, size.span.clone(), message, label);
        problems.push(problem.also(slide.span.clone(), "the slide"));
        return false;
    }
    true
}
