//! `format` of sources, and `[registry]`.

use schemars::JsonSchema;
use serde_json::{Value, json};

use super::{Secret, Setting};

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(super) enum SourceFormat {
    /// An object.
    Json,
    /// Apache Avro, in its binary form.
    Avro,
    /// Protocol Buffers.
    Protobuf,
    /// The whole value is the field `value`, the whole key the field `key`.
    Raw,
}

/// A table's values have fields to look up by, so they are not raw.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(super) enum TableFormat {
    /// An object.
    Json,
    /// Apache Avro, in its binary form.
    Avro,
    /// Protocol Buffers.
    Protobuf,
}

/// Which of `format`, `schema` and `message` go together.
pub(super) fn rules() -> Value {
    let has = |keys: &[&str]| json!({ "required": keys });
    let is = |format: &str| json!({ "properties": { "format": { "const": format } } });
    let both = |one: Value, other: Value| json!({ "allOf": [one, other] });
    let either = json!({ "properties": { "format": { "enum": ["avro", "protobuf"] } } });
    json!([
        { "if": has(&["schema"]), "then": both(has(&["format"]), either) },
        { "if": has(&["message"]), "then": both(has(&["format", "schema"]), is("protobuf")) },
        { "if": both(has(&["format", "schema"]), is("protobuf")), "then": has(&["message"]) },
    ])
}

/// A user without a password, or the other way round, is half an account.
fn together() -> Value {
    json!({ "user": ["password"], "password": ["user"] })
}

/// A schema registry with the interface of Confluent's.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("dependencies" = together()))]
pub(super) struct Registry {
    /// Its address, `http://…` or `https://…`.
    url: Setting,
    /// Whom it lets in, together with `password`.
    user: Option<Setting>,
    password: Option<Secret>,
    /// The certificates (PEM) that sign its own, where the public authorities do not: `{ file = "ca.pem" }`.
    ca: Option<Setting>,
}
