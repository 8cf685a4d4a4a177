//! The answer of a plugin as it lies in the plugin's memory: lists, columns, texts and lengths that may lie. It is refused, or rows that can be
//! written.

use std::{cell::RefCell, sync::Arc};

use reelflow_core::{
    column::{Column, Kind, Rows, Value},
    json::encode,
    plugin::{Request, Response, World},
};
use reelflow_ports::engine::{Limits, Plugin, PluginEngine, PluginInstance};
use reelflow_wasm::encode_component_of_world;

/// Where the answer begins in the plugin's memory.
pub const BASE: u32 = 4096;
/// No answer is longer.
const BYTES_MAX: usize = 60 << 10;
const DOCUMENT: &str = r#"{"format":1,"kind":"transform","inputs":[{"fields":[{"name":"y","type":"bytes"}]}],
    "outputs":[{"name":"out","fields":[
        {"name":"n","type":"i64","required":true},
        {"name":"f","type":"f64","required":false},
        {"name":"t","type":"string","required":false},
        {"name":"y","type":"bytes","required":false},
        {"name":"b","type":"bool","required":false}]},
    {"name":"none","fields":[]}]}"#;
/// More rows than this of one answer are not written: rows without columns cost nothing to claim.
const ROWS_MAX: usize = 1_000;

/// The bytes lie from [`BASE`] on, behind them are zeros.
pub fn run(bytes: &[u8]) -> bool {
    thread_local! {
        static GUEST: RefCell<(Arc<dyn Plugin>, Box<dyn PluginInstance>)> = RefCell::new(guest());
    }
    let mut column = Column::empty(Kind::Bytes);
    // The same instance answers twice with other rows, as in a pipeline.
    column.push(Value::Bytes(&bytes[..bytes.len().min(BYTES_MAX)]));
    let request = Request::Transform { rows: Rows::new(1, vec![column]).expect("it has one value") };
    GUEST.with_borrow_mut(|(plugin, instance)| {
        let Ok(response) = instance.call(&request) else { return false };
        let Response::Rows { outputs, .. } = response else { unreachable!("a transform gives rows") };
        for routed in outputs {
            let (_, schema) = &plugin.declaration().outputs[routed.output as usize];
            let mut text = Vec::new();
            for row in 0..routed.rows.len().min(ROWS_MAX) {
                text.clear();
                encode::row(schema, &routed.rows, row, None, &mut text);
                assert!(serde_json::from_slice::<serde_json::Value>(&text).is_ok(), "{}", String::from_utf8_lossy(&text));
            }
        }
        true
    })
}

fn guest() -> (Arc<dyn Plugin>, Box<dyn PluginInstance>) {
    let escaped = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("\\{byte:02x}")).collect() };
    let answer = [0, 16, DOCUMENT.len() as u32].map(u32::to_le_bytes).concat();
    let text = include_str!("answer.wat").replace("ANSWER", &escaped(&answer)).replace("DOCUMENT", &escaped(DOCUMENT.as_bytes()));
    let module = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"));
    let component = encode_component_of_world(&module, World::Transform).unwrap_or_else(|error| panic!("{error}"));
    let limits = Limits { memory_bytes_max: 4 << 20, output_bytes_max: 1 << 20, ..Limits::STANDARD };
    let plugin = super::component::engine().load(&component, "{}", &limits).unwrap_or_else(|error| panic!("{error}"));
    let instance = plugin.instance().expect("what loads has instances");
    (plugin, instance)
}
