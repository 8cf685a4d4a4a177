//! How long a dedup must remember ids.

use reelflow_core::time::duration_text;

use super::{streams::stage_of, topological};
use crate::{
    code::Code,
    config::{Config, StageKind},
    problem::{Problem, Problems},
};

/// The longest time that a record may come behind the watermark and still count, over all stages downstream of `dedup`, with
/// the stage that waits so long: lateness plus window, lateness plus what a join looks back, or the lateness of a process or lookup. `None`: nothing waits.
fn needed(config: &Config, dedup: usize) -> Option<(i64, usize)> {
    let mut is_below = vec![false; config.stages.len()];
    is_below[dedup] = true;
    let mut longest: Option<(i64, usize)> = None;
    for idx in topological(config) {
        let kind = &config.stages[idx].kind;
        if !kind.inputs().iter().any(|input| stage_of(config, input).is_some_and(|stage| is_below[stage])) {
            continue;
        }
        is_below[idx] = true;
        let waits_ms = match kind {
            StageKind::Aggregate { window, lateness_ms, .. } => window.size_ms() + lateness_ms.value,
            StageKind::Join { within_ms, matching, lateness_ms, .. } => {
                within_ms.value.max(matching.after_ms()) + lateness_ms.value
            }
            // Without a lateness a record of any age counts: no horizon is long enough, so the manifest must say one.
            StageKind::Process { lateness_ms: None, .. }
            | StageKind::Lookup { lateness_ms: None, .. }
            | StageKind::Transform { .. }
            | StageKind::Dedup { .. } => continue,
            StageKind::Process { lateness_ms: Some(lateness_ms), .. }
            | StageKind::Lookup { lateness_ms: Some(lateness_ms), .. } => lateness_ms.value,
        };
        if longest.is_none_or(|(ms, _)| waits_ms > ms) {
            longest = Some((waits_ms, idx));
        }
    }
    longest
}

/// The horizon of the dedup stage `stage`: what the manifest says, or what the stages downstream need.
pub(super) fn horizon_ms(config: &Config, stage: usize) -> Option<i64> {
    let StageKind::Dedup { horizon_ms, .. } = &config.stages[stage].kind else { return None };
    horizon_ms.as_ref().map(|horizon| horizon.value).or_else(|| needed(config, stage).map(|(ms, _)| ms))
}

/// Checks the horizons of all dedups.
pub(crate) fn check(config: &Config, problems: &mut Problems) {
    for (idx, stage) in config.stages.iter().enumerate() {
        let StageKind::Dedup { horizon_ms, .. } = &stage.kind else { continue };
        match (horizon_ms, needed(config, idx)) {
            (None, None) => problems.push(
                Problem::at(
                    Code::MissingHorizon,
                    stage.name.span.clone(),
                    format!("stage \"{}\" cannot know how long to remember ids", *stage.name),
                    "\"horizon\" is missing, and no stage below waits for late records",
                )
                .help("add `horizon = \"1d\"` if a record is repeated within a day"),
            ),
            (Some(horizon), Some((needed_ms, by))) if horizon.value < needed_ms => {
                let waiting = &config.stages[by];
                let (span, text) = match &waiting.kind {
                    StageKind::Aggregate { window, lateness_ms, .. } => (
                        &window.span,
                        format!("window {} + lateness {}", duration_text(window.size_ms()), duration_text(lateness_ms.value)),
                    ),
                    StageKind::Join { within_ms, matching, lateness_ms, .. } => (
                        &within_ms.span,
                        match matching.after_ms() > within_ms.value {
                            true => format!(
                                "after {} + lateness {}",
                                duration_text(matching.after_ms()),
                                duration_text(lateness_ms.value)
                            ),
                            false => {
                                format!(
                                    "within {} + lateness {}",
                                    duration_text(within_ms.value),
                                    duration_text(lateness_ms.value)
                                )
                            }
                        },
                    ),
                    StageKind::Process { lateness_ms: Some(lateness_ms), .. }
                    | StageKind::Lookup { lateness_ms: Some(lateness_ms), .. } => {
                        (&lateness_ms.span, format!("lateness {}", duration_text(lateness_ms.value)))
                    }
                    StageKind::Process { lateness_ms: None, .. }
                    | StageKind::Lookup { lateness_ms: None, .. }
                    | StageKind::Transform { .. }
                    | StageKind::Dedup { .. } => continue,
                };
                problems.push(
                    Problem::at(
                        Code::HorizonTooShort,
                        horizon.span.clone(),
                        format!("stage \"{}\" forgets ids that stage \"{}\" can still count", *stage.name, *waiting.name),
                        "a duplicate that comes later counts twice",
                    )
                    .also(span.clone(), text)
                    .patch(
                        "the shortest that is safe",
                        horizon.span.clone(),
                        format!("\"{}\"", duration_text(needed_ms)),
                    ),
                );
            }
            _ => {}
        }
    }
}
