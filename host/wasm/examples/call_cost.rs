//! What a plugin costs: compiling, loading, instantiating, and each row of a call at several batch sizes.
//!
//! `cargo run --release -p reelflow-wasm --example call_cost -- PLUGIN.wasm…` with core modules or components. The rows are made from the
//! plugin's own declaration, so a plugin that refuses them shows the price of refusing. First, what it costs to account for one call.

use std::{
    error::Error,
    hint::black_box,
    time::{Duration, Instant},
};

use reelflow_core::{
    column::{Bitmap, Column, Packed, Rows, Value},
    plugin::{Declaration, Grouped, Request, Response, TimeRead, World},
    schema::{FieldType, Schema},
    time::{EventTime, WallTime, Watermark, Window},
};
use reelflow_ports::{
    clock::{Clock, SystemClock},
    engine::{Limits, PluginEngine, PluginInstance},
};
use reelflow_wasm::{WasmEngine, encode_component};

const BATCHES: [usize; 4] = [1, 16, 256, 4096];
const ROWS_PER_GROUP: usize = 4;
/// How long each figure is measured.
const MEASURED: Duration = Duration::from_millis(300);

/// A function's name, and a request of each batch size.
type Function = (&'static str, Vec<Request>);

fn main() -> Result<(), Box<dyn Error>> {
    println!("two readings of the wall clock  {:?}", two_of(|| SystemClock.since_start()));
    println!("two readings of the CPU clock   {:?}", two_of(|| SystemClock.thread_cpu()));
    for path in std::env::args().skip(1) {
        let bytes = std::fs::read(&path)?;
        let is_module = bytes.get(4..8) == Some(&[1, 0, 0, 0]);
        let component = if is_module { encode_component(&bytes)? } else { bytes };
        println!("{path}: {} bytes", component.len());
        report(&component)?;
    }
    Ok(())
}

fn report(component: &[u8]) -> Result<(), Box<dyn Error>> {
    let limits = Limits { call_ms_max: 10_000, ..Limits::STANDARD };
    let engine = WasmEngine::new();
    let start = Instant::now();
    let plugin = engine.load(component, "{}", &limits)?;
    println!("  compile and load  {:>10.1?}", start.elapsed());
    println!("  load when cached  {:>10.1?}", mean(|| drop(black_box(engine.load(component, "{}", &limits)))));
    println!("  instantiate       {:>10.1?}", mean(|| drop(black_box(plugin.instance()))));
    let mut instance = plugin.instance()?;
    for (name, requests) in requests(plugin.declaration(), instance.as_mut())? {
        for (n_rows, request) in BATCHES.into_iter().zip(requests) {
            let per_call = mean(|| {
                black_box(instance.call(&request).expect("the first call of this request has passed"));
            });
            let per_row = per_call.as_nanos() as f64 / n_rows as f64;
            println!("  {name:<9} {n_rows:>4} rows {per_row:>10.1} ns a row");
        }
    }
    Ok(())
}

/// The mean time of `work`, warm.
fn mean(mut work: impl FnMut()) -> Duration {
    work();
    let start = Instant::now();
    let mut n_runs = 0;
    while start.elapsed() < MEASURED {
        work();
        n_runs += 1;
    }
    start.elapsed() / n_runs
}

/// CPU time of what each call has of a clock.
fn two_of(read: impl Fn() -> Duration) -> Duration {
    const N: u32 = 1_000_000;
    let before = SystemClock.thread_cpu();
    for _ in 0..N {
        black_box((read(), read()));
    }
    (SystemClock.thread_cpu() - before) / N
}

/// For each function of the plugin, a request of each batch size that it has answered once.
fn requests(declaration: &Declaration, instance: &mut dyn PluginInstance) -> Result<Vec<Function>, Box<dyn Error>> {
    let inputs = &declaration.inputs;
    let mut functions = match declaration.world {
        World::Transform => vec![("apply", BATCHES.map(|n| Request::Transform { rows: rows(&inputs[0], n) }).to_vec())],
        World::Join => vec![("pair", BATCHES.map(|n| pair(&inputs[0], &inputs[1], n)).to_vec())],
        World::Aggregate => vec![("add", BATCHES.map(|n| add(&inputs[0], n)).to_vec())],
        World::Process => {
            let of_size = |n| take(&inputs[0], &declaration.key, n);
            vec![("take", BATCHES.map(of_size).to_vec())]
        }
    };
    if declaration.world == World::Aggregate {
        let (mut merges, mut emits) = (Vec::new(), Vec::new());
        for request in &functions[0].1 {
            let Response::States { states, .. } = instance.call(request)? else { unreachable!("`add` answers states") };
            let ends = (1..=states.len() as u32).collect();
            let windows = vec![Window::new(EventTime(0), EventTime(60_000)); states.len()];
            merges.push(Request::Merge { parts: states.clone(), ends });
            emits.push(Request::Emit { windows, keys: rows(&declaration.key, states.len()), states });
        }
        functions.extend([("merge", merges), ("emit", emits)]);
    }
    for request in functions.iter().flat_map(|(_, requests)| requests) {
        instance.call(request)?;
    }
    Ok(functions)
}

fn add(schema: &Schema, n_rows: usize) -> Request {
    let ends: Vec<u32> = (1..=n_rows.div_ceil(ROWS_PER_GROUP)).map(|g| (g * ROWS_PER_GROUP).min(n_rows) as u32).collect();
    let mut states = Packed::default();
    ends.iter().for_each(|_| states.push(b""));
    Request::Add { grouped: Grouped { rows: rows(schema, n_rows), ends }, states }
}

fn take(schema: &Schema, key: &Schema, n_rows: usize) -> Request {
    let Request::Add { grouped, states } = add(schema, n_rows) else { unreachable!("`add` makes this request") };
    let times = (0..n_rows as i64).map(EventTime).collect();
    let time = TimeRead { watermark: Watermark::UNKNOWN, now: WallTime(0) };
    Request::Take { times, keys: rows(key, states.len()), grouped, states, time }
}

fn pair(left: &Schema, right: &Schema, n_rows: usize) -> Request {
    Request::Pair { left: rows(left, n_rows), right: rows(right, n_rows), matched: Bitmap::filled(true, n_rows), has_left: None }
}

/// Rows without nulls, as different as small numbers are.
fn rows(schema: &Schema, n_rows: usize) -> Rows {
    let column_of = |field_type: FieldType| {
        let mut column = Column::empty(field_type.kind());
        for row in 0..n_rows {
            let text = format!("value-{}", row % 97);
            column.push(match field_type {
                FieldType::Bool => Value::Bool(row % 2 == 0),
                FieldType::Int => Value::Int(row as i64 % 1_009 + 1),
                FieldType::Float => Value::Float(row as f64 / 7.0),
                FieldType::Text | FieldType::Bytes => Value::Bytes(text.as_bytes()),
            });
        }
        column
    };
    let columns = schema.fields.iter().map(|field| column_of(field.field_type)).collect();
    Rows::new(n_rows, columns).expect("each column was made of these rows")
}
