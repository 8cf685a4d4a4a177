//! The port to plugin engines.

use std::sync::Arc;

use reelflow_core::plugin::{Declaration, PluginFault, Request, Response};

/// What a plugin may use in one call. None of them can be unlimited (I-8, I-9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of one instance, in bytes.
    pub memory_bytes_max: u64,
    /// Wall time of one call, in ms.
    pub call_ms_max: u64,
    /// Bytes of one answer.
    pub output_bytes_max: u64,
    /// Size of the component, in bytes.
    pub component_bytes_max: u64,
}

impl Limits {
    /// 64 MiB of memory, 100 ms a call, 32 MiB of output, 16 MiB of component.
    pub const STANDARD: Limits =
        Limits { memory_bytes_max: 64 << 20, call_ms_max: 100, output_bytes_max: 32 << 20, component_bytes_max: 16 << 20 };
}

/// Why a component cannot be used. Every variant is for the user to mend: the plugin's author or the manifest's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    #[error("not a WebAssembly component: {0}")]
    NotAComponent(String),
    #[error("the component has {n_bytes} bytes, the limit is {limit_bytes}")]
    TooLarge { n_bytes: u64, limit_bytes: u64 },
    /// `what` would make compiling it slow, or take much memory.
    #[error("the component has {found} {what}, the limit is {limit}: compiling it would cost too much")]
    TooCostly { what: &'static str, found: u64, limit: u64 },
    /// Names what it imports, e.g. `wasi:clocks/wall-clock@0.2.0`.
    #[error("plugin imports {0}; plugins get no imports: all that a plugin may know is in its rows and its config")]
    Imports(String),
    #[error("plugin exports no world of reelflow:plugin@0.1: {0}")]
    WrongWorld(String),
    #[error("plugin refused its config: {0}")]
    Config(String),
    #[error("plugin describes itself wrongly: {0}")]
    Description(String),
    #[error("plugin broke while describing itself: {0}")]
    Fault(#[from] PluginFault),
}

/// Compiles components. Shared by all workers.
pub trait PluginEngine: Send + Sync {
    /// Compiles `component`, checks it, and has it describe itself under `config` (a JSON object).
    fn load(&self, component: &[u8], config: &str, limits: &Limits) -> Result<Arc<dyn Plugin>, LoadError>;
}

/// A compiled plugin, ready to be instantiated many times.
pub trait Plugin: Send + Sync {
    fn declaration(&self) -> &Declaration;

    /// BLAKE3 of the component's bytes, in hex.
    fn digest(&self) -> &str;

    /// Whether its instances answer [`Request::Migrate`], which is for a plugin to offer. No other is ever asked to.
    fn can_migrate(&self) -> bool;

    /// An instance of its own for one worker.
    fn instance(&self) -> Result<Box<dyn PluginInstance>, LoadError>;
}

/// One instance: memory of its own, used by one thread.
pub trait PluginInstance {
    /// Calls the plugin. The answer has passed [`Request::check`]. After a fault the next call starts from a fresh instance.
    fn call(&mut self, request: &Request) -> Result<Response, PluginFault>;

    /// The most linear memory that it had so far, in bytes; 0 where there is no such thing.
    fn memory_bytes_max(&self) -> u64;
}
