//! The only unsafe code of this crate: native code that was compiled elsewhere is made a component.
//!
//! `Component::deserialize` runs what its bytes say, so they must be what `Engine::precompile_component` gave, on an engine of the same
//! configuration. [`Native`] is such bytes: its field is private to this module, and there are two ways to one.
//!
//! - [`Native::compiled`] has just had the engine compile them.
//! - [`Native::opened`] takes a [`Sealed`] whose key and checksum are right. The key names the component, the build of Reelflow, wasmtime and its
//!   configuration, so nothing else is meant by these bytes; the checksum says that they came whole. Both say nothing of who wrote them, and
//!   that is what the callers see to: `compiler::helper` has them from a process that it started itself, of the program that it is itself, over a
//!   pipe of which nobody else has an end; `compiler::cache` from a file that belongs to the user who runs this process, and that nobody else can write,
//!   in a folder of which both is true. Who can write there can also replace the program, its configuration, or its memory.
//!
//! So a component compiled in a helper is as trusted as one compiled here: by the same compiler, out of the same bytes.

#![allow(unsafe_code)]

use std::borrow::Cow;

use wasmtime::{Engine, component::Component};

use crate::compiler::sealed::{Key, Sealed};

/// Native code of a component, for engines of this build and configuration.
pub(crate) struct Native<'a>(Cow<'a, [u8]>);

impl<'a> Native<'a> {
    /// Compiles `component`, whose shape was checked.
    pub(crate) fn compiled(engine: &Engine, component: &[u8]) -> wasmtime::Result<Native<'static>> {
        engine.precompile_component(component).map(|code| Native(code.into()))
    }

    /// What is in `sealed`, which came from a helper or from the cache. `None`: it is not what `key` names, or damaged.
    pub(crate) fn opened(sealed: &'a Sealed, key: &Key) -> Option<Native<'a>> {
        sealed.open(key).map(|code| Native(code.into()))
    }

    pub(crate) fn seal(&self, key: &Key) -> Sealed {
        Sealed::new(key, &self.0)
    }

    /// Makes it code that runs. Errors: the bytes are of another wasmtime, configuration or machine, which the key excludes.
    pub(crate) fn load(&self, engine: &Engine) -> wasmtime::Result<Component> {
        // SAFETY: the bytes are what `Engine::precompile_component` gave for an engine of this configuration: see above.
        unsafe { Component::deserialize(engine, &self.0) }
    }
}
