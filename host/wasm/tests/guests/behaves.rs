//! Guests that behave: each world, each kind of column, and the golden columns there and back.

use reelflow_core::{
    column::{Bitmap, Column, Kind, Rows, Value},
    plugin::{Clock, Grouped, Reject, Request, Response, Routed, StateVersion, Timer, TimerChange, World},
    schema::FieldType,
    time::EventTime,
};

use crate::support::{
    LIMITS, TIME, call, instance, int_rows, ints, load, out, request_for, sums, transform, transform_rows, window,
};

#[test]
fn a_declaration_is_what_describe_says() {
    let plugin = load("transform", "{}", LIMITS);
    let declaration = plugin.declaration();
    assert_eq!((declaration.world, declaration.sdk.as_str()), (World::Transform, "guest"));
    let fields: Vec<_> =
        declaration.inputs[0].fields.iter().map(|f| (f.name.as_str(), f.path.as_str(), f.field_type, f.required)).collect();
    let expected = [
        ("n", "n", FieldType::Int, true),
        ("f", "f", FieldType::Float, false),
        ("t", "deep.text", FieldType::Text, false),
        ("y", "y", FieldType::Bytes, false),
        ("b", "b", FieldType::Bool, false),
        ("i", "i", FieldType::Int, false),
    ];
    assert_eq!(fields, expected);
    let outputs: Vec<_> = declaration.outputs.iter().map(|(name, schema)| (name.as_str(), schema.len())).collect();
    assert_eq!(outputs, [("out", 6), ("calls", 1)]);
    assert_eq!((declaration.state.as_ref(), declaration.key.len()), (None, 0));

    let aggregate = load("aggregate", "{}", LIMITS);
    assert_eq!(aggregate.declaration().world, World::Aggregate);
    assert_eq!(aggregate.declaration().state, Some(StateVersion { name: "Sum".to_owned(), version: 3, reads: Vec::new() }));
    assert_eq!(aggregate.declaration().key.fields[0].name, "k");
    let process = load("process", "{}", LIMITS);
    assert_eq!((process.declaration().world, process.declaration().outputs.len()), (World::Process, 2));
    assert_eq!(process.declaration().state, Some(StateVersion { name: "Sum".to_owned(), version: 2, reads: vec![1] }));
    let join = load("join", "{}", LIMITS);
    assert_eq!((join.declaration().world, join.declaration().inputs.len()), (World::Join, 2));
}

#[test]
fn a_transform_answers_rows_or_rejects() {
    let mut instance = instance("transform", "{}", LIMITS);
    let answer = instance.call(&transform(&[1, 2])).unwrap();
    let calls = Routed { output: 1, rows: int_rows(&[1]), origins: vec![0] };
    let echo = Routed { output: 0, rows: transform_rows(&[1, 2]), origins: vec![0, 1] };
    assert_eq!(answer, Response::Rows { outputs: vec![echo, calls], rejects: Vec::new() });
    let reject = Reject { row: 1, code: 7, message: "row 1 is negative".to_owned() };
    assert_eq!(instance.call(&transform(&[4, -4])).unwrap(), Response::Rows { outputs: Vec::new(), rejects: vec![reject] });
}

#[test]
fn no_rows_are_rows_too() {
    let answer = instance("transform", "{}", LIMITS).call(&transform(&[])).unwrap();
    assert_eq!(out(&answer), &transform_rows(&[]));
}

#[test]
fn an_aggregate_adds_merges_and_emits() {
    let mut instance = instance("aggregate", "{}", LIMITS);
    let added = instance.call(&request_for("add")).unwrap();
    assert_eq!(added, Response::States { states: sums(&[13, 23]), rejects: Vec::new() });
    let merged = instance.call(&request_for("merge")).unwrap();
    assert_eq!(merged, Response::States { states: sums(&[3, 3]), rejects: Vec::new() });
    let emitted = instance.call(&request_for("emit")).unwrap();
    let columns = [&[7, 8], &[-5, 0], &[0, 5], &[1, 2]].map(|values| ints(values)).to_vec();
    assert_eq!(out(&emitted), &Rows::new(2, columns).unwrap());
}

