//! Windows in a time zone.

use std::sync::Arc;

use reelflow_core::{plan::WindowSpec, time::duration_text, window::local::LocalWindows, zone::Zone};

use crate::{
    code::Code,
    problem::{At, Problem, Problems},
    walk::Table,
    zone,
};

/// For the message about a window of another kind that has one.
pub(super) const TIME_ZONE: (&str, &str) = ("time_zone", "windows of kind \"tumbling\"");

/// The zone of a tumbling window, if it has one. The outer `Option` is whether all is well.
pub(super) fn time_zone(window: &mut Table<'_>, problems: &mut Problems) -> Option<Option<Arc<Zone>>> {
    if window.peek("time_zone").is_none() {
        window.take("time_zone");
        return Some(None);
    }
    window
        .text_by("time_zone", "the name of a time zone", Code::UnknownTimeZone, zone::read, problems)
        .map(|zone| Some(zone.value))
}

/// Windows of `size` by the clocks of `zone`.
pub(super) fn local_windows(zone: Arc<Zone>, size: At<i64>, offset_ms: i64, problems: &mut Problems) -> Option<WindowSpec> {
    if LocalWindows::allows(*size) {
        return Some(WindowSpec::Local(Arc::new(LocalWindows::new(zone, *size, *size, offset_ms))));
    }
    let message = "a window of this size has no place in the days of a time zone";
    let label = format!("{} is neither of whole days nor of hours that divide a day", duration_text(*size));
    problems.push(
        Problem::at(Code::LocalSize, size.span, message, label)
            .note("such windows would not begin at the same local time every day")
            .help("use 1h, 2h, 3h, 4h, 6h, 8h, 12h or days such as \"1d\" or \"7d\", or leave out `time_zone`"),
    );
    None
}
