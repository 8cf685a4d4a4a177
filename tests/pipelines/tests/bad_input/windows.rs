//! Windows that cannot be: the stage becomes an aggregate with each of them.

use crate::cases::{Case, manifest};

const fn window(name: &'static str, to: &'static str, says: &'static [&'static str]) -> Case {
    manifest(name, "kind = \"transform\"", to, says)
}

pub const CASES: &[Case] = &[
    window(
        "sessions whose end is no name",
        "kind = \"aggregate\"\nkey = [\"profile_id\"]\nwindow = { kind = \"session\", gap = \"30m\", end = true }",
        &["RF0103", "end"],
    ),
    window(
        "sessions that end by a field of another type",
        "kind = \"aggregate\"\nkey = [\"profile_id\"]\nwindow = { kind = \"session\", gap = \"30m\", end = \"country\" }",
        &["RF04", "country"],
    ),
    window(
        "sessions of many rows, in words",
        "kind = \"aggregate\"\nkey = [\"profile_id\"]\nwindow = { kind = \"session\", gap = \"30m\", max_rows = \"many\" }",
        &["RF0103", "max_rows"],
    ),
    window(
        "sessions of no rows",
        "kind = \"aggregate\"\nkey = [\"profile_id\"]\nwindow = { kind = \"session\", gap = \"30m\", max_rows = 0 }",
        &["RF0111", "max_rows"],
    ),
    window(
        "sessions of less than no rows",
        "kind = \"aggregate\"\nkey = [\"profile_id\"]\nwindow = { kind = \"session\", gap = \"30m\", max_rows = -1 }",
        &["RF0111", "max_rows"],
    ),
    window(
        "sessions whose length is a number",
        "kind = \"aggregate\"\nkey = [\"profile_id\"]\nwindow = { kind = \"session\", gap = \"30m\", max_length = 7 }",
        &["RF0103", "max_length"],
    ),
    window(
        "sessions of no length",
        "kind = \"aggregate\"\nkey = [\"profile_id\"]\nwindow = { kind = \"session\", gap = \"30m\", max_length = \"0s\" }",
        &["RF0303", "max_length"],
    ),
    window(
        "sessions no longer than their gap",
        "kind = \"aggregate\"\nkey = [\"profile_id\"]\nwindow = { kind = \"session\", gap = \"30m\", max_length = \"30m\" }",
        &["RF0111", "gap"],
    ),
    window(
        "sessions with a misspelt cut",
        "kind = \"aggregate\"\nkey = [\"profile_id\"]\nwindow = { kind = \"session\", gap = \"30m\", max_row = 3 }",
        &["RF0102", "max_rows"],
    ),
    window(
        "hopping windows by the clocks of a zone, out of step with its days",
        "kind = \"aggregate\"\nkey = [\"profile_id\"]\nwindow = { kind = \"hopping\", size = \"10h\", slide = \"5h\", time_zone = \"Europe/Berlin\" }",
        &["RF0309", "slide"],
    ),
    window(
        "a window of all time that nothing tells, of keys that nothing forgets",
        "kind = \"aggregate\"\nkey = [\"profile_id\"]\nwindow = { kind = \"global\" }\nemit = \"upsert\"",
        &["RF0104", "every_rows", "idle"],
    ),
    window(
        "a window of all time whose results are told once",
        "kind = \"aggregate\"\nkey = [\"profile_id\"]\nwindow = { kind = \"global\", every = \"1h\", idle = \"1d\" }",
        &["RF0311", "clear"],
    ),
    window(
        "a window of all time with a lateness",
        "kind = \"aggregate\"\nkey = [\"profile_id\"]\nwindow = { kind = \"global\", every_rows = 9, clear = true, idle = \"1d\" }\nlateness = \"1h\"",
        &["RF0302", "idle"],
    ),
    window(
        "tumbling windows with an end",
        "kind = \"aggregate\"\nkey = [\"profile_id\"]\nwindow = { kind = \"tumbling\", size = \"1h\", end = \"trailer\" }",
        &["RF0115", "end"],
    ),
    window(
        "hopping windows of so many rows",
        "kind = \"aggregate\"\nkey = [\"profile_id\"]\nwindow = { kind = \"hopping\", size = \"1h\", slide = \"1m\", max_rows = 3 }",
        &["RF0115", "max_rows"],
    ),
    window(
        "tumbling windows of a greatest length",
        "kind = \"aggregate\"\nkey = [\"profile_id\"]\nwindow = { kind = \"tumbling\", size = \"1h\", max_length = \"3h\" }",
        &["RF0115", "max_length"],
    ),
    window(
        "early results, of which one is written",
        "kind = \"aggregate\"\nkey = [\"profile_id\"]\nwindow = { kind = \"tumbling\", size = \"1h\" }\nearly = \"10s\"",
        &["RF0115", "upsert"],
    ),
    window(
        "early sessions",
        "kind = \"aggregate\"\nkey = [\"profile_id\"]\nwindow = { kind = \"session\", gap = \"1h\" }\nearly = \"10s\"",
        &["RF0115", "fixed size"],
    ),
    window(
        "early results all the time",
        "kind = \"aggregate\"\nkey = [\"profile_id\"]\nwindow = { kind = \"tumbling\", size = \"1h\" }\nemit = \"upsert\"\nearly = \"0s\"",
        &["RF0303", "early"],
    ),
    window(
        "early results of many slides",
        "kind = \"aggregate\"\nkey = [\"profile_id\"]\nwindow = { kind = \"hopping\", size = \"1h\", slide = \"1s\" }\nemit = \"upsert\"\nearly = \"1s\"",
        &["RF0111", "slides"],
    ),
    window("a transform that tells results early", "kind = \"transform\"\nearly = \"10s\"", &["RF0115", "early"]),
];
