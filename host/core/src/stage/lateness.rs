//! Lateness of a row by itself, as joins and sessions know it; a window's is judged window by window, by its aggregate.

use super::{Batch, LateRows, Outbox};
use crate::time::Watermark;

/// Gives away the rows of `batch` with `time < mark - lateness`, and counts them. The rows that are left.
pub(super) fn without_late(port: usize, batch: &Batch, marks: &[Watermark], lateness_ms: i64, out: &mut Outbox) -> Vec<u32> {
    let is_late = |row: &u32| batch.times[*row as usize].0 < marks[*row as usize].minus(lateness_ms).0;
    let (late, rows): (Vec<u32>, Vec<u32>) = (0..batch.len() as u32).partition(is_late);
    out.counts.late += late.len() as u64;
    if !late.is_empty() {
        let watermarks = late.iter().map(|row| marks[*row as usize]).collect();
        out.late.push(LateRows { port, batch: batch.take(&late), window_ends: vec![None; late.len()], watermarks });
    }
    rows
}
