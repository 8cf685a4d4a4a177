//! JSON Merge Patch: a document that says what of another changes. Source: RFC 7396, section 2.

use serde_json::{Map, Value};

use crate::failure::{Exit, Failure};

/// What of records changes when they are put back.
pub(super) struct Patch(Map<String, Value>);

impl Patch {
    pub(super) fn parse(text: &str) -> Result<Patch, Failure> {
        let refuse = |why: String| Failure::new(Exit::User, format!("--patch {text} is no patch: {why}"));
        match serde_json::from_str(text) {
            Ok(Value::Object(members)) if !members.is_empty() => Ok(Patch(members)),
            Ok(_) => Err(refuse("it must be a JSON object with members".to_owned())),
            Err(why) => Err(refuse(format!("it is not JSON: {why}"))),
        }
    }

    /// The patched value; `None` if `value` is no JSON object.
    pub(super) fn apply(&self, value: Option<&[u8]>) -> Option<Vec<u8>> {
        let mut object: Map<String, Value> = serde_json::from_slice(value?).ok()?;
        merge(&mut object, &self.0);
        Some(Value::Object(object).to_string().into_bytes())
    }
}

fn merge(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (name, value) in patch {
        match value {
            Value::Null => drop(target.remove(name)),
            Value::Object(inner) => {
                let member = target.entry(name.clone()).or_insert(Value::Null);
                if !member.is_object() {
                    *member = Value::Object(Map::new());
                }
                merge(member.as_object_mut().expect("it was just made one"), inner);
            }
            other => drop(target.insert(name.clone(), other.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those of RFC 7396, appendix A, whose patches are objects.
    #[test]
    fn the_cases_of_the_standard() {
        for (value, patch, expected) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, r#"{}"#),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"a":1,"e":null}"#),
            (r#"{}"#, r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ] {
            let patched = Patch::parse(patch).ok().and_then(|patch| patch.apply(Some(value.as_bytes())));
            assert_eq!(patched.as_deref(), Some(expected.as_bytes()), "{value} with {patch}");
        }
    }

    #[test]
    fn what_is_no_object_is_not_patched() {
        let patch = Patch::parse(r#"{"a":1}"#).expect("a patch");
        for value in [None, Some(&b""[..]), Some(b"[]"), Some(b"{"), Some(b"\xff")] {
            assert_eq!(patch.apply(value), None);
        }
        for text in ["", "7", "[]", "{}", "{\"a\":1"] {
            assert!(Patch::parse(text).is_err(), "{text}");
        }
    }
}
