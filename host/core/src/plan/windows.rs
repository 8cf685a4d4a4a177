//! Which windows a row falls into.

use std::sync::Arc;

use crate::window::local::LocalWindows;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WindowSpec {
    /// One starts `offset_ms` after 1970, `0 <= offset_ms < size_ms`.
    Tumbling { size_ms: i64, offset_ms: i64 },
    /// Tumbling or hopping windows by the clocks of a time zone.
    Local(Arc<LocalWindows>),
    /// `size_ms` is a multiple of `slide_ms`; panes are `slide_ms` long. One starts `offset_ms` after 1970, `0 <= offset_ms < slide_ms`.
    Hopping { size_ms: i64, slide_ms: i64, offset_ms: i64 },
    /// From the first row to `gap_ms` after the last one, as long as no two neighbours lie more than `gap_ms` apart and nothing cuts it.
    Session { gap_ms: i64, cuts: SessionCuts },
}

/// What ends a session besides a gap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionCuts {
    /// An input column of booleans: a session ends with the ms of a row in which it is true.
    pub end: Option<usize>,
    /// A session ends with the ms of the row that gives it so many.
    pub rows_max: Option<u64>,
    /// A row so long after the first one begins another session.
    pub length_ms_max: Option<i64>,
}

impl SessionCuts {
    /// Gaps alone end sessions.
    pub const NONE: SessionCuts = SessionCuts { end: None, rows_max: None, length_ms_max: None };
}

impl WindowSpec {
    /// How far the end of a window may lie behind a row that nothing follows.
    pub fn size_ms(&self) -> i64 {
        match self {
            WindowSpec::Tumbling { size_ms, .. } | WindowSpec::Hopping { size_ms, .. } => *size_ms,
            WindowSpec::Local(windows) => windows.longest_ms(),
            WindowSpec::Session { gap_ms, .. } => *gap_ms,
        }
    }
}
