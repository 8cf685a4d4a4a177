//! A row as tests see it: values at their paths, null left out.

use std::collections::BTreeSet;

use reelflow_config::moment::Calendar;
use serde_json::Value;

/// Paths and values.
pub(in crate::commands) type Fields = Vec<(String, Value)>;

/// Something that was found.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::commands) struct Row {
    pub(in crate::commands) fields: Fields,
    /// When it came, for people.
    pub(in crate::commands) when: String,
}

/// The single values in `value`, in the order of their paths; `path` is where it stands.
pub(in crate::commands) fn flatten(path: &str, value: Value, to: &mut Fields) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Null => {}
        Value::Object(members) => members.into_iter().for_each(|(name, value)| flatten(&below(&name), value, to)),
        Value::Array(items) => {
            items.into_iter().enumerate().for_each(|(idx, value)| flatten(&below(&idx.to_string()), value, to));
        }
        single => to.push((path.to_owned(), single)),
    }
}

/// As the manifest would say it. The fields of `times` are written as times.
pub(in crate::commands) fn text(fields: &Fields, times: &BTreeSet<String>, calendar: &Calendar) -> String {
    let members = fields.iter().map(|(path, value)| {
        let value = match value.as_i64() {
            Some(ms) if times.contains(path) => Value::String(calendar.text(ms)),
            _ => value.clone(),
        };
        format!("{} = {value}", key(path))
    });
    match members.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "{}".to_owned(),
        members => format!("{{ {members} }}"),
    }
}

fn key(path: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if path.chars().all(is_bare) { path.to_owned() } else { Value::String(path.to_owned()).to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_are_shown_as_the_manifest_says_them() {
        let mut fields = Fields::new();
        let value =
            json!({ "title": "a \"b\"", "none": null, "key": { "id": 7, "at": 36_000_000 }, "ids": [1.5], "two words": true });
        flatten("", value, &mut fields);
        let shown = text(&fields, &["key.at".to_owned()].into(), &Calendar::utc());
        let expected = r#"{ ids.0 = 1.5, key.at = "1970-01-01 10:00:00", key.id = 7, title = "a \"b\"", "two words" = true }"#;
        assert_eq!(shown, expected);
        assert_eq!(text(&Fields::new(), &BTreeSet::new(), &Calendar::utc()), "{}");
    }
}
