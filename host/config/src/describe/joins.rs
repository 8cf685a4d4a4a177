//! Joins in plain words.

use reelflow_core::{
    plan::{JoinKind, Matching, StageKind, StagePlan},
    time::duration_text,
};

use super::{columns, emission_text, plus, window_text};

/// What the join `stage` does, with `plugin`.
pub(super) fn lines(stage: &StagePlan, plugin: &str) -> Vec<String> {
    let StageKind::Join { left_key, matching, tie, join, lateness_ms, emission, .. } = &stage.kind else { return Vec::new() };
    let key = columns(&stage.inputs[0], left_key);
    let or_alone = match join {
        JoinKind::Inner => "",
        JoinKind::Left => ", or alone",
        JoinKind::Right => "; right rows also alone",
        JoinKind::Full => ", or alone; right rows also alone",
    };
    let late = plus(*lateness_ms);
    match matching {
        Matching::LatestBefore { within_ms } => {
            let within = duration_text(*within_ms);
            let mut lines = vec![format!(
                "plugin {plugin} gets each left row with the latest right row of the same {key} at most {within} before it{or_alone}"
            )];
            if let Some(tie) = tie {
                lines.push(format!(
                    "of several at the same time, the one with the greatest {}",
                    stage.inputs[1].fields[*tie].name
                ));
            }
            lines.push(emission_text(*emission, "the watermark has passed the left row", *lateness_ms));
            lines.push(format!("state: right rows are kept for {within}{late}, left rows until final"));
            lines
        }
        Matching::All { within_ms, after_ms } => {
            let [within, after] = [*within_ms, *after_ms].map(duration_text);
            let alone = |side: &str, by: &str| format!("emits a {side} row alone once the watermark has passed it by {by}{late}");
            let mut lines = vec![
                format!(
                    "plugin {plugin} gets each left row with every right row of the same {key} from {within} before it to {after} after it{or_alone}"
                ),
                "emits a pair when the later of its rows comes, once".to_owned(),
            ];
            lines.extend(join.keeps_left().then(|| alone("left", &after)));
            lines.extend(join.keeps_right().then(|| alone("right", &within)));
            lines.push(format!("state: right rows are kept for {within}{late}, left rows for {after}{late}"));
            lines
        }
        Matching::Window(window) => {
            let windows = window_text(window, &stage.inputs[0]);
            let alone = |side: &str, other: &str| {
                format!("emits a {side} row alone at the end of each window without a {other} one{late}")
            };
            let mut lines = vec![
                format!(
                    "plugin {plugin} gets each left row with every right row of the same {key} in its windows {windows}{or_alone}"
                ),
                "emits a pair when the later of its rows comes, once for each window that both are in".to_owned(),
            ];
            lines.extend(join.keeps_left().then(|| alone("left", "right")));
            lines.extend(join.keeps_right().then(|| alone("right", "left")));
            lines.push(format!("state: rows are kept until the end of their last window{late}"));
            lines
        }
    }
}
