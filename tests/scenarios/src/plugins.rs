//! Plugins written in Rust, checked by the same rules as components.
//!
//! - `marks` (transform): passes rows on; the key says otherwise: `drop`, `twice`, `side` (to the output `side`), `reject`, `trap`,
//!   `broken` (answers against its declaration);
//! - `count` (aggregate): counts rows and sums `n`; rejects `n = 13`, traps on `n = 666` in `add`, and in `emit` on a sum of 999;
//! - `pair` (join): the ids and times of both sides; traps on an `n = 666` of either;
//! - `timers` (process): see [`crate::timers`].

use reelflow_core::{
    column::{Column, Kind, Packed, RowBuilder, Rows, Value},
    plugin::{PluginFault, Reject, Request, Response, Routed},
    schema::{Field, FieldType, Schema},
};

/// A plugin of the scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plugin {
    Marks,
    Count,
    Pair,
    Timers,
}

impl Plugin {
    pub fn of_name(name: &str) -> Option<Plugin> {
        match name {
            "marks" => Some(Plugin::Marks),
            "count" => Some(Plugin::Count),
            "pair" => Some(Plugin::Pair),
            "timers" => Some(Plugin::Timers),
            _ => None,
        }
    }

    /// What it emits, by name, as an engine would read it from its declaration.
    pub fn outputs(self) -> Vec<(String, Schema)> {
        match self {
            Plugin::Marks => vec![("out".into(), record_schema()), ("side".into(), record_schema())],
            Plugin::Count => vec![(
                "out".into(),
                schema(&[
                    ("key", FieldType::Text, true),
                    ("start", FieldType::Int, true),
                    ("end", FieldType::Int, true),
                    ("count", FieldType::Int, true),
                    ("sum", FieldType::Int, true),
                ]),
            )],
            Plugin::Pair => vec![(
                "out".into(),
                schema(&[
                    ("key", FieldType::Text, true),
                    ("id", FieldType::Text, false),
                    ("ts", FieldType::Int, false),
                    ("n", FieldType::Int, false),
                    ("with", FieldType::Text, false),
                    ("with_ts", FieldType::Int, false),
                ]),
            )],
            Plugin::Timers => vec![(
                "out".into(),
                schema(&[
                    ("key", FieldType::Text, true),
                    ("ts", FieldType::Int, false),
                    ("on", FieldType::Text, true),
                    ("count", FieldType::Int, true),
                ]),
            )],
        }
    }

    /// Calls the plugin; the answer has passed [`Request::check`], as engines promise.
    pub fn call(self, request: &Request) -> Result<Response, PluginFault> {
        let response = match (self, request) {
            (Plugin::Marks, Request::Transform { rows }) => marks(rows)?,
            (Plugin::Count, Request::Add { grouped, states }) => add(&grouped.rows, &grouped.ends, states)?,
            (Plugin::Count, Request::Merge { parts, ends }) => merge(parts, ends),
            (Plugin::Count, Request::Emit { windows, keys, states }) => {
                let mut rows = self.rows();
                for (group, window) in windows.iter().enumerate() {
                    let Tally { count, sum } = Tally::decode(states.at(group));
                    if sum == 999 {
                        return Err(PluginFault::Trap("cannot say 999".into()));
                    }
                    let (start, end) = (Value::Int(window.start().0), Value::Int(window.end().0));
                    rows.push([keys.column(0).at(group), start, end, Value::Int(count), Value::Int(sum)]);
                }
                one_output(rows, (0..windows.len() as u32).collect())
            }
            (Plugin::Pair, Request::Pair { left, right, matched, has_left }) => {
                let mut rows = self.rows();
                for row in 0..left.len() {
                    if [left, right].iter().any(|side| side.column(3).at(row) == Value::Int(666)) {
                        return Err(PluginFault::Trap("n is 666".into()));
                    }
                    let of_right = |column: usize| if matched.at(row) { right.column(column).at(row) } else { Value::Null };
                    let of_left = |column: usize| left.column(column).at(row);
                    // The key of a right row that is alone is its own.
                    let key = if has_left.as_ref().is_none_or(|bits| bits.at(row)) { of_left(0) } else { of_right(0) };
                    rows.push([key, of_left(2), of_left(1), of_left(3), of_right(2), of_right(1)]);
                }
                one_output(rows, (0..left.len() as u32).collect())
            }
            (Plugin::Timers, request) => crate::timers::call(request)?,
            (plugin, request) => panic!("{plugin:?} was asked {request:?}"),
        };
        request.check(&response, &self.outputs())?;
        Ok(response)
    }

