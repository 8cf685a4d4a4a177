use reelflow_core::{
    column::Value as Cell,
    plugin::{Clock, Request, StateVersion, Timer, World},
    schema::{Field, FieldType, Schema},
    time::Watermark,
};
use serde_json::json;

use super::*;

fn good() -> Value {
    json!({
        "format": FORMAT, "version": 1, "reel": "0.1.0", "pipeline": "p", "stage": "s", "letter": {},
        "died": { "reason": "trap", "code": null, "error": "plugin trapped: why" },
        "plugin": {
            "name": "guest", "digest": digest(b"component"), "config": {}, "component_base64": json_bytes::encoded(b"component"),
            "limits": { "memory_bytes": 1 << 20, "call_ms": 100, "output_bytes": 1 << 20, "component_bytes": 1 << 20 },
        },
        "call": {
            "function": "process.take", "time": 5, "watermark": -7, "now": 9,
            "key": [{ "name": "k", "type": "string", "value": "ä" }],
            "row": [
                { "name": "n", "type": "i64", "value": i64::MIN },
                { "name": "f", "type": "f64", "value": 0.1 },
                { "name": "b", "type": "bool", "value": true },
                { "name": "y", "type": "bytes", "value": "/wA=" },
                { "name": "t", "type": "string", "value": null },
            ],
            "state": { "type": "Seen", "versions": [1], "base64": "AQI=" },
        },
    })
}

/// The stored form: what was written as version 1 must be read for ever (I-10).
#[test]
fn a_bundle_is_read_as_it_was_written() {
    let incident = parse(good().to_string().as_bytes()).unwrap();
    assert_eq!(incident.component(), b"component");
    assert_eq!(serde_json::from_str::<Value>(&incident.to_text().ok().unwrap()).unwrap(), good());
}

#[track_caller]
fn refused(at: &str, value: Value, says: &str) {
    let mut bundle = good();
    *bundle.pointer_mut(at).unwrap() = value;
    let why = parse(bundle.to_string().as_bytes()).expect_err(says);
    assert!(why.contains(says), "{why}");
}

#[test]
fn a_damaged_or_hostile_bundle_is_refused() {
    refused("/format", json!("another"), "its format is not \"reelflow incident\"");
    refused("/version", json!(2), "it is of version 2, this build reads version 1");
    refused("/plugin/component_base64", json!("?"), "its component is not base64");
    refused("/plugin/component_base64", json!("AAAA"), "its component is damaged");
    refused("/plugin/config", json!(7), "its config is no object");
    refused("/plugin/limits/memory_bytes", json!(u64::MAX), "its limit memory_bytes is");
    refused("/plugin/limits/call_ms", json!(0), "its limit call_ms is 0, and must be from 1 to 60000");
    refused("/plugin/limits/output_bytes", json!(1_u64 << 40), "its limit output_bytes is");
    refused("/plugin/limits/component_bytes", json!(-1), "invalid value");
    refused("/call/function", json!("join.unpair"), "unknown variant");
    refused("/call/time", json!(i64::MAX), "is no event time");
    refused("/call/state/base64", json!("?"), "its state is not base64");
    refused("/call/row/0/value", json!(0.5), "its field \"n\" is no i64");
    refused("/call/row/0/value", json!(u64::MAX), "its field \"n\" is no i64");
    refused("/call/row/1/value", json!("x"), "its field \"f\" is no f64");
    refused("/call/row/3/value", json!("x"), "its field \"y\" is not base64");
    refused("/call/row/4/type", json!("map"), "its field \"t\" has no type that there is");
    refused("/call/key/0/value", json!([]), "its field \"k\" is no string");
    let whole = good().to_string();
    for len in 0..whole.len() - 1 {
        assert!(!whole.is_char_boundary(len) || parse(&whole.as_bytes()[..len]).is_err(), "{len}");
    }
}

