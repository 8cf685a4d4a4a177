//! Windows in a time zone.

use std::sync::Arc;

use reelflow_core::{time::duration_text, window::local::LocalWindows, zone::Zone};

use crate::{
    code::Code,
    problem::{At, Problem, Problems},
    walk::Table,
    zone,
};

/// For the message about a window of another kind that has one.
pub(super) const TIME_ZONE: (&str, &str) = ("time_zone", "windows of fixed size");

/// The zone of windows of fixed size, if it has one. The outer `Option` is whether all is well.
pub(super) fn time_zone(window: &mut Table<'_>, problems: &mut Problems) -> Option<Option<Arc<Zone>>> {
    if window.peek("time_zone").is_none() {
        window.take("time_zone");
        return Some(None);
    }
    window
        .text_by("time_zone", "the name of a time zone", Code::UnknownTimeZone, zone::read, problems)
        .map(|zone| Some(zone.value))
}

/// Whether windows, one every `slide`, begin at the same local time every day. `key`: what says so, as tumbling windows have no slide.
pub(super) fn has_place_in_days(slide: &At<i64>, key: &str, problems: &mut Problems) -> bool {
    if LocalWindows::allows(**slide) {
        return true;
    }
    let message = format!("a window of this {key} has no place in the days of a time zone");
    let label = format!("{} is neither of whole days nor of hours that divide a day", duration_text(**slide));
    problems.push(
        Problem::at(Code::LocalSize, slide.span.clone(), message, label)
            .note("such windows would not begin at the same local time every day")
            .help("use 1h, 2h, 3h, 4h, 6h, 8h, 12h or days such as \"1d\" or \"7d\", or leave out `time_zone`"),
    );
    false
}
