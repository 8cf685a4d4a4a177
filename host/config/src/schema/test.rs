//! `[[test]]`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::Value;

use super::{Name, Text};

/// What comes of some records: see [testing](testing.md). `reel test` plays it.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Test {
    /// What it shows. No two tests have one name.
    name: Text,
    /// The day of times that name none, such as `"2026-03-29"`. Default `"1970-01-01"`.
    date: Option<Text>,
    /// The zone of times without an offset, such as `"Europe/Amsterdam"`. Default `"UTC"`.
    time_zone: Option<Text>,
    /// The records that arrive, by source or table, each in the order of their arrival.
    #[schemars(extend("minProperties" = 1))]
    input: BTreeMap<Name, Records>,
    /// All rows of a sink, in any order. Of a sink that is not named, none.
    expect: Option<BTreeMap<Name, Expected>>,
    /// All late records of a stage; of a field that is not named, the value is any.
    late: Option<BTreeMap<Name, Expected>>,
    /// All dead letters: `source` or `stage`, `reason`, `error`, `code`, `record`, or `raw` of what is not JSON.
    dead: Option<Expected>,
    /// All that a stage keeps in the end, with the members that `reel state get --format json` shows.
    state: Option<BTreeMap<Name, Rows>>,
    /// `"any"`: whatever comes of the rest is right. Default: nothing may come of it.
    others: Option<Any>,
    /// Where the wall clock goes when the last record is processed. Default: it stays where it is.
    until: Option<Moment>,
    /// Whether all sources end then, so that all windows close. Default `true`.
    end: Option<bool>,
    /// Play it one record at a time only: for results that depend on the wall clock. Default `false`.
    once: Option<bool>,
}

/// A time: `"10:00:05"`, `"2026-03-29 02:30"`, `"2026-03-29T02:30:00Z"`, or ms since 1970.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Moment {
    Text(String),
    Ms(i64),
}

/// Records: their fields as they stand in the topic's values, and what follows.
#[derive(JsonSchema)]
pub(super) struct Records(Vec<TestRecord>);

/// A record that arrives in a test.
#[derive(JsonSchema)]
pub(super) struct TestRecord {
    /// When it happened.
    at: Option<Moment>,
    /// What the wall clock reads, and the log writes down, when it arrives. Default: the latest `at` of its source so far.
    arrives: Option<Moment>,
    /// The whole value as text, instead of fields.
    raw: Option<String>,
    /// The key that the fields say is deleted from its table.
    deleted: Option<bool>,
    /// Instead of a record: its source promises to hold nothing older from here on.
    watermark: Option<Moment>,
    #[schemars(flatten)]
    fields: BTreeMap<String, Value>,
}

/// Rows: values of fields. A field of a sink's row that is not named is null. Where a field is an i64, a string is a time.
#[derive(JsonSchema)]
pub(super) struct Rows(Vec<BTreeMap<String, Value>>);

/// Rows, or `"any"`: whatever comes is right.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Expected {
    Rows(Rows),
    Any(Any),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(super) enum Any {
    Any,
}
