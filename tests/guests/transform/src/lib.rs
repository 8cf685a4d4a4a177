//! A transform that gives its rows back, and breaks in the way that its config names when a row's `n` is 13.

use std::cell::Cell;

use exports::reelflow::plugin::{
    describe, transform,
    transform::{Emitted, Rows},
};
use reelflow::plugin::types::{Column, Packed, Reject, Routed, Values};

wit_bindgen::generate!({ path: "../../../wit/plugin", world: "transform-plugin" });

const TRUTH: &str = r#"{
    "format": 1, "sdk": "guest", "kind": "transform", "unheard_of": [{}],
    "inputs": [{"fields": [
        {"name": "n", "type": "i64", "required": true},
        {"name": "f", "type": "f64", "required": false},
        {"name": "t", "path": "deep.text", "type": "string", "required": false},
        {"name": "y", "type": "bytes", "required": false},
        {"name": "b", "type": "bool", "required": false},
        {"name": "i", "type": "i64", "required": false}]}],
    "outputs": [
        {"name": "out", "fields": [
            {"name": "n", "type": "i64", "required": true},
            {"name": "f", "type": "f64", "required": false},
            {"name": "t", "type": "string", "required": false},
            {"name": "y", "type": "bytes", "required": false},
            {"name": "b", "type": "bool", "required": false},
            {"name": "i", "type": "i64", "required": false}]},
        {"name": "calls", "fields": [{"name": "calls", "type": "i64"}]}]
}"#;

/// Ways to break an answer. Each takes the honest answer and spoils one thing.
const BREAKS: [(&str, fn(&mut Emitted)); 25] = [
    ("ragged", |e| emitted_ints(e).truncate(1)),
    ("rows-too-many", |e| e.outputs[0].rows.len += 1),
    ("rows-without-end", |e| e.outputs[0].rows = Rows { len: u32::MAX, columns: Vec::new() }),
    ("column-missing", |e| drop(e.outputs[0].rows.columns.pop())),
    ("column-extra", |e| e.outputs[0].rows.columns.push(column(Values::Ints(vec![0; 3])))),
    ("kind", |e| e.outputs[0].rows.columns[0].values = Values::Floats(vec![0.0; 3])),
    ("bits-too-few", |e| e.outputs[0].rows.columns[4].values = Values::Bools(vec![])),
    ("bits-too-many", |e| e.outputs[0].rows.columns[4].values = Values::Bools(vec![0, 0])),
    ("validity-too-short", |e| pad(e, 9, 1)),
    ("validity-too-long", |e| e.outputs[0].rows.columns[1].validity = vec![7, 0]),
    ("null-required", |e| {
        emitted_ints(e)[1] = 0;
        e.outputs[0].rows.columns[0].validity = vec![0b101];
    }),
    ("value-in-null", |e| e.outputs[0].rows.columns[1] = Column { values: Values::Floats(vec![1.0; 3]), validity: vec![0b101] }),
    ("text-in-null", |e| e.outputs[0].rows.columns[2] = Column { values: text(b"abc", &[1, 2, 3]), validity: vec![0b101] }),
    ("nan", |e| e.outputs[0].rows.columns[1] = column(Values::Floats(vec![0.0, f64::NAN, 0.0]))),
    ("infinite", |e| e.outputs[0].rows.columns[1] = column(Values::Floats(vec![0.0, f64::NEG_INFINITY, 0.0]))),
    ("utf8", |e| e.outputs[0].rows.columns[2] = column(text(b"a\xffb", &[1, 2, 3]))),
    ("utf8-split", |e| e.outputs[0].rows.columns[2] = column(text("é!".as_bytes(), &[1, 2, 3]))),
    ("ends-fall", |e| e.outputs[0].rows.columns[3] = column(text(b"abc", &[2, 1, 3]))),
    ("ends-short", |e| e.outputs[0].rows.columns[3] = column(text(b"abc", &[1, 2, 2]))),
    ("ends-beyond", |e| e.outputs[0].rows.columns[3] = column(text(b"abc", &[1, 2, 4]))),
    ("origin-beyond", |e| e.outputs[0].origins[2] = 3),
    ("origins-fall", |e| e.outputs[0].origins.swap(0, 1)),
    ("output-unknown", |e| e.outputs[0].output = 2),
    ("output-twice", |e| {
        let again = e.outputs[0].clone();
        e.outputs.push(again);
    }),
    ("reject-beyond", |e| e.rejects.push(Reject { row: 3, code: 0, message: String::new() })),
];

