//! The plugin engine on WebAssembly components; the only crate that names wasmtime.
