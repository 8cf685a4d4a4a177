//! Bytes in JSON: text as it is, and what is not text as base64 under another name.

use reelflow_core::json::base64;
use serde_json::{Map, Value};

/// Inserts `bytes` as member `name`; those that are not UTF-8 as `<name>_base64`.
pub(crate) fn insert(into: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => into.insert(name.to_owned(), Value::Null),
        Some((_, Ok(text))) => into.insert(name.to_owned(), Value::String(text.to_owned())),
        Some((bytes, Err(_))) => into.insert(format!("{name}_base64"), Value::String(encoded(bytes))),
    };
}

/// What [`insert`] has inserted as `name`; `None` if there is no such member. An object or a list stands for its own text: it is easier
/// to write by hand than a text with quotes.
pub(crate) fn read(from: &Map<String, Value>, name: &str) -> Result<Option<Option<Vec<u8>>>, String> {
    let in_base64 = format!("{name}_base64");
    match (from.get(name), from.get(&in_base64)) {
        (Some(_), Some(_)) => Err(format!("both \"{name}\" and \"{in_base64}\"")),
        (None, None) => Ok(None),
        (Some(Value::Null), None) => Ok(Some(None)),
        (Some(Value::String(text)), None) => Ok(Some(Some(text.clone().into_bytes()))),
        (Some(value @ (Value::Object(_) | Value::Array(_))), None) => Ok(Some(Some(value.to_string().into_bytes()))),
        (Some(_), None) => Err(format!("\"{name}\" is no text, object, list or null")),
        (None, Some(Value::String(text))) => match decoded(text) {
            Some(bytes) => Ok(Some(Some(bytes))),
            None => Err(format!("\"{in_base64}\" is not base64")),
        },
        (None, Some(_)) => Err(format!("\"{in_base64}\" is no text")),
    }
}

pub(crate) fn encoded(bytes: &[u8]) -> String {
    let mut text = Vec::new();
    base64::encode(bytes, &mut text);
    String::from_utf8(text).expect("base64 is ASCII")
}

pub(crate) fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    base64::decode(text.as_bytes(), &mut bytes).map(|()| bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inserted_is_read() {
        for bytes in [None, Some(&b""[..]), Some(b"text"), Some(b"\xff\x00")] {
            let mut members = Map::new();
            insert(&mut members, "value", bytes);
            assert_eq!(read(&members, "value"), Ok(Some(bytes.map(<[u8]>::to_vec))), "{members:?}");
        }
    }

    #[test]
    fn what_is_written_by_hand_is_read_or_refused() {
        for (text, expected) in [
            (r#"{}"#, Ok(None)),
            (r#"{"value":{"a":1}}"#, Ok(Some(Some(br#"{"a":1}"#.to_vec())))),
            (r#"{"value":7}"#, Err("\"value\" is no text, object, list or null")),
            (r#"{"value_base64":"?"}"#, Err("\"value_base64\" is not base64")),
            (r#"{"value_base64":null}"#, Err("\"value_base64\" is no text")),
            (r#"{"value":"","value_base64":""}"#, Err("both \"value\" and \"value_base64\"")),
        ] {
            let Ok(Value::Object(members)) = serde_json::from_str(text) else { panic!("{text}") };
            assert_eq!(read(&members, "value"), expected.map_err(str::to_owned), "{text}");
        }
    }
}
