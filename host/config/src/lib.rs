//! The manifest: text to a valid configuration, or every problem at once; configuration and plugin declarations to a plan.
//!
//! Pure (I-1): this crate opens no file and reads no environment variable. [`parse`] takes text, [`plan()`] takes what the
//! plugins say of themselves, and a value that may come from outside is a typed [`External`] that the caller resolves, so a
//! secret never passes through here.
//!
//! Every check runs, whatever the others found; what is wrong becomes a [`Problem`] with a [`Code`], and [`explain`] has a page
//! for each code. [`render`] draws problems as rustc does, [`report`] gives the same as data.
//!
//! Modules in reading order: [`problem`], [`code`], [`config`], `value`, `walk`, `raw`, `wiring`, [`plan`](mod@plan),
//! `zone`, [`moment`], `describe`, `environment`, `history`, `rehearsal`, `render`, `schema`.

pub mod code;
pub mod config;
mod describe;
mod environment;
mod history;
pub mod moment;
pub mod plan;
pub mod problem;
mod raw;
mod rehearsal;
mod render;
mod schema;
mod value;
mod walk;
mod wiring;
mod zone;

pub use crate::{
    code::{Code, explain},
    config::{Config, External},
    describe::{StageText, describe_plan},
    environment::{external_missing, manifest_unreadable},
    history::pipeline_name,
    plan::{Outside, Partitions, SinkWriter, plan},
    problem::{At, Problem, Problems, Severity, Span, Valid},
    raw::parse,
    rehearsal::{Expected, Place, TestPlan},
    render::{Report, render, report},
    schema::manifest_schema,
    value::{closest, duration_ms},
    zone::time_zone,
};
