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
    /// One window of a key for all time.
    Global(GlobalWindow),
}

/// When the one window of a key is told; at least one of the two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GlobalWindow {
    /// With the row that makes so many since it was told last.
    pub every_rows: Option<u64>,
    /// When the watermark passes a multiple of this, if rows came since it was told last.
    pub every_ms: Option<i64>,
    /// Whether the key begins anew then.
    pub clear: bool,
    /// The key ends when the watermark has passed its last row by more than this.
    pub idle_ms: i64,
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
            WindowSpec::Global(window) => window.idle_ms,
        }
    }
}
