//! What tests name: sources, sinks and stages that exist, and that can give what is asked of them.

use crate::{
    code::Code,
    config::test::{OutputName, Test},
    problem::{At, Problem, Problems},
    raw::RawConfig,
    value::closest,
};

pub(super) fn check(raw: &RawConfig, problems: &mut Problems) {
    for (idx, test) in raw.tests.iter().enumerate() {
        if let Some(first) = raw.tests[..idx].iter().find(|first| first.name.value == test.name.value && !test.name.is_empty()) {
            let message = format!("two tests are called \"{}\"", *test.name);
            let problem = Problem::at(Code::BadList, test.name.span.clone(), message, "again here");
            problems.push(problem.also(first.name.span.clone(), "first here"));
        }
        names(raw, test, problems);
    }
}

fn names(raw: &RawConfig, test: &Test, problems: &mut Problems) {
    let sources: Vec<&str> = raw.sources.iter().map(|source| source.name.value.as_str()).collect();
    let sinks: Vec<&str> = raw.sinks.iter().map(|sink| sink.name.value.as_str()).collect();
    let stages: Vec<&str> = raw.stages.iter().map(|stage| stage.name.value.as_str()).collect();
    for input in &test.inputs {
        known(test, "gives records to", "source or table", &input.source, &sources, problems);
    }
    for output in &test.expected {
        match &output.of {
            OutputName::Sink(name) => drop(known(test, "expects rows of", "sink", name, &sinks, problems)),
            OutputName::Late(name) => {
                if known(test, "expects late records of", "stage", name, &stages, problems) {
                    can(raw, test, name, &["transform", "dedup"], "has no late records", problems);
                }
            }
            OutputName::State(name) => {
                if known(test, "expects state of", "stage", name, &stages, problems) {
                    can(raw, test, name, &["transform"], "keeps nothing", problems);
                }
            }
            OutputName::Dead(_) => {}
        }
    }
}

fn known(test: &Test, does: &str, what: &str, name: &At<String>, all: &[&str], problems: &mut Problems) -> bool {
    if all.contains(&name.as_str()) {
        return true;
    }
    let message = format!("test \"{}\" {does} a {what} that does not exist", *test.name);
    let problem = Problem::at(Code::UnknownInTest, name.span.clone(), message, format!("no {what} is called \"{}\"", **name));
    problems.push(match closest(name, all.iter().copied()) {
        Some(meant) => problem.patch("a similar name exists", name.span.clone(), meant),
        None => problem.note(format!("there is {}", all.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", "))),
    });
    false
}

/// Reports a stage of a kind that never gives what is expected of it.
fn can(raw: &RawConfig, test: &Test, name: &At<String>, not_of: &[&str], lacks: &str, problems: &mut Problems) {
    let stage = raw.stages.iter().find(|stage| stage.name.value == name.value).expect("it is known");
    let Some(kind) = stage.kind.filter(|kind| not_of.contains(kind)) else { return };
    let message = format!("test \"{}\" looks at stage \"{}\", which {lacks}", *test.name, **name);
    let problem = Problem::at(Code::UnknownInTest, name.span.clone(), message, format!("a stage of kind \"{kind}\""));
    problems.push(problem.also(stage.name.span.clone(), "this one"));
}
