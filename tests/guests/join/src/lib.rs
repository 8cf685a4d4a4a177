//! A join that puts both sides in one row, or breaks in the way that its config names.

use exports::reelflow::plugin::{
    describe, join,
    join::{Emitted, Rows},
};
use reelflow::plugin::types::{Column, Routed, Values};

wit_bindgen::generate!({ path: "../../../wit/plugin", world: "join-plugin" });

const TRUTH: &str = r#"{
    "format": 1, "sdk": "guest", "kind": "join", "right_alone": true,
    "inputs": [{"fields": [{"name": "l", "type": "i64"}]}, {"fields": [{"name": "r", "type": "i64"}]}],
    "outputs": [{"name": "out", "fields": [{"name": "l", "type": "i64", "required": false}, {"name": "r", "type": "i64", "required": false}]}]
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
        let (matched, has_left) = matched.split_at((left.len as usize).div_ceil(8));
        let columns = vec![where_present(&left, has_left), where_present(&right, matched)];
        Emitted { outputs: vec![Routed { output: 0, rows: Rows { len: left.len, columns }, origins }], rejects: Vec::new() }
    }
}

/// The values of the rows that `present` has; without any bits, of all.
fn where_present(rows: &Rows, present: &[u8]) -> Column {
    let Values::Ints(values) = &rows.columns[0].values else { unreachable!("declared as i64") };
    let is_present = |row: usize| present.is_empty() || present[row / 8] & (1 << (row % 8)) != 0;
    let values = values.iter().enumerate().map(|(row, value)| if is_present(row) { *value } else { 0 }).collect();
    Column { values: Values::Ints(values), validity: present.to_vec() }
}

export!(Join);