#[test]
fn a_new_group_has_an_empty_state_and_a_refused_row_leaves_it() {
    let mut states = sums(&[5]);
    states.push(b"");
    let grouped = Grouped { rows: int_rows(&[-1, 2, -3]), ends: vec![1, 3] };
    let answer = instance("aggregate", "{}", LIMITS).call(&Request::Add { grouped, states }).unwrap();
    let reject = |row| Reject { row, code: 1, message: "negative".to_owned() };
    assert_eq!(answer, Response::States { states: sums(&[5, 2]), rejects: vec![reject(0), reject(2)] });
}

#[test]
fn a_join_sees_which_rows_matched() {
    let answer = instance("join", "{}", LIMITS).call(&request_for("pair")).unwrap();
    let mut right = Column::empty(Kind::Int);
    right.push(Value::Int(10));
    right.push(Value::Null);
    assert_eq!(out(&answer), &Rows::new(2, vec![ints(&[1, 2]), right]).unwrap());
}

#[test]
fn a_join_that_takes_right_rows_alone_sees_which_have_a_left_one() {
    let plugin = load("join", "{}", LIMITS);
    assert!(plugin.declaration().takes_right_alone);
    // Nine rows: each bitmap has two bytes.
    let has_left = Bitmap::from_bytes(vec![0b1111_1101, 1], 9).unwrap();
    let matched = Bitmap::from_bytes(vec![0b0000_0010, 1], 9).unwrap();
    let rows: Vec<i64> = (1..10).collect();
    let request = Request::Pair { left: int_rows(&rows), right: int_rows(&rows), matched, has_left: Some(has_left) };
    let answer = instance("join", "{}", LIMITS).call(&request).unwrap();
    let column = |is_there: fn(i64) -> bool| {
        let mut column = Column::empty(Kind::Int);
        rows.iter().for_each(|row| column.push(if is_there(*row) { Value::Int(*row) } else { Value::Null }));
        column
    };
    let columns = vec![column(|row| row != 2), column(|row| row == 2 || row == 9)];
    assert_eq!(out(&answer), &Rows::new(9, columns).unwrap());
}

#[test]
fn a_process_takes_rows_and_fires_timers() {
    let mut instance = instance("process", "{}", LIMITS);
    let rows = |rows: &[[i64; 5]]| {
        let column = |at: usize| ints(&rows.iter().map(|row| row[at]).collect::<Vec<_>>());
        Rows::new(rows.len(), (0..5).map(column).collect()).unwrap()
    };
    let change = |origin, is_set, clock, at| TimerChange { origin, is_set, timer: Timer { clock, at } };
    let (unknown, now) = (i64::MIN, TIME.now.0);

    let taken = instance.call(&request_for("take")).unwrap();
    assert_eq!(out(&taken), &rows(&[[7, 5, 11, unknown, now], [7, 4, 13, unknown, now], [8, 6, 23, unknown, now]]));
    let Response::Processed { states, rejects, timers, .. } = taken else { panic!("{taken:?}") };
    let set = |origin, at| change(origin, true, Clock::EventTime, at);
    assert_eq!((states, rejects, timers), (sums(&[13, 23]), Vec::new(), vec![set(0, 15), set(1, 14), set(2, 16)]));

    let fired = instance.call(&request_for("fire")).unwrap();
    assert_eq!(out(&fired), &rows(&[[7, 15, 1, unknown, now], [8, -2, 2, unknown, now]]));
    let Response::Processed { states, timers, .. } = fired else { panic!("{fired:?}") };
    let both = |origin, at| [change(origin, true, Clock::WallTime, at), change(origin, false, Clock::EventTime, at + 1)];
    assert_eq!((states, timers), (sums(&[1, 2]), [both(0, 15), both(1, -3)].concat()));
}

