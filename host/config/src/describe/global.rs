//! An aggregate of one window for all time.

use reelflow_core::{plan::GlobalWindow, time::duration_text};

/// What it tells when, and what it keeps.
pub(super) fn lines(window: &GlobalWindow) -> Vec<String> {
    let GlobalWindow { every_rows, every_ms, clear, idle_ms } = window;
    let idle = duration_text(*idle_ms);
    let rows = every_rows.map(|n_rows| format!("with every {n_rows} more rows"));
    let every = every_ms.map(|every_ms| format!("every {} of event time if rows came", duration_text(every_ms)));
    let when = [rows, every].into_iter().flatten().collect::<Vec<_>>().join(", and ");
    let told = match clear {
        true => format!("a result is written {when}, of the rows since the one before"),
        false => format!("a result is written {when}, and a last time when its key is forgotten"),
    };
    vec![told, format!("state: a key is kept until {idle} of event time have passed without a row of it, and told then")]
}
