//! Core module to component, for `reel build` and `reel plugin encode`.

use reelflow_core::plugin::World;
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::Resolve;

/// The contract as text: a compiler other than the SDK's does not leave it in the module.
const CONTRACT: &str = concat!(include_str!("../../../wit/plugin/types.wit"), include_str!("../../../wit/plugin/worlds.wit"));

/// A module that cannot become a component.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot make a component of the module: {0}")]
pub struct EncodeError(String);

/// The component of a core module that was built for `wasm32-unknown-unknown` with the SDK (its types stand in a custom section).
///
/// A module without that section becomes a component without exports, which [`crate::WasmEngine`] refuses.
/// Errors: bytes that are no module; a module that imports what its types do not declare (WASI, `env`).
pub fn encode_component(core_module: &[u8]) -> Result<Vec<u8>, EncodeError> {
    ComponentEncoder::default()
        .validate(true)
        .module(core_module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| EncodeError(format!("{error:#}")))
}

/// The component of a core module of any language, which exports the functions of `world` and `describe` by the names and types of the
/// canonical ABI (docs/plugins.md, "Other languages").
///
/// Errors: as [`encode_component`]; also a module that lacks a function, or has it with another type.
pub fn encode_component_of_world(core_module: &[u8], world: World) -> Result<Vec<u8>, EncodeError> {
    let mut resolve = Resolve::default();
    let package =
        resolve.push_source("plugin.wit", CONTRACT).expect("the contract parses: the bindings are made of the same text");
    let name = format!("{}-plugin", world.name());
    let world = resolve.select_world(&[package], Some(&name)).expect("each world is in the contract");
    let mut module = core_module.to_vec();
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        .map_err(|error| EncodeError(format!("{error:#}")))?;
    encode_component(&module)
}
