//! `cargo xtask test`: everything that CI runs, counted.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result};

use crate::{
    prepare,
    sh::{cargo, linting, run},
};

/// What a step counted.
#[derive(Clone, Copy, Default)]
struct Counts {
    passed: u64,
    failed: u64,
}

const STEPS: [&str; 4] = ["fmt", "build", "plugins", "unit"];

/// Runs the steps named, or all, and prints `N passed, N failed` as the last line. Gives whether nothing failed.
pub(crate) fn test(args: &[String]) -> Result<bool> {
    if let Some(unknown) = args.iter().find(|arg| !STEPS.contains(&arg.as_str())) {
        anyhow::bail!("there is no step \"{unknown}\"; steps: {}", STEPS.join(" "));
    }
    let mut total = Counts::default();
    for step in STEPS.iter().filter(|step| args.is_empty() || args.iter().any(|arg| arg == *step)) {
        println!("\n== {step}");
        let started = Instant::now();
        let counts = match *step {
            "fmt" => one(run(cargo().args(["fmt", "--all", "--check"]))),
            // With clippy in place of the compiler: a second build for its sake would take as long as this one.
            "build" => one(prepare::programs_and_tests()),
            "plugins" => one(prepare::plugins()),
            _ => unit()?,
        };
        println!("== {step}: {} passed, {} failed, {} s", counts.passed, counts.failed, started.elapsed().as_secs());
        total.passed += counts.passed;
        total.failed += counts.failed;
    }
    println!("\n{} passed, {} failed", total.passed, total.failed);
    Ok(total.failed == 0)
}

fn one(outcome: Result<()>) -> Counts {
    match outcome {
        Ok(()) => Counts { passed: 1, failed: 0 },
        Err(why) => {
            eprintln!("error: {why:#}");
            Counts { passed: 0, failed: 1 }
        }
    }
}

/// All of cargo's tests: unit, tidy, scenarios, simulation, guests, pipelines on the embedded log and on a real Kafka, oracle.
fn unit() -> Result<Counts> {
    prepare::kafka()?;
    let python = prepare::python()?;
    prepare::obp(&python)?;
    prepare::c_compiler(&python)?;
    let mut command = linting();
    command.args(["test", "--workspace", "--no-fail-fast"]).env("RUST_BACKTRACE", "0");
    count(&mut command)
}

/// Runs cargo's tests with their output shown and adds up the lines `test result: …`.
fn count(command: &mut Command) -> Result<Counts> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("start cargo test")?;
    let stdout = child.stdout.take().expect("it was asked for");
    let mut counts = Counts::default();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        println!("{line}");
        let of = |word: &str| -> u64 {
            let before = line.split(word).next().unwrap_or_default();
            before.rsplit(' ').find_map(|part| part.parse().ok()).unwrap_or(0)
        };
        if line.starts_with("test result: ") {
            counts.passed += of(" passed");
            counts.failed += of(" failed");
        }
    }
    let status = child.wait()?;
    // A test binary that does not compile, or dies, prints no result.
    if !status.success() && counts.failed == 0 {
        counts.failed = 1;
    }
    Ok(counts)
}
