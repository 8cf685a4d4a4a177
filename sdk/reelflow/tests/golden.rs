//! The bytes of columns and states are a contract: with the host (columns) and with every state ever kept (states). `golden.json`
//! holds both; the host's tests read it, too.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

use reelflow::{
    State,
    column::{Builder, Column, FieldType, Packed, Values},
    event::Field,
    state,
};
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("../../../wit/plugin/golden.json")).expect("golden.json is JSON")
}

fn from_hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("hex is text");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex digits")).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

/// The column whose bytes the case spells out.
fn column_of(case: &Value) -> Column {
    let values = match case["type"].as_str().expect("a type") {
        "bool" => Values::Bools(from_hex(&case["bools_hex"])),
        "i64" => Values::Ints(list(&case["ints"]).iter().map(|value| value.as_i64().expect("an integer")).collect()),
        "f64" => {
            let float = |bits: &Value| f64::from_bits(u64::from_str_radix(bits.as_str().expect("hex"), 16).expect("hex digits"));
            Values::Floats(list(&case["floats_bits"]).iter().map(float).collect())
        }
        _ => {
            let ends = list(&case["ends"]).iter().map(|end| end.as_u64().expect("an end") as u32).collect();
            Values::Bytes(Packed { data: from_hex(&case["data_hex"]), ends })
        }
    };
    Column { values, validity: from_hex(&case["validity_hex"]) }
}

fn encode(case: &Value) -> Column {
    let field_type = [FieldType::Bool, FieldType::Int, FieldType::Float, FieldType::Text, FieldType::Bytes];
    let field_type = field_type.into_iter().find(|one| one.name() == case["type"]).expect("a known type");
    let mut builder = Builder::new(field_type);
    for value in list(&case["values"]) {
        match (field_type, value) {
            (_, Value::Null) => builder.push_null(),
            (FieldType::Bool, value) => builder.push_bool(value.as_bool().expect("a bool")),
            (FieldType::Int, value) => builder.push_int(value.as_i64().expect("an integer")),
            (FieldType::Float, value) => builder.push_float(value.as_f64().expect("a float")),
            (FieldType::Text, value) => builder.push_bytes(value.as_str().expect("text").as_bytes()),
            (FieldType::Bytes, value) => builder.push_bytes(&from_hex(value)),
        }
    }
    builder.finish()
}

/// What an event with a field of type `Option<T>` reads from the column, as JSON.
fn decode<'a, T: Field<'a>>(column: &'a Column, n_rows: usize, json: impl Fn(T) -> Value) -> Vec<Value> {
    let bound = <Option<T>>::bind(column);
    let at = |idx| <Option<T>>::at(&bound, idx, "golden").expect("every value fits").map_or(Value::Null, &json);
    (0..n_rows).map(at).collect()
}

#[test]
fn columns_are_written_and_read_as_the_contract_says() {
    let golden = golden();
    assert!(list(&golden["columns"]).len() > 20);
    for case in list(&golden["columns"]) {
        let (name, column) = (&case["name"], column_of(case));
        if case["decode_only"] != true {
            assert_eq!(encode(case), column, "{name}");
        }
        let values = list(&case["values"]);
        let n_rows = values.len();
        let decoded = match case["type"].as_str().expect("a type") {
            "bool" => decode::<bool>(&column, n_rows, Value::from),
            "i64" => decode::<i64>(&column, n_rows, Value::from),
            "f64" => decode::<f64>(&column, n_rows, Value::from),
            "string" => decode::<&str>(&column, n_rows, Value::from),
            _ => decode::<&[u8]>(&column, n_rows, |bytes| Value::from(hex(bytes))),
        };
        assert_eq!(decoded, values, "{name}");
    }
}

macro_rules! states {
    ($($name:ident { $($field:ident: $ty:ty),* })*) => {$(
        #[derive(State, Debug, Default, PartialEq)]
        #[state(version = 1)]
        struct $name { $($field: $ty),* }
    )*};
}

