//! What the calls of plugins cost, by stage.

use reelflow_runtime::{summary::StageSummary, usage::CallUsage};
use serde_json::{Value, json};

pub(crate) fn json_of(usage: &CallUsage) -> Value {
    json!({
        "calls": usage.calls,
        "rows": usage.rows,
        "retries": usage.retries,
        "time_ms": usage.time.as_secs_f64() * 1_000.0,
        "cpu_ms": usage.cpu.as_secs_f64() * 1_000.0,
        "ns_per_row": usage.ns_per_row(),
        "bytes_in": usage.bytes_in,
        "bytes_out": usage.bytes_out,
        "memory_bytes_max": usage.memory_bytes_max,
        "faults": usage.faults,
    })
}

/// A table with a line for each stage that has a plugin; nothing, if none was called.
pub(super) fn lines_of(stages: &[StageSummary], lines: &mut Vec<String>) {
    let called = || stages.iter().filter_map(|stage| Some((stage, stage.calls.as_ref().filter(|usage| usage.calls > 0)?)));
    if called().next().is_none() {
        return;
    }
    lines.push(format!(
        "{:<24}{:>12}{:>12}{:>11}{:>9}{:>9}{:>9}{:>12}",
        "calls of this run", "calls", "rows", "ns/row", "s", "cpu s", "MiB", "faults"
    ));
    for (stage, usage) in called() {
        let faults = match usage.faults.values().sum::<u64>() {
            0 => "0".to_owned(),
            _ => usage.faults.iter().map(|(kind, n)| format!("{n} {kind}")).collect::<Vec<_>>().join(", "),
        };
        lines.push(format!(
            "{:<24}{:>12}{:>12}{:>11.0}{:>9.2}{:>9.2}{:>9}{faults:>12}",
            format!("stage {}", stage.name),
            usage.calls,
            usage.rows,
            usage.ns_per_row().unwrap_or_default(),
            usage.time.as_secs_f64(),
            usage.cpu.as_secs_f64(),
            usage.memory_bytes_max.div_ceil(1 << 20),
        ));
    }
}
