//! Stages that add rows up before they are moved: only where each row is sent once.

use crate::{
    code::Code,
    config::{Config, Guarantee, StageKind},
    problem::{Problem, Problems},
};

pub(super) fn check(config: &Config, problems: &mut Problems) {
    if config.pipeline.guarantee != Guarantee::AtLeastOnce {
        return;
    }
    for stage in &config.stages {
        if let StageKind::Aggregate { combine: Some(span), .. } = &stage.kind {
            let message = format!("stage \"{}\" adds rows up, and the pipeline may send them twice", *stage.name);
            let problem = Problem::at(Code::NotCombined, span.clone(), message, "not with `guarantee = \"at-least-once\"`");
            problems.push(problem.help("leave it out, or write `guarantee = \"exactly-once\"`"));
        }
    }
}
