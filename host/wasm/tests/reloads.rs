//! A host that takes in one new version of a plugin after the other keeps nothing of the old ones. In a program of its own: what other
//! tests hold would count.

use reelflow_core::{
    column::{Column, Kind, Rows, Value},
    plugin::Request,
};
use reelflow_ports::engine::{Limits, PluginEngine};
use reelflow_wasm::WasmEngine;

const N_VERSIONS: usize = 1_000;
/// The first versions fill the cache and the allocator's own stock.
const N_SETTLING: usize = 100;
const GROWTH_BYTES_MAX: u64 = 64 << 20;

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// The same plugin with another constant in its code, 64 KiB of data that nothing needs, and so another digest.
fn version(text: &str, n: usize) -> Vec<u8> {
    let body = "(i32.const 512)))\n  (core instance";
    assert!(text.contains(body));
    let changed = format!("(drop (i32.const {n})) {body}")
        .replace(")))\n  (core", &format!("))) (core module (data \"{}\"))\n  (core", "x".repeat(64 << 10)));
    wat::parse_str(text.replace(body, &changed)).unwrap()
}

#[test]
fn memory_comes_back_after_a_thousand_reloads() {
    let text = include_str!("../../../tests/guests/wat/answers_nothing.wat");
    let engine = WasmEngine::new();
    let mut rows = Column::empty(Kind::Int);
    (0..100).for_each(|n| rows.push(Value::Int(n)));
    let request = Request::Transform { rows: Rows::new(100, vec![rows]).unwrap() };
    let mut settled_bytes = 0;
    for n in 0..N_VERSIONS {
        let plugin = engine.load(&version(text, n), "{}", &Limits::STANDARD).unwrap();
        plugin.instance().unwrap().call(&request).unwrap();
        if n + 1 == N_SETTLING {
            settled_bytes = resident_bytes();
        }
    }
    let growth = resident_bytes().saturating_sub(settled_bytes);
    assert!(growth < GROWTH_BYTES_MAX, "{growth} bytes more after {} versions", N_VERSIONS - N_SETTLING);
    assert_eq!(engine.n_compiled(), N_VERSIONS as u64);
    // The cache holds the last ones and not the first.
    drop(engine.load(&version(text, N_VERSIONS - 1), "{}", &Limits::STANDARD).unwrap());
    assert_eq!(engine.n_compiled(), N_VERSIONS as u64);
    drop(engine.load(&version(text, 0), "{}", &Limits::STANDARD).unwrap());
    assert_eq!(engine.n_compiled(), N_VERSIONS as u64 + 1);
}
