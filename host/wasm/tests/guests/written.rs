//! Guests that are written as core modules (`tests/guests/core`): for the tests, for the example `stop_time`, and for the seeds of `tests/fuzz`.

use std::path::Path;

use reelflow_core::plugin::World;
use reelflow_wasm::encode_component_of_world;

/// What a guest leaves out is honest: it declares one integer, has room for everything, and answers nothing.
const HONEST: [(&str, &str); 4] = [
    ("\"memory\"", r#"(memory (export "memory") 16)"#),
    (
        "\"cabi_realloc\"",
        r#"(global $next (mut i32) (i32.const 65536))
        (func (export "cabi_realloc") (param $old i32) (param $old_len i32) (param $align i32) (param $len i32) (result i32)
          (local $at i32)
          (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
          (global.set $next (i32.add (local.get $at) (local.get $len)))
          (local.get $at))"#,
    ),
    (
        "\"reelflow:plugin/describe@0.1.0#describe\"",
        r#"(func (export "reelflow:plugin/describe@0.1.0#describe") (param i32 i32) (result i32) (i32.const 0))"#,
    ),
    (
        "\"reelflow:plugin/transform@0.1.0#apply\"",
        r#"(func (export "reelflow:plugin/transform@0.1.0#apply") (param i32 i32 i32) (result i32) (i32.const 512))"#,
    ),
];

const DOCUMENT: &str = r#"{"format":1,"kind":"transform","inputs":[{"fields":[{"name":"n","type":"i64"}]}],"outputs":[{"name":"out","fields":[{"name":"n","type":"i64"}]}]}"#;

/// The component of a core module with these fields, of the world `transform`.
pub fn component(fields: &str) -> Vec<u8> {
    let honest: String = HONEST.iter().filter(|(name, _)| !fields.contains(name)).map(|(_, field)| *field).collect();
    let answer = [[0, 16].map(u32::to_le_bytes).concat(), (DOCUMENT.len() as u32).to_le_bytes().to_vec()].concat();
    let answer: String = answer.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let document = DOCUMENT.replace('"', "\\\"");
    let text = format!(r#"(module {honest} (data (i32.const 0) "{answer}") (data (i32.const 16) "{document}") {fields})"#);
    let module = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"));
    encode_component_of_world(&module, World::Transform).unwrap_or_else(|error| panic!("{error}"))
}

/// The component of `tests/guests/core/<name>.wat`.
pub fn guest(name: &str) -> Vec<u8> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/guests/core");
    component(&std::fs::read_to_string(dir.join(format!("{name}.wat"))).unwrap())
}
