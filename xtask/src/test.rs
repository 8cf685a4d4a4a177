//! `cargo xtask test`: everything that CI runs, counted.

use std::time::Instant;

use anyhow::Result;

use crate::{
    lanes::{self, Counts},
    prepare,
    sh::{cargo, run},
};

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
        total = total.and(counts);
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
    lanes::run()
}
