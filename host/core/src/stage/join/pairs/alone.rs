//! Rows that stay without a partner, found when the watermark has risen.

use super::{
    Facts, Span,
    sides::{LEFT, Place, RIGHT, RowId, Sides},
};
use crate::{
    time::{EventTime, Watermark, Window},
    window::Windowing,
};

/// Where the search stands.
#[derive(Debug)]
pub(super) enum Alone {
    /// Rows of an interval join of `side`, from `from` on, of which no partner can come any more.
    Interval {
        side: usize,
        from: RowId,
        watermark: Watermark,
    },
    /// Rows of `window`, of `side` and from `from` on; then of those behind it that end until `until`.
    Windows {
        window: Window,
        side: usize,
        from: RowId,
        until: Watermark,
    },
    Done,
}

const FIRST: RowId = (EventTime(i64::MIN), 0);

/// The one after `id`.
fn behind(id: RowId) -> RowId {
    (id.0, id.1 + 1)
}

/// The first row of `side` at or after `from`, and where it is.
fn next(sides: &Sides, side: usize, from: RowId) -> Option<(RowId, Place)> {
    sides.next(side, from).map(|place| (sides.row(side, place).id, place))
}

impl Alone {
    /// The watermark has risen from `old` to `new`.
    pub(super) fn new(facts: &Facts, sides: &Sides, old: Watermark, new: Watermark) -> Alone {
        match &facts.span {
            Span::Interval { .. } => Alone::Interval { side: LEFT, from: FIRST, watermark: new },
            Span::Windows(windowing) => {
                let [closed, until] = [old, new].map(|watermark| watermark.minus(facts.lateness_ms));
                Alone::window(facts, sides, windowing, windowing.first_after(closed), until)
            }
        }
    }

    /// From the first window on that holds a row: `from`, or one behind it.
    fn window(facts: &Facts, sides: &Sides, windowing: &Windowing, from: Window, until: Watermark) -> Alone {
        let Some(at) = first_row(facts, sides, from.start()) else { return Alone::Done };
        let window = if at < from.end() { from } else { windowing.first_after(Watermark(at.0)) };
        match until.reached(window.end()) {
            true => Alone::Windows { window, side: LEFT, from: (window.start(), 0), until },
            false => Alone::Done,
        }
    }

    /// The next row that is alone, its side, and the event time that it is emitted with.
    pub(super) fn next(&mut self, facts: &Facts, sides: &Sides) -> Option<(EventTime, usize, Place)> {
        loop {
            match self {
                Alone::Done => return None,
                Alone::Interval { side, from, watermark } => {
                    let done_before = facts.done_before(*side, *watermark);
                    match next(sides, *side, *from).filter(|(id, _)| facts.keeps[*side] && id.0 < done_before) {
                        Some((id, place)) => {
                            *from = behind(id);
                            if !sides.row(*side, place).has_partner {
                                return Some((id.0, *side, place));
                            }
                        }
                        None if *side == LEFT => (*side, *from) = (RIGHT, FIRST),
                        None => *self = Alone::Done,
                    }
                }
                Alone::Windows { window, side, from, until } => {
                    let Span::Windows(windowing) = &facts.span else { unreachable!("the search is of windows") };
                    let (window, end) = (*window, window.end());
                    match next(sides, *side, *from).filter(|(id, _)| facts.keeps[*side] && id.0 < end) {
                        Some((id, place)) => {
                            *from = behind(id);
                            if sides.counts_in(*side, place, end) && sides.partners_in(*side, place, window).next().is_none() {
                                return Some((EventTime(end.0 - 1), *side, place));
                            }
                        }
                        None if *side == LEFT => (*side, *from) = (RIGHT, (window.start(), 0)),
                        None => *self = Alone::window(facts, sides, windowing, windowing.next(window), *until),
                    }
                }
            }
        }
    }
}

/// The time of the first row at or after `from` that is emitted if it is alone.
fn first_row(facts: &Facts, sides: &Sides, from: EventTime) -> Option<EventTime> {
    let kept = [LEFT, RIGHT].into_iter().filter(|side| facts.keeps[*side]);
    kept.filter_map(|side| next(sides, side, (from, 0))).map(|(id, _)| id.0).min()
}
