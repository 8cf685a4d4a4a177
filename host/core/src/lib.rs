//! The pure heart of Reelflow: what a task does with what happens to it.
//!
//! Everything here is a function of its inputs. Nothing in this crate reads a file, a socket, a clock, a random number or the
//! order of a hash map (I-1, I-2), and nothing waits: time, records and plugin results arrive as [`task::Input`], and what is to
//! be done leaves as [`task::Effect`].
//!
//! Modules in reading order: [`time`], [`record`], [`column`], [`schema`], [`plugin`], [`plan`], [`history`], [`rehearsal`], [`json`],
//! [`format`](mod@format), [`frame`], [`watermark`], [`state`], [`letter`], [`checkpoint`], [`key`], [`packed_row`], [`zone`], [`window`],
//! [`stage`], [`task`], [`upgrade`], [`shadow`].

pub mod checkpoint;
pub mod column;
pub mod format;
pub mod frame;
pub mod history;
pub mod json;
pub mod key;
pub mod letter;
pub mod packed_row;
pub mod plan;
pub mod plugin;
pub mod record;
pub mod rehearsal;
pub mod schema;
pub mod shadow;
pub mod stage;
pub mod state;
pub mod task;
pub mod time;
pub mod upgrade;
pub mod watermark;
pub mod window;
pub mod zone;
