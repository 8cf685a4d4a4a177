//! Write Reelflow plugins: say what you read and what you emit, implement one trait, export it.
//!
//! ```
//! use reelflow::prelude::*;
//!
//! #[derive(Event)]
//! struct Play<'a> {
//!     profile_id: i64,
//!     #[field(path = "context.page")]
//!     page: Option<&'a str>,
//! }
//!
//! #[derive(Emit)]
//! struct Signal<'a> {
//!     profile_id: i64,
//!     page: &'a str,
//! }
//!
//! #[reelflow::transform]
//! fn signals<'a>(play: Play<'a>, out: &mut Out<Signal<'a>>) -> Result<(), Reject> {
//!     let page = play.page.ok_or("play without a page")?; // -> dead-letter topic, with this reason
//!     out.emit(Signal { profile_id: play.profile_id, page });
//!     Ok(())
//! }
//!
//! let run = reelflow::testing::transform(&Signals, r#"{"profile_id":7,"context":{"page":"home"}} {"profile_id":8}"#);
//! assert_eq!(run.out("out"), [r#"{"profile_id":7,"page":"home"}"#]);
//! assert_eq!(run.rejects(), ["row 1: play without a page"]);
//! ```
//!
//! A plugin is a pure function. It may count on nothing but its rows, its states and its config: no clock, no randomness, no files.
//! In return the host gives it exactly-once, event time, state that survives crashes, and new code without a restart.
//!
//! Modules in reading order: [`plugin`] and [`process`] (the four kinds), [`event`] and [`emit`] (rows), [`state`], [`config`], [`check`], [`testing`];
//! then what authors never meet: [`column`], [`driver`], [`describe`], [`json`].

// So that what the derives write (`::reelflow::…`) also works in this crate's own tests.
#[cfg(test)]
#[allow(unused_extern_crates, reason = "the derives name it")]
extern crate self as reelflow;

pub mod check;
pub mod column;
pub mod config;
pub mod describe;
pub mod driver;
pub mod emit;
pub mod event;
mod export;
pub mod json;
#[cfg(any(test, target_family = "wasm"))]
mod note;
pub mod plugin;
pub mod process;
mod reject;
pub mod state;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod wasm;

pub use config::Config;
pub use emit::{Emit, Out, Outputs};
pub use event::Event;
pub use plugin::{Aggregate, FullJoin, Join, Key, KeyField, Sides, Transform, Window};
pub use process::{Context, Process, Timer};
pub use reelflow_derive::{Config, Emit, Event, Outputs, State, transform};
pub use reject::Reject;
pub use state::State;

/// Everything that a plugin needs.
pub mod prelude {
    pub use crate::{
        Aggregate, Config, Context, Emit, Event, FullJoin, Join, Key, KeyField, Out, Outputs, Process, Reject, Sides, State,
        Timer, Transform, Window,
    };
}

/// What the macros' expansions name.
#[doc(hidden)]
pub mod __private {
    pub use crate::{
        column::{Builder, Column, FieldSpec, Rows},
        config::{ConfigError, Setting, check_keys, setting},
        describe, driver,
        driver::{is_aggregate, is_full_join, is_join, is_process, is_transform},
        emit::{EmitField, OutputSpec, Sink},
        event::{Field, columns},
        json::Json,
        process::{Time, Timer},
        state::{Bytes, StateError, Stored, migrate, write_varint},
    };

    #[cfg(target_family = "wasm")]
    pub use crate::wasm;
}

/// The documents' Rust blocks run as tests.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../../README.md")]
    struct Readme;
    #[doc = include_str!("../../../docs/plugins.md")]
    struct Plugins;
}
