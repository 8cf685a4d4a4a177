//! Building guests, and what tests ask of them.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, OnceLock},
};

use reelflow_core::{
    column::{Bitmap, Column, Kind, Packed, Rows, Value},
    plugin::{Clock, PluginFault, Request, Response, TimeRead, Timer},
    time::{EventTime, WallTime, Watermark, Window},
};
use reelflow_ports::engine::{Limits, LoadError, Plugin, PluginEngine, PluginInstance};
use reelflow_wasm::{WasmEngine, encode_component};

/// Ample time, since the machine that runs the tests may be busy; little memory and output, so that excess is reached soon.
pub const LIMITS: Limits = Limits {
    memory_bytes_max: 16 << 20,
    call_ms_max: 30_000,
    output_bytes_max: 1 << 20,
    component_bytes_max: 1 << 20,
    ..Limits::STANDARD
};

/// For guests that must run into their deadline.
pub const HURRIED: Limits = Limits { call_ms_max: 50, ..LIMITS };

pub fn engine() -> &'static WasmEngine {
    static ENGINE: OnceLock<WasmEngine> = OnceLock::new();
    ENGINE.get_or_init(WasmEngine::new)
}

pub fn guests_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/guests")
}

/// The core module of the guest crate `guest-<name>`; all of them are built at the first call.
pub fn module(name: &str) -> Vec<u8> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let target_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests");
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--release", "--target", "wasm32-unknown-unknown", "--target-dir"])
            .arg(&target_dir)
            .current_dir(guests_dir())
            // The flags of this build are for this machine.
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .status()
            .expect("cargo runs");
        assert!(status.success(), "the guests do not build; is the target there? `rustup target add wasm32-unknown-unknown`");
        target_dir.join("wasm32-unknown-unknown/release")
    });
    let path = built.join(format!("guest_{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn component(name: &str) -> Vec<u8> {
    encode_component(&module(name)).expect("a guest's module becomes a component")
}

/// The component of `tests/guests/wat/<name>.wat`.
pub fn wat(name: &str) -> Vec<u8> {
    let path = guests_dir().join("wat").join(format!("{name}.wat"));
    wat::parse_file(&path).unwrap_or_else(|error| panic!("{error}"))
}

/// The config that has a guest misbehave in `mode` in its function `at`.
pub fn orders(mode: &str, at: &str) -> String {
    format!(r#"{{"mode":"{mode}","at":"{at}"}}"#)
}

/// The plugin, or panics with the reason.
pub fn load(name: &str, config: &str, limits: Limits) -> Arc<dyn Plugin> {
    engine().load(&component(name), config, &limits).unwrap_or_else(|error| panic!("guest {name}: {error}"))
}

/// The error of a component that must not load.
pub fn load_error(component: &[u8], config: &str, limits: Limits) -> LoadError {
    match engine().load(component, config, &limits) {
        Ok(plugin) => panic!("loaded: {:?}", plugin.declaration()),
        Err(error) => error,
    }
}

pub fn instance(name: &str, config: &str, limits: Limits) -> Box<dyn PluginInstance> {
    load(name, config, limits).instance().expect("what loads has instances")
}

pub fn ints(values: &[i64]) -> Column {
    let mut column = Column::empty(Kind::Int);
    values.iter().for_each(|value| column.push(Value::Int(*value)));
    column
}

pub fn int_rows(values: &[i64]) -> Rows {
    Rows::new(values.len(), vec![ints(values)]).unwrap()
}

fn nulls(kind: Kind, n_rows: usize) -> Column {
    let mut column = Column::empty(kind);
    (0..n_rows).for_each(|_| column.push(Value::Null));
    column
}

/// Rows for the guest `transform`: `n`, and nulls for the rest.
pub fn transform_rows(n: &[i64]) -> Rows {
    let kinds = [Kind::Float, Kind::Bytes, Kind::Bytes, Kind::Bool, Kind::Int];
    let columns = std::iter::once(ints(n)).chain(kinds.map(|kind| nulls(kind, n.len()))).collect();
    Rows::new(n.len(), columns).unwrap()
}

pub fn transform(n: &[i64]) -> Request {
    Request::Transform { rows: transform_rows(n) }
}

/// States of the guest `aggregate`.
pub fn sums(sums: &[i64]) -> Packed {
    let mut packed = Packed::default();
    sums.iter().for_each(|sum| packed.push(&sum.to_le_bytes()));
    packed
}

pub fn window(start: i64, end: i64) -> Window {
    Window::new(EventTime(start), EventTime(end))
}

/// What a process is told of time.
pub const TIME: TimeRead = TimeRead { watermark: Watermark::UNKNOWN, now: WallTime(99) };

/// A request that fits the function `at` of the guests.
pub fn request_for(at: &str) -> Request {
    match at {
        "apply" => transform(&[1, 13, 3]),
        "add" => Request::Add {
            grouped: reelflow_core::plugin::Grouped { rows: int_rows(&[1, 2, 3]), ends: vec![2, 3] },
            states: sums(&[10, 20]),
        },
        "merge" => Request::Merge { parts: sums(&[1, 2, 3]), ends: vec![2, 3] },
        "emit" => Request::Emit { windows: vec![window(-5, 0), window(0, 5)], keys: int_rows(&[7, 8]), states: sums(&[1, 2]) },
        "take" => Request::Take {
            grouped: reelflow_core::plugin::Grouped { rows: int_rows(&[1, 2, 3]), ends: vec![2, 3] },
            times: [5, 4, 6].map(EventTime).to_vec(),
            keys: int_rows(&[7, 8]),
            states: sums(&[10, 20]),
            time: TIME,
        },
        "fire" => {
            let timers = [(Clock::EventTime, 15), (Clock::WallTime, -3)].map(|(clock, at)| Timer { clock, at }).to_vec();
            Request::Fire { timers, keys: int_rows(&[7, 8]), states: sums(&[1, 2]), time: TIME }
        }
        "migrate" => {
            let mut states = Packed::default();
            states.push(&7_i32.to_le_bytes());
            states.push(&(-1_i32).to_le_bytes());
            states.push(&9_i64.to_le_bytes());
            Request::Migrate { states }
        }
        "pair" => {
            let matched = Bitmap::from_bytes(vec![0b01], 2).unwrap();
            Request::Pair { left: int_rows(&[1, 2]), right: int_rows(&[10, 0]), matched, has_left: None }
        }
        other => panic!("no guest exports {other}"),
    }
}

/// The guest that exports `at`.
pub fn guest_of(at: &str) -> &'static str {
    match at {
        "apply" => "transform",
        "pair" => "join",
        "take" | "fire" | "migrate" => "process",
        _ => "aggregate",
    }
}

/// What the guest answers in `at` when it was told to misbehave there.
pub fn call(mode: &str, at: &str, limits: Limits) -> Result<Response, PluginFault> {
    instance(guest_of(at), &orders(mode, at), limits).call(&request_for(at))
}

/// The columns of the first output of an answer.
pub fn out(response: &Response) -> &Rows {
    match response {
        Response::Rows { outputs, .. } | Response::Processed { outputs, .. } => {
            &outputs.iter().find(|routed| routed.output == 0).expect("rows on output 0").rows
        }
        Response::States { .. } | Response::Migrated { .. } => panic!("states instead of rows"),
    }
}

/// How many calls the answering instance of `transform` has had.
pub fn n_calls(response: &Response) -> i64 {
    match response {
        Response::Rows { outputs, .. } => match outputs[1].rows.column(0).at(0) {
            Value::Int(n_calls) => n_calls,
            other => panic!("{other:?} calls"),
        },
        other => panic!("{other:?} instead of rows"),
    }
}

/// The names in a folder of guests that `keep` maps to something.
pub fn listed(dir: &Path, keep: impl Fn(&Path) -> Option<String>) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    entries.filter_map(|entry| keep(&entry.unwrap().path())).collect()
}