fn emitted_ints(emitted: &mut Emitted) -> &mut Vec<i64> {
    match &mut emitted.outputs[0].rows.columns[0].values {
        Values::Ints(values) => values,
        _ => unreachable!("column 0 is n"),
    }
}

/// `n_rows` rows of which the floats' bitmap covers fewer.
fn pad(emitted: &mut Emitted, n_rows: usize, n_bytes: usize) {
    let out = &mut emitted.outputs[0];
    out.rows.len = n_rows as u32;
    out.origins = vec![0; n_rows];
    let ends = vec![0; n_rows];
    out.rows.columns = vec![
        column(Values::Ints(vec![0; n_rows])),
        Column { values: Values::Floats(vec![0.0; n_rows]), validity: vec![0; n_bytes] },
        column(text(b"", &ends)),
        column(text(b"", &ends)),
        column(Values::Bools(vec![0; n_rows.div_ceil(8)])),
        column(Values::Ints(vec![0; n_rows])),
    ];
}

fn column(values: Values) -> Column {
    Column { values, validity: Vec::new() }
}

fn text(data: &[u8], ends: &[u32]) -> Values {
    Values::Bytes(Packed { data: data.to_vec(), ends: ends.to_vec() })
}

thread_local! {
    /// Calls of this instance so far. No plugin should remember; this one shows which instance it is.
    static CALLS: Cell<i64> = const { Cell::new(0) };
}

struct Transform;

impl describe::Guest for Transform {
    fn describe(config: String) -> Result<String, String> {
        let mut modes: Vec<&str> = BREAKS.iter().map(|(name, _)| *name).collect();
        modes.extend(["flood", "long-reason", "hoard-and-survive", "nan-bits"]);
        guest_shared::describe(&config, TRUTH, &modes)
    }
}

impl transform::Guest for Transform {
    fn apply(input: Rows) -> Emitted {
        CALLS.set(CALLS.get() + 1);
        let n_rows = input.len;
        assert!(!ints(&input).contains(&666), "no guest takes this number");
        let poisoned = ints(&input).contains(&13);
        if poisoned {
            guest_shared::misbehave("apply");
        }
        let mut emitted = echo(input);
        if poisoned {
            spoil(&mut emitted, n_rows);
        }
        emitted
    }
}

/// All rows back on output 0, and one row that counts the calls; but a negative `n` is refused, and its call with it.
fn echo(input: Rows) -> Emitted {
    if let Some(row) = ints(&input).iter().position(|n| *n < 0) {
        let message = format!("row {row} is negative");
        return Emitted { outputs: Vec::new(), rejects: vec![Reject { row: row as u32, code: 7, message }] };
    }
    let n_calls = i64::from(input.len > 0);
    let calls = Rows { len: n_calls as u32, columns: vec![column(Values::Ints(vec![CALLS.get(); n_calls as usize]))] };
    let calls = Routed { output: 1, origins: vec![0; n_calls as usize], rows: calls };
    let origins = (0..input.len).collect();
    Emitted { outputs: vec![Routed { output: 0, rows: input, origins }, calls], rejects: Vec::new() }
}

fn spoil(emitted: &mut Emitted, n_rows: u32) {
    let mode = guest_shared::mode_at("apply");
    match mode.as_str() {
        "flood" => emitted.outputs[0].rows.columns[3] = column(text(&vec![0; 2 << 20], &vec![2 << 20; n_rows as usize])),
        "long-reason" => emitted.rejects.push(Reject { row: 0, code: 0, message: "x".repeat(2 << 20) }),
        "hoard-and-survive" => {
            let mut greedy: Vec<u8> = Vec::new();
            assert!(greedy.try_reserve(1 << 30).is_err(), "no guest gets a GiB");
        }
        "nan-bits" => {
            let nan = std::hint::black_box(0.0_f64) / std::hint::black_box(0.0);
            let nans = vec![nan.to_bits() as i64; n_rows as usize];
            emitted.outputs[0].rows.columns[5] = column(Values::Ints(nans));
        }
        _ => {}
    }
    if let Some((_, spoil)) = BREAKS.iter().find(|(name, _)| *name == mode) {
        spoil(emitted);
    }
}

fn ints(rows: &Rows) -> &[i64] {
    match &rows.columns[0].values {
        Values::Ints(values) => values,
        _ => unreachable!("column 0 is n"),
    }
}

export!(Transform);
