//! A component from anywhere: refused, or loaded and called. The host stays whole whatever it does.

use std::sync::OnceLock;

use reelflow_core::{
    column::{Bitmap, Column, Kind, Packed, Rows, Value},
    plugin::{Clock, Declaration, Grouped, Request, TimeRead, Timer, World},
    schema::Schema,
    time::{EventTime, WallTime, Watermark, Window},
};
use reelflow_ports::engine::{Limits, PluginEngine};
use reelflow_wasm::WasmEngine;

/// A mutant may loop.
const LIMITS: Limits = Limits {
    memory_bytes_max: 16 << 20,
    call_ms_max: 20,
    output_bytes_max: 1 << 20,
    component_bytes_max: 1 << 20,
    ..Limits::STANDARD
};
/// Rows, and groups, of a call.
const N_ROWS: usize = 3;

pub(crate) fn engine() -> &'static WasmEngine {
    static ENGINE: OnceLock<WasmEngine> = OnceLock::new();
    ENGINE.get_or_init(WasmEngine::new)
}

/// Whether it got as far as an answer.
pub fn run(bytes: &[u8]) -> bool {
    let Ok(plugin) = engine().load(bytes, "{}", &LIMITS) else { return false };
    let Ok(mut instance) = plugin.instance() else { return false };
    let answers = requests(plugin.declaration()).into_iter().filter(|request| instance.call(request).is_ok()).count();
    answers > 0
}

/// A call of each function.
fn requests(declaration: &Declaration) -> Vec<Request> {
    let ends: Vec<u32> = (1..=N_ROWS as u32).collect();
    let rows = |input: usize| rows(&declaration.inputs[input]);
    let keys = || self::rows(&declaration.key);
    let mut states = Packed::default();
    (0..N_ROWS).for_each(|_| states.push(&[]));
    let time = TimeRead { watermark: Watermark(7), now: WallTime(8) };
    match declaration.world {
        World::Transform => vec![Request::Transform { rows: rows(0) }],
        World::Join => {
            vec![Request::Pair { left: rows(0), right: rows(1), matched: Bitmap::filled(true, N_ROWS), has_left: None }]
        }
        World::Aggregate => {
            let windows = vec![Window::new(EventTime(0), EventTime(9)); N_ROWS];
            vec![
                Request::Add { grouped: Grouped { rows: rows(0), ends: ends.clone() }, states: states.clone() },
                Request::Merge { parts: states.clone(), ends },
                Request::Emit { windows, keys: keys(), states },
            ]
        }
        World::Process => {
            let timers = vec![Timer { clock: Clock::EventTime, at: 5 }; N_ROWS];
            let grouped = Grouped { rows: rows(0), ends };
            vec![
                Request::Take { grouped, times: vec![EventTime(4); N_ROWS], keys: keys(), states: states.clone(), time },
                Request::Fire { timers, keys: keys(), states, time },
            ]
        }
    }
}

fn rows(schema: &Schema) -> Rows {
    let column = |kind: Kind| {
        let value = match kind {
            Kind::Bool => Value::Bool(true),
            Kind::Int => Value::Int(7),
            Kind::Float => Value::Float(0.5),
            Kind::Bytes => Value::Bytes(b"text"),
        };
        let mut column = Column::empty(kind);
        (0..N_ROWS).for_each(|_| column.push(value));
        column
    };
    let columns = schema.fields.iter().map(|field| column(field.field_type.kind())).collect();
    Rows::new(N_ROWS, columns).expect("each column has all rows")
}
