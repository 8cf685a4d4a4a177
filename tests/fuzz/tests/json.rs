//! Documents that no mutation would come upon, through the target of the JSON scanner; and what we write ourselves.

use proptest::prelude::*;
use reelflow_core::{
    column::Value,
    json::{decode::Projector, encode},
    schema::{Field, FieldType, Schema},
};
use reelflow_fuzz::targets::json;

/// JSON text of any value, with whitespace in odd places, escapes that need not be, duplicate keys.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        (-1000..1000_i64).prop_map(|value| value.to_string()),
        any::<u64>().prop_map(|value| value.to_string()),
        any::<f64>().prop_filter("JSON has finite numbers", |value| value.is_finite()).prop_map(|value| format!("{value:?}")),
        "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
        string(),
    ];
    leaf.prop_recursive(5, 48, 6, |inner| prop_oneof![list("[", prop::collection::vec(inner.clone(), 0..6), "]"), object(inner)])
}

fn object(inner: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let member = (key(), space(), space(), inner).prop_map(|(key, before, after, value)| format!("{key}{before}:{after}{value}"));
    list("{", prop::collection::vec(member, 0..8), "}")
}

fn list(open: &'static str, items: impl Strategy<Value = Vec<String>>, close: &'static str) -> impl Strategy<Value = String> {
    (items, space(), space()).prop_map(move |(items, before, after)| {
        let separator = format!("{after},{before}");
        format!("{open}{before}{}{after}{close}", items.join(&separator))
    })
}

fn space() -> impl Strategy<Value = &'static str> {
    prop_oneof![8 => Just(""), 2 => Just(" "), 1 => Just("\n\t\r ")]
}

fn key() -> impl Strategy<Value = String> {
    let known = [
        "\"a\"",
        "\"b\"",
        "\"c\"",
        "\"d\"",
        "\"e\"",
        "\"e\"",
        "\"\\u0061\"",
        "\"é\\\"\"",
        "\"\\u00e9\\u0022\"",
        "\"unknown key\"",
    ];
    prop_oneof![12 => prop::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => string()]
}

fn string() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        6 => "[ -~]{0,12}".prop_map(|text| text.replace(['"', '\\'], "")),
        2 => "\\PC{0,4}".prop_map(|text| text.replace(['"', '\\'], "")),
        2 => prop::sample::select(vec!["\\n", "\\\"", "\\\\", "\\/", "\\b", "\\u0041", "\\ud83d\\ude00", "\\u00E9", "\u{7f}", "\u{2028}"])
            .prop_map(str::to_owned),
    ];
    prop::collection::vec(part, 0..5).prop_map(|parts| format!("\"{}\"", parts.concat()))
}

/// A document, and what some bytes of it are overwritten with, inserted or cut out.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let bytes = prop_oneof![
        prop::sample::select(b"{}[]\",:\\ue0-.1tnf \x00\x1f\n\xff\xc3\xa9".to_vec()).prop_map(|byte| vec![byte]),
        prop::sample::select(vec!["\\ud800", "\\u", "null", "1e999", "01", "\"a\":", ",,", "/**/", "NaN", "\u{feff}"])
            .prop_map(|text| text.as_bytes().to_vec()),
    ];
    let mutation = (any::<prop::sample::Index>(), 0..3_usize, bytes);
    (object(value()), prop::collection::vec(mutation, 0..4)).prop_map(|(text, mutations)| {
        let mut text = text.into_bytes();
        for (place, n_cut, bytes) in mutations {
            let at = place.index(text.len() + 1);
            let end = (at + n_cut).min(text.len());
            text.splice(at..end, bytes);
        }
        text
    })
}

fn check_all(documents: &[Vec<u8>]) {
    documents.iter().for_each(|document| {
        json::run(document);
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn documents_are_read_alike(documents in prop::collection::vec(object(value()), 1..4)) {
        let documents: Vec<Vec<u8>> = documents.into_iter().map(String::into_bytes).collect();
        check_all(&documents);
    }

    #[test]
    fn broken_documents_are_refused_alike(documents in prop::collection::vec(mutated(), 1..4)) {
        check_all(&documents);
    }

    #[test]
    fn no_bytes_panic(documents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 1..4)) {
        check_all(&documents);
    }

    /// What we write, `serde_json` reads, and we read back the same, floats to the last bit.
    #[test]
    fn rows_survive_their_json(
        rows in prop::collection::vec(
            (any::<Option<bool>>(), any::<Option<i64>>(), any::<Option<f64>>(), any::<Option<String>>(), any::<Option<Vec<u8>>>()),
            1..8,
        )
    ) {
        let field = |(name, field_type): (&str, FieldType)| Field { name: name.into(), path: name.into(), field_type, required: false };
        let fields = [
            ("bool", FieldType::Bool), ("i64 \"\\\n", FieldType::Int), ("f64", FieldType::Float), ("é", FieldType::Text), ("", FieldType::Bytes),
        ];
        let schema = Schema { fields: fields.map(field).into() };
        let mut projector = Projector::new(&schema);
        let mut built = projector.rows();
        for (bool, int, float, text, bytes) in &rows {
            built.push([
                bool.map_or(Value::Null, Value::Bool),
                int.map_or(Value::Null, Value::Int),
                float.filter(|float| float.is_finite()).map_or(Value::Null, Value::Float),
                text.as_ref().map_or(Value::Null, |text| Value::Bytes(text.as_bytes())),
                bytes.as_ref().map_or(Value::Null, |bytes| Value::Bytes(bytes)),
            ]);
        }
        let built = built.finish();
        let mut read = projector.rows();
        for (row_idx, (_, int, _, text, _)) in rows.iter().enumerate() {
            let mut json = Vec::new();
            encode::row(&schema, &built, row_idx, None, &mut json);
            let seen: serde_json::Value = serde_json::from_slice(&json).unwrap();
            prop_assert_eq!(seen["é"].as_str(), text.as_deref());
            prop_assert_eq!(seen["i64 \"\\\n"].as_i64(), *int);
            projector.decode(&json, &mut read).unwrap();
        }
        let read = read.finish();
        prop_assert_eq!(&read, &built);
        // `==` takes -0.0 for 0.0.
        for row in 0..built.len() {
            if let (Value::Float(a), Value::Float(b)) = (read.column(2).at(row), built.column(2).at(row)) {
                prop_assert_eq!(a.to_bits(), b.to_bits());
            }
        }
    }
}
