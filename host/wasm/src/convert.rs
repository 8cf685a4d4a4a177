//! Columns to and from WIT. Requests are lent, answers are moved: no value is copied on this side of the boundary.

use std::borrow::Cow;

use reelflow_core::{
    column::{Bitmap, Column, Packed, Rows, Values},
    plugin::{Clock, PluginFault, Reject, Request, Response, Routed, TimeRead, Timer, TimerChange},
    time::{EventTime, Window},
};

use crate::bindings::{
    exports::reelflow::plugin::{migrate, process},
    reelflow::plugin::types as wit,
};

/// The row sets of a request, as WIT wants them: each column lent, in a list that must live as long as the call.
pub(crate) struct Lowered<'a> {
    first: (u32, Vec<wit::ColumnParam<'a>>),
    second: (u32, Vec<wit::ColumnParam<'a>>),
}

impl<'a> Lowered<'a> {
    pub(crate) fn new(request: &'a Request) -> Lowered<'a> {
        let nothing = || (0, Vec::new());
        match request {
            Request::Transform { rows } | Request::Emit { keys: rows, .. } | Request::Fire { keys: rows, .. } => {
                Lowered { first: lower(rows), second: nothing() }
            }
            Request::Add { grouped, .. } => Lowered { first: lower(&grouped.rows), second: nothing() },
            Request::Merge { .. } | Request::Migrate { .. } => Lowered { first: nothing(), second: nothing() },
            Request::Take { grouped, keys, .. } => Lowered { first: lower(&grouped.rows), second: lower(keys) },
            Request::Pair { left, right, .. } => Lowered { first: lower(left), second: lower(right) },
        }
    }

    pub(crate) fn first(&self) -> wit::RowsParam<'_> {
        wit::RowsParam { len: self.first.0, columns: &self.first.1 }
    }

    pub(crate) fn second(&self) -> wit::RowsParam<'_> {
        wit::RowsParam { len: self.second.0, columns: &self.second.1 }
    }
}

fn lower(rows: &Rows) -> (u32, Vec<wit::ColumnParam<'_>>) {
    let len = u32::try_from(rows.len()).expect("a batch holds fewer rows than 2^32");
    (len, rows.columns().iter().map(column_param).collect())
}

fn column_param(column: &Column) -> wit::ColumnParam<'_> {
    let values = match column.values() {
        Values::Bool(bits) => wit::ValuesParam::Bools(bits.as_bytes()),
        Values::Int(values) => wit::ValuesParam::Ints(values),
        Values::Float(values) => wit::ValuesParam::Floats(values),
        Values::Bytes(packed) => wit::ValuesParam::Bytes(packed_param(packed)),
    };
    wit::ColumnParam { values, validity: column.validity().map_or(&[], Bitmap::as_bytes) }
}

pub(crate) fn packed_param(packed: &Packed) -> wit::PackedParam<'_> {
    wit::PackedParam { data: packed.data(), ends: packed.ends() }
}

/// Which rows have a right side, and behind that, where it is not all of them, which have a left one.
pub(crate) fn sides<'a>(matched: &'a Bitmap, has_left: Option<&Bitmap>) -> Cow<'a, [u8]> {
    match has_left {
        None => Cow::Borrowed(matched.as_bytes()),
        Some(has_left) => Cow::Owned([matched.as_bytes(), has_left.as_bytes()].concat()),
    }
}

pub(crate) fn windows(windows: &[Window]) -> Vec<wit::Window> {
    windows.iter().map(|window| wit::Window { start: window.start().0, end: window.end().0 }).collect()
}

pub(crate) fn times(times: &[EventTime]) -> Vec<i64> {
    times.iter().map(|at| at.0).collect()
}

pub(crate) fn time(time: TimeRead) -> process::Time {
    process::Time { watermark: time.watermark.0, now: time.now.0 }
}

pub(crate) fn timers(timers: &[Timer]) -> Vec<process::Timer> {
    let clock = |clock| match clock {
        Clock::EventTime => process::Clock::EventTime,
        Clock::WallTime => process::Clock::WallTime,
    };
    timers.iter().map(|timer| process::Timer { clock: clock(timer.clock), at: timer.at }).collect()
}

pub(crate) fn emitted(emitted: wit::Emitted) -> Result<Response, PluginFault> {
    let outputs: Result<Vec<Routed>, String> = emitted.outputs.into_iter().map(routed).collect();
    let outputs = outputs.map_err(PluginFault::Malformed)?;
    Ok(Response::Rows { outputs, rejects: rejects(emitted.rejects) })
}

