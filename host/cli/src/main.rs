//! The `reel` command: flags, exit codes, and the composition of everything else.
//!
//! Modules in reading order: [`args`], [`failure`], [`output`], [`target`], [`json_bytes`], [`manifest`] (reads what a manifest names), [`outside`] (what goes wrong
//! there), [`wire`] (the only place that knows which log and which engine), [`progress`], [`http`], [`metrics`], [`admin`], [`incident`], [`commands`].

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use reelflow_wasm::compiler::inside;

use crate::{
    args::{Cli, Colour, Command, compile::CompileComponent},
    failure::{Exit, Failure},
};

mod admin;
mod args;
mod commands;
mod failure;
mod http;
mod incident;
mod json_bytes;
mod manifest;
mod metrics;
mod output;
mod outside;
mod progress;
mod summary;
mod target;
mod wire;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Command::CompileComponent(CompileComponent { memory_bytes, cpu_s }) = cli.command {
        return ExitCode::from(inside::compile(inside::Allowance { memory_bytes, cpu_s }));
    }
    wire::compiling::keep_components(&cli.component_cache);
    match cli.color {
        Colour::Auto => {}
        Colour::Always => anstream::ColorChoice::Always.write_global(),
        Colour::Never => anstream::ColorChoice::Never.write_global(),
    }
    match start_logging(cli.log.as_deref()).and_then(|()| dispatch(&cli.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.say();
            ExitCode::from(failure.exit_code())
        }
    }
}

fn dispatch(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Run(args) => commands::run::run(args),
        Command::Backfill(args) => commands::backfill::backfill(args),
        Command::Reload(args) => commands::reload::reload(args),
        Command::History(args) => commands::reload::history(args),
        Command::Shadow(args) => commands::shadow::shadow(args),
        Command::Check(args) => commands::check::check(args),
        Command::Test(args) => commands::test::test(args),
        Command::Dev(args) => commands::dev::dev(args),
        Command::Explain(args) => commands::explain::explain(args),
        Command::New(args) => commands::new::new(args),
        Command::Build(args) => commands::build::build(args),
        Command::Plugin(command) => commands::plugin::plugin(command),
        Command::Status(args) => commands::status::status(args),
        Command::Top(args) => commands::top::top(args),
        Command::Topic(command) => commands::topic::topic(command),
        Command::State(command) => commands::state::state(command),
        Command::Dlq(command) => commands::dlq::dlq(command),
        Command::Replay(args) => commands::replay::replay(args),
        Command::CompileComponent(_) => unreachable!("it begins with nothing of all this"),
        Command::Schema => output::print(reelflow_config::manifest_schema().trim_end()),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "reel", &mut script);
            output::print(String::from_utf8_lossy(&script).trim_end())
        }
    }
}

fn start_logging(filter: Option<&str>) -> Result<(), Failure> {
    let Some(filter) = filter else { return Ok(()) };
    let filter = tracing_subscriber::EnvFilter::try_new(filter)
        .map_err(|why| Failure::new(Exit::User, format!("--log \"{filter}\" is no filter: {why}")))?;
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).init();
    Ok(())
}