    fn rows(self) -> RowBuilder {
        RowBuilder::new(self.outputs()[0].1.fields.iter().map(|field| field.field_type.kind()))
    }
}

/// The fields of every source: `key`, `ts`, `id`, `n`.
pub fn record_schema() -> Schema {
    schema(&[
        ("key", FieldType::Text, true),
        ("ts", FieldType::Int, true),
        ("id", FieldType::Text, false),
        ("n", FieldType::Int, false),
    ])
}

/// What a source may have besides: whether a record is the last one of its session.
pub fn stop_field() -> Field {
    Field { name: "stop".to_owned(), path: "stop".to_owned(), field_type: FieldType::Bool, required: false }
}

fn schema(fields: &[(&str, FieldType, bool)]) -> Schema {
    let field = |(name, field_type, required): &(&str, FieldType, bool)| Field {
        name: (*name).to_owned(),
        path: (*name).to_owned(),
        field_type: *field_type,
        required: *required,
    };
    Schema { fields: fields.iter().map(field).collect() }
}

fn one_output(mut rows: RowBuilder, origins: Vec<u32>) -> Response {
    Response::Rows { outputs: vec![Routed { output: 0, rows: rows.finish(), origins }], rejects: Vec::new() }
}

fn marks(rows: &Rows) -> Result<Response, PluginFault> {
    let (mut out, mut side, mut rejects) = (Vec::new(), Vec::new(), Vec::new());
    let mut is_broken = false;
    for row in 0..rows.len() as u32 {
        let Value::Bytes(key) = rows.column(0).at(row as usize) else { panic!("a key is required") };
        match key {
            b"drop" => {}
            b"twice" => out.extend([row, row]),
            b"side" => side.push(row),
            b"reject" => rejects.push(Reject { row, code: 7, message: "marked".into() }),
            b"trap" => return Err(PluginFault::Trap("marked".into())),
            b"broken" => is_broken = true,
            _ => out.push(row),
        }
    }
    let routed = |output: u32, origins: Vec<u32>| Routed { output, rows: rows.take(&origins), origins };
    let mut outputs = vec![routed(0, out), routed(1, side)];
    if is_broken {
        outputs.push(routed(2, Vec::new()));
    }
    Ok(Response::Rows { outputs, rejects })
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    count: i64,
    sum: i64,
}

impl Tally {
    fn encode(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.count.to_le_bytes());
        bytes[8..].copy_from_slice(&self.sum.to_le_bytes());
        bytes
    }

    /// No bytes are a tally of nothing.
    fn decode(bytes: &[u8]) -> Tally {
        let number =
            |at: usize| bytes.get(at..at + 8).map_or(0, |bytes| i64::from_le_bytes(bytes.try_into().expect("eight bytes")));
        Tally { count: number(0), sum: number(8) }
    }
}

fn add(rows: &Rows, ends: &[u32], states: &Packed) -> Result<Response, PluginFault> {
    let empty = Column::empty(Kind::Int);
    let numbers = rows.columns().first().unwrap_or(&empty);
    let (mut added, mut rejects, mut row) = (Packed::default(), Vec::new(), 0);
    for (group, end) in ends.iter().enumerate() {
        let mut tally = Tally::decode(states.at(group));
        while row < *end {
            match if numbers.is_empty() { Value::Null } else { numbers.at(row as usize) } {
                Value::Int(666) => return Err(PluginFault::Trap("n is 666".into())),
                Value::Int(13) => rejects.push(Reject { row, code: 13, message: "unlucky".into() }),
                Value::Int(n) => tally = Tally { count: tally.count + 1, sum: tally.sum + n },
                _ => tally.count += 1,
            }
            row += 1;
        }
        added.push(&tally.encode());
    }
    Ok(Response::States { states: added, rejects })
}

fn merge(parts: &Packed, ends: &[u32]) -> Response {
    let mut merged = Packed::default();
    let mut start = 0;
    for end in ends {
        let tallies = (start..*end).map(|part| Tally::decode(parts.at(part as usize)));
        let tally = tallies.fold(Tally::default(), |a, b| Tally { count: a.count + b.count, sum: a.sum + b.sum });
        merged.push(&tally.encode());
        start = *end;
    }
    Response::States { states: merged, rejects: Vec::new() }
}
