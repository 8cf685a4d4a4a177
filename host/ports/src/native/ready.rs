//! Three plugins that tests of the engine share.

use std::collections::BTreeSet;

use reelflow_core::{
    column::{Bitmap, Column, Packed, Rows, Value, Values},
    plugin::{Declaration, PluginFault, Reject, Request, Response, Routed, StateVersion, World},
    schema::{Field, FieldType, Schema},
    state::{ByteWriter, ChangeReader},
    time::Window,
};

use super::NativePlugin;

/// A required field, called the same in the source.
pub fn field(name: &str, field_type: FieldType) -> Field {
    Field { name: name.to_owned(), path: name.to_owned(), field_type, required: true }
}

/// Passes rows on as they are. A row whose Text column `mark` is `reject` is rejected with code 7, and `trap` breaks the call.
pub fn pass(schema: Schema, mark: usize) -> NativePlugin {
    let declaration = Declaration {
        world: World::Transform,
        inputs: vec![schema.clone()],
        outputs: vec![("out".to_owned(), schema)],
        key: Schema::default(),
        state: None,
        takes_right_alone: false,
        sdk: "native".to_owned(),
    };
    NativePlugin::new("pass", declaration, move |request| {
        let Request::Transform { rows } = request else { return Err(wrong_call(request)) };
        let says = |row: &usize, word: &str| rows.column(mark).at(*row) == Value::Bytes(word.as_bytes());
        if (0..rows.len()).any(|row| says(&row, "trap")) {
            return Err(PluginFault::Trap("a row says trap".into()));
        }
        let kept: Vec<u32> = (0..rows.len()).filter(|row| !says(row, "reject")).map(|row| row as u32).collect();
        let reject = |row| Reject { row: row as u32, code: 7, message: "a row says reject".to_owned() };
        let rejects = (0..rows.len()).filter(|row| says(row, "reject")).map(reject).collect();
        Ok(Response::Rows { outputs: vec![Routed { output: 0, rows: rows.take(&kept), origins: kept }], rejects })
    })
}

/// Counts rows, and adds up and tells apart the values of the Int column `value`.
///
/// Emits the `key` columns, then `window_start`, `window_end`, `count`, `sum`, `distinct`.
pub fn tally(key: Schema) -> NativePlugin {
    let input = Schema { fields: vec![field("value", FieldType::Int)] };
    let mut output = key.clone();
    let figures = ["window_start", "window_end", "count", "sum", "distinct"];
    output.fields.extend(figures.map(|name| field(name, FieldType::Int)));
    let declaration = Declaration {
        world: World::Aggregate,
        inputs: vec![input],
        outputs: vec![("out".to_owned(), output)],
        key,
        state: Some(StateVersion { name: "Tally".to_owned(), version: 1, reads: Vec::new() }),
        takes_right_alone: false,
        sdk: "native".to_owned(),
    };
    NativePlugin::new("tally", declaration, |request| match request {
        Request::Add { grouped, states } => {
            let mut first = 0;
            let mut next = Packed::default();
            for (group, end) in grouped.ends.iter().enumerate() {
                let mut tally = Tally::read(states.at(group))?;
                for row in first..*end as usize {
                    if let Value::Int(value) = grouped.rows.column(0).at(row) {
                        tally.add(value);
                    }
                }
                next.push(&tally.write());
                first = *end as usize;
            }
            Ok(Response::States { states: next, rejects: Vec::new() })
        }
        Request::Merge { parts, ends } => {
            let mut first = 0;
            let mut merged = Packed::default();
            for end in ends {
                let mut tally = Tally::default();
                for part in first..*end as usize {
                    tally.merge(Tally::read(parts.at(part))?);
                }
                merged.push(&tally.write());
                first = *end as usize;
            }
            Ok(Response::States { states: merged, rejects: Vec::new() })
        }
        Request::Emit { windows, keys, states } => emit_tallies(windows, keys, states),
        Request::Transform { .. }
        | Request::Pair { .. }
        | Request::Take { .. }
        | Request::Fire { .. }
        | Request::Migrate { .. } => Err(wrong_call(request)),
    })
}

