//! What matches in a join, and what is emitted alone.

use super::WindowSpec;

/// Which right rows make a pair with a left row of the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matching {
    /// The latest one with `left time − within_ms <= right time <= left time`.
    LatestBefore { within_ms: i64 },
    /// All with `left time − within_ms <= right time <= left time + after_ms`.
    All { within_ms: i64, after_ms: i64 },
    /// All that share a window with it, which is tumbling or hopping: a pair for each window.
    Window(WindowSpec),
}

impl Matching {
    /// How long after its own time a row may still get its first partner, whichever side it is on, in ms.
    pub fn waits_ms(&self) -> i64 {
        match self {
            Matching::LatestBefore { within_ms } => *within_ms,
            Matching::All { within_ms, after_ms } => *within_ms.max(after_ms),
            Matching::Window(window) => window.size_ms(),
        }
    }
}

/// Which rows without a partner a join emits, alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
}

impl JoinKind {
    /// As the manifest writes it.
    pub fn name(self) -> &'static str {
        match self {
            JoinKind::Inner => "inner",
            JoinKind::Left => "left",
            JoinKind::Right => "right",
            JoinKind::Full => "full",
        }
    }

    /// Whether a left row without a partner is emitted.
    pub fn keeps_left(self) -> bool {
        matches!(self, JoinKind::Left | JoinKind::Full)
    }

    /// Whether a right row without a partner is emitted.
    pub fn keeps_right(self) -> bool {
        matches!(self, JoinKind::Right | JoinKind::Full)
    }
}
