//! One command for each chore: `cargo xtask test`, `cargo xtask demo`, `cargo xtask bench`, `cargo xtask plugins`.
//!
//! Modules in reading order: [`sh`] (runs programs), [`prepare`] (installs and builds what the others need), [`test`], [`lanes`] (test programs side by side), [`demo`],
//! [`twin`] (the batch recomputation that the demo checks itself against), [`bench`], [`broker`] (for both).

use std::process::ExitCode;

mod bench;
mod broker;
mod demo;
mod lanes;
mod prepare;
mod sh;
mod test;
mod twin;

const USAGE: &str = "usage: cargo xtask COMMAND

  demo [--events N] [--kafka]   set up, run the main job on the embedded log (or a real Kafka), show what comes out and check it
  test [STEP ...]               everything that CI runs; ends in `N passed, N failed`. Steps: fmt build plugins unit
  bench [--records N] [--rounds N]
                                the engine beside hand-written Kafka programs, on a real Kafka
  plugins                       compile the shipped plugins into target/plugins
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match args.split_first() {
        Some((command, rest)) => match command.as_str() {
            "demo" => demo::demo(rest),
            "test" => test::test(rest),
            "bench" => bench::bench(rest),
            "plugins" => prepare::programs().and_then(|()| prepare::plugins()).map(|()| true),
            _ => usage(),
        },
        None => usage(),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("error: {why:#}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> anyhow::Result<bool> {
    eprint!("{USAGE}");
    Ok(false)
}
