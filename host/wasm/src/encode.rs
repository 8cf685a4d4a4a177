//! Core module to component, for `reel build`.

use wit_component::ComponentEncoder;

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
