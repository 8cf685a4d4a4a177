//! Joins: which keys belong to which way of matching, and which plugins take right rows alone. Real components, so that what a plugin says
//! of itself is what counts.

use anyhow::Result;

use crate::{job, judge};

struct Case {
    name: &'static str,
    /// What the stage has beside its inputs and its plugin.
    keys: &'static str,
    /// A `FullJoin`, or a `Join`.
    plugin: &'static str,
    exit: i32,
    says: &'static [&'static str],
}

const FULL: &str = "pairs";
const NOT_FULL: &str = "source_of_discovery";
const HOUR: &str = r#"window = { kind = "tumbling", size = "1h" }"#;

const fn good(name: &'static str, plugin: &'static str, keys: &'static str) -> Case {
    Case { name, keys, plugin, exit: 0, says: &[] }
}

const fn bad(name: &'static str, keys: &'static str, says: &'static [&'static str]) -> Case {
    Case { name, keys, plugin: FULL, exit: 2, says }
}

const CASES: &[Case] = &[
    good("a full join of an interval", FULL, "match = \"all\"\nwithin = \"1h\"\njoin = \"full\""),
    good("a right join of windows", FULL, "match = \"window\"\nHOUR\njoin = \"right\""),
    good("a plugin that could take right rows alone", FULL, "within = \"1h\"\njoin = \"left\""),
    Case {
        name: "a plugin that takes no right rows alone, of an interval",
        keys: "match = \"all\"\nwithin = \"1h\"\njoin = \"right\"",
        plugin: NOT_FULL,
        exit: 2,
        says: &["RF0424", "join = \"right\"", "FullJoin"],
    },
    Case {
        name: "a plugin that takes no right rows alone, of windows",
        keys: "match = \"window\"\nHOUR\njoin = \"full\"",
        plugin: NOT_FULL,
        exit: 2,
        says: &["RF0424", "join = \"full\"", "join = \"left\""],
    },
    bad("a right join of the latest row", "within = \"1h\"\njoin = \"right\"", &["RF0310", "\"inner\" or \"left\""]),
    bad("a full join of the latest row", "within = \"1h\"\njoin = \"full\"", &["RF0310", "match = \"window\""]),
    bad("no such join", "within = \"1h\"\njoin = \"outer\"", &["RF0112", "\"inner\" or \"left\" or \"right\" or \"full\""]),
    bad("no such match", "match = \"windows\"\nHOUR", &["RF0112", "\"window\""]),
    bad("windows that are not said", "match = \"window\"", &["RF0104", "\"window\"", "tumbling"]),
    bad("windows of the latest row", "within = \"1h\"\nHOUR", &["RF0310", "match = \"window\""]),
    bad("windows of an interval", "match = \"all\"\nwithin = \"1h\"\nHOUR", &["RF0310", "match = \"window\""]),
    bad("an interval of windows", "match = \"window\"\nHOUR\nwithin = \"1h\"\nafter = \"1m\"", &["\"within\"", "\"after\""]),
    bad("revisions of windows", "match = \"window\"\nHOUR\nemit = \"upsert\"", &["RF0310", "never changes"]),
    bad(
        "sessions of two inputs",
        "match = \"window\"\nwindow = { kind = \"session\", gap = \"1m\" }",
        &["RF0320", "\"hopping\""],
    ),
    bad(
        "hopping windows that no pane fits",
        "match = \"window\"\nwindow = { kind = \"hopping\", size = \"1h\", slide = \"7m\" }",
        &["RF0301", "63m"],
    ),
    bad("windows of no length", "match = \"window\"\nwindow = { kind = \"tumbling\", size = \"0s\" }", &["RF0303"]),
    bad("a window in one word", "match = \"window\"\nwindow = \"1h\"", &["RF0103", "table"]),
];

#[test]
fn joins_have_the_keys_and_the_plugins_that_fit() -> Result<()> {
    let mut failures = Vec::new();
    for case in CASES {
        let Case { name, plugin, exit, says, .. } = case;
        let keys = case.keys.replace("HOUR", HOUR);
        let right = "bound = \"0s\"\n[source.impressions]\ntopic = \"impressions\"\nevent_time = \"event_ts\"\nid = \"event_id\"\nkey = [\"profile_id\"]\nbound = \"0s\"";
        let stage = format!(
            "[plugin.join]\npath = \"plugins/{plugin}.wasm\"\n[stage.found]\nkind = \"join\"\nleft = \"clean\"\nright = \"impressions\"\non = [\"profile_id\", \"title_id\"]\n{keys}\nplugin = \"join\"\n[sink.found]\ninput = \"found\"\ntopic = \"found\""
        );
        let job = job(("bound = \"0s\"", &format!("{right}\n{stage}")))?;
        judge(name, &job.reel(&["check"]).output()?, *exit, says, &mut failures);
    }
    assert!(failures.is_empty(), "{} of {} cases failed:\n{}", failures.len(), CASES.len(), failures.join("\n---\n"));
    Ok(())
}
