//! Whether rows are moved by their key at all in front of a stage that would add them up before.

use super::cut::Cut;
use crate::{
    code::Code,
    config::{Config, StageKind},
    problem::{Problem, Problems, Span},
};

pub(super) fn check(config: &Config, cut: &Cut, problems: &mut Problems) {
    for (idx, stage) in config.stages.iter().enumerate() {
        let Some(span) = asked(&stage.kind) else { continue };
        if !cut.shuffles.iter().any(|shuffle| shuffle.stage == idx) {
            let message = format!("stage \"{}\" has nothing to add up", *stage.name);
            let problem = Problem::at(Code::NotCombined, span.clone(), message, "its rows are not moved");
            let note = "equal keys lie in one partition already: the rows come to the stage without a topic in between";
            problems.push(problem.note(note).help("leave it out"));
        }
    }
}

/// Where a stage says that its rows are added up before they are moved.
pub(super) fn asked(kind: &StageKind) -> Option<&Span> {
    if let StageKind::Aggregate { combine, .. } = kind { combine.as_ref() } else { None }
}
