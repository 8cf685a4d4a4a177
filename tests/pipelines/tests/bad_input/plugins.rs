//! Components that misbehave while the pipeline runs: the guilty records become dead letters with the reason, their neighbours come
//! through once, the process ends well. What each limit does by itself is tested in `host/wasm/tests`.

use anyhow::Result;
use reelflow_pipelines::guest_stage::GuestStage;

/// (how the guest breaks, the reason in the dead letter's header, what its error says)
const MODES: &[(&str, &str, &str)] = &[
    ("loop", "deadline", "200 ms"),
    ("hoard", "memory", "16777216"),
    ("recurse", "trap", "call stack exhausted"),
    ("panic", "trap", "asked to panic in apply"),
    ("trap", "trap", "unreachable"),
    ("flood", "output", "1048576"),
    ("rows-without-end", "malformed", ""),
    ("column-missing", "malformed", ""),
    ("column-extra", "malformed", ""),
    ("kind", "malformed", ""),
    ("nan", "malformed", ""),
    ("infinite", "malformed", ""),
    ("utf8", "malformed", ""),
    ("ends-beyond", "malformed", ""),
    ("output-unknown", "malformed", ""),
    ("output-twice", "malformed", ""),
];

fn check(mode: &str, reason: &str, error: &str) -> Result<()> {
    const N_RECORDS: usize = 30;
    let guilty = [4, 5, 21];
    let line = |idx: usize| {
        let n = if guilty.contains(&idx) { 13 } else { 100 + idx };
        format!("{{\"ts\":{idx},\"n\":{n},\"idx\":{idx}}}\n")
    };
    let job = GuestStage::transform(mode).job(&(0..N_RECORDS).map(line).collect::<String>(), "1", &["--end"])?;
    let summary = job.run_to_end(&[])?;
    assert_eq!(summary["stages"][0]["total"]["dead"], guilty.len(), "{mode}: {summary}");
    let letters = job.read(&["topic", "read", "dead.hostile", "--format", "json"])?;
    let letters: Vec<serde_json::Value> = letters.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    assert_eq!(letters.len(), guilty.len(), "{mode}: {letters:#?}");
    for (letter, idx) in letters.iter().zip(guilty) {
        assert_eq!(letter["value"], line(idx).trim(), "{mode}");
        assert_eq!(
            (&letter["headers"]["reel-stage"], &letter["headers"]["reel-offset"]),
            (&"guest".into(), &idx.to_string().into())
        );
        assert_eq!(letter["headers"]["reel-reason"], reason, "{mode}: {letter}");
        let text = letter["headers"]["reel-error"].as_str().unwrap_or_default();
        assert!(!text.is_empty() && text.contains(error), "{mode}: {letter}");
    }
    let rows = job.read(&["topic", "read", "out"])?;
    let mut numbers: Vec<i64> = Vec::new();
    for row in rows.lines() {
        numbers.push(serde_json::from_str::<serde_json::Value>(row)?["n"].as_i64().unwrap_or(-1));
    }
    let wanted: Vec<i64> = (0..N_RECORDS).filter(|idx| !guilty.contains(idx)).map(|idx| 100 + idx as i64).collect();
    assert_eq!(numbers, wanted, "{mode}: a neighbour was lost, doubled or moved");
    Ok(())
}

#[test]
fn a_plugin_that_breaks_harms_the_guilty_records_alone() -> Result<()> {
    for (mode, reason, error) in MODES {
        check(mode, reason, error)?;
    }
    Ok(())
}
