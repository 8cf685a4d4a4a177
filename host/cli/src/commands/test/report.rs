//! The outcome of tests, for people and as JSON.

use serde_json::{Value, json};

use super::play::{Finding, Verdict};

/// A line for each test, what is wrong below those that fail, and how many passed.
pub(in crate::commands) fn text(verdicts: &[Verdict]) -> String {
    let mut lines = Vec::new();
    for verdict in verdicts {
        let outcome = if verdict.is_good() { "ok" } else { "FAILED" };
        lines.push(format!("test {} … {outcome} ({} ms)", verdict.name, verdict.took.as_millis()));
        verdict.findings.iter().for_each(|finding| lines.extend(finding_lines(finding).iter().map(|line| format!("  {line}"))));
    }
    let (passed, failed) = counts(verdicts);
    lines.push(format!("{passed} passed, {failed} failed"));
    lines.join("\n")
}

/// `-` stands before what is missing, `+` before what should not be there.
pub(in crate::commands) fn finding_lines(finding: &Finding) -> Vec<String> {
    let mut lines = vec![finding.what.clone()];
    lines.extend(finding.missing.iter().map(|row| format!("  - {row}")));
    lines.extend(finding.unexpected.iter().map(|(row, when)| format!("  + {row}  {when}").trim_end().to_owned()));
    lines
}

pub(in crate::commands) fn counts(verdicts: &[Verdict]) -> (usize, usize) {
    let passed = verdicts.iter().filter(|verdict| verdict.is_good()).count();
    (passed, verdicts.len() - passed)
}

pub(in crate::commands) fn json(verdicts: &[Verdict], pipeline: &str) -> Value {
    let finding = |finding: &Finding| {
        let unexpected: Vec<Value> = finding.unexpected.iter().map(|(row, when)| json!({ "row": row, "when": when })).collect();
        json!({ "what": finding.what, "missing": finding.missing, "unexpected": unexpected })
    };
    let test = |verdict: &Verdict| {
        let findings: Vec<Value> = verdict.findings.iter().map(finding).collect();
        json!({ "name": verdict.name, "passed": verdict.is_good(), "ms": verdict.took.as_millis() as u64, "findings": findings })
    };
    let (passed, failed) = counts(verdicts);
    let tests: Vec<Value> = verdicts.iter().map(test).collect();
    json!({ "format": 1, "pipeline": pipeline, "tests": tests, "passed": passed, "failed": failed })
}
