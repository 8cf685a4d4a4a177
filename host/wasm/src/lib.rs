//! The plugin engine on WebAssembly components; the only crate that names wasmtime.
//!
//! [`WasmEngine`] compiles components, refuses those that could reach anything outside of themselves (I-7), and calls them within
//! their limits (I-8). It never retries a call, never keeps an instance that broke, and never decides what happens to the rows.
//!
//! Modules in reading order: [`engine`] (compile once, load many times), `component` (what may be loaded), [`shape`] (what may be
//! compiled), [`compiler`] (where it is), `native` (the only unsafe code: what was compiled becomes code that runs), `describe` (what a plugin says of itself), `plugin` (instances and calls), `convert` (columns to and from WIT), `limits`
//! and `fault` (how calls end), `words` (how a plugin is quoted), [`encode`] and [`inspect`] (for `reel build` and `reel plugin inspect`).

mod bindings;
pub mod compiler;
mod component;
mod convert;
mod describe;
pub mod encode;
pub mod engine;
mod fault;
pub mod inspect;
mod limits;
mod native;
mod plugin;
pub mod shape;
mod words;

pub use compiler::Compiler;
pub use encode::{EncodeError, encode_component, encode_component_of_world};
pub use engine::{WasmEngine, digest};
pub use inspect::Inspection;
