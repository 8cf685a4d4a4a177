//! Where components are compiled: in this process, or in a helper whose time and memory have limits, with a cache of what came of it.
//!
//! The counts of [`shape`](crate::shape) come first in any case: they refuse what is hard on any compiler, with the same verdict everywhere.
//! The limits of a helper are for what nobody has counted yet.
//!
//! Modules in reading order: `sealed` (code as bytes), [`inside`] (the helper), [`helper`] (who starts it), [`cache`].

use reelflow_ports::engine::{Limits, LoadError};
use tracing::{info, warn};
use wasmtime::{Engine, component::Component};

use crate::{
    compiler::{
        cache::Cache,
        helper::Helper,
        sealed::{Key, Sealed},
    },
    component,
    native::Native,
    words::legible,
};

pub mod cache;
pub mod helper;
pub mod inside;
pub(crate) mod sealed;

/// Who compiles.
#[derive(Debug)]
pub enum Compiler {
    /// The thread that loads, without limits of time and memory: for tests, and for programs that cannot start themselves as a helper.
    InProcess,
    /// A process for each component that is not in the cache.
    Helper { helper: Helper, cache: Option<Cache> },
}

/// A component whose code can run.
pub(crate) struct Loaded {
    pub component: Component,
    /// It was compiled for that; else it was in the cache.
    pub is_compiled: bool,
}

impl Compiler {
    /// Compiles `bytes` if their shape allows it. `digest` is theirs.
    pub(crate) fn load(&self, engine: &Engine, bytes: &[u8], digest: &str, limits: &Limits) -> Result<Loaded, LoadError> {
        component::check_shape(bytes)?;
        let broke = |why: String| LoadError::CompilerBroke { digest: digest.to_owned(), why };
        let unloadable = |why: wasmtime::Error| broke(format!("its code cannot be loaded: {why:#}"));
        match self {
            Compiler::InProcess => {
                info!(digest, n_bytes = bytes.len(), "compiling a plugin");
                let native = Native::compiled(engine, bytes);
                let native = native.map_err(|why| LoadError::NotAComponent(legible(&format!("{why:#}"))))?;
                Ok(Loaded { component: native.load(engine).map_err(unloadable)?, is_compiled: true })
            }
            Compiler::Helper { helper, cache } => {
                let key = Key::new(engine, digest);
                if let Some(component) = cache.as_ref().and_then(|cache| cached(cache, engine, &key, digest)) {
                    return Ok(Loaded { component, is_compiled: false });
                }
                info!(digest, n_bytes = bytes.len(), "compiling a plugin in a helper");
                let sealed = helper.compile(bytes, digest, limits)?;
                let native = Native::opened(&sealed, &key).ok_or_else(|| broke("the helper gave no code for it".to_owned()))?;
                let component = native.load(engine).map_err(unloadable)?;
                if let Some(cache) = cache {
                    keep(cache, &key, &sealed, digest);
                }
                Ok(Loaded { component, is_compiled: true })
            }
        }
    }
}

/// What the cache has for `key`. What is there and cannot be used is said, and gone.
fn cached(cache: &Cache, engine: &Engine, key: &Key, digest: &str) -> Option<Component> {
    let sealed = cache.load(key)?;
    let component = Native::opened(&sealed, key).and_then(|native| native.load(engine).ok());
    match component {
        Some(_) => info!(digest, "the plugin's code is in the cache"),
        None => cache.say_damaged(key),
    }
    component
}

/// A cache that cannot take more costs time at the next start, and nothing now.
fn keep(cache: &Cache, key: &Key, sealed: &Sealed, digest: &str) {
    if let Err(why) = cache.store(key, sealed) {
        warn!(digest, %why, "the plugin's code cannot be kept in the cache");
    }
}

#[cfg(test)]
mod tests;
