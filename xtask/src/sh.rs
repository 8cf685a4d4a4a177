//! Runs programs, from the root of the checkout.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the root").to_owned()
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A program that this checkout builds.
pub(crate) fn built(name: &str) -> PathBuf {
    target().join("debug").join(name)
}

/// `program` in the root, with the standard input closed.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// cargo itself, the one that runs us.
pub(crate) fn cargo() -> Command {
    let mut command = command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What `cargo run` sets for us must not reach the cargo that we start: it would recompile for it.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&*name);
        }
    }
    command
}

/// cargo with clippy as the compiler of the workspace's own crates, whose warnings are errors then. As an option, and not a variable of the
/// environment, it does not reach the cargos that tests start.
pub(crate) fn linting() -> Command {
    let mut command = cargo();
    command.args(["--config", "build.rustc-workspace-wrapper=\"clippy-driver\""]);
    // How `cargo clippy -- -D warnings` tells clippy-driver; it passes on what it does not know.
    command.env("CLIPPY_ARGS", "-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__");
    command
}

/// Runs `command` with its output shown; fails unless it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("start {}", text(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", text(command));
    }
    Ok(())
}

/// Runs `command` and gives its standard output; fails unless it succeeds.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("start {}", text(command)))?;
    if !output.status.success() {
        bail!("{} ended with {}", text(command), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Like [`read`], with what the program says besides kept in the file `log`, and shown if it fails.
pub(crate) fn read_quietly(command: &mut Command, log: &Path) -> Result<String> {
    let output = command.stderr(File::create(log)?).output().with_context(|| format!("start {}", text(command)))?;
    if !output.status.success() {
        bail!("{} ended with {}:\n{}", text(command), output.status, fs::read_to_string(log)?);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn text(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
    format!("{program} {}", args.join(" "))
}