#[test]
fn a_process_may_forget_and_refuse() {
    let mut states = sums(&[5]);
    states.push(b"");
    let grouped = Grouped { rows: int_rows(&[0, -1, 2]), ends: vec![1, 3] };
    let times = vec![EventTime(0); 3];
    let request = Request::Take { grouped, times, keys: int_rows(&[7, 8]), states, time: TIME };
    let Ok(Response::Processed { states, rejects, timers, .. }) = instance("process", "{}", LIMITS).call(&request) else {
        panic!("no answer")
    };
    assert_eq!((states.at(0), states.at(1)), (&b""[..], &2_i64.to_le_bytes()[..]));
    assert_eq!(rejects, [Reject { row: 1, code: 1, message: "negative".to_owned() }]);
    assert_eq!(timers.iter().map(|change| change.origin).collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn states_of_every_version_are_migrated_by_a_plugin_that_can() {
    assert!(load("process", "{}", LIMITS).can_migrate());
    let answer = instance("process", "{}", LIMITS).call(&request_for("migrate")).unwrap();
    let mut states = sums(&[7]);
    states.push(b"");
    states.push(&9_i64.to_le_bytes());
    let rejects = vec![Reject { row: 1, code: 1, message: "negative".to_owned() }];
    assert_eq!(answer, Response::Migrated { states, versions: vec![1, 1, 2], rejects });
    // What does not offer it loads as before, and nobody asks.
    assert!(!load("aggregate", "{}", LIMITS).can_migrate());
}

#[test]
fn all_rows_matched_is_no_bitmap_at_all() {
    let request = Request::Pair { left: int_rows(&[1]), right: int_rows(&[2]), matched: Bitmap::filled(true, 1), has_left: None };
    let answer = instance("join", "{}", LIMITS).call(&request).unwrap();
    assert_eq!(out(&answer).column(1).validity(), None);
}

#[test]
fn the_golden_columns_come_back_as_they_went() {
    let mut instance = instance("transform", "{}", LIMITS);
    let golden: serde_json::Value = serde_json::from_str(include_str!("../../../../wit/plugin/golden.json")).unwrap();
    let cases = golden["columns"].as_array().unwrap();
    assert!(cases.len() >= 20);
    for case in cases {
        let (position, column) = golden_column(case);
        let n_rows = column.len();
        let mut columns = transform_rows(&vec![1; n_rows]).columns().to_vec();
        columns[position] = column;
        let rows = Rows::new(n_rows, columns).unwrap();
        let answer =
            instance.call(&Request::Transform { rows: rows.clone() }).unwrap_or_else(|fault| panic!("{}: {fault}", case["name"]));
        assert_eq!(out(&answer), &rows, "{}", case["name"]);
    }
}

/// The column of a golden case, from what its values mean, and where the guest `transform` reads that type.
fn golden_column(case: &serde_json::Value) -> (usize, Column) {
    let (position, kind) = match case["type"].as_str().unwrap() {
        "f64" => (1, Kind::Float),
        "string" => (2, Kind::Bytes),
        "bytes" => (3, Kind::Bytes),
        "bool" => (4, Kind::Bool),
        "i64" => (5, Kind::Int),
        other => panic!("type {other}"),
    };
    let mut column = Column::empty(kind);
    for value in case["values"].as_array().unwrap() {
        match (value, position) {
            (serde_json::Value::Null, _) => column.push(Value::Null),
            (value, 1) => column.push(Value::Float(value.as_f64().unwrap())),
            (value, 2) => column.push(Value::Bytes(value.as_str().unwrap().as_bytes())),
            (value, 3) => {
                let hex = value.as_str().unwrap();
                let bytes: Vec<u8> =
                    (0..hex.len() / 2).map(|idx| u8::from_str_radix(&hex[2 * idx..2 * idx + 2], 16).unwrap()).collect();
                column.push(Value::Bytes(&bytes));
            }
            (value, 4) => column.push(Value::Bool(value.as_bool().unwrap())),
            (value, _) => column.push(Value::Int(value.as_i64().unwrap())),
        }
    }
    (position, column)
}

#[test]
fn a_nan_has_the_same_bits_on_every_machine() {
    let answer = call("nan-bits", "apply", LIMITS).unwrap();
    assert_eq!(out(&answer).column(5), &ints(&[0x7ff8_0000_0000_0000; 3]));
}

#[test]
fn values_far_from_zero_survive() {
    let window = window(-62_135_596_800_000, i64::MAX);
    let request = Request::Emit { windows: vec![window], keys: int_rows(&[i64::MIN]), states: sums(&[i64::MAX]) };
    let answer = instance("aggregate", "{}", LIMITS).call(&request).unwrap();
    let values = [i64::MIN, -62_135_596_800_000, i64::MAX, i64::MAX].map(|value| ints(&[value])).to_vec();
    assert_eq!(out(&answer), &Rows::new(1, values).unwrap());
}