pub(crate) fn added(added: wit::Added) -> Result<Response, PluginFault> {
    let states = packed(added.states).map_err(|why| PluginFault::Malformed(format!("states: {why}")))?;
    Ok(Response::States { states, rejects: rejects(added.rejects) })
}

pub(crate) fn processed(processed: process::Processed) -> Result<Response, PluginFault> {
    let states = packed(processed.states).map_err(|why| PluginFault::Malformed(format!("states: {why}")))?;
    let outputs: Result<Vec<Routed>, String> = processed.emitted.outputs.into_iter().map(routed).collect();
    let outputs = outputs.map_err(PluginFault::Malformed)?;
    let change = |change: process::TimerChange| {
        let clock = match change.timer.clock {
            process::Clock::EventTime => Clock::EventTime,
            process::Clock::WallTime => Clock::WallTime,
        };
        TimerChange { origin: change.origin, is_set: change.is_set, timer: Timer { clock, at: change.timer.at } }
    };
    let timers = processed.timers.into_iter().map(change).collect();
    Ok(Response::Processed { states, outputs, rejects: rejects(processed.emitted.rejects), timers })
}

pub(crate) fn migrated(migrated: migrate::Migrated) -> Result<Response, PluginFault> {
    let states = packed(migrated.states).map_err(|why| PluginFault::Malformed(format!("states: {why}")))?;
    Ok(Response::Migrated { states, versions: migrated.versions, rejects: rejects(migrated.rejects) })
}

fn rejects(rejects: Vec<wit::Reject>) -> Vec<Reject> {
    rejects.into_iter().map(|reject| Reject { row: reject.row, code: reject.code, message: reject.message }).collect()
}

fn routed(routed: wit::Routed) -> Result<Routed, String> {
    let rows = rows(routed.rows).map_err(|why| format!("output {}: {why}", routed.output))?;
    Ok(Routed { output: routed.output, rows, origins: routed.origins })
}

fn rows(rows: wit::RowsResult) -> Result<Rows, String> {
    let len = rows.len as usize;
    let columns: Result<Vec<Column>, String> = rows
        .columns
        .into_iter()
        .enumerate()
        .map(|(column_idx, lifted)| column(lifted, len).map_err(|why| format!("column {column_idx}: {why}")))
        .collect();
    Ok(Rows::new(len, columns?).expect("each column was just measured"))
}

/// The column of `len` rows, whole and canonical: no bitmap where no value is null, and nothing in the slots that are.
fn column(lifted: wit::ColumnResult, len: usize) -> Result<Column, String> {
    let values = match lifted.values {
        wit::ValuesResult::Bools(bytes) => Values::Bool(bitmap(bytes, len)?),
        wit::ValuesResult::Ints(values) => Values::Int(values),
        wit::ValuesResult::Floats(values) => Values::Float(values),
        wit::ValuesResult::Bytes(lifted) => Values::Bytes(packed(lifted)?),
    };
    let n_values = match &values {
        Values::Bool(bits) => bits.len(),
        Values::Int(values) => values.len(),
        Values::Float(values) => values.len(),
        Values::Bytes(packed) => packed.len(),
    };
    if n_values != len {
        return Err(format!("{n_values} values for {len} rows"));
    }
    let validity = match lifted.validity {
        absent if absent.is_empty() => None,
        bytes => Some(bitmap(bytes, len).map_err(|why| format!("validity: {why}"))?),
    };
    let validity = validity.filter(|bits| (0..len).any(|row| !bits.at(row)));
    if let Some(bits) = &validity {
        empty_where_null(&values, bits)?;
    }
    Ok(Column::from_parts(values, validity).expect("values and bitmap were just measured"))
}

fn bitmap(bytes: Vec<u8>, len: usize) -> Result<Bitmap, String> {
    let n_bytes = bytes.len();
    Bitmap::from_bytes(bytes, len).ok_or_else(|| format!("a bitmap of {n_bytes} bytes for {len} rows"))
}

fn packed(lifted: wit::PackedResult) -> Result<Packed, String> {
    let n_bytes = lifted.data.len();
    Packed::from_parts(lifted.data, lifted.ends)
        .ok_or_else(|| format!("ends that fall or do not stop at {n_bytes}, the length of the data"))
}

