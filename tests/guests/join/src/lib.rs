//! A join that puts both sides in one row, or breaks in the way that its config names.

use exports::reelflow::plugin::{
    describe, join,
    join::{Emitted, Rows},
};
use reelflow::plugin::types::{Column, Routed, Values};

wit_bindgen::generate!({ path: "../../../wit/plugin", world: "join-plugin" });

const TRUTH: &str = r#"{
    "format": 1, "sdk": "guest", "kind": "join",
    "inputs": [{"fields": [{"name": "l", "type": "i64"}]}, {"fields": [{"name": "r", "type": "i64"}]}],
    "outputs": [{"name": "out", "fields": [{"name": "l", "type": "i64"}, {"name": "r", "type": "i64", "required": false}]}]
}"#;

struct Join;

impl describe::Guest for Join {
    fn describe(config: String) -> Result<String, String> {
        guest_shared::describe(&config, TRUTH, &["origins-short"])
    }
}

impl join::Guest for Join {
    fn pair(left: Rows, right: Rows, matched: Vec<u8>) -> Emitted {
        guest_shared::misbehave("pair");
        let origins = if guest_shared::mode_at("pair") == "origins-short" { Vec::new() } else { (0..left.len).collect() };
        let rights = ints(&right).iter().enumerate();
        let rights = rights.map(|(row, r)| if matched[row / 8] & (1 << (row % 8)) == 0 { 0 } else { *r }).collect();
        let columns = vec![
            Column { values: Values::Ints(ints(&left).to_vec()), validity: Vec::new() },
            Column { values: Values::Ints(rights), validity: matched },
        ];
        Emitted { outputs: vec![Routed { output: 0, rows: Rows { len: left.len, columns }, origins }], rejects: Vec::new() }
    }
}

fn ints(rows: &Rows) -> &[i64] {
    match &rows.columns[0].values {
        Values::Ints(values) => values,
        _ => unreachable!("declared as i64"),
    }
}

export!(Join);
