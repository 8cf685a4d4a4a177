//! The join that makes all pairs: of rows within an interval of each other, or within one window.
//!
//! Which rows are partners ([`Matching`]), of one key without null:
//!
//! - *Interval*: `left time − within <= right time <= left time + after`. A pair for every right row that matches, as often as rows came;
//!   with the later time of the two.
//! - *Window*: rows that lie in the same tumbling or hopping window: a pair for each window that holds both, with the last ms of the window.
//!   A batch job would join (row, window) by key and window.
//!
//! A pair is emitted when the later one of the two comes, once, since nothing can change it. A row of a side that is kept alone
//! ([`JoinKind`]) is emitted without a partner once none can come any more, once; in a window join once for each of its windows in which
//! it has none:
//!
//! | | late | no partner can come any more, and the row is forgotten |
//! | --- | --- | --- |
//! | left row, interval | `time < watermark − lateness` | `time + after + lateness < watermark`: a right row at exactly `watermark − lateness` is still accepted |
//! | right row, interval | the same | `time + within + lateness < watermark`: the mirror image, as left rows up to `right time + within` match |
//! | any row, window | for each window: `end + lateness <= watermark` | for each window: `end + lateness <= watermark`; forgotten after its last one |
//!
//! So a side is kept for as long as the other one can still match it, and no longer: of an interval right rows for `within + lateness`, left
//! rows for `after + lateness`; of windows both for the rest of their last window + lateness. A null in the key, or an inner join, keeps
//! nothing for itself.
//!
//! Rows that come together are each judged by their own mark (I-12), and rows alone leave behind them all, when the watermark rises:
//!
//! - Interval: a row that is not late has `time >= mark − lateness`, so it matches no row of the other side of which the mark had said that no
//!   partner can come. Whether a row had a partner is kept with it, as its partners may be forgotten before.
//! - Window: whether a row is alone in a window is seen when it closes: both sides are still there. A row that missed a window and is kept for
//!   another one may come before the missed one is closed; that it does not count there is remembered until then. To let it wait, as an
//!   aggregate does, would close windows before all rows of the other port have come, which the same batch may hold.
//!
//! What is alone leaves in the order of (time, arrival), left rows before right ones; of windows in the order of (window, side, time,
//! arrival). Each pair that the plugin refuses, or breaks on, is a dead letter of its left row, or of its right one where there is no left.

use std::collections::VecDeque;

use crate::{
    column::Kind,
    key::{encode_key_bytes, has_null},
    packed_row::encode_row,
    plan::{Matching, StageKind, StagePlan, WindowSpec},
    plugin::{PluginFault, Request, Response},
    stage::{
        Batch, Operator, Outbox, Revision,
        kept::Kept,
        lateness::{Closing, give_late, without_late},
    },
    state::{ChangeReader, ChangeWriter, StateError},
    time::{EventTime, Watermark},
    window::Windowing,
};

use super::pairing::{Calls, Columns, Pairs, kinds};
use alone::Alone;
use sides::{LEFT, Place, RIGHT, Sides};

mod alone;
mod sides;
mod store;
#[cfg(test)]
mod tests;

/// What rows are told with: a pair never changes.
const ONCE: Revision = Revision { rev: 0, is_final: true };

/// The operator of [`StageKind::Join`] that makes all pairs. See the module's text.
#[derive(Debug)]
pub struct PairJoin {
    facts: Facts,
    sides: Sides,
    /// Up to where rows alone were emitted.
    watermark: Watermark,
    /// Whether the watermark is not written down yet.
    is_watermark_dirty: bool,
    due: Due,
    calls: Calls,
}

/// What never changes.
#[derive(Debug)]
struct Facts {
    columns: Columns,
    /// The key columns of each side.
    key: [Vec<usize>; 2],
    key_kinds: Vec<Kind>,
    span: Span,
    /// Of each side, whether rows without a partner are emitted.
    keeps: [bool; 2],
    lateness_ms: i64,
}

/// How far partners are from each other.
#[derive(Debug)]
enum Span {
    Interval { within_ms: i64, after_ms: i64 },
    Windows(Windowing),
}

/// What is still to be emitted.
#[derive(Debug)]
enum Due {
    Nothing,
    /// A batch made these pairs.
    Pairs(VecDeque<Pair>),
    /// The watermark has risen.
    Alone(Alone),
}

#[derive(Clone, Copy, Debug)]
struct Pair {
    at: EventTime,
    rows: [Place; 2],
}

impl Facts {
    /// Of an interval: how long after a row of `side` a partner may be, in ms.
    fn ahead_ms(side: usize, within_ms: i64, after_ms: i64) -> i64 {
        if side == LEFT { after_ms } else { within_ms }
    }

