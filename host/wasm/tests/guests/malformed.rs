//! Guests whose answers do not fit their declaration: refused whole, with words that tell the author what is wrong.

use reelflow_core::plugin::PluginFault;

use crate::support::{LIMITS, call};

/// Each mode of the guest `transform`, and what must be said of its answer to three rows.
pub const TRANSFORM: [(&str, &str); 25] = [
    ("ragged", "output 0: column 0: 1 values for 3 rows"),
    ("rows-too-many", "output 0: column 0: 3 values for 4 rows"),
    ("rows-without-end", "output \"out\": 3 origins instead of 4294967295"),
    ("column-missing", "output \"out\": 5 columns instead of 6"),
    ("column-extra", "output \"out\": 7 columns instead of 6"),
    ("kind", "output \"out\": field \"n\": a column of Float instead of i64"),
    ("bits-too-few", "output 0: column 4: a bitmap of 0 bytes for 3 rows"),
    ("bits-too-many", "output 0: column 4: a bitmap of 2 bytes for 3 rows"),
    ("validity-too-short", "output 0: column 1: validity: a bitmap of 1 bytes for 9 rows"),
    ("validity-too-long", "output 0: column 1: validity: a bitmap of 2 bytes for 3 rows"),
    ("null-required", "output \"out\": field \"n\": null in a required field"),
    ("value-in-null", "output 0: column 1: a value in row 1, which is null"),
    ("text-in-null", "output 0: column 2: a value in row 1, which is null"),
    ("nan", "output \"out\": field \"f\": a float that is not finite"),
    ("infinite", "output \"out\": field \"f\": a float that is not finite"),
    ("utf8", "output \"out\": field \"t\": text that is not UTF-8"),
    ("utf8-split", "output \"out\": field \"t\": text that is not UTF-8"),
    ("ends-fall", "output 0: column 3: ends that fall or do not stop at 3, the length of the data"),
    ("ends-short", "output 0: column 3: ends that fall or do not stop at 3, the length of the data"),
    ("ends-beyond", "output 0: column 3: ends that fall or do not stop at 3, the length of the data"),
    ("origin-beyond", "output \"out\": an origin of 3, of 3"),
    ("origins-fall", "output \"out\": origins that fall"),
    ("output-unknown", "output 2 of 2 declared"),
    ("output-twice", "output \"out\" twice in one answer"),
    ("reject-beyond", "a reject of row 3, of 3"),
];

/// The modes of the guest `aggregate`.
pub const AGGREGATE_MODES: [&str; 5] = ["state-missing", "state-extra", "state-ends-fall", "reject-beyond", "states-forgotten"];

/// The modes of the guest `process`.
pub const PROCESS_MODES: [&str; 7] =
    ["state-missing", "version-missing", "reject-beyond", "timer-beyond", "timers-fall", "timer-far", "timer-of-refused"];

#[track_caller]
fn check(mode: &str, at: &str, expected: &str) {
    assert_eq!(call(mode, at, LIMITS), Err(PluginFault::Malformed(expected.to_owned())), "{mode} at {at}");
}

#[test]
fn a_transform() {
    for (mode, expected) in TRANSFORM {
        check(mode, "apply", expected);
    }
}

#[test]
fn an_aggregate() {
    for at in ["add", "merge"] {
        check("state-missing", at, "1 states instead of 2");
        check("state-extra", at, "3 states instead of 2");
        check("states-forgotten", at, "0 states instead of 2");
        check("state-ends-fall", at, "states: ends that fall or do not stop at 16, the length of the data");
    }
    check("reject-beyond", "add", "a reject of row 1000, of 3");
    check("reject-beyond", "merge", "a reject of row 1000, of 2");
    check("reject-beyond", "emit", "a reject of row 2, of 2");
}

#[test]
fn a_join() {
    check("origins-short", "pair", "output \"out\": 0 origins instead of 2");
}

#[test]
fn a_migration() {
    check("state-missing", "migrate", "2 states instead of 3");
    check("version-missing", "migrate", "2 versions instead of 3");
    check("reject-beyond", "migrate", "a reject of row 1000, of 3");
}

#[test]
fn a_process() {
    for (at, n_units) in [("take", 3), ("fire", 2)] {
        check("state-missing", at, "1 states instead of 2");
        check("reject-beyond", at, &format!("a reject of row 1000, of {n_units}"));
        check("timer-beyond", at, &format!("timers: an origin of 1000, of {n_units}"));
        check("timer-of-refused", at, "a timer of row 1, which was refused");
        check("timers-fall", at, "timers: origins that fall");
        check("timer-far", at, "a timer at 9223372036854775807, not within -281474976710656 and 281474976710656");
    }
}
