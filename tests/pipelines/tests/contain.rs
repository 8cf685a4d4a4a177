//! Plugins that were not written in Rust: `examples/plugins-in-c`, built as docs/plugins.md says, give the rows that the same plugins in
//! Rust give.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context, Result, ensure};
use reelflow_pipelines::{Job, LogKind, prepared, root, said, target};

/// The plugins and their worlds.
const PLUGINS: [(&str, &str); 2] = [("filter_half", "transform"), ("count", "aggregate")];
/// What docs/plugins.md has a user type, but for the file names.
const COMPILE: &str = "python -m ziglang cc --target=wasm32-freestanding -O2 -nostdlib -Wl,--no-entry";

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("start {command:?}"))?;
    ensure!(output.status.success(), "{command:?} ended with {}: {}", output.status, said(&output));
    Ok(said(&output))
}

/// The core module of a plugin, compiled from C.
fn module(name: &str, folder: &Path) -> Result<PathBuf> {
    let out = folder.join(format!("{name}.module.wasm"));
    let caches = target().join("zig");
    let mut words = COMPILE.split(' ');
    words.next();
    run(Command::new(prepared("venv/bin/python"))
        .args(words)
        .args(["-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&out)
        .arg(root().join(format!("examples/plugins-in-c/{name}.c")))
        .env("ZIG_GLOBAL_CACHE_DIR", &caches)
        .env("ZIG_LOCAL_CACHE_DIR", &caches))?;
    Ok(out)
}

/// A folder with the components of the plugins in C, made once.
fn components() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = target().join("plugins-in-c");
        fs::create_dir_all(&folder).expect("the target folder can be written");
        for (name, world) in PLUGINS {
            let module = module(name, &folder).unwrap_or_else(|error| panic!("{error:#}"));
            let out = folder.join(format!("{name}.wasm"));
            let mut reel = Command::new(prepared("debug/reel"));
            reel.args(["plugin", "encode"]).arg(&module).args(["--world", world, "--out"]).arg(&out);
            let said = run(&mut reel).unwrap_or_else(|error| panic!("{error:#}"));
            assert!(said.contains(world) && fs::metadata(&out).expect("it was written").len() < 100_000, "{said}");
        }
        folder
    })
}

/// The rows of both sinks, sorted; `plugins`: the folder that holds the components.
fn rows(plugins: &Path) -> Result<[Vec<String>; 2]> {
    let job = Job::example("plugins-in-c", &LogKind::Embedded, &[])?;
    for (name, _) in PLUGINS {
        ensure!(plugins.join(format!("{name}.wasm")).exists(), "no {name} in {}", plugins.display());
    }
    fs::remove_file(job.path().join("plugins"))?;
    std::os::unix::fs::symlink(plugins, job.path().join("plugins"))?;
    // Profiles on both sides of zero, texts of every length, several minutes.
    let line = |n: i64| {
        let event_id = "é".repeat((n % 7) as usize) + &n.to_string();
        format!("{{\"event_id\":\"{event_id}\",\"event_ts\":{},\"profile_id\":{},\"title_id\":{}}}\n", n * 250, n % 11 - 5, n * n)
    };
    fs::write(job.path().join("in.ndjson"), (0..3_000).map(line).collect::<String>())?;
    job.read(&["topic", "write", "impressions", "in.ndjson", "--timestamp", "event_ts", "--partitions", "2", "--end"])?;
    job.run_to_end(&[])?;
    let read = |topic: &str| -> Result<Vec<String>> {
        let mut rows: Vec<String> = job.read(&["topic", "read", topic])?.lines().map(str::to_owned).collect();
        rows.sort();
        Ok(rows)
    };
    Ok([read("half")?, read("counts")?])
}

#[test]
fn plugins_in_c_give_the_rows_that_plugins_in_rust_give() -> Result<()> {
    let in_c = rows(components())?;
    let in_rust = rows(&prepared("plugins"))?;
    ensure!(
        in_c == in_rust,
        "in C {:?}\nin Rust {:?}",
        in_c.map(|rows| rows[..3].to_vec()),
        in_rust.map(|rows| rows[..3].to_vec())
    );
    // -4, -2, 0, 2 and 4 of the eleven profiles.
    ensure!(in_c[0].len() == (0..3_000).filter(|n| (n % 11 - 5) % 2 == 0).count(), "{} rows", in_c[0].len());
    ensure!(in_c[1].iter().any(|row| row.contains("\"key\":-4")), "{:?}", in_c[1]);
    Ok(())
}

#[test]
fn a_module_of_another_world_is_refused_and_nothing_is_written() -> Result<()> {
    let module = components().join("count.module.wasm");
    let folder = tempfile::Builder::new().prefix("reelflow-").tempdir()?;
    let out = folder.path().join("out.wasm");
    let check = |module: &Path, code: i32, expected: &str| -> Result<()> {
        let mut reel = Command::new(prepared("debug/reel"));
        let output = reel.args(["plugin", "encode"]).arg(module).args(["--world", "transform", "--out"]).arg(&out).output()?;
        ensure!(output.status.code() == Some(code) && said(&output).contains(expected), "{} {}", output.status, said(&output));
        ensure!(!out.exists(), "it was written");
        Ok(())
    };
    check(&module, 2, "is no plugin: cannot make a component of the module")?;
    check(&module, 2, "failed to find export of interface `reelflow:plugin/transform@0.1.0` function `apply`")?;
    check(&root().join("examples/plugins-in-c/count.c"), 2, "is no plugin: cannot make a component of the module")?;
    check(&folder.path().join("nowhere.wasm"), 3, "cannot be read")
}

#[test]
fn the_documents_say_how_it_is_built() -> Result<()> {
    let text = fs::read_to_string(root().join("docs/plugins.md"))?;
    ensure!(text.contains(COMPILE), "docs/plugins.md does not hold the command: {COMPILE}");
    let wanted = fs::read_to_string(root().join("examples/plugins-in-c/requirements.txt"))?;
    ensure!(wanted.starts_with("ziglang=="), "{wanted}");
    ensure!(text.contains("-r examples/plugins-in-c/requirements.txt"), "docs/plugins.md does not say how to install it");
    Ok(())
}
