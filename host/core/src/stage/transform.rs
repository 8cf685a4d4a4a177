//! The transform stage: rows through a plugin, one batch at a time, onto named outputs.
//!
//! It keeps no state between batches. A row that the plugin rejects, or on which it breaks alone, is dead; every other row of the
//! batch is passed through the plugin in exactly one answered call, and outputs keep the order of their origin rows.

use std::ops::Range;

use crate::{
    column::Rows,
    plugin::{PluginFault, Reject, Request, Response, Routed},
    stage::{
        Batch, DeadReason, DeadRows, Operator, Outbox, RowsOf,
        bisect::{Bisect, Failed},
        kept::Kept,
    },
    state::{ChangeReader, ChangeWriter, StateError},
    time::Watermark,
};

/// The most rows of one call: enough to make the cost of a call vanish, few enough for its deadline.
pub const CALL_ROWS_MAX: usize = 4096;

/// A transform stage.
#[derive(Debug)]
pub struct Transform {
    /// The input columns that the plugin reads, in its order.
    columns: Vec<usize>,
    open: Option<Open>,
}

/// A batch on its way through the plugin.
#[derive(Debug)]
struct Open {
    batch: Batch,
    /// The columns that the plugin reads, of all rows.
    projected: Rows,
    bisect: Bisect,
}

impl Transform {
    /// `columns`: the input columns that the plugin reads, in its order.
    pub fn new(columns: &[usize]) -> Transform {
        Transform { columns: columns.to_vec(), open: None }
    }
}

impl Operator for Transform {
    fn accept(&mut self, _port: usize, batch: Batch, _marks: &[Watermark], out: &mut Outbox) {
        assert!(self.open.is_none(), "rows come when no call is left");
        out.counts.rows_in += batch.len() as u64;
        let projected = batch.rows.project(&self.columns);
        let bisect = Bisect::new(batch.len(), CALL_ROWS_MAX);
        self.open = Some(Open { batch, projected, bisect });
    }

    fn advance(&mut self, _watermark: Watermark, _out: &mut Outbox) {}

    fn next_call(&mut self) -> Option<Request> {
        let open = self.open.as_mut()?;
        match open.bisect.open_next() {
            None => {
                self.open = None;
                None
            }
            // The usual call covers the whole batch: its columns are given away instead of copied, and projected again should it fail.
            Some(range) if range.len() == open.batch.len() => {
                Some(Request::Transform { rows: std::mem::take(&mut open.projected) })
            }
            Some(range) => {
                if open.projected.len() != open.batch.len() {
                    open.projected = open.batch.rows.project(&self.columns);
                }
                let rows: Vec<u32> = range.collect();
                Some(Request::Transform { rows: open.projected.take(&rows) })
            }
        }
    }

    fn returned(&mut self, result: Result<Response, PluginFault>, out: &mut Outbox) {
        let open = self.open.as_mut().expect("an answer follows a call");
        match result {
            Ok(Response::Rows { outputs, rejects }) => {
                let range = open.bisect.succeeded();
                answered(&open.batch, range, outputs, rejects, out);
            }
            Ok(Response::States { .. } | Response::Processed { .. } | Response::Migrated { .. }) => {
                unreachable!("a checked answer to a transform call holds rows")
            }
            Err(fault) => {
                if let Failed::Guilty(row) = open.bisect.failed() {
                    out.counts.dead += 1;
                    out.dead.push(DeadRows {
                        batch: open.batch.take(&[row]),
                        of: RowsOf::Input(0),
                        reasons: vec![DeadReason::Fault(fault)],
                        calls: Vec::new(),
                    });
                }
            }
        }
    }

    fn changes(&mut self, _to: &mut ChangeWriter) {}

    fn image(&mut self, _to: &mut ChangeWriter) {}

    fn restore(&mut self, _from: &mut ChangeReader<'_>) -> Result<(), StateError> {
        Err(StateError::Damaged("a transform keeps no state"))
    }

