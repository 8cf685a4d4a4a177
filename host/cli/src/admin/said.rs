//! What the admin pages say, as JSON. Members are added, never renamed.

use std::collections::BTreeMap;

use reelflow_runtime::code::Components;
use serde::{Deserialize, Serialize};

use crate::{
    commands::reload::told,
    failure::{Exit, Failure},
    json_bytes,
    metrics::Standing,
};

/// Of all pages.
pub(crate) const FORMAT: u32 = 1;

/// `/history`: oldest first.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct History {
    pub format: u32,
    pub entries: Vec<told::Entry>,
}

/// `/plugins`: what runs.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plugins {
    pub format: u32,
    pub plugins: Vec<Plugin>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plugin {
    pub plugin: String,
    pub digest: String,
    pub stages: Vec<String>,
}

/// `/status`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    pub format: u32,
    pub pipeline: String,
    #[serde(flatten)]
    pub standing: Standing,
    /// What the pipeline runs.
    pub code: Option<told::Entry>,
    /// What is tried.
    pub trial: Option<told::Entry>,
    /// The last proposal to a running pipeline on which a verdict fell.
    pub decided: Option<told::Entry>,
}

/// `/reload`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reloaded {
    pub format: u32,
    pub plan: told::Plan,
    /// Of the manifest with the new code, for people.
    pub warnings: Option<String>,
    /// Null where only the plan was asked for.
    pub proposal: Option<i64>,
    /// Null where it did not fall in time.
    pub verdict: Option<told::Entry>,
}

/// Why a page was not given, or nothing was proposed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Refused {
    pub format: u32,
    /// In one line.
    pub error: String,
    /// As `reel` says it, with what can be done.
    pub text: String,
    /// How `reel` ends then.
    pub exit: u8,
}

impl Refused {
    pub(crate) fn of(failure: &Failure) -> Refused {
        // A difference of plans has a line for each field.
        let error = failure.text().split_whitespace().collect::<Vec<_>>().join(" ");
        Refused { format: FORMAT, error, text: failure.in_full(false), exit: failure.exit_code() }
    }
}

/// The body of a change of several plugins: `{"components": {"count": "<base64>"}}`.
#[derive(Debug, Serialize, Deserialize)]
struct Body {
    components: BTreeMap<String, String>,
}

pub(crate) fn body_of(components: &Components) -> Vec<u8> {
    let encoded = |(name, bytes): (&std::sync::Arc<str>, &std::sync::Arc<[u8]>)| (name.to_string(), json_bytes::encoded(bytes));
    told::json_of(&Body { components: components.iter().map(encoded).collect() }).into_bytes()
}

pub(super) fn components(body: &[u8]) -> Result<Components, Failure> {
    let wrong = |why: String| {
        Failure::new(Exit::User, format!("the body is no list of components: {why}")).help(
            "Send {\"components\": {\"NAME\": \"<base64>\"}}, or name the plugin with ?plugin=NAME and send its component as it is.",
        )
    };
    let body: Body = serde_json::from_slice(body).map_err(|why| wrong(why.to_string()))?;
    let decoded = |(name, text): (&String, &String)| match json_bytes::decoded(text) {
        Some(bytes) => Ok((name.as_str().into(), bytes.into())),
        None => Err(wrong(format!("that of \"{name}\" is not base64"))),
    };
    body.components.iter().map(decoded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_come_as_they_were_sent() {
        let sent: Components = [("a".into(), b"\0asm".to_vec().into()), ("b".into(), Vec::new().into())].into();
        assert_eq!(components(&body_of(&sent)).unwrap(), sent);
        for body in ["", "[]", "{}", r#"{"components":{"a":"?"}}"#, r#"{"components":{"a":1}}"#] {
            assert_eq!(components(body.as_bytes()).unwrap_err().exit_code(), 2, "{body}");
        }
    }
}
