//! Lateness of rows: of a row by itself, as interval joins and sessions know it, and of a row for each of its windows.

use super::{Batch, LateRows, Outbox};
use crate::{
    time::{EventTime, Watermark, Window},
    window::Windowing,
};

/// Late rows are given away in pieces of this many.
const LATE_ROWS_MAX: usize = 4096;

/// Gives away the rows of `batch` with `time < mark - lateness`, and counts them. The rows that are left.
pub(super) fn without_late(port: usize, batch: &Batch, marks: &[Watermark], lateness_ms: i64, out: &mut Outbox) -> Vec<u32> {
    let is_late = |row: &u32| batch.times[*row as usize].0 < marks[*row as usize].minus(lateness_ms).0;
    let (late, rows): (Vec<u32>, Vec<u32>) = (0..batch.len() as u32).partition(is_late);
    out.counts.late += late.len() as u64;
    if !late.is_empty() {
        let watermarks = late.iter().map(|row| marks[*row as usize]).collect();
        out.late.push(LateRows { port, batch: batch.take(&late), windows: vec![None; late.len()], watermarks });
    }
    rows
}

/// A row came too late for this window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Missed {
    pub(super) row: u32,
    window: Window,
    watermark: Watermark,
    /// Whether it missed its other windows too.
    pub(super) is_late_for_all: bool,
}

/// What windows are, and until when they are open: a window is *closed* once `end + lateness <= watermark`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closing<'a> {
    pub(super) windowing: &'a Windowing,
    pub(super) lateness_ms: i64,
}

impl Closing<'_> {
    /// Which windows the rows of `batch` missed; and the rows that missed not all of theirs, to be taken; and how many missed them all.
    pub(super) fn judge(self, batch: &Batch, marks: &[Watermark]) -> (Vec<u32>, Vec<Missed>, usize) {
        let Closing { windowing, lateness_ms } = self;
        let mut on_time = Vec::with_capacity(batch.len());
        let (mut late, mut n_late) = (Vec::new(), 0);
        for (row, (at, watermark)) in (0_u32..).zip(batch.times.iter().zip(marks)) {
            let closed_until = watermark.minus(lateness_ms);
            // Every window of a row ends after it.
            if closed_until.0 <= at.0 {
                on_time.push(row);
                continue;
            }
            let pane = windowing.pane(*at);
            let is_late_for_all = closed_until.reached(windowing.last_end(*at));
            let missed = windowing.windows_of(pane).take_while(|window| closed_until.reached(window.end()));
            late.extend(missed.map(|window| Missed { row, window, watermark: *watermark, is_late_for_all }));
            match is_late_for_all {
                true => n_late += 1,
                false => on_time.push(row),
            }
        }
        (on_time, late, n_late)
    }

    /// Whether a row at `at` misses, by `mark`, a window that has not fired for good at `watermark`, and does not miss them all.
    fn would_count_in_a_missed_window(self, at: EventTime, mark: Watermark, watermark: Watermark) -> bool {
        let Closing { windowing, lateness_ms } = self;
        let (closed_until, fired_until) = (mark.minus(lateness_ms), watermark.minus(lateness_ms));
        if closed_until.0 <= at.0 || closed_until == fired_until {
            return false;
        }
        if closed_until.reached(windowing.last_end(at)) {
            return false;
        }
        // The first of its windows that had not fired: as its last one is open, one that ends before that one is among them.
        closed_until.reached(windowing.first_after(fired_until.max(Watermark(at.0))).end())
    }

    /// How many rows of `batch` from row `from` on can be taken before windows fire that the next one missed.
    pub(super) fn n_acceptable(self, batch: &Batch, marks: &[Watermark], from: usize, watermark: Watermark) -> usize {
        let rows = from..batch.len();
        // A window of one pane shares it with no other.
        match self.windowing.n_panes_per_window() > 1 {
            false => rows.len(),
            true => rows
                .clone()
                .position(|row| self.would_count_in_a_missed_window(batch.times[row], marks[row], watermark))
                .unwrap_or(rows.len()),
        }
    }
}

/// Gives away the rows of `batch` that missed windows, once for each, and counts the windows of those that were taken for others.
pub(super) fn give_late(port: usize, batch: &Batch, late: &[Missed], out: &mut Outbox) {
    out.counts.late_panes += late.iter().filter(|missed| !missed.is_late_for_all).count() as u64;
    for piece in late.chunks(LATE_ROWS_MAX) {
        let rows: Vec<u32> = piece.iter().map(|missed| missed.row).collect();
        let windows = piece.iter().map(|missed| Some(missed.window)).collect();
        let watermarks = piece.iter().map(|missed| missed.watermark).collect();
        out.late.push(LateRows { port, batch: batch.take(&rows), windows, watermarks });
    }
}