/// Emits the left row's columns and then the right row's, which are null without a match. `right` must have other names.
pub fn pairs(left: Schema, right: Schema) -> NativePlugin {
    let mut output = left.clone();
    output.fields.extend(right.fields.iter().cloned().map(|field| Field { required: false, ..field }));
    let declaration = Declaration {
        world: World::Join,
        inputs: vec![left, right],
        outputs: vec![("out".to_owned(), output)],
        key: Schema::default(),
        state: None,
        takes_right_alone: false,
        sdk: "native".to_owned(),
    };
    NativePlugin::new("pairs", declaration, |request| {
        let Request::Pair { left, right, matched, has_left: None } = request else { return Err(wrong_call(request)) };
        let right = right.columns().iter().map(|column| where_matched(column, matched));
        let columns = left.columns().iter().cloned().chain(right).collect();
        let rows = Rows::new(left.len(), columns).expect("all columns have a value for each pair");
        let origins = (0..left.len() as u32).collect();
        Ok(Response::Rows { outputs: vec![Routed { output: 0, rows, origins }], rejects: Vec::new() })
    })
}

#[derive(Default)]
struct Tally {
    count: u64,
    sum: i64,
    distinct: BTreeSet<i64>,
}

impl Tally {
    fn add(&mut self, value: i64) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(value);
        self.distinct.insert(value);
    }

    fn merge(&mut self, other: Tally) {
        self.count += other.count;
        self.sum = self.sum.wrapping_add(other.sum);
        self.distinct.extend(other.distinct);
    }

    fn write(&self) -> Vec<u8> {
        let mut to = ByteWriter::default();
        to.varint(self.count);
        to.signed(self.sum);
        self.distinct.iter().for_each(|value| to.signed(*value));
        to.into_bytes()
    }

    fn read(bytes: &[u8]) -> Result<Tally, PluginFault> {
        let damaged = |_| PluginFault::Trap("a state that tally did not write".into());
        let mut tally = Tally::default();
        if bytes.is_empty() {
            return Ok(tally);
        }
        let mut from = ChangeReader::new(bytes);
        (tally.count, tally.sum) = (from.varint().map_err(damaged)?, from.signed().map_err(damaged)?);
        while !from.is_empty() {
            tally.distinct.insert(from.signed().map_err(damaged)?);
        }
        Ok(tally)
    }
}

fn emit_tallies(windows: &[Window], keys: &Rows, states: &Packed) -> Result<Response, PluginFault> {
    let tallies: Vec<Tally> = states.iter().map(Tally::read).collect::<Result<_, _>>()?;
    let ints = |values: Vec<i64>| Column::from_parts(Values::Int(values), None).expect("no validity, no mismatch");
    let mut columns = keys.columns().to_vec();
    columns.push(ints(windows.iter().map(|window| window.start().0).collect()));
    columns.push(ints(windows.iter().map(|window| window.end().0).collect()));
    columns.push(ints(tallies.iter().map(|tally| tally.count as i64).collect()));
    columns.push(ints(tallies.iter().map(|tally| tally.sum).collect()));
    columns.push(ints(tallies.iter().map(|tally| tally.distinct.len() as i64).collect()));
    let rows = Rows::new(windows.len(), columns).expect("one value for each window in every column");
    let origins = (0..windows.len() as u32).collect();
    Ok(Response::Rows { outputs: vec![Routed { output: 0, rows, origins }], rejects: Vec::new() })
}

fn where_matched(column: &Column, matched: &Bitmap) -> Column {
    let mut kept = Column::empty(column.kind());
    for row in 0..column.len() {
        kept.push(if matched.at(row) { column.at(row) } else { Value::Null });
    }
    kept
}

fn wrong_call(request: &Request) -> PluginFault {
    PluginFault::Trap(format!("not a call of this world: {request:?}").into())
}