    fn kept(&self, _each: &mut dyn FnMut(Kept<'_>)) {}

    fn state_bytes(&self) -> usize {
        0
    }
}

/// Takes in the answer to the call that covered the rows `range` of `batch`.
fn answered(batch: &Batch, range: Range<u32>, outputs: Vec<Routed>, rejects: Vec<Reject>, out: &mut Outbox) {
    let n_rows = u64::from(range.end - range.start);
    let n_rejected = route(batch, range, outputs, rejects, out);
    out.counts.accepted += n_rows - n_rejected;
    out.counts.dead += n_rejected;
}

/// Emits what a plugin made of the rows `range` of `batch`, each with the time, the origin and the mark of its row. Rows that it rejected
/// are dead letters; returns how many.
pub(super) fn route(
    batch: &Batch,
    range: Range<u32>,
    mut outputs: Vec<Routed>,
    mut rejects: Vec<Reject>,
    out: &mut Outbox,
) -> u64 {
    if !rejects.is_empty() {
        rejects.sort_by_key(|reject| reject.row);
        rejects.dedup_by_key(|reject| reject.row);
        outputs = outputs.into_iter().map(|routed| without_rejected(routed, &rejects)).collect();
    }
    let n_rejected = rejects.len() as u64;
    outputs.sort_by_key(|routed| routed.output);
    for Routed { output, rows, mut origins } in outputs {
        if rows.is_empty() {
            continue;
        }
        out.counts.rows_out += rows.len() as u64;
        origins.iter_mut().for_each(|origin| *origin += range.start);
        let batch = Batch {
            times: origins.iter().map(|row| batch.times[*row as usize]).collect(),
            origins: batch.origins.take(&origins),
            revisions: batch.revisions.as_ref().map(|all| origins.iter().map(|row| all[*row as usize]).collect()),
            before: batch.before.as_ref().map(|before| before.take(&origins)),
            rows,
        };
        out.emitted.push((output as usize, batch));
    }
    if !rejects.is_empty() {
        let rows: Vec<u32> = rejects.iter().map(|reject| reject.row + range.start).collect();
        let reasons = rejects.into_iter().map(|Reject { code, message, .. }| DeadReason::Rejected { code, message }).collect();
        out.dead.push(DeadRows { batch: batch.take(&rows), of: RowsOf::Input(0), reasons, calls: Vec::new() });
    }
    n_rejected
}

/// A rejected row has one fate: what the plugin emitted for it before it refused does not count. `rejects`: sorted by row.
fn without_rejected(routed: Routed, rejects: &[Reject]) -> Routed {
    let rejected = |origin: u32| rejects.binary_search_by_key(&origin, |reject| reject.row).is_ok();
    let kept: Vec<u32> = (0..routed.origins.len() as u32).filter(|idx| !rejected(routed.origins[*idx as usize])).collect();
    if kept.len() == routed.origins.len() {
        return routed;
    }
    let origins = kept.iter().map(|idx| routed.origins[*idx as usize]).collect();
    Routed { output: routed.output, rows: routed.rows.take(&kept), origins }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        column::{Column, Value, Values},
        time::EventTime,
    };

    /// Rows with one column: their numbers, which are their event times too.
    fn numbers(values: &[i64]) -> Batch {
        Batch::made(
            Rows::new(values.len(), vec![Column::from_parts(Values::Int(values.to_vec()), None).unwrap()]).unwrap(),
            values.iter().map(|value| EventTime(*value)).collect(),
            None,
        )
    }

    fn ints(rows: &Rows) -> Vec<i64> {
        let value = |idx| match rows.column(0).at(idx) {
            Value::Int(value) => value,
            other => panic!("{other:?}"),
        };
        (0..rows.len()).map(value).collect()
    }

    /// Even numbers go to output 0, odd ones to output 1, once and once more as their negative; multiples of 5 are rejected after
    /// that, multiples of 7 trap, multiples of 11 give nothing.
    fn plugin(request: &Request) -> Result<Response, PluginFault> {
        let Request::Transform { rows } = request else { panic!("{request:?}") };
        let values = ints(rows);
        if values.iter().any(|value| value % 7 == 0) {
            return Err(PluginFault::Trap("seven".into()));
        }
        let outputs = [0, 1].map(|output| {
            let of_output = |idx: &u32| values[*idx as usize] % 2 == i64::from(output) && values[*idx as usize] % 11 != 0;
            let origins: Vec<u32> = (0..values.len() as u32).filter(of_output).flat_map(|idx| [idx, idx]).collect();
            let sign = |at: usize| if at.is_multiple_of(2) { 1 } else { -1 };
            let out: Vec<i64> = origins.iter().enumerate().map(|(at, idx)| values[*idx as usize] * sign(at)).collect();
            Routed { output, rows: numbers(&out).rows, origins }
        });
        let rejected = (0..values.len() as u32).filter(|idx| values[*idx as usize] % 5 == 0);
        let rejects = rejected.map(|row| Reject { row, code: 5, message: "five".into() }).collect();
        Ok(Response::Rows { outputs: outputs.into(), rejects })
    }

    fn run(batch: Batch) -> (Outbox, Vec<usize>) {
        let mut stage = Transform::new(&[0]);
        let (mut out, mut call_sizes) = (Outbox::default(), Vec::new());
        stage.accept(0, batch, &[], &mut out);
        while let Some(request) = stage.next_call() {
            call_sizes.push(request.n_units());
            stage.returned(plugin(&request), &mut out);
        }
        (out, call_sizes)
    }

    #[test]
    fn outputs_keep_the_order_and_the_times_of_their_origins() {
        let (out, _) = run(numbers(&[1, 2, 3, 7, 8, 9]));
        for (output, expected) in [(0, vec![2, -2, 8, -8]), (1, vec![1, -1, 3, -3, 9, -9])] {
            let batches = || out.emitted.iter().filter(|(of, _)| *of == output).map(|(_, batch)| batch);
            assert_eq!(batches().flat_map(|batch| ints(&batch.rows)).collect::<Vec<_>>(), expected);
            let times: Vec<i64> = batches().flat_map(|batch| &batch.times).map(|time| time.0).collect();
            assert_eq!(times, expected.iter().map(|value| value.abs()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn every_row_has_one_fate() {
        let (out, _) = run(numbers(&[1, 7, 5, 11, 14, 10, 3]));
        let dead: Vec<(i64, bool)> = out
            .dead
            .iter()
            .flat_map(|dead| ints(&dead.batch.rows).into_iter().zip(&dead.reasons))
            .map(|(value, reason)| (value, matches!(reason, DeadReason::Fault(_))))
            .collect();
        assert_eq!(dead, [(7, true), (5, false), (14, true), (10, false)]);
        let counts = out.counts;
        assert_eq!((counts.rows_in, counts.accepted, counts.dead, counts.rows_out), (7, 3, 4, 4));
        let emitted: Vec<i64> = out.emitted.iter().flat_map(|(_, batch)| ints(&batch.rows)).collect();
        assert_eq!(emitted, [1, -1, 3, -3], "neither the rejected 5 nor the 10");
    }

    #[test]
    fn a_call_holds_4096_rows_at_most() {
        let values: Vec<i64> =
            (0..4097).map(|value| value * 14 + 1).map(|value| if value % 7 == 0 { 1 } else { value }).collect();
        assert_eq!(run(numbers(&values)).1, [4096, 1]);
        assert_eq!(run(numbers(&values[..4096])).1, [4096]);
        assert_eq!(run(numbers(&[])).1, [0; 0]);
    }
}
