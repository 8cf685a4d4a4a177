//! `window = { … }` of an aggregate.

use schemars::JsonSchema;

use super::{Duration, Text};

/// `[start, end)` in event time. Those of fixed size start at multiples of the size or slide since 1970, plus `offset`.
#[derive(JsonSchema)]
#[schemars(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Window {
    /// One after the other.
    Tumbling {
        size: Duration,
        /// One window begins so long after 1970 (of UTC, or of the time zone); less than `size`. Default 0s.
        offset: Option<Duration>,
        /// An IANA name such as `America/New_York`: windows by its clocks, also where they are set. `size` is then 1h, 2h, 3h, 4h, 6h, 8h, 12h or days.
        time_zone: Option<Text>,
    },
    /// One every `slide`, which divides `size`.
    Hopping {
        size: Duration,
        slide: Duration,
        /// One window begins so long after 1970 (of UTC, or of the time zone); less than `slide`. Default 0s.
        offset: Option<Duration>,
        /// As for tumbling windows; `slide` is then 1h, 2h, 3h, 4h, 6h, 8h, 12h or days.
        time_zone: Option<Text>,
    },
    /// From the first row to `gap` after the last one, as long as no two neighbours lie more than `gap` apart. Only with `emit = "final"`.
    Session {
        gap: Duration,
        /// A field of type `bool`: a row in which it is true is the last one of its session, with all rows of the same ms.
        end: Option<Text>,
        /// A session ends with the row that makes it so many, and all rows of the same ms.
        max_rows: Option<u64>,
        /// A row so long after the first one, or later, begins another session; more than `gap`.
        max_length: Option<Duration>,
    },
    /// One window of a key for all time, told again and again: with `every_rows`, `every`, or both. With `emit = "upsert"`, or with `clear = true` and
    /// `emit = "final"`.
    Global {
        /// A key is told with the row that makes so many since it was told last.
        every_rows: Option<u64>,
        /// When the watermark passes a multiple of this since 1970 UTC, keys with rows since they were told last are told.
        every: Option<Duration>,
        /// Whether a key begins anew when it was told. Default false: it goes on with all of its rows.
        clear: Option<bool>,
        /// A key is forgotten, and told a last time, when the watermark is past its last row by more than this. A row that is older than that is late.
        idle: Duration,
    },
}
