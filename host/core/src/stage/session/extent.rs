//! Where sessions begin and end: by the gap, and by what cuts them.

use crate::{
    plan::SessionCuts,
    time::{EventTime, Window},
};

/// What is known of some rows that belong together, besides their state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Extent {
    /// The times of the earliest and the latest row.
    pub(super) first: EventTime,
    pub(super) last: EventTime,
    /// How many there are. Only looked at, and only stored, where something cuts sessions.
    pub(super) n_rows: u64,
    /// Whether one of the latest is an end. The same.
    pub(super) is_ended: bool,
}

impl Extent {
    /// Of both. What comes after is `other`'s, if its rows are the later ones.
    pub(super) fn with(self, other: Extent) -> Extent {
        Extent {
            first: self.first.min(other.first),
            last: self.last.max(other.last),
            n_rows: self.n_rows + other.n_rows,
            is_ended: self.is_ended || other.is_ended,
        }
    }
}

/// The rules of a stage.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) gap_ms: i64,
    pub(super) cuts: SessionCuts,
}

impl Rules {
    pub(super) fn has_cuts(&self) -> bool {
        self.cuts != SessionCuts::NONE
    }

    /// Rows of a key that are at most so far apart belong together, whatever comes between them: a cut may come anywhere but within a ms.
    pub(super) fn reach_ms(&self) -> i64 {
        if self.has_cuts() { 0 } else { self.gap_ms }
    }

    /// Whether no row after the last one can belong to the session.
    fn is_complete(&self, session: &Extent) -> bool {
        session.is_ended || self.cuts.rows_max.is_some_and(|max| session.n_rows >= max)
    }

    /// Whether `later` begins another session than that of `before`, which it follows.
    pub(super) fn separates(&self, before: &Extent, later: &Extent) -> bool {
        self.is_complete(before)
            || later.first.0 - before.last.0 > self.gap_ms
            || self.cuts.length_ms_max.is_some_and(|max| later.first.0 - before.first.0 >= max)
    }

    /// The last ms at which a row could still belong to the session, or end it.
    pub(super) fn open_until(&self, session: &Extent) -> EventTime {
        if self.is_complete(session) {
            return session.last;
        }
        let by_gap = EventTime(session.last.0 + self.gap_ms);
        let by_length = self.cuts.length_ms_max.map(|max| EventTime(session.first.0 + max - 1));
        by_length.map_or(by_gap, |by_length| by_gap.min(by_length))
    }

    /// The window that is said of the session.
    pub(super) fn window(&self, session: &Extent) -> Window {
        if self.is_complete(session) {
            return Window::new(session.first, EventTime(session.last.0 + 1));
        }
        let by_gap = session.last.0 + self.gap_ms;
        let end = self.cuts.length_ms_max.map_or(by_gap, |max| by_gap.min(session.first.0 + max));
        Window::new(session.first, EventTime(end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUT: Rules = Rules { gap_ms: 10, cuts: SessionCuts { end: Some(0), rows_max: Some(3), length_ms_max: Some(25) } };

    fn extent(first: i64, last: i64, n_rows: u64, is_ended: bool) -> Extent {
        Extent { first: EventTime(first), last: EventTime(last), n_rows, is_ended }
    }

    /// The last ms of a session, and its window's end.
    fn check(rules: Rules, session: Extent, open_until: i64, end: i64) {
        assert_eq!(rules.open_until(&session).0, open_until, "{session:?}");
        assert_eq!(rules.window(&session), Window::new(session.first, EventTime(end)), "{session:?}");
    }

    #[test]
    fn a_session_is_open_until_its_gap_or_its_cut() {
        check(Rules { gap_ms: 10, cuts: SessionCuts::NONE }, extent(-5, 20, 9, false), 30, 30);
        check(CUT, extent(-5, 0, 2, false), 10, 10);
        check(CUT, extent(-5, 0, 3, false), 0, 1);
        check(CUT, extent(-5, 0, 1, true), 0, 1);
        check(CUT, extent(-5, 9, 2, false), 19, 19);
        check(CUT, extent(-5, 10, 2, false), 19, 20);
        check(CUT, extent(-5, 19, 2, false), 19, 20);
    }

    #[test]
    fn what_begins_another_session() {
        let begins = |before: Extent, at: i64| CUT.separates(&before, &extent(at, at, 1, false));
        assert!(!begins(extent(0, 0, 1, false), 10));
        assert!(begins(extent(0, 0, 1, false), 11));
        assert!(!begins(extent(0, 20, 2, false), 24));
        assert!(begins(extent(0, 20, 2, false), 25));
        assert!(begins(extent(0, 20, 3, false), 21));
        assert!(begins(extent(0, 20, 1, true), 21));
    }
}