fn declaration(fields: &[(&str, FieldType, bool)], reads: &[u32]) -> Declaration {
    let field = |(name, field_type, required): &(&str, FieldType, bool)| Field {
        name: (*name).to_owned(),
        path: (*name).to_owned(),
        field_type: *field_type,
        required: *required,
    };
    Declaration {
        world: World::Process,
        inputs: vec![Schema { fields: fields.iter().map(field).collect() }],
        outputs: Vec::new(),
        key: Schema { fields: vec![field(&("k", FieldType::Text, true))] },
        state: Some(StateVersion { name: "Seen".to_owned(), version: 2, reads: reads.to_vec() }),
        takes_right_alone: false,
        sdk: String::new(),
    }
}

#[test]
fn the_row_is_fitted_to_what_the_plugin_reads() {
    let incident = parse(good().to_string().as_bytes()).unwrap();
    let fields = [
        ("y", FieldType::Bytes, true),
        ("n", FieldType::Int, true),
        ("new", FieldType::Bool, false),
        ("f", FieldType::Float, false),
    ];
    let Ok(Request::Take { grouped, times, keys, states, time }) = incident.call.request(&declaration(&fields, &[1])) else {
        panic!("the plugin can be called");
    };
    let row: Vec<Cell<'_>> = grouped.rows.columns().iter().map(|column| column.at(0)).collect();
    assert_eq!(row, [Cell::Bytes(b"\xff\0"), Cell::Int(i64::MIN), Cell::Null, Cell::Float(0.1)]);
    assert_eq!((times[0].0, keys.column(0).at(0), states.at(0)), (5, Cell::Bytes("ä".as_bytes()), &[1, 2][..]));
    assert_eq!((time.watermark.0, time.now.0), (-7, 9));
}

#[test]
fn a_plugin_that_cannot_take_the_call_is_refused() {
    let incident = parse(good().to_string().as_bytes()).unwrap();
    let why = |declaration: &Declaration| incident.call.request(declaration).map(drop).unwrap_err();
    let of = |field: (&str, FieldType, bool)| why(&declaration(&[field], &[1]));
    assert_eq!(of(("new", FieldType::Int, true)), "it reads field \"new\", which the row does not have");
    assert_eq!(of(("t", FieldType::Text, true)), "it needs field \"t\", which is null in the row");
    assert_eq!(of(("n", FieldType::Text, false)), "it reads field \"n\" as string, the row has i64");
    assert_eq!(why(&declaration(&[], &[])), "it reads state Seen 2, the incident has Seen 1");
    assert_eq!(why(&Declaration { state: None, ..declaration(&[], &[]) }), "it declares no state");
    let other = Declaration { world: World::Join, ..declaration(&[], &[1]) };
    assert_eq!(why(&other), "it is of kind join, and the call is one of kind process");
    let key = Declaration { key: Schema { fields: vec![] }, ..declaration(&[], &[1]) };
    assert!(incident.call.request(&key).is_ok(), "any key");
}

#[test]
fn a_pair_may_have_no_partner() {
    let cell = |value: i64| json!([{ "name": "n", "type": "i64", "value": value }]);
    let input =
        || Schema { fields: vec![Field { name: "n".into(), path: "n".into(), field_type: FieldType::Int, required: true }] };
    let join = Declaration { world: World::Join, inputs: vec![input(), input()], ..declaration(&[], &[]) };
    for (right, expected) in [(cell(8), Cell::Int(8)), (Value::Null, Cell::Null)] {
        let mut bundle = good();
        bundle["call"] = json!({ "function": "join.pair", "left": cell(7), "right": right });
        let incident = parse(bundle.to_string().as_bytes()).unwrap();
        let Ok(Request::Pair { left, right, matched, has_left }) = incident.call.request(&join) else { panic!("a join") };
        assert_eq!((left.column(0).at(0), right.column(0).at(0)), (Cell::Int(7), expected));
        assert_eq!((matched.at(0), has_left), (expected != Cell::Null, None));
    }
    let mut bundle = good();
    bundle["call"] = json!({ "function": "join.pair", "left": cell(7), "right": [{ "name": "n", "type": "i64", "value": "x" }] });
    assert!(parse(bundle.to_string().as_bytes()).is_err());
}

