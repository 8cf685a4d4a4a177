//! What the boundary costs: a component, and the same logic as a native closure behind the same port, at several numbers of rows a call.
//!
//! `cargo run --release -p reelflow-wasm --example boundary -- FOLDER`, where FOLDER holds `filter_half.wasm` and `count.wasm` of the shipped
//! plugins (`target/plugins` after `cargo xtask plugins`). Both sides get the same requests, and have their answers checked alike.
//! Each figure is that of the fastest of many short slices, which both take in turns: on a shared machine the others say more of its neighbours.

use std::{
    error::Error,
    hint::black_box,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use reelflow_core::{
    column::{Column, Packed, Rows, Value},
    plugin::{Grouped, Request, Response},
    schema::{FieldType, Schema},
};
use reelflow_ports::{
    engine::{Limits, Plugin, PluginEngine, PluginInstance},
    native::NativePlugin,
};
use reelflow_wasm::WasmEngine;

mod native;

use native::{counted, filtered};

const ROWS_PER_CALL: [usize; 6] = [1, 16, 64, 256, 1024, 4096];
const ROWS_PER_GROUP: usize = 2;
const N_SLICES: usize = 400;
const SLICE: Duration = Duration::from_micros(500);

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("the folder of the plugins is missing")?;
    let load = |name: &str| -> Result<Arc<dyn Plugin>, Box<dyn Error>> {
        let component = std::fs::read(Path::new(&folder).join(name))?;
        Ok(WasmEngine::new().load(&component, "{}", &Limits::STANDARD)?)
    };
    println!("{:<10}{:>14}{:>14}{:>14}{:>14}", "", "rows a call", "native", "component", "difference");
    let filter = load("filter_half.wasm")?;
    let native = NativePlugin::new("filter", filter.declaration().clone(), filtered);
    compare("filter", filter.as_ref(), &native, |declared, n_rows| Request::Transform { rows: rows(declared, n_rows) })?;
    let count = load("count.wasm")?;
    let native = NativePlugin::new("count", count.declaration().clone(), counted);
    compare("count", count.as_ref(), &native, grouped)
}

/// Prints a line for each number of rows: ns a row of both.
fn compare(
    name: &str,
    component: &dyn Plugin,
    native: &NativePlugin,
    request: impl Fn(&Schema, usize) -> Request,
) -> Result<(), Box<dyn Error>> {
    let mut sides = [native.instance()?, component.instance()?];
    for n_rows in ROWS_PER_CALL {
        let request = request(&component.declaration().inputs[0], n_rows);
        let requests = [steady(sides[0].as_mut(), &request)?, steady(sides[1].as_mut(), &request)?];
        let mut fastest = [f64::MAX; 2];
        for _ in 0..N_SLICES {
            for (side, request) in requests.iter().enumerate() {
                let ns = slice(sides[side].as_mut(), request) / n_rows as f64;
                fastest[side] = fastest[side].min(ns);
            }
        }
        let [native, component] = fastest;
        println!("{name:<10}{n_rows:>14}{native:>11.1} ns{component:>11.1} ns{:>11.1} ns", component - native);
    }
    Ok(())
}

/// The request as it comes when the states are those that an earlier call has left.
fn steady(instance: &mut dyn PluginInstance, first: &Request) -> Result<Request, Box<dyn Error>> {
    Ok(match (first, instance.call(first)?) {
        (Request::Add { grouped, .. }, Response::States { states, .. }) => Request::Add { grouped: grouped.clone(), states },
        _ => first.clone(),
    })
}

/// The mean time of a call in a short while, in ns.
fn slice(instance: &mut dyn PluginInstance, request: &Request) -> f64 {
    let start = Instant::now();
    let mut n_calls = 0;
    while start.elapsed() < SLICE {
        black_box(instance.call(black_box(request)).expect("the first call of this request has passed"));
        n_calls += 1;
    }
    start.elapsed().as_nanos() as f64 / f64::from(n_calls)
}

fn grouped(schema: &Schema, n_rows: usize) -> Request {
    let ends: Vec<u32> = (1..=n_rows.div_ceil(ROWS_PER_GROUP)).map(|group| (group * ROWS_PER_GROUP).min(n_rows) as u32).collect();
    let mut states = Packed::default();
    ends.iter().for_each(|_| states.push(b""));
    Request::Add { grouped: Grouped { rows: rows(schema, n_rows), ends }, states }
}

/// Rows as those of the benchmark: ids of 36 bytes, large numbers, no nulls.
fn rows(schema: &Schema, n_rows: usize) -> Rows {
    let column_of = |field_type: FieldType| {
        let mut column = Column::empty(field_type.kind());
        for row in 0..n_rows {
            let text = format!("019b76db-0000-7000-8000-{row:012x}");
            column.push(match field_type {
                FieldType::Int => Value::Int(8_000_000 + row as i64),
                FieldType::Text => Value::Bytes(text.as_bytes()),
                other => unreachable!("the plugins of the benchmark read no {other:?}"),
            });
        }
        column
    };
    let columns = schema.fields.iter().map(|field| column_of(field.field_type)).collect();
    Rows::new(n_rows, columns).expect("each column was made of these rows")
}
