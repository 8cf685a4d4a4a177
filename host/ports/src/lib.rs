//! The traits between the engine and the outside: the log, the plugin engine, the clock, the folders of file sinks, histories, schema registries, stores of bases.
//!
//! Each has an in-memory implementation for tests ([`simulated`], [`native`]) and a contract test ([`contract`]) that the real
//! implementations pass too. This crate holds no policy: it never retries, never orders durable writes (I-5), never decodes.
//!
//! Modules in reading order: [`log`], [`engine`], [`clock`], [`files`], [`history`], [`schemas`], [`bases`], [`group`], [`simulated`], [`native`], [`contract`].

pub mod bases;
pub mod clock;
pub mod contract;
pub mod engine;
pub mod files;
pub mod group;
pub mod history;
pub mod log;
pub mod native;
pub mod schemas;
pub mod simulated;