    /// Before this, no row of `side` can get a partner any more.
    fn done_before(&self, side: usize, watermark: Watermark) -> EventTime {
        match &self.span {
            Span::Interval { within_ms, after_ms } => {
                EventTime(watermark.minus(self.lateness_ms + Facts::ahead_ms(side, *within_ms, *after_ms)).0)
            }
            // The start of the first window that is open.
            Span::Windows(windowing) => windowing.first_after(watermark.minus(self.lateness_ms)).start(),
        }
    }
}

impl PairJoin {
    /// The operator of `stage`. Panics if it is of another kind.
    pub fn new(stage: &StagePlan) -> PairJoin {
        let StageKind::Join { left_columns, right_columns, left_key, right_key, matching, join, lateness_ms, .. } = &stage.kind
        else {
            unreachable!("stage \"{}\" is not a join", stage.name);
        };
        let span = match matching {
            Matching::All { within_ms, after_ms } => Span::Interval { within_ms: *within_ms, after_ms: *after_ms },
            Matching::Window(window @ (WindowSpec::Tumbling { .. } | WindowSpec::Hopping { .. } | WindowSpec::Local(_))) => {
                Span::Windows(Windowing::new(window.clone()))
            }
            Matching::Window(WindowSpec::Session { .. } | WindowSpec::Global(_)) | Matching::LatestBefore { .. } => {
                unreachable!("join \"{}\" does not make all pairs", stage.name)
            }
        };
        let [left, right] = stage.inputs.as_slice() else { unreachable!("join \"{}\" has two inputs", stage.name) };
        let facts = Facts {
            columns: Columns::new(&stage.inputs, [left_columns, right_columns], join.keeps_right()),
            key: [left_key.clone(), right_key.clone()],
            key_kinds: kinds(left, left_key),
            span,
            keeps: [join.keeps_left(), join.keeps_right()],
            lateness_ms: *lateness_ms,
        };
        assert_eq!(facts.key_kinds, kinds(right, right_key), "the keys of join \"{}\"", stage.name);
        PairJoin {
            facts,
            sides: Sides::default(),
            watermark: Watermark::UNKNOWN,
            is_watermark_dirty: false,
            due: Due::Nothing,
            calls: Calls::default(),
        }
    }

    /// Gives away what is late, and counts. The rows that are left.
    fn judge(&self, port: usize, batch: &Batch, marks: &[Watermark], out: &mut Outbox) -> Vec<u32> {
        match &self.facts.span {
            Span::Interval { .. } => without_late(port, batch, marks, self.facts.lateness_ms, out),
            Span::Windows(windowing) => {
                let closing = Closing { windowing, lateness_ms: self.facts.lateness_ms };
                let (rows, late, n_late) = closing.judge(batch, marks);
                out.counts.late += n_late as u64;
                give_late(port, batch, &late, out);
                rows
            }
        }
    }

    /// Keeps `rows`; the pairs that they make.
    fn take_in(&mut self, side: usize, batch: &Batch, rows: &[u32], marks: &[Watermark]) -> VecDeque<Pair> {
        let mut pairs = VecDeque::new();
        let (mut key, mut packed) = (Vec::new(), Vec::new());
        for row in rows.iter().map(|row| *row as usize) {
            let has_null = has_null(&batch.rows, &self.facts.key[side], row);
            if has_null && !self.facts.keeps[side] {
                continue;
            }
            key.clear();
            packed.clear();
            encode_key_bytes(&batch.rows, &self.facts.key[side], row, &mut key);
            encode_row(&batch.rows, &self.facts.columns.kept[side], row, &mut packed);
            let key = self.sides.find_or_insert(&key, has_null);
            let at = batch.times[row];
            let place = self.sides.add(side, key, at, &packed);
            let closed_until = marks[row].minus(self.facts.lateness_ms);
            if let Span::Windows(_) = self.facts.span
                && closed_until.reached(at)
                && marks[row] > self.watermark
            {
                self.sides.set_missed(side, place, closed_until);
            }
            if !has_null {
                self.find_partners(side, place, at, closed_until, &mut pairs);
            }
        }
        pairs
    }

