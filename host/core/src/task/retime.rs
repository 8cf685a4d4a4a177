//! Stages that give the rows which they emit another event time.
//!
//! Everything downstream waits for rows that lie up to `behind` before what the stage emits (`Stage::hold_ms`), so a row further back
//! would come after everything had stopped waiting for it: it is a dead letter.

use crate::{
    column::Values,
    plan::Retime,
    stage::{Batch, DeadReason, DeadRows, Origins, Outbox, RowsOf},
    time::{EventTime, duration_text},
};

/// Gives the rows in `outbox` the event times of their columns, and gives up those that cannot have theirs.
pub(super) fn apply(to: &Retime, outbox: &mut Outbox) {
    for (output, batch) in &mut outbox.emitted {
        if let Some((batch, reasons)) = retimed(to, to.columns[*output], batch) {
            outbox.counts.rows_out -= reasons.len() as u64;
            outbox.counts.dead_panes += reasons.len() as u64;
            outbox.dead.push(DeadRows { batch, of: RowsOf::Output(*output), reasons, calls: Vec::new() });
        }
    }
    outbox.emitted.retain(|(_, batch)| !batch.is_empty());
}

/// Leaves in `batch` the rows that can have the event time in `column`, with it. The others, and why, if there are any.
fn retimed(to: &Retime, column: usize, batch: &mut Batch) -> Option<(Batch, Vec<DeadReason>)> {
    let Values::Int(wanted) = batch.rows.column(column).values() else { unreachable!("an event time is an i64") };
    let refused = |row: u32| {
        let (at, was) = (wanted[row as usize], batch.times[row as usize].0);
        if EventTime::checked(at).is_none() {
            return Some(format!("event time {at} is not within {} and {}", EventTime::MIN, EventTime::MAX));
        }
        let limit = duration_text(to.behind_ms);
        (was - at > to.behind_ms)
            .then(|| format!("event time {at} is {} ms before that of the row, {was}; the limit is {limit}", was - at))
    };
    let reasons: Vec<(u32, String)> = (0..batch.len() as u32).filter_map(|row| Some((row, refused(row)?))).collect();
    let times = wanted.iter().map(|at| EventTime(*at)).collect();
    if reasons.is_empty() {
        batch.times = times;
        return None;
    }
    let (rows, reasons): (Vec<u32>, Vec<DeadReason>) =
        reasons.into_iter().map(|(row, why)| (row, DeadReason::EventTime(why))).unzip();
    let dead = Batch { origins: Origins::Rows, ..batch.take(&rows) };
    let kept: Vec<u32> = (0..batch.len() as u32).filter(|row| rows.binary_search(row).is_err()).collect();
    batch.times = times;
    *batch = batch.take(&kept);
    Some((dead, reasons))
}