fn calling(call: Value) -> Result<Call, String> {
    let mut bundle = good();
    bundle["call"] = call;
    parse(bundle.to_string().as_bytes()).map(|incident| incident.call)
}

/// The stored form of version 1 (I-10), and the requests that they are.
#[test]
fn windows_timers_and_merges_are_calls() {
    let part = |base64: &str| json!({ "type": "Seen", "versions": [1, 2], "base64": base64 });
    let key = json!([{ "name": "k", "type": "string", "value": "ä" }]);
    let process = declaration(&[], &[1]);
    let aggregate = Declaration { world: World::Aggregate, ..process.clone() };
    let emit = json!({ "function": "aggregate.emit", "window": { "start": -5, "end": 0 }, "key": key, "state": part("AQI=") });
    let Ok(Request::Emit { windows, keys, states }) = calling(emit.clone()).and_then(|call| call.request(&aggregate)) else {
        panic!("an emit");
    };
    assert_eq!((windows[0].start().0, windows[0].end().0), (-5, 0));
    assert_eq!((keys.column(0).at(0), states.at(0)), (Cell::Bytes("ä".as_bytes()), &[1, 2][..]));
    let merge = json!({ "function": "aggregate.merge", "parts": [part("AQI="), part("Aw==")] });
    let Ok(Request::Merge { parts, ends }) = calling(merge.clone()).and_then(|call| call.request(&aggregate)) else {
        panic!("a merge");
    };
    assert_eq!((parts.at(0), parts.at(1), &ends[..]), (&[1, 2][..], &[3][..], &[2][..]));
    let timer = json!({ "clock": "wall-time", "at": 7 });
    let fire = json!({ "function": "process.fire", "timer": timer, "key": key, "state": null, "watermark": i64::MIN, "now": 9 });
    let Ok(Request::Fire { timers, states, time, .. }) = calling(fire.clone()).and_then(|call| call.request(&process)) else {
        panic!("a fire");
    };
    assert_eq!((timers[0], states.at(0)), (Timer { clock: Clock::WallTime, at: 7 }, &[][..]));
    assert_eq!((time.watermark, time.now.0), (Watermark::UNKNOWN, 9));

    let why = calling(merge).and_then(|call| call.request(&process)).map(drop).unwrap_err();
    assert_eq!(why, "it is of kind process, and the call is one of kind aggregate");
    let newer = Declaration { state: process.state.clone().map(|state| StateVersion { reads: vec![], ..state }), ..aggregate };
    let why = calling(emit.clone()).and_then(|call| call.request(&newer)).map(drop).unwrap_err();
    assert_eq!(why, "it reads state Seen 2, the incident has Seen 1");
    let with = |call: &Value, at: &str, value: Value| {
        let mut call = call.clone();
        *call.pointer_mut(at).unwrap() = value;
        calling(call).map(drop).unwrap_err()
    };
    assert_eq!(with(&emit, "/window/end", json!(-5)), "the window from -5 to -5 is none");
    assert_eq!(with(&emit, "/state/base64", json!("?")), "its state is not base64");
    assert!(with(&emit, "/key/0/value", json!(7)).contains("is no string"));
    assert_eq!(with(&fire, "/timer/at", json!(i64::MAX)), format!("the timer's time {} is no event time", i64::MAX));
    assert!(with(&fire, "/timer/clock", json!("moon")).contains("unknown variant"));
    assert_eq!(calling(json!({ "function": "aggregate.merge", "parts": [] })).map(drop), Err("it merges nothing".to_owned()));
}

#[test]
fn another_component_than_the_letters_is_told() {
    let then = format!("guest@{}", &digest(b"component")[..16]);
    assert_eq!(other_component(Some(&then), "guest", b"component"), None);
    assert_eq!(other_component(None, "guest", b"component"), None);
    let told = other_component(Some("guest@0"), "guest", b"component");
    assert_eq!(told, Some(format!("the letter is of component guest@0, this one is {then}")));
}
