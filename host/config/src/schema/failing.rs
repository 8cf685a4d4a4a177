//! `on_error`, `errors_max`, `retries` and `backoff` of a stage.

use schemars::JsonSchema;
use serde_json::Value;

/// A limit behind the first error is never reached.
pub(super) fn limit_at_failure() -> Value {
    serde_json::json!({ "properties": { "on_error": { "const": "fail" } }, "required": ["on_error", "errors_max"] })
}

/// What becomes of rows that break the plugin or that it refuses. Default `dead-letter`. See [plugins](plugins.md#when-a-plugin-fails).
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(super) enum OnError {
    /// They are written to the dead-letter topic.
    DeadLetter,
    /// They are counted, and written nowhere.
    Skip,
    /// The pipeline stops at the first one, and commits nothing of the open epoch.
    Fail,
}

/// More errors than this stop the pipeline. Default: none do.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct ErrorsMax {
    /// How many of these rows may go wrong.
    share: Share,
    /// Rows of one partition; they are counted in blocks that end with the batch which makes them so many.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    of: u64,
}

/// A share: a number of at most two decimals and `%`, above 0% and below 100%.
#[derive(JsonSchema)]
pub(super) struct Share(#[schemars(regex(pattern = "^[0-9]{1,2}([.][0-9]{1,2})?%$"))] String);

/// How often a call of a single row or group that ran into its deadline is made again; at most 5. Default 3.
#[derive(JsonSchema)]
pub(super) struct Retries(#[schemars(range(min = 0, max = 5))] u32);

/// How long to wait before the first of these retries; doubles with each. At most 200ms. Default 20ms.
#[derive(JsonSchema)]
pub(super) struct Backoff(#[schemars(regex(pattern = "^[0-9]+(ms|s|m|h|d)$"))] String);
