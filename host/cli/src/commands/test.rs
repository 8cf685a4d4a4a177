//! `reel test`: the tests of a manifest, played by the engine that runs it.

use reelflow_config::{Partitions, TestPlan};

use crate::{
    args::test::{Test, TestFormat},
    commands::run::warn,
    failure::{Exit, Failure},
    manifest::{Manifest, Planned},
    output::print,
};

pub(super) mod compare;
pub(super) mod found;
mod junit;
pub(super) mod play;
pub(super) mod report;
pub(super) mod row;

/// Tests are played on one partition, whatever the topics have.
const PARTITIONS: u32 = 1;
/// A call may take at least so many ms of real time, the only real time there is in a test: a busy machine must not decide what comes of it.
const CALL_MS_MIN: u64 = 2_000;

pub(crate) fn test(args: &Test) -> Result<(), Failure> {
    let mut manifest = Manifest::load(&args.file.manifest)?;
    warn(&manifest, &manifest.warnings);
    for plugin in &mut manifest.config.plugins {
        plugin.limits.call_ms_max = plugin.limits.call_ms_max.max(CALL_MS_MIN);
    }
    let planned = manifest.plan(Partitions::all(PARTITIONS))?;
    warn(&manifest, &planned.warnings);
    let tests = wanted(&manifest, &planned, args.name.as_deref())?;
    let player = play::Player::new(planned);
    let verdicts: Vec<play::Verdict> = tests.iter().map(|test| player.play(test)).collect();
    let text = match args.format {
        TestFormat::Text => report::text(&verdicts),
        TestFormat::Json => report::json(&verdicts, &manifest.config.pipeline.name).to_string(),
        TestFormat::Junit => junit::xml(&verdicts, &manifest.config.pipeline.name),
    };
    print(&text)?;
    match verdicts.iter().all(play::Verdict::is_good) {
        true => Ok(()),
        false => Err(Failure::Said(Exit::Runtime as u8)),
    }
}

/// The tests whose names contain `name`. None at all is an error: nothing would be shown.
fn wanted(manifest: &Manifest, planned: &Planned, name: Option<&str>) -> Result<Vec<TestPlan>, Failure> {
    let mut tests = manifest.config.rehearsals(&planned.plan).map_err(|problems| manifest.failure(problems))?;
    if tests.is_empty() {
        return Err(Failure::new(Exit::User, format!("{} has no tests", manifest.file()))
            .help("write a [[test]] with the records that arrive and the rows that come of them: see docs/testing.md"));
    }
    let names: Vec<String> = tests.iter().map(|test| format!("\"{}\"", test.rehearsal.name)).collect();
    tests.retain(|test| name.is_none_or(|name| test.rehearsal.name.contains(name)));
    match (tests.is_empty(), name) {
        (true, Some(name)) => Err(Failure::new(Exit::User, format!("no test of {} has \"{name}\" in its name", manifest.file()))
            .help(format!("its tests: {}", names.join(", ")))),
        _ => Ok(tests),
    }
}
