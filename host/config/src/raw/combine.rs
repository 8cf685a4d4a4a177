//! `combine` of a stage: whether rows are added up before they are moved by their key.

use reelflow_core::plan::WindowSpec;

use super::window::RawWindow;
use crate::{
    code::Code,
    problem::{At, Problem, Problems, Span},
    walk::Table,
};

/// Where the stage says so. Rows of sessions find each other behind the change of key, and those of several streams are judged by what all of
/// these have come to.
pub(super) fn combine(
    table: &mut Table<'_>,
    window: Option<&RawWindow>,
    inputs: &[At<String>],
    problems: &mut Problems,
) -> Option<Span> {
    let flag = table.flag("combine", problems).filter(|flag| **flag)?;
    if let Some(RawWindow { spec, .. }) = window
        && !matches!(**spec, WindowSpec::Tumbling { .. } | WindowSpec::Local(_) | WindowSpec::Hopping { .. })
    {
        let message = format!("{} has no key \"combine\"", table.what);
        let problem =
            Problem::at(Code::KeyOfAnotherKind, flag.span.clone(), message, "a key of stages with windows of fixed size");
        problems.push(problem.also(spec.span.clone(), "these are not"));
    }
    if let [first, .., last] = inputs {
        let message = format!("{} adds up rows of several inputs before they are moved", table.what);
        let problem = Problem::at(Code::NotCombined, flag.span.clone(), message, "of one input only");
        let problem = problem.also(first.span.start..last.span.end, "several");
        problems.push(problem.help("make one stream of them in a transform, and read that"));
    }
    Some(flag.span)
}
