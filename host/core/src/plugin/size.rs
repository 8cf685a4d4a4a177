//! How many bytes cross the line: what calls are accounted by. O(columns), or O(1) for each list.

use super::{Request, Response, Routed};
use crate::column::{Bitmap, Column, Packed, Rows, Values};

impl Request {
    /// The bytes of all its columns and lists.
    pub fn n_bytes(&self) -> u64 {
        let n_bytes = match self {
            Request::Transform { rows } => of_rows(rows),
            Request::Add { grouped, states } => of_rows(&grouped.rows) + 4 * grouped.ends.len() + of_packed(states),
            Request::Migrate { states } => of_packed(states),
            Request::Merge { parts, ends } => of_packed(parts) + 4 * ends.len(),
            Request::Emit { windows, keys, states } => 16 * windows.len() + of_rows(keys) + of_packed(states),
            Request::Pair { left, right, matched, has_left } => {
                of_rows(left) + of_rows(right) + of_bits(matched) + has_left.as_ref().map_or(0, of_bits)
            }
            Request::Take { grouped, times, keys, states, time: _ } => {
                of_rows(&grouped.rows) + 4 * grouped.ends.len() + 8 * times.len() + of_rows(keys) + of_packed(states)
            }
            Request::Fire { timers, keys, states, time: _ } => 9 * timers.len() + of_rows(keys) + of_packed(states),
        };
        n_bytes as u64
    }
}

impl Response {
    /// The bytes of all its columns and lists.
    pub fn n_bytes(&self) -> u64 {
        let n_bytes = match self {
            Response::Rows { outputs, rejects } => of_outputs(outputs) + of_rejects(rejects),
            Response::States { states, rejects } => of_packed(states) + of_rejects(rejects),
            Response::Migrated { states, versions, rejects } => of_packed(states) + 4 * versions.len() + of_rejects(rejects),
            Response::Processed { states, outputs, rejects, timers } => {
                of_packed(states) + of_outputs(outputs) + of_rejects(rejects) + 14 * timers.len()
            }
        };
        n_bytes as u64
    }
}

fn of_outputs(outputs: &[Routed]) -> usize {
    outputs.iter().map(|routed| of_rows(&routed.rows) + 4 * routed.origins.len()).sum()
}

fn of_rejects(rejects: &[super::Reject]) -> usize {
    rejects.iter().map(|reject| 8 + reject.message.len()).sum()
}

fn of_rows(rows: &Rows) -> usize {
    rows.columns().iter().map(of_column).sum()
}

fn of_column(column: &Column) -> usize {
    let values = match column.values() {
        Values::Bool(values) => of_bits(values),
        Values::Int(values) => 8 * values.len(),
        Values::Float(values) => 8 * values.len(),
        Values::Bytes(values) => of_packed(values),
    };
    values + column.validity().map_or(0, of_bits)
}

fn of_packed(packed: &Packed) -> usize {
    packed.data().len() + 4 * packed.ends().len()
}

fn of_bits(bits: &Bitmap) -> usize {
    bits.as_bytes().len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::Reject;

    #[test]
    fn all_that_crosses_is_counted() {
        let ints = Column::from_parts(Values::Int(vec![1, 2]), Some(Bitmap::filled(true, 2))).unwrap();
        let rows = Rows::new(2, vec![ints]).unwrap();
        assert_eq!(Request::Transform { rows: rows.clone() }.n_bytes(), 17);
        let mut states = Packed::default();
        states.push(b"abc");
        assert_eq!(Request::Merge { parts: states.clone(), ends: vec![1] }.n_bytes(), 11);
        let outputs = vec![Routed { output: 0, rows, origins: vec![0, 1] }];
        let rejects = vec![Reject { row: 0, code: 1, message: "no".to_owned() }];
        assert_eq!(Response::Rows { outputs, rejects }.n_bytes(), 17 + 8 + 10);
        assert_eq!(Response::States { states, rejects: Vec::new() }.n_bytes(), 7);
    }
}
