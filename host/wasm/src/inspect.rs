//! What a component is, for `reel plugin inspect`.

use reelflow_core::plugin::{Declaration, World};
use reelflow_ports::engine::LoadError;
use wasmtime::{Engine, component::Component};

use crate::{component, engine::digest};

/// What can be said of a component, fit to be loaded or not.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspection {
    pub n_bytes: u64,
    /// BLAKE3 in hex.
    pub digest: String,
    /// What it wants from outside, by name. A plugin has none.
    pub imports: Vec<String>,
    /// What it exports, by name.
    pub exports: Vec<String>,
    /// The world it implements, or why it is none of ours.
    pub world: Result<World, LoadError>,
    /// What it says of itself, or why it cannot be loaded.
    pub declaration: Result<Declaration, LoadError>,
}

pub(crate) fn inspection(
    engine: &Engine,
    compiled: &Component,
    bytes: &[u8],
    declaration: Result<Declaration, LoadError>,
) -> Inspection {
    Inspection {
        n_bytes: bytes.len() as u64,
        digest: digest(bytes),
        imports: component::imports(engine, compiled),
        exports: component::exports(engine, compiled),
        world: component::world(engine, compiled),
        declaration,
    }
}
