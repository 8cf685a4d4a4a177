//! `reel build`: a plugin crate to a checked component.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use reelflow_ports::engine::LoadError;
use reelflow_wasm::{Inspection, encode_component};
use serde::Deserialize;

use crate::{
    args::Build,
    commands::plugin::{self, STANDARD_LIMITS},
    failure::{Exit, Failure, exit_of},
    output::print,
    wire,
};

const TARGET: &str = "wasm32-unknown-unknown";

/// What of `cargo build --message-format=json` matters here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    filenames: Vec<PathBuf>,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

pub(crate) fn build(args: &Build) -> Result<(), Failure> {
    let started = Instant::now();
    if !args.dir.join("Cargo.toml").is_file() {
        return Err(Failure::new(Exit::User, format!("\"{}\" holds no Cargo.toml", args.dir.display()))
            .help("Name a plugin's crate, or start one with `reel new NAME`."));
    }
    let (name, module) = compile(&args.dir, &args.profile)?;
    let bytes = fs::read(&module)
        .map_err(|why| Failure::new(Exit::Environment, format!("\"{}\" cannot be read: {why}", module.display())))?;
    let component =
        encode_component(&bytes).map_err(|why| Failure::new(Exit::User, format!("crate \"{name}\" is no plugin: {why}")))?;
    let out = args.out.clone().unwrap_or_else(|| args.dir.join(format!("{name}.wasm")));
    let inspection = keep(&format!("crate \"{name}\""), &component, &out)?;
    print(&format!("built {}  {}  {:.1} s", out.display(), plugin::line(&inspection), started.elapsed().as_secs_f64()))
}

/// Checks the component and writes it. `what` it was made of stands in the error of one that is refused.
pub(crate) fn keep(what: &str, component: &[u8], out: &Path) -> Result<Inspection, Failure> {
    // Refused before it is written: whoever watches the file must never see a component that cannot run.
    let refused = |why: &LoadError| Failure::new(exit_of(why.who()), format!("{what} is no plugin: {why}"));
    let inspection = wire::engine().inspect(component, "{}", &STANDARD_LIMITS).map_err(|why| refused(&why))?;
    match &inspection.declaration {
        // A plugin may need a config that only its manifest has.
        Ok(_) | Err(LoadError::Config(_)) => {}
        Err(why) => return Err(refused(why)),
    }
    if let Some(folder) = out.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(|why| unwritable(folder, &why))?;
    }
    // By rename, so that a reader sees the old component or the new one, never half of it.
    let fresh = out.with_extension("wasm.tmp");
    fs::write(&fresh, component).map_err(|why| unwritable(&fresh, &why))?;
    fs::rename(&fresh, out).map_err(|why| unwritable(out, &why))?;
    Ok(inspection)
}

fn unwritable(path: &Path, why: &std::io::Error) -> Failure {
    Failure::new(Exit::Environment, format!("\"{}\" cannot be written: {why}", path.display()))
}

/// Has cargo compile the crate; gives the library's name and its core module.
fn compile(dir: &Path, profile: &str) -> Result<(String, PathBuf), Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(dir)
        .args(["build", "--lib", "--target", TARGET, "--profile", profile, "--message-format=json-render-diagnostics"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|why| {
            Failure::new(Exit::Environment, format!("cargo cannot be started: {why}")).help("Install Rust with rustup.")
        })?;
    if !output.status.success() {
        return Err(Failure::new(Exit::User, format!("the crate in \"{}\" does not compile", dir.display()))
            .help(format!("If the target is missing: rustup target add {TARGET}")));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let mut found = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter(|message| message.reason == "compiler-artifact")
        .filter_map(|message| {
            let target = message.target.filter(|target| target.kind.iter().any(|kind| kind == "cdylib"))?;
            let module = message.filenames.into_iter().find(|file| file.extension().is_some_and(|ext| ext == "wasm"))?;
            Some((target.name, module))
        });
    // The last one: a plugin's dependencies come before it.
    found.next_back().ok_or_else(|| {
        Failure::new(Exit::User, format!("the crate in \"{}\" makes no Wasm module", dir.display()))
            .help("Add crate-type = [\"cdylib\", \"rlib\"] to [lib] in its Cargo.toml.")
    })
}
