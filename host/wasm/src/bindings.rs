//! What `wit/plugin` is in Rust. Requests are lowered from borrowed slices, answers are lifted into owned lists.
//!
//! One world names all interfaces; a plugin exports two or three of them, which are looked up one by one. So the generated `All` is never
//! instantiated.

#![allow(dead_code)] // Generated for a world that is used in parts.

wasmtime::component::bindgen!({
    path: "../../wit/plugin",
    inline: "
        package reelflow:host;
        world all {
            export reelflow:plugin/describe@0.1.0;
            export reelflow:plugin/transform@0.1.0;
            export reelflow:plugin/aggregate@0.1.0;
            export reelflow:plugin/join@0.1.0;
            export reelflow:plugin/process@0.1.0;
            export reelflow:plugin/migrate@0.1.0;
        }
    ",
    world: "reelflow:host/all",
    ownership: Borrowing { duplicate_if_necessary: true },
});
