//! `[upgrade]`.

use super::failing::share;
use crate::{
    code::Code,
    config::{Pipeline, upgrade::Upgrade},
    problem::{At, Problem, Problems},
    walk::Table,
};

const INTERVALS_MAX: u64 = 100;
/// What a trial does stands in one open transaction, which ends after 15 s: a third of it is for the trial, most of the rest for the verdict.
const TRIAL_MS_MAX: u64 = 5_000;
const VERDICT_MS_MAX: i64 = 9_000;

/// What is wrong is reported; the standard takes its place.
pub(super) fn upgrade(root: &mut Table<'_>, pipeline: Option<&Pipeline>, problems: &mut Problems) -> Upgrade {
    let standard = Upgrade::STANDARD;
    if root.peek("upgrade").is_none() {
        return standard;
    }
    let Some(mut table) = root.table("upgrade", "[upgrade]", problems) else { return standard };
    let trial = table.integer("trial_intervals", 1..=INTERVALS_MAX, problems);
    let gather = table.integer("gather_intervals", 0..=INTERVALS_MAX, problems);
    let wait = table.positive_duration("verdict_wait", problems);
    let bad_share = table.text_by("bad_share_max", "a share such as \"1%\"", Code::BadShare, share, problems);
    table.finish(&[], problems);
    let interval_ms = pipeline.map_or(0, |pipeline| pipeline.commit_interval_ms);
    if let Some(trial) = &trial {
        bounded("trial_intervals", trial, interval_ms, problems);
    }
    if let Some(gather) = &gather {
        bounded("gather_intervals", gather, interval_ms, problems);
    }
    if let Some(wait) = wait.as_ref().filter(|wait| wait.value > VERDICT_MS_MAX) {
        let message = "\"verdict_wait\" of [upgrade] is out of range";
        let label = format!("must be at most {}s", VERDICT_MS_MAX / 1_000);
        let problem = Problem::at(Code::OutOfRange, wait.span.clone(), message, label);
        problems.push(
            problem.note("readers of committed records wait meanwhile, and the broker ends the transaction of a trial after 15s"),
        );
    }
    Upgrade {
        trial_intervals: trial.map_or(standard.trial_intervals, |n| *n as u32),
        gather_intervals: gather.map_or(standard.gather_intervals, |n| *n as u32),
        verdict_wait_ms: wait.map_or(standard.verdict_wait_ms, |wait| wait.unsigned_abs()),
        bad_share_max: bad_share.map_or(standard.bad_share_max, |share| *share),
    }
}

/// So many commit intervals must not be longer than a trial may be.
fn bounded(key: &str, n: &At<u64>, interval_ms: u64, problems: &mut Problems) {
    if n.value.saturating_mul(interval_ms) > TRIAL_MS_MAX {
        let message = format!("\"{key}\" of [upgrade] is out of range");
        let label = format!("with commit intervals of {interval_ms}ms, {} are more than {}s", n.value, TRIAL_MS_MAX / 1_000);
        let problem = Problem::at(Code::OutOfRange, n.span.clone(), message, label);
        problems.push(
            problem.note("readers of committed records wait meanwhile, and the broker ends the transaction of a trial after 15s"),
        );
    }
}
