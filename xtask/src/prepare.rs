//! Installs and builds what tests and demo need, and says what only a person can install.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, bail};

use crate::sh::{built, cargo, command, linting, read, root, run, target};

const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// Adds the Wasm target if rustup has not brought it by `rust-toolchain.toml`.
pub(crate) fn wasm_target() -> Result<()> {
    let sysroot = read(command("rustc").args(["--print", "sysroot"]))?;
    if Path::new(sysroot.trim()).join("lib/rustlib").join(WASM_TARGET).is_dir() {
        return Ok(());
    }
    run(command("rustup").args(["target", "add", WASM_TARGET]))
        .with_context(|| format!("the Rust target {WASM_TARGET} is missing; install it with: rustup target add {WASM_TARGET}"))
}

/// The host's programs.
pub(crate) fn programs() -> Result<()> {
    run(cargo().args(["build", "--workspace", "--bins"]))
}

/// The host's programs and everything that `cargo test --workspace` needs, compiled once for both, and linted by the way.
pub(crate) fn programs_and_tests() -> Result<()> {
    run(linting().args(["test", "--workspace", "--no-run"]))?;
    run(linting().args(["build", "--workspace", "--all-targets"]))
}

/// Compiles each shipped plugin into `target/plugins`, with the `reel` that was built before.
pub(crate) fn plugins() -> Result<()> {
    wasm_target()?;
    for dir in plugin_dirs()? {
        let name = dir.file_name().expect("a folder in plugins/ has a name").to_string_lossy().replace('-', "_");
        let out = target().join("plugins").join(format!("{name}.wasm"));
        run(command(built("reel")).arg("build").arg(&dir).arg("--out").arg(out).args(["--profile", "plugin"]))?;
    }
    Ok(())
}

fn plugin_dirs() -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(root().join("plugins")).context("read plugins/")?;
    let mut dirs: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|dir| dir.join("Cargo.toml").is_file()).collect();
    dirs.sort();
    Ok(dirs)
}

/// A virtual environment with the packages of `tests/oracle/requirements.txt`; gives its Python.
pub(crate) fn python() -> Result<PathBuf> {
    let venv = target().join("venv");
    let python = venv.join("bin/python");
    let wanted = fs::read_to_string(root().join("tests/oracle/requirements.txt"))?;
    let stamp = venv.join("installed.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    println!("installing the batch oracle's Python packages into target/venv");
    run(command("python3").args(["-m", "venv"]).arg(&venv))
        .context("Python 3.11 or later with its venv module is needed for the batch oracle: install python3 and python3-venv")?;
    run(command(&python).args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-r",
        "tests/oracle/requirements.txt",
    ]))?;
    fs::write(stamp, wanted)?;
    Ok(python)
}

/// A C compiler for WebAssembly, which is a Python package, beside the others: for the plugins of `examples/plugins-in-c`.
pub(crate) fn c_compiler(python: &Path) -> Result<()> {
    const WANTED: &str = "examples/plugins-in-c/requirements.txt";
    let wanted = fs::read_to_string(root().join(WANTED))?;
    let stamp = target().join("venv/c-compiler.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    println!("installing a C compiler for WebAssembly into target/venv");
    run(command(python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", WANTED]))?;
    Ok(fs::write(stamp, wanted)?)
}

/// The real impressions and clicks of the package obp, unpacked into `target/obp`. Fetched, never committed.
pub(crate) fn obp(python: &Path) -> Result<()> {
    let folder = target().join("obp");
    if folder.join("obp/dataset/obd/random/all/all.csv").is_file() {
        return Ok(());
    }
    println!("fetching real impressions and clicks into target/obp");
    fs::create_dir_all(&folder)?;
    run(command(python)
        .args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary",
            ":all:",
            "obp==0.4.1",
            "--dest",
        ])
        .arg(&folder))?;
    let wheel = folder.join("obp-0.4.1-py3-none-any.whl");
    run(command(python).args(["-m", "zipfile", "-e"]).arg(wheel).arg(&folder))
}

/// Java 17 and Maven, which only a person can install; then Apache Kafka's jars.
pub(crate) fn kafka() -> Result<()> {
    for (program, package) in [("java", "openjdk-17-jre-headless"), ("mvn", "maven")] {
        let found = command(program).arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !found.is_ok_and(|status| status.success()) {
            bail!(
                "`{program}` is needed for the tests on a real Apache Kafka and was not found; install it, e.g.: apt-get install {package}"
            );
        }
    }
    Ok(())
}