states! {
    Nothing {}
    Unsigned { a: u8, b: u16, c: u32, d: u64 }
    Signed { a: i8, b: i16, c: i32, d: i64 }
    Floats { a: f64, b: f32 }
    Bools { a: bool, b: bool }
    Text { a: String }
    Optional { a: Option<i64>, b: Option<String> }
    Lists { a: Vec<i64>, b: Vec<Vec<bool>> }
    Ordered { set: BTreeSet<i64>, map: BTreeMap<String, u64> }
    Fixed { pair: (i64, String), array: [u8; 3] }
    Nested { inner: Unsigned, by_id: BTreeMap<i64, Watched> }
    Watched { plays: u64, viewers: BTreeSet<i64> }
    Keyed { last: Option<i64>, waiting: Vec<(i64, String)>, counts: BTreeMap<i64, u64> }
}

#[derive(State, Debug, PartialEq)]
#[state(version = 300)]
struct Late {
    n: u64,
}

#[track_caller]
fn check<S: State + Debug + PartialEq>(cases: &mut BTreeMap<String, (String, String)>, name: &str, value: &S) {
    let mut bytes = Vec::new();
    state::encode(value, &mut bytes);
    let found = (format!("{value:?}"), hex(&bytes));
    assert_eq!(cases.remove(name), Some(found), "{name}");
    assert_eq!(state::decode::<S>(&bytes).as_ref(), Ok(value), "{name}");
    for len in 0..bytes.len() {
        assert!(state::decode::<S>(&bytes[..len]).is_err(), "{name}, cut after {len} bytes");
    }
    bytes.push(0);
    assert!(state::decode::<S>(&bytes).is_err(), "{name}, with a byte too many");
}

#[test]
fn states_are_written_and_read_as_they_always_were() {
    let golden = golden();
    let text = |case: &Value, member: &str| case[member].as_str().unwrap_or_default().to_owned();
    let mut cases: BTreeMap<_, _> =
        list(&golden["states"]).iter().map(|case| (text(case, "name"), (text(case, "value"), text(case, "hex")))).collect();
    let cases = &mut cases;

    check(cases, "no_fields", &Nothing {});
    check(cases, "unsigned_zero", &Unsigned::default());
    check(cases, "unsigned_edges", &Unsigned { a: 127, b: 128, c: 16_384, d: 1 << 63 });
    check(cases, "unsigned_max", &Unsigned { a: u8::MAX, b: u16::MAX, c: u32::MAX, d: u64::MAX });
    check(cases, "signed_minus_one", &Signed { a: -1, b: -1, c: -1, d: -1 });
    check(cases, "signed_edges", &Signed { a: 63, b: 64, c: -64, d: -65 });
    check(cases, "signed_min", &Signed { a: i8::MIN, b: i16::MIN, c: i32::MIN, d: i64::MIN });
    check(cases, "signed_max", &Signed { a: i8::MAX, b: i16::MAX, c: i32::MAX, d: i64::MAX });
    check(cases, "floats", &Floats { a: -0.25, b: 1.5 });
    check(cases, "bools", &Bools { a: false, b: true });
    check(cases, "text_empty", &Text::default());
    check(cases, "text", &Text { a: "h\u{e9}\u{1f600}".to_owned() });
    check(cases, "none", &Optional::default());
    check(cases, "some", &Optional { a: Some(0), b: Some(String::new()) });
    check(cases, "lists_empty", &Lists::default());
    check(cases, "lists", &Lists { a: vec![3, -3], b: vec![vec![], vec![true, false]] });
    check(cases, "ordered_empty", &Ordered::default());
    let ordered = Ordered { set: [5, -5, 0].into(), map: [("b".to_owned(), 2), ("a".to_owned(), 1)].into() };
    check(cases, "ordered", &ordered);
    check(cases, "fixed", &Fixed { pair: (-2, "x".to_owned()), array: [0, 1, 255] });
    let watched = |plays, viewers: &[i64]| Watched { plays, viewers: viewers.iter().copied().collect() };
    let nested = Nested {
        inner: Unsigned { d: 9, ..Unsigned::default() },
        by_id: [(-7, watched(2, &[1, 2])), (7, watched(0, &[]))].into(),
    };
    check(cases, "nested", &nested);
    check(cases, "keyed_new", &Keyed::default());
    let keyed =
        Keyed { last: Some(-1), waiting: vec![(7, "p".to_owned()), (6, String::new())], counts: [(-5, 1), (300, 2)].into() };
    check(cases, "keyed", &keyed);
    check(cases, "version_300", &Late { n: 1 });
    assert_eq!(cases.keys().collect::<Vec<_>>(), Vec::<&String>::new(), "cases of golden.json that no test checks");
}
