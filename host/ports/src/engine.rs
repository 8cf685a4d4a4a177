//! The port to plugin engines.

use std::sync::Arc;

pub use reelflow_core::plugin::limits::Limits;
use reelflow_core::plugin::{Declaration, PluginFault, Request, Response};

use crate::log::Who;

/// Why a component cannot be used. Nearly all of it is for the user to mend: the plugin's author or the manifest's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    #[error("not a WebAssembly component: {0}")]
    NotAComponent(String),
    #[error("the component has {n_bytes} bytes, the limit is {limit_bytes}")]
    TooLarge { n_bytes: u64, limit_bytes: u64 },
    /// `what` would make compiling it slow, or take much memory.
    #[error("the component has {found} {what}, the limit is {limit}: compiling it would cost too much")]
    TooCostly { what: &'static str, found: u64, limit: u64 },
    /// It passed the counts, and is costly in a way that nobody has counted. Or the machine had no time.
    #[error("compiling component {digest} took longer than {limit_ms} ms")]
    CompileTime { digest: String, limit_ms: u64 },
    #[error("compiling component {digest} took more than {} MiB of memory", .limit_bytes >> 20)]
    CompileMemory { digest: String, limit_bytes: u64 },
    /// The process that was to compile it broke, or was killed.
    #[error("component {digest} was not compiled: {why}")]
    CompilerBroke { digest: String, why: String },
    #[error("no process can be started to compile in: {0}")]
    NoCompiler(String),
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

impl LoadError {
    pub fn who(&self) -> Who {
        match self {
            LoadError::NotAComponent(_)
            | LoadError::TooLarge { .. }
            | LoadError::TooCostly { .. }
            | LoadError::CompileTime { .. }
            | LoadError::CompileMemory { .. }
            | LoadError::Imports(_)
            | LoadError::WrongWorld(_)
            | LoadError::Config(_)
            | LoadError::Description(_)
            | LoadError::Fault(_) => Who::User,
            LoadError::CompilerBroke { .. } | LoadError::NoCompiler(_) => Who::Environment,
        }
    }

    /// Whether the same component may be loaded another time, as it is, with other limits or on a machine that has more to give.
    pub fn may_pass(&self) -> bool {
        self.who() == Who::Environment || matches!(self, LoadError::CompileTime { .. } | LoadError::CompileMemory { .. })
    }
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
