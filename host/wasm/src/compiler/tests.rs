//! Helpers that are shell scripts: what becomes of a component when a helper does not do what it should. The real one is tried in `tests/pipelines`.

use std::{fs, path::Path};

use reelflow_ports::engine::PluginEngine;
use tempfile::TempDir;

use super::*;
use crate::engine::{WasmEngine, digest, engine};

/// Reads all of its input, and counts how often it was started.
const BEGIN: &str = "cat > /dev/null; echo >> started; ";

struct World {
    folder: TempDir,
    component: Vec<u8>,
}

impl World {
    /// A component, in a folder with the answer that a helper would give.
    fn new() -> World {
        let text = include_str!("../../../../tests/guests/wat/answers_nothing.wat");
        let component = wat::parse_str(text).unwrap();
        let folder = tempfile::Builder::new().prefix("reelflow-").tempdir().unwrap();
        let key = Key::new(&engine(), &digest(&component));
        let answer = Native::compiled(&engine(), &component).unwrap().seal(&key);
        fs::write(folder.path().join("answer"), answer.as_bytes()).unwrap();
        World { folder, component }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// An engine whose helpers do what `script` says in the folder.
    fn engine(&self, script: &str, cache: Option<Cache>) -> WasmEngine {
        let script = format!("cd '{}'; {script}", self.folder.path().display());
        let helper = Helper::new("/bin/sh".into(), vec!["-c".into(), script.into()]);
        WasmEngine::with_compiler(Compiler::Helper { helper, cache })
    }

    fn cache(&self) -> Option<Cache> {
        Some(Cache::open(&self.path("cache"), cache::BYTES_MAX, |_| {}).unwrap())
    }

    fn load(&self, engine: &WasmEngine) -> Result<(), LoadError> {
        let limits = Limits { compile_ms_max: 20_000, ..Limits::STANDARD };
        engine.load(&self.component, "{}", &limits).map(drop)
    }

    /// The text of the error that a helper with `script` leads to.
    fn broken(&self, script: &str) -> String {
        let engine = self.engine(script, self.cache());
        let error = self.load(&engine).unwrap_err();
        assert!(error.may_pass() || matches!(error, LoadError::NotAComponent(_)), "{error}");
        assert_eq!(self.load(&engine).unwrap_err(), error, "the engine lives");
        assert_eq!(files_in(&self.path("cache")), 0, "nothing of it is kept");
        error.to_string()
    }

    fn n_started(&self) -> usize {
        fs::read_to_string(self.path("started")).unwrap_or_default().lines().count()
    }
}

fn files_in(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

#[test]
fn what_a_helper_gives_is_loaded() {
    let world = World::new();
    world.load(&world.engine("cat > /dev/null; cat answer", None)).unwrap();
    // With less than all of its input, as long as the answer is right.
    world.load(&world.engine("cat answer", None)).unwrap();
}

#[test]
fn a_helper_that_breaks_refuses_this_component_alone() {
    let world = World::new();
    for (script, expected) in [
        ("kill -9 $$", "was not compiled: the helper ended with signal: 9 (SIGKILL)"),
        ("head -c 1000 answer; kill -9 $$", "the helper ended with signal: 9 (SIGKILL)"),
        ("kill -SEGV $$", "the helper ended with signal: 11 (SIGSEGV)"),
        ("echo it panicked >&2; exit 101", "the helper ended with exit status: 101: it panicked"),
        ("exit 0", "the helper gave no code for it"),
        ("head -c 1000 answer", "the helper gave no code for it"),
        ("cat answer answer", "the helper gave no code for it"),
        ("head -c 3000000 /dev/zero", "the helper gave no code for it"),
        ("head -c 300000000 /dev/zero; exit 0", "it gave more than 268435544 bytes"),
        ("echo what it is >&2; exit 2", "not a WebAssembly component: what it is"),
        ("kill -XCPU $$", "took longer than 20000 ms"),
        ("exit 3", "took more than 1024 MiB of memory"),
        ("echo memory allocation of 9 bytes failed >&2; kill -ABRT $$", "took more than 1024 MiB of memory"),
    ] {
        let text = world.broken(&format!("{BEGIN}{script}"));
        assert!(text.contains(expected), "{script}: {text}");
        let names_it = text.contains(&digest(&world.component)) || text.starts_with("not a WebAssembly component");
        assert!(names_it, "{script}: {text}");
    }
}

#[test]
fn a_helper_without_an_end_is_ended() {
    let world = World::new();
    let limits = Limits { compile_ms_max: 50, ..Limits::STANDARD };
    // One that reads nothing and writes nothing, and one that was done and stays.
    for script in ["exec sleep 1000", "cat answer; exec sleep 1000 > /dev/null"] {
        let error = world.engine(script, None).load(&world.component, "{}", &limits).map(drop).unwrap_err();
        assert_eq!(error, LoadError::CompileTime { digest: digest(&world.component), limit_ms: 50 });
    }
}

#[test]
fn a_helper_that_is_not_there_is_the_machines() {
    let world = World::new();
    let helper = Helper::new(world.path("nowhere"), Vec::new());
    let engine = WasmEngine::with_compiler(Compiler::Helper { helper, cache: None });
    let error = world.load(&engine).unwrap_err();
    assert!(error.to_string().starts_with("no process can be started to compile in: "), "{error}");
    assert_eq!(error.who(), reelflow_ports::log::Who::Environment);
}

/// I-7: it has no variable of this process.
#[test]
fn a_helper_has_no_environment() {
    let world = World::new();
    assert!(std::env::var_os("PATH").is_some());
    // What the shell itself sets is all that there is.
    world.load(&world.engine("env > variables; cat answer", None)).unwrap();
    let variables = fs::read_to_string(world.path("variables")).unwrap();
    let names: Vec<&str> = variables.lines().filter_map(|line| line.split('=').next()).collect();
    assert!(names.iter().all(|name| ["PWD", "OLDPWD", "SHLVL", "_"].contains(name)), "{variables}");
}

#[test]
fn the_second_start_needs_no_helper() {
    let world = World::new();
    let script = format!("{BEGIN}cat answer");
    let first = world.engine(&script, world.cache());
    world.load(&first).unwrap();
    world.load(&first).unwrap();
    assert_eq!((world.n_started(), first.n_compiled()), (1, 1));
    let second = world.engine(&script, world.cache());
    world.load(&second).unwrap();
    assert_eq!((world.n_started(), second.n_compiled()), (1, 0));
    assert!(second.inspect(&world.component, "{}", &Limits::STANDARD).unwrap().declaration.is_ok());
    assert_eq!(world.n_started(), 1);
    world.load(&world.engine(&script, None)).unwrap();
    assert_eq!(world.n_started(), 2, "without a cache");
}

#[test]
fn a_damaged_file_is_compiled_again() {
    static WARNED: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());
    let world = World::new();
    let open = || Cache::open(&world.path("cache"), cache::BYTES_MAX, |text| WARNED.lock().unwrap().push(text.to_owned())).ok();
    let script = format!("{BEGIN}cat answer");
    world.load(&world.engine(&script, open())).unwrap();
    let file = fs::read_dir(world.path("cache")).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for (n, damaged) in [&flipped[..], &whole[..whole.len() - 1], b""].into_iter().enumerate() {
        fs::write(&file, damaged).unwrap();
        world.load(&world.engine(&script, open())).unwrap();
        assert_eq!(world.n_started(), n + 2);
        assert_eq!(fs::read(&file).unwrap(), whole, "written anew");
        let warned = WARNED.lock().unwrap().clone();
        assert!(warned.len() == n + 1 && warned[n].ends_with("compiled again: it is damaged"), "{warned:?}");
    }
}

#[test]
fn a_cache_that_is_full_or_gone_costs_nothing_but_time() {
    let world = World::new();
    let engine = world.engine(&format!("{BEGIN}cat answer"), world.cache());
    fs::remove_dir_all(world.path("cache")).unwrap();
    world.load(&engine).unwrap();
    let tiny = Cache::open(&world.path("tiny"), 10, |_| {}).unwrap();
    world.load(&world.engine(&format!("{BEGIN}cat answer"), Some(tiny))).unwrap();
    assert_eq!((world.n_started(), files_in(&world.path("tiny"))), (2, 0));
}
