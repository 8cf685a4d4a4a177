//! An aggregate that sums, or breaks in the way that its config names.

use exports::reelflow::plugin::{
    aggregate,
    aggregate::{Added, Emitted, Packed, Rows, Window},
    describe,
};
use reelflow::plugin::types::{Column, Reject, Routed, Values};

wit_bindgen::generate!({ path: "../../../wit/plugin", world: "aggregate-plugin" });

const TRUTH: &str = r#"{
    "format": 1, "sdk": "guest", "kind": "aggregate",
    "inputs": [{"fields": [{"name": "n", "type": "i64", "required": true}]}],
    "outputs": [{"name": "out", "fields": [
        {"name": "k", "type": "i64"}, {"name": "start", "type": "i64"}, {"name": "end", "type": "i64"}, {"name": "sum", "type": "i64"}]}],
    "key": [{"name": "k", "type": "i64"}],
    "state": {"name": "Sum", "version": 3}
}"#;

const MODES: [&str; 5] = ["state-missing", "state-extra", "state-ends-fall", "reject-beyond", "states-forgotten"];

struct Aggregate;

impl describe::Guest for Aggregate {
    fn describe(config: String) -> Result<String, String> {
        guest_shared::describe(&config, TRUTH, &MODES)
    }
}

impl aggregate::Guest for Aggregate {
    fn add(input: Rows, ends: Vec<u32>, states: Packed) -> Added {
        guest_shared::misbehave("add");
        let values = ints(&input, 0);
        let mut rejects = Vec::new();
        let mut sums = Packed { data: Vec::new(), ends: Vec::new() };
        let mut start = 0;
        for (group, end) in ends.iter().enumerate() {
            let mut sum = state(&states, group);
            for row in start..*end {
                match values[row as usize] {
                    value if value < 0 => rejects.push(Reject { row, code: 1, message: "negative".to_owned() }),
                    value => sum += value,
                }
            }
            push(&mut sums, sum);
            start = *end;
        }
        spoil("add", Added { states: sums, rejects })
    }

    fn merge(parts: Packed, ends: Vec<u32>) -> Added {
        guest_shared::misbehave("merge");
        let mut sums = Packed { data: Vec::new(), ends: Vec::new() };
        let mut start = 0;
        for end in ends {
            push(&mut sums, (start..end as usize).map(|part| state(&parts, part)).sum());
            start = end as usize;
        }
        spoil("merge", Added { states: sums, rejects: Vec::new() })
    }

    fn emit(windows: Vec<Window>, keys: Rows, states: Packed) -> Emitted {
        guest_shared::misbehave("emit");
        let n_groups = windows.len();
        let columns = vec![
            ints(&keys, 0).to_vec(),
            windows.iter().map(|window| window.start).collect(),
            windows.iter().map(|window| window.end).collect(),
            (0..n_groups).map(|group| state(&states, group)).collect(),
        ];
        let columns = columns.into_iter().map(|values| Column { values: Values::Ints(values), validity: Vec::new() }).collect();
        let origins = (0..n_groups as u32).collect();
        let mut rejects = Vec::new();
        if guest_shared::mode_at("emit") == "reject-beyond" {
            rejects.push(Reject { row: n_groups as u32, code: 0, message: String::new() });
        }
        Emitted { outputs: vec![Routed { output: 0, rows: Rows { len: n_groups as u32, columns }, origins }], rejects }
    }
}

fn spoil(function: &str, mut added: Added) -> Added {
    match guest_shared::mode_at(function).as_str() {
        "state-missing" => {
            added.states.data.truncate(added.states.data.len() - 8);
            added.states.ends.pop();
        }
        "state-extra" => push(&mut added.states, 0),
        "state-ends-fall" => added.states.ends.reverse(),
        "states-forgotten" => added.states = Packed { data: Vec::new(), ends: Vec::new() },
        "reject-beyond" => added.rejects.push(Reject { row: 1000, code: 0, message: String::new() }),
        _ => {}
    }
    added
}

fn ints(rows: &Rows, column: usize) -> &[i64] {
    match &rows.columns[column].values {
        Values::Ints(values) => values,
        _ => unreachable!("declared as i64"),
    }
}

/// The sum in state `group`, 0 for one that does not exist yet.
fn state(states: &Packed, group: usize) -> i64 {
    let start = if group == 0 { 0 } else { states.ends[group - 1] as usize };
    let bytes = &states.data[start..states.ends[group] as usize];
    if bytes.is_empty() { 0 } else { i64::from_le_bytes(bytes.try_into().unwrap()) }
}

fn push(states: &mut Packed, sum: i64) {
    states.data.extend_from_slice(&sum.to_le_bytes());
    states.ends.push(states.data.len() as u32);
}

export!(Aggregate);
