//! The component's edge: wit-bindgen's types to the SDK's and back, and the slot that keeps the configured plugin.
//!
//! Vectors are moved, not copied. Only built for Wasm: natively a `cdylib` with these exports does not link.

use std::sync::{PoisonError, RwLock};

use crate::{
    Reject, Window,
    column::{Column, Packed, Rows, Values},
    driver::{Added, Emitted, migrate::Migrated, process::Processed},
    process::{Change, Time, Timer},
};

// wit-bindgen's export macros are called after their interface and must be unique in a crate, but each world of the contract has
// `describe`. So each interface gets a world of its own here; wit-component unites those that a plugin exports, and the result is
// the contract's world.

#[allow(unsafe_code, missing_docs, clippy::all, reason = "generated")]
pub mod describe {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package reelflow:sdk; world describes { export reelflow:plugin/describe@0.1.0; }",
        pub_export_macro: true,
        export_macro_name: "export",
        generate_all,
    });
}

#[allow(unsafe_code, missing_docs, clippy::all, reason = "generated")]
pub mod transform {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package reelflow:sdk; world transforms { export reelflow:plugin/transform@0.1.0; }",
        pub_export_macro: true,
        export_macro_name: "export",
        generate_all,
    });
}

#[allow(unsafe_code, missing_docs, clippy::all, reason = "generated")]
pub mod aggregate {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package reelflow:sdk; world aggregates { export reelflow:plugin/aggregate@0.1.0; }",
        pub_export_macro: true,
        export_macro_name: "export",
        generate_all,
        with: { "reelflow:plugin/types@0.1.0": crate::wasm::transform::reelflow::plugin::types },
    });
}

#[allow(unsafe_code, missing_docs, clippy::all, reason = "generated")]
pub mod join {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package reelflow:sdk; world joins { export reelflow:plugin/join@0.1.0; }",
        pub_export_macro: true,
        export_macro_name: "export",
        generate_all,
        with: { "reelflow:plugin/types@0.1.0": crate::wasm::transform::reelflow::plugin::types },
    });
}

#[allow(unsafe_code, missing_docs, clippy::all, reason = "generated")]
pub mod process {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package reelflow:sdk; world processes { export reelflow:plugin/process@0.1.0; }",
        pub_export_macro: true,
        export_macro_name: "export",
        generate_all,
        with: { "reelflow:plugin/types@0.1.0": crate::wasm::transform::reelflow::plugin::types },
    });
}

#[allow(unsafe_code, missing_docs, clippy::all, reason = "generated")]
pub mod migrate {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package reelflow:sdk; world migrates { export reelflow:plugin/migrate@0.1.0; }",
        pub_export_macro: true,
        export_macro_name: "export",
        generate_all,
        with: { "reelflow:plugin/types@0.1.0": crate::wasm::transform::reelflow::plugin::types },
    });
}

use migrate::exports::reelflow::plugin::migrate as migrating;
use process::exports::reelflow::plugin::process as keyed;
pub use transform::reelflow::plugin::types as wire;

/// Where an instance keeps its plugin between `describe` and the calls.
pub struct Slot<P>(RwLock<Option<P>>);

impl<P> Slot<P> {
    pub const fn empty() -> Slot<P> {
        Slot(RwLock::new(None))
    }

    /// `describe`: makes the plugin from its config and gives its document.
    pub fn describe(&self, config: &str, document: fn() -> String) -> Result<String, String>
    where
        P: crate::Config,
    {
        crate::note::listen();
        let plugin = crate::describe::configure(config)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(plugin);
        Ok(document())
    }

    /// Calls `f` with the plugin, which `describe` has made.
    pub fn with<R>(&self, f: impl FnOnce(&P) -> R) -> R {
        let plugin = self.0.read().unwrap_or_else(PoisonError::into_inner);
        f(plugin.as_ref().expect("describe is called before anything else"))
    }
}

impl<P> Default for Slot<P> {
    fn default() -> Slot<P> {
        Slot::empty()
    }
}

