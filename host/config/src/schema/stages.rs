//! `[stage.NAME]`.

use schemars::JsonSchema;
use serde_json::Value;

use super::{
    Columns, Duration, Input, Inputs, Name, Text,
    failing::{Backoff, ErrorsMax, OnError, Retries, limit_at_failure},
    windows::Window,
};

fn one_of_inputs() -> Value {
    serde_json::json!([{ "required": ["input"] }, { "required": ["inputs"] }])
}

/// A stage reads one stream or several.
/// A join of windows has `window`, every other one `within`.
fn by_window() -> Value {
    serde_json::json!({ "properties": { "match": { "const": "window" } }, "required": ["match"] })
}

/// One step of the pipeline.
#[derive(JsonSchema)]
#[schemars(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Stage {
    /// Each row becomes any number of rows.
    #[schemars(extend("oneOf" = one_of_inputs(), "not" = limit_at_failure()))]
    Transform {
        input: Option<Input>,
        inputs: Option<Inputs>,
        event_time: Option<StageTime>,
        on_error: Option<OnError>,
        errors_max: Option<ErrorsMax>,
        retries: Option<Retries>,
        backoff: Option<Backoff>,
        plugin: Name,
    },
    /// The first row of each id passes, the others are counted and dropped.
    #[schemars(extend("oneOf" = one_of_inputs()))]
    Dedup {
        input: Option<Input>,
        inputs: Option<Inputs>,
        /// Default: the source's id.
        id: Option<Text>,
        /// How long an id is kept, in event time. Default: as long as anything downstream can need it.
        horizon: Option<Duration>,
    },
    /// Rows of one key and window become a result.
    #[schemars(extend("oneOf" = one_of_inputs(), "not" = limit_at_failure()))]
    Aggregate {
        input: Option<Input>,
        inputs: Option<Inputs>,
        key: Columns,
        window: Window,
        /// How long after its end a window still takes records. Default 0s.
        lateness: Option<Duration>,
        /// Default `final`.
        emit: Option<Emit>,
        /// Whenever so much wall time has passed, what has changed is written of windows that have not ended. With `emit = "upsert"`, and
        /// windows of fixed size; hopping ones of at most 60 slides.
        early: Option<Duration>,
        /// Whether rows are added up before they are moved by their key, if the result is the same however they are grouped. One input, windows of
        /// fixed size, `guarantee = "exactly-once"`. Default false.
        combine: Option<bool>,
        event_time: Option<StageTime>,
        on_error: Option<OnError>,
        errors_max: Option<ErrorsMax>,
        retries: Option<Retries>,
        backoff: Option<Backoff>,
        plugin: Name,
    },
    /// Rows of two inputs that are near each other in event time: each left row with the latest right row before it, with all around it, or
    /// with all of its window.
    #[schemars(extend("if" = by_window(), "then" = { "required": ["window"] }, "else" = { "required": ["within"] }, "not" = limit_at_failure()))]
    Join {
        left: Input,
        right: Input,
        /// The fields in which both sides are equal.
        on: Columns,
        /// Default `latest-before`.
        #[schemars(rename = "match")]
        matching: Option<Match>,
        /// How far back a right row may lie. Needed, but with `match = "window"`.
        within: Option<Duration>,
        /// How far after the left row a right row may lie; with `match = "all"`. Default 0s.
        after: Option<Duration>,
        /// Tumbling or hopping windows; needed with `match = "window"`.
        window: Option<Window>,
        /// Which rows without a match are emitted. `right` and `full` with `match = "all"` or `"window"`, and a plugin that takes right rows
        /// alone. Default `inner`: none.
        join: Option<JoinKind>,
        /// Of right rows at the same time, the one with the greatest value in this field wins; with `match = "latest-before"`.
        tie: Option<Text>,
        /// How long behind the watermark records still count. Default 0s.
        lateness: Option<Duration>,
        /// With `match = "latest-before"`. Default `final`.
        emit: Option<Emit>,
        event_time: Option<StageTime>,
        on_error: Option<OnError>,
        errors_max: Option<ErrorsMax>,
        retries: Option<Retries>,
        backoff: Option<Backoff>,
        plugin: Name,
    },
    /// Each row with the version of a table that was valid at its event time.
    #[schemars(extend("not" = limit_at_failure()))]
    Lookup {
        input: Input,
        /// The name of a table.
        table: Name,
        /// The fields in which row and version are equal: the key of the table.
        on: Columns,
        /// Whether rows without a version are emitted: `left`. Default `inner`.
        join: Option<JoinKind>,
        /// How long behind the watermark records still count. Without it none is late, and every version is kept.
        lateness: Option<Duration>,
        event_time: Option<StageTime>,
        on_error: Option<OnError>,
        errors_max: Option<ErrorsMax>,
        retries: Option<Retries>,
        backoff: Option<Backoff>,
        plugin: Name,
    },
    /// Rows and timers of a key, with a state for each key.
    #[schemars(extend("oneOf" = one_of_inputs(), "not" = limit_at_failure()))]
    Process {
        input: Option<Input>,
        inputs: Option<Inputs>,
        key: Columns,
        /// How long behind the watermark records still count. Without it none is late.
        lateness: Option<Duration>,
        /// How long a key is kept after its last record, in event time. Without it, until the plugin forgets it.
        state_ttl: Option<Duration>,
        event_time: Option<StageTime>,
        on_error: Option<OnError>,
        errors_max: Option<ErrorsMax>,
        retries: Option<Retries>,
        backoff: Option<Backoff>,
        plugin: Name,
    },
}

/// Another event time for the rows that a stage emits.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct StageTime {
    /// An i64 field of all outputs, in ms since 1970.
    field: Text,
    /// How far it may lie before the event time that the row had. Rows further back are dead letters.
    behind: Duration,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(super) enum Emit {
    /// Once, when it can no longer change.
    Final,
    /// At once, again with every change, and a last time; rows carry `rev` and `final`.
    Upsert,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(super) enum Match {
    /// The latest right row at or before the left one.
    LatestBefore,
    /// Every right row from `within` before to `after` after the left one: a pair for each.
    All,
    /// Every right row that shares a window with the left one: a pair for each, and for each window.
    Window,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(super) enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
}
