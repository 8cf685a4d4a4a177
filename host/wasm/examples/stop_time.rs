//! How long after its deadline a call ends that would not end by itself: for each guest the mean and the worst of 40 calls.
//!
//! `cargo run -p reelflow-wasm --example stop_time`

use std::time::{Duration, Instant};

use reelflow_core::{
    column::{Column, Kind, Rows, Value},
    plugin::{PluginFault, Request},
};
use reelflow_ports::engine::{Limits, PluginEngine};
use reelflow_wasm::WasmEngine;

#[path = "../tests/guests/written.rs"]
mod written;

const N_CALLS: u32 = 40;
const CALL_MS_MAX: u64 = 50;

fn main() {
    let engine = WasmEngine::new();
    let limits = Limits { call_ms_max: CALL_MS_MAX, ..Limits::STANDARD };
    let mut column = Column::empty(Kind::Int);
    column.push(Value::Int(1));
    let request = Request::Transform { rows: Rows::new(1, vec![column]).expect("one row") };
    for name in ["realloc_loops", "post_return_loops", "calls_without_loop", "fills_memory", "jumps_by_table"] {
        let plugin = engine.load(&written::guest(name), "{}", &limits).expect("these guests load");
        let mut over = Vec::new();
        for _ in 0..N_CALLS {
            let mut instance = plugin.instance().expect("what loads has instances");
            let start = Instant::now();
            let fault = instance.call(&request).expect_err("these guests do not answer");
            assert_eq!(fault, PluginFault::Deadline { limit_ms: CALL_MS_MAX });
            over.push(start.elapsed().saturating_sub(Duration::from_millis(CALL_MS_MAX)));
        }
        let worst = over.iter().max().expect("there were calls");
        println!("{name:<20} {:>8.1?} in the mean, {worst:>8.1?} at worst", over.iter().sum::<Duration>() / N_CALLS);
    }
}