impl From<wire::Packed> for Packed {
    fn from(packed: wire::Packed) -> Packed {
        Packed { data: packed.data, ends: packed.ends }
    }
}

impl From<Packed> for wire::Packed {
    fn from(packed: Packed) -> wire::Packed {
        wire::Packed { data: packed.data, ends: packed.ends }
    }
}

impl From<wire::Rows> for Rows {
    fn from(rows: wire::Rows) -> Rows {
        let column = |column: wire::Column| {
            let values = match column.values {
                wire::Values::Bools(bits) => Values::Bools(bits),
                wire::Values::Ints(values) => Values::Ints(values),
                wire::Values::Floats(values) => Values::Floats(values),
                wire::Values::Bytes(packed) => Values::Bytes(packed.into()),
            };
            Column { values, validity: column.validity }
        };
        Rows { len: rows.len as usize, columns: rows.columns.into_iter().map(column).collect() }
    }
}

impl From<Rows> for wire::Rows {
    fn from(rows: Rows) -> wire::Rows {
        let column = |column: Column| {
            let values = match column.values {
                Values::Bools(bits) => wire::Values::Bools(bits),
                Values::Ints(values) => wire::Values::Ints(values),
                Values::Floats(values) => wire::Values::Floats(values),
                Values::Bytes(packed) => wire::Values::Bytes(packed.into()),
            };
            wire::Column { values, validity: column.validity }
        };
        wire::Rows { len: rows.len as u32, columns: rows.columns.into_iter().map(column).collect() }
    }
}

impl From<wire::Window> for Window {
    fn from(window: wire::Window) -> Window {
        Window { start: window.start, end: window.end }
    }
}

fn rejects(rejects: Vec<(u32, Reject)>) -> Vec<wire::Reject> {
    let one = |(row, why): (u32, Reject)| wire::Reject { row, code: why.code(), message: why.message().to_owned() };
    rejects.into_iter().map(one).collect()
}

impl From<Emitted> for wire::Emitted {
    fn from(emitted: Emitted) -> wire::Emitted {
        let routed = |(output, rows, origins): (u32, Rows, Vec<u32>)| wire::Routed { output, rows: rows.into(), origins };
        wire::Emitted { outputs: emitted.outputs.into_iter().map(routed).collect(), rejects: rejects(emitted.rejects) }
    }
}

impl From<Added> for wire::Added {
    fn from(added: Added) -> wire::Added {
        wire::Added { states: added.states.into(), rejects: rejects(added.rejects) }
    }
}

impl From<Migrated> for migrating::Migrated {
    fn from(migrated: Migrated) -> migrating::Migrated {
        let Migrated { states, versions, rejects: refused } = migrated;
        migrating::Migrated { states: states.into(), versions, rejects: rejects(refused) }
    }
}

impl From<keyed::Time> for Time {
    fn from(time: keyed::Time) -> Time {
        Time { watermark: time.watermark, now: time.now }
    }
}

impl From<keyed::Timer> for Timer {
    fn from(timer: keyed::Timer) -> Timer {
        match timer.clock {
            keyed::Clock::EventTime => Timer::EventTime(timer.at),
            keyed::Clock::WallTime => Timer::WallTime(timer.at),
        }
    }
}

impl From<Timer> for keyed::Timer {
    fn from(timer: Timer) -> keyed::Timer {
        let clock = match timer {
            Timer::EventTime(_) => keyed::Clock::EventTime,
            Timer::WallTime(_) => keyed::Clock::WallTime,
        };
        keyed::Timer { clock, at: timer.at() }
    }
}

impl From<Processed> for keyed::Processed {
    fn from(processed: Processed) -> keyed::Processed {
        let Processed { states, emitted, timers } = processed;
        let change = |Change { origin, is_set, timer }| keyed::TimerChange { origin, is_set, timer: timer.into() };
        keyed::Processed { states: states.into(), emitted: emitted.into(), timers: timers.into_iter().map(change).collect() }
    }
}
