//! A run's figures, as a table for people and as JSON for programs.

use reelflow_core::{stage::StageCounts, task::SourceCounts, time::Watermark};
use reelflow_runtime::summary::Summary;
use serde_json::{Value, json};

pub(crate) mod calls;

/// The JSON document that `reel run --format json` ends with. Members are added, never renamed.
pub(crate) fn json_of(summary: &Summary, pipeline: &str) -> Value {
    json!({
        "format": 1,
        "pipeline": pipeline,
        "elapsed_ms": summary.elapsed.as_millis() as u64,
        "records_read": summary.records_read,
        "bytes_read": summary.bytes_read,
        "records_per_s": summary.records_per_s(),
        "records_written": summary.records_written,
        "dead_letters": summary.dead_letters,
        "files_published": summary.files_published,
        "rows_published": summary.rows_published,
        "changelog_bytes": summary.changelog_bytes,
        "bases": summary.bases.as_ref().map(|bases| json!({ "written": bases.written, "bytes_written": bases.bytes_written, "failures": bases.failures, "skipped": bases.skipped })),
        "state_bytes": summary.state_bytes,
        "epochs": { "sealed": summary.epochs_sealed, "aborted": summary.epochs_aborted },
        "sessions_lost": summary.sessions_lost,
        "recovery_ms_max": summary.recovery_max.as_millis() as u64,
        "watermarks": summary.watermarks.iter().map(|(partition, mark)| (partition.to_string(), watermark_json(*mark))).collect::<serde_json::Map<_, _>>(),
        "unaccounted": summary.unaccounted().iter().map(|name| &**name).collect::<Vec<_>>(),
        "sources": summary.sources.iter().map(|one| json!({ "name": &*one.name, "total": source_json(&one.total), "run": source_json(&one.run) })).collect::<Vec<_>>(),
        "stages": summary.stages.iter().map(|one| json!({ "name": &*one.name, "total": stage_json(&one.total), "run": stage_json(&one.run), "calls": one.calls.as_ref().map(calls::json_of) })).collect::<Vec<_>>(),
    })
}

/// In ms; null before anything has come.
pub(crate) fn watermark_json(mark: Watermark) -> Value {
    match mark {
        Watermark::UNKNOWN => Value::Null,
        Watermark::END => json!("end"),
        Watermark(at) => json!(at),
    }
}

fn source_json(counts: &SourceCounts) -> Value {
    json!({ "read": counts.records_in, "decoded": counts.decoded, "dead": counts.dead })
}

pub(crate) fn stage_json(counts: &StageCounts) -> Value {
    json!({
        "rows_in": counts.rows_in,
        "accepted": counts.accepted,
        "duplicate": counts.duplicate,
        "conflicting": counts.conflicting,
        "late": counts.late,
        "dead": counts.dead,
        "rows_out": counts.rows_out,
        "late_panes": counts.late_panes,
        "dead_panes": counts.dead_panes,
        "skipped": counts.skipped,
        "skipped_panes": counts.skipped_panes,
    })
}

/// What became of every record since the pipeline began, and what this run did.
pub(crate) fn text_of(summary: &Summary) -> String {
    let mut lines = Vec::new();
    lines.push(format!(
        "{:<24}{:>12}{:>12}{:>11}{:>9}{:>9}{:>12}",
        "since the beginning", "in", "accepted", "duplicate", "late", "dead", "out"
    ));
    for source in &summary.sources {
        let SourceCounts { records_in: read, decoded, dead } = source.total;
        lines.push(format!(
            "{:<24}{read:>12}{decoded:>12}{:>11}{:>9}{dead:>9}{decoded:>12}",
            format!("source {}", source.name),
            "",
            ""
        ));
    }
    for stage in &summary.stages {
        let StageCounts { rows_in, accepted, duplicate, late, dead, rows_out, .. } = stage.total;
        lines.push(format!(
            "{:<24}{rows_in:>12}{accepted:>12}{duplicate:>11}{late:>9}{dead:>9}{rows_out:>12}",
            format!("stage {}", stage.name)
        ));
    }
    calls::lines_of(&summary.stages, &mut lines);
    for stage in summary.stages.iter().filter(|stage| stage.total.skipped + stage.total.skipped_panes > 0) {
        let StageCounts { skipped, skipped_panes, .. } = stage.total;
        lines.push(format!("stage {} skipped {skipped} rows and {skipped_panes} results on which its plugin failed", stage.name));
    }
    for name in summary.unaccounted() {
        lines.push(format!("what came to \"{name}\" and what became of it do not add up: a bug of Reelflow"));
    }
    lines.push(format!(
        "this run: {} records in {:.1} s ({:.0} records/s), {} written, {} epochs sealed, {} aborted, {} dead letters",
        summary.records_read,
        summary.elapsed.as_secs_f64(),
        summary.records_per_s(),
        summary.records_written,
        summary.epochs_sealed,
        summary.epochs_aborted,
        summary.dead_letters,
    ));
    if summary.files_published > 0 {
        lines.push(format!("published {} rows in {} files", summary.rows_published, summary.files_published));
    }
    if let Some(lowest) = summary.watermarks.values().min() {
        lines.push(format!("watermark {}, state {} KB", date(*lowest), summary.state_bytes.div_ceil(1024)));
    }
    lines.join("\n")
}

/// A watermark for people: UTC in RFC 3339, or ms where no calendar goes.
pub(crate) fn date(mark: Watermark) -> String {
    match mark {
        Watermark::UNKNOWN | Watermark::END => mark.to_string(),
        Watermark(ms) => jiff::Timestamp::from_millisecond(ms).map_or_else(|_| format!("{ms} ms"), |at| at.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watermarks_are_dates() {
        for (mark, text) in [
            (Watermark(1_767_225_600_123), "2026-01-01T00:00:00.123Z"),
            (Watermark(-1), "1969-12-31T23:59:59.999Z"),
            (Watermark(1 << 49), "562949953421312 ms"),
            (Watermark::END, "end"),
            (Watermark::UNKNOWN, "unknown"),
        ] {
            assert_eq!(date(mark), text);
        }
    }
}