/// A null has one form, or equal rows would have unequal bytes.
fn empty_where_null(values: &Values, validity: &Bitmap) -> Result<(), String> {
    let empty_at = |row: usize| match values {
        Values::Bool(bits) => !bits.at(row),
        Values::Int(values) => values[row] == 0,
        Values::Float(values) => values[row].to_bits() == 0,
        Values::Bytes(packed) => packed.at(row).is_empty(),
    };
    match (0..validity.len()).find(|row| !validity.at(*row) && !empty_at(*row)) {
        Some(row) => Err(format!("a value in row {row}, which is null")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use reelflow_core::column::{Kind, Value};
    use serde::Deserialize;

    use super::*;

    /// A case of wit/plugin/golden.json.
    #[derive(Deserialize)]
    struct Case {
        name: String,
        #[serde(rename = "type")]
        field_type: String,
        values: Vec<serde_json::Value>,
        validity_hex: String,
        bools_hex: Option<String>,
        ints: Option<Vec<i64>>,
        floats_bits: Option<Vec<String>>,
        data_hex: Option<String>,
        ends: Option<Vec<u32>>,
        #[serde(default)]
        decode_only: bool,
    }

    #[derive(Deserialize)]
    struct Golden {
        columns: Vec<Case>,
    }

    fn unhex(hex: &str) -> Vec<u8> {
        (0..hex.len() / 2).map(|idx| u8::from_str_radix(&hex[2 * idx..2 * idx + 2], 16).unwrap()).collect()
    }

    impl Case {
        /// The column that the values mean.
        fn column(&self) -> Column {
            let kind = match self.field_type.as_str() {
                "bool" => Kind::Bool,
                "i64" => Kind::Int,
                "f64" => Kind::Float,
                _ => Kind::Bytes,
            };
            let mut column = Column::empty(kind);
            for value in &self.values {
                match (self.field_type.as_str(), value) {
                    (_, serde_json::Value::Null) => column.push(Value::Null),
                    ("bool", value) => column.push(Value::Bool(value.as_bool().unwrap())),
                    ("i64", value) => column.push(Value::Int(value.as_i64().unwrap())),
                    ("f64", value) => column.push(Value::Float(value.as_f64().unwrap())),
                    ("string", value) => column.push(Value::Bytes(value.as_str().unwrap().as_bytes())),
                    (_, value) => column.push(Value::Bytes(&unhex(value.as_str().unwrap()))),
                }
            }
            column
        }

        /// The bytes that cross the boundary.
        fn wire(&self) -> wit::ColumnResult {
            let floats = |bits: &Vec<String>| bits.iter().map(|b| f64::from_bits(u64::from_str_radix(b, 16).unwrap())).collect();
            let values = match (&self.bools_hex, &self.ints, &self.floats_bits, &self.data_hex, &self.ends) {
                (Some(hex), None, None, None, None) => wit::ValuesResult::Bools(unhex(hex)),
                (None, Some(ints), None, None, None) => wit::ValuesResult::Ints(ints.clone()),
                (None, None, Some(bits), None, None) => wit::ValuesResult::Floats(floats(bits)),
                (None, None, None, Some(hex), Some(ends)) => {
                    wit::ValuesResult::Bytes(wit::PackedResult { data: unhex(hex), ends: ends.clone() })
                }
                _ => panic!("{}: bytes of one kind", self.name),
            };
            wit::ColumnResult { values, validity: unhex(&self.validity_hex) }
        }
    }

    /// Equal in bytes: floats by their bits.
    #[track_caller]
    fn check_lowered(name: &str, lowered: &wit::ColumnParam<'_>, wire: &wit::ColumnResult) {
        let same = match (&lowered.values, &wire.values) {
            (wit::ValuesParam::Bools(a), wit::ValuesResult::Bools(b)) => a == b,
            (wit::ValuesParam::Ints(a), wit::ValuesResult::Ints(b)) => a == b,
            (wit::ValuesParam::Floats(a), wit::ValuesResult::Floats(b)) => {
                a.iter().map(|v| v.to_bits()).eq(b.iter().map(|v| v.to_bits()))
            }
            (wit::ValuesParam::Bytes(a), wit::ValuesResult::Bytes(b)) => a.data == b.data && a.ends == b.ends,
            _ => false,
        };
        assert!(same && lowered.validity == wire.validity, "{name}: {lowered:?} is not {wire:?}");
    }

    #[test]
    fn golden_columns_have_their_bytes_in_both_directions() {
        let golden: Golden = serde_json::from_str(include_str!("../../../wit/plugin/golden.json")).unwrap();
        assert!(golden.columns.len() >= 29, "cases are added, never dropped");
        for case in &golden.columns {
            let meant = case.column();
            if !case.decode_only {
                check_lowered(&case.name, &column_param(&meant), &case.wire());
            }
            let lifted = column(case.wire(), meant.len()).unwrap_or_else(|why| panic!("{}: {why}", case.name));
            assert_eq!(lifted, meant, "{}", case.name);
        }
    }
}
