//! A process that tests of the engine share.

use std::collections::BTreeMap;

use reelflow_core::{
    column::{Column, Kind, Packed, Rows, Value},
    plugin::{Clock, Declaration, PluginFault, Request, Response, Routed, StateVersion, TimeRead, Timer, TimerChange, World},
    schema::{FieldType, Schema},
    state::{ByteWriter, ChangeReader},
    time::EventTime,
};

use super::{NativePlugin, ready::field};

/// For each row, with the Text column `id` and the Int column `value`: how many rows of its key there are in the `span_ms` that end with it,
/// and the sum of their values. Comes out when the watermark is past the row by more than `lateness_ms`, by a timer of the row's own.
///
/// Emits the key `key`, a Text, then `id`, `ts`, `count`, `sum`.
pub fn rolling(key: &str, span_ms: i64, lateness_ms: i64) -> NativePlugin {
    let key = Schema { fields: vec![field(key, FieldType::Text)] };
    let mut output = key.clone();
    output.fields.push(field("id", FieldType::Text));
    output.fields.extend(["ts", "count", "sum"].map(|name| field(name, FieldType::Int)));
    let declaration = Declaration {
        world: World::Process,
        inputs: vec![Schema { fields: vec![field("id", FieldType::Text), field("value", FieldType::Int)] }],
        outputs: vec![("out".to_owned(), output)],
        key,
        state: Some(StateVersion { name: "Rolling".to_owned(), version: 1, reads: Vec::new() }),
        takes_right_alone: false,
        sdk: "native".to_owned(),
    };
    NativePlugin::new("rolling", declaration, move |request| match request {
        Request::Take { grouped, times, states, .. } => take(&grouped.rows, &grouped.ends, times, states, lateness_ms + 1),
        Request::Fire { timers, keys, states, time } => fire(timers, keys, states, *time, span_ms, lateness_ms + 1),
        other => Err(PluginFault::Trap(format!("rolling was asked {other:?}").into())),
    })
}

/// The rows of a key that still count: by time and id, the value.
#[derive(Default)]
struct Kept(BTreeMap<(i64, Vec<u8>), i64>);

impl Kept {
    fn read(bytes: &[u8]) -> Result<Kept, PluginFault> {
        let damaged = |_| PluginFault::Trap("a state that rolling did not write".into());
        let (mut kept, mut from) = (Kept::default(), ChangeReader::new(bytes));
        while !from.is_empty() {
            let (at, id) = (from.signed().map_err(damaged)?, from.bytes().map_err(damaged)?.to_vec());
            kept.0.insert((at, id), from.signed().map_err(damaged)?);
        }
        Ok(kept)
    }

    fn write(&self, to: &mut Packed) {
        let mut bytes = ByteWriter::default();
        for ((at, id), value) in &self.0 {
            bytes.signed(*at);
            bytes.bytes(id);
            bytes.signed(*value);
        }
        to.push(&bytes.into_bytes());
    }
}

fn take(rows: &Rows, ends: &[u32], times: &[EventTime], states: &Packed, wait_ms: i64) -> Result<Response, PluginFault> {
    let (mut after, mut timers, mut row) = (Packed::default(), Vec::new(), 0);
    for (group, end) in ends.iter().enumerate() {
        let mut kept = Kept::read(states.at(group))?;
        while row < *end {
            let at = times[row as usize].0;
            let (Value::Bytes(id), Value::Int(value)) = (rows.column(0).at(row as usize), rows.column(1).at(row as usize)) else {
                return Err(PluginFault::Trap("id and value are required".into()));
            };
            kept.0.insert((at, id.to_vec()), value);
            timers.push(TimerChange { origin: row, is_set: true, timer: Timer { clock: Clock::EventTime, at: at + wait_ms } });
            row += 1;
        }
        kept.write(&mut after);
    }
    Ok(Response::Processed { states: after, outputs: Vec::new(), rejects: Vec::new(), timers })
}

fn fire(
    timers: &[Timer],
    keys: &Rows,
    states: &Packed,
    time: TimeRead,
    span_ms: i64,
    wait_ms: i64,
) -> Result<Response, PluginFault> {
    let (mut after, mut origins) = (Packed::default(), Vec::new());
    let mut columns = [Kind::Bytes, Kind::Bytes, Kind::Int, Kind::Int, Kind::Int].map(Column::empty);
    for (group, timer) in timers.iter().enumerate() {
        if !time.watermark.reached(EventTime(timer.at)) {
            return Err(PluginFault::Trap("a timer that is not due".into()));
        }
        let mut kept = Kept::read(states.at(group))?;
        let at = timer.at - wait_ms;
        let counted: Vec<i64> =
            kept.0.iter().filter(|((of, _), _)| (at - span_ms + 1..=at).contains(of)).map(|(_, value)| *value).collect();
        for (_, id) in kept.0.keys().filter(|(of, _)| *of == at) {
            let (n, sum) = (counted.len() as i64, counted.iter().sum());
            let row = [keys.column(0).at(group), Value::Bytes(id), Value::Int(at), Value::Int(n), Value::Int(sum)];
            columns.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
            origins.push(group as u32);
        }
        kept.0.retain(|(of, _), _| *of > at + 1 - span_ms);
        kept.write(&mut after);
    }
    let rows = Rows::new(origins.len(), columns.into()).expect("all columns have a value for each row");
    let outputs = vec![Routed { output: 0, rows, origins }];
    Ok(Response::Processed { states: after, outputs, rejects: Vec::new(), timers: Vec::new() })
}
