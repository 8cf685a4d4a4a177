//! What times look like on the command line.

use super::*;

#[test]
fn times_are_told_in_three_ways() {
    for (text, ms) in [
        ("2026-01-01T00:00:00Z", Some(1_767_225_600_000)),
        ("2026-01-01T01:00:00+01:00", Some(1_767_225_600_000)),
        ("2026-01-01", Some(1_767_225_600_000)),
        ("1969-12-31", Some(-86_400_000)),
        ("-5", Some(-5)),
        ("yesterday", None),
        ("2026-13-01", None),
        ("9000000000000000", None),
    ] {
        assert_eq!(event_time(text).ok().map(|time| time.0), ms, "{text}");
    }
}