    /// The pairs of a row with the time `at` that came last of its key, too late for windows that end until `closed_until`.
    fn find_partners(&self, side: usize, row: Place, at: EventTime, closed_until: Watermark, pairs: &mut VecDeque<Pair>) {
        let other = 1 - side;
        let pair_with = |partner: Place| if side == LEFT { [row, partner] } else { [partner, row] };
        match &self.facts.span {
            Span::Interval { within_ms, after_ms } => {
                let [ahead, behind] = [side, other].map(|side| Facts::ahead_ms(side, *within_ms, *after_ms));
                let partners = self.sides.partners(side, row, EventTime(at.0 - behind), EventTime(at.0 + ahead));
                pairs.extend(partners.map(|(time, partner)| Pair { at: at.max(time), rows: pair_with(partner) }));
            }
            Span::Windows(windowing) => {
                let windows = windowing.windows_of(windowing.pane(at));
                for window in windows.filter(|window| !closed_until.reached(window.end())) {
                    let at = EventTime(window.end().0 - 1);
                    let partners = self.sides.partners_in(side, row, window);
                    pairs.extend(partners.map(|partner| Pair { at, rows: pair_with(partner) }));
                }
            }
        }
    }

    /// Finds the next call, and does all that needs none.
    fn settle(&mut self, out: &mut Outbox) {
        while !self.calls.go_on(&self.facts.columns, out) {
            let mut pairs = Pairs::new(&self.facts.columns);
            while !pairs.is_full() && self.push_next(&mut pairs) {}
            if !self.calls.open(pairs) {
                self.due = Due::Nothing;
                self.forget();
                return;
            }
        }
    }

    /// Adds what is due next. Whether there was something.
    fn push_next(&mut self, pairs: &mut Pairs) -> bool {
        match &mut self.due {
            Due::Nothing => false,
            Due::Pairs(due) => {
                let Some(Pair { at, rows }) = due.pop_front() else { return false };
                let packed = |side: usize| Some(&*self.sides.row(side, rows[side]).packed);
                pairs.push(at, [packed(LEFT), packed(RIGHT)], ONCE);
                // In a window it is seen when that closes.
                if let Span::Interval { .. } = self.facts.span {
                    let kept = [LEFT, RIGHT].into_iter().filter(|side| self.facts.keeps[*side]);
                    kept.for_each(|side| self.sides.set_partner(side, rows[side]));
                }
                true
            }
            Due::Alone(alone) => {
                let Some((at, side, row)) = alone.next(&self.facts, &self.sides) else { return false };
                let packed = Some(&*self.sides.row(side, row).packed);
                pairs.push(at, if side == LEFT { [packed, None] } else { [None, packed] }, ONCE);
                true
            }
        }
    }

    /// Forgets rows that can get no partner any more, and were emitted if they had none.
    fn forget(&mut self) {
        for side in [LEFT, RIGHT] {
            self.sides.forget_before(side, self.facts.done_before(side, self.watermark));
        }
        self.sides.forget_missed(self.watermark.minus(self.facts.lateness_ms));
    }
}

impl Operator for PairJoin {
    fn accept(&mut self, port: usize, batch: Batch, marks: &[Watermark], out: &mut Outbox) {
        assert!(port < 2, "a join has two inputs, got rows on port {port}");
        assert!(!self.calls.are_open(), "rows came while calls were open");
        debug_assert!(marks.iter().all(|mark| *mark >= self.watermark), "rows are judged by less than {}", self.watermark);
        let rows = self.judge(port, &batch, marks, out);
        out.counts.rows_in += batch.len() as u64;
        out.counts.accepted += rows.len() as u64;
        self.due = Due::Pairs(self.take_in(port, &batch, &rows, marks));
        self.settle(out);
    }

    fn advance(&mut self, watermark: Watermark, out: &mut Outbox) {
        assert!(!self.calls.are_open(), "the watermark rose while calls were open");
        if watermark <= self.watermark {
            return;
        }
        self.due = Due::Alone(Alone::new(&self.facts, &self.sides, self.watermark, watermark));
        self.watermark = watermark;
        self.is_watermark_dirty = true;
        self.settle(out);
    }

    fn next_call(&mut self) -> Option<Request> {
        self.calls.next()
    }

    fn returned(&mut self, result: Result<Response, PluginFault>, out: &mut Outbox) {
        self.calls.returned(result, false, out);
        self.settle(out);
    }

    fn changes(&mut self, to: &mut ChangeWriter) {
        store::write_changes(self, to);
    }

    fn image(&mut self, to: &mut ChangeWriter) {
        store::write_image(self, to);
    }

    fn restore(&mut self, from: &mut ChangeReader<'_>) -> Result<(), StateError> {
        store::restore(self, from)
    }

    fn kept(&self, each: &mut dyn FnMut(Kept<'_>)) {
        for row in self.sides.rows(RIGHT) {
            each(Kept::Right { key: self.sides.key(row.key), time: row.id.0, row: &row.packed });
        }
        for row in self.sides.rows(LEFT) {
            let n_emitted = row.has_partner.into();
            each(Kept::Left { key: self.sides.key(row.key), time: row.id.0, n_emitted, row: &row.packed });
        }
    }

    fn state_bytes(&self) -> usize {
        self.sides.n_bytes()
    }
}
