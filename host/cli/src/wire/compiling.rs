//! Who compiles plugins in this program, and where the code is kept.

use std::{path::PathBuf, sync::OnceLock};

use reelflow_wasm::{
    Compiler,
    compiler::{
        cache::{self, Cache},
        helper::Helper,
    },
};

use crate::args::compile::ComponentCache;

/// Where the code of components is kept that this process compiles. Said once, before there is an engine.
static COMPONENT_CACHE: OnceLock<ComponentCache> = OnceLock::new();

pub(crate) fn keep_components(cache: &ComponentCache) {
    COMPONENT_CACHE.set(cache.clone()).expect("it is said once");
}

/// Who compiles: helpers of this very program. Its unit tests are another one, which says nothing of a cache.
pub(super) fn compiler() -> Compiler {
    let Some(said) = COMPONENT_CACHE.get() else { return Compiler::InProcess };
    // The program that runs, even where another one has taken its place on the disk. Without a path no helper can be started, and nothing is compiled.
    let program = if cfg!(target_os = "linux") { "/proc/self/exe".into() } else { std::env::current_exe().unwrap_or_default() };
    Compiler::Helper { helper: Helper::new(program, vec!["compile-component".into()]), cache: cache(said) }
}

/// The cache in the folder that was said, or where users have theirs. One that is not safe is said, and not used.
fn cache(said: &ComponentCache) -> Option<Cache> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let of_user = || variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
    let path = match said {
        ComponentCache::Off => None,
        ComponentCache::Folder(path) => Some(path.clone()),
        ComponentCache::OfUser => of_user().map(|folder| folder.join("reelflow/components")),
    };
    let warn = |text: &str| anstream::eprintln!("warning: {text}");
    match Cache::open(&path?, cache::BYTES_MAX, warn) {
        Ok(cache) => Some(cache),
        Err(why) => {
            let help = why.help();
            anstream::eprintln!(
                "warning: compiled plugins are not kept: {why}\nhelp: {help}, or turn this off with --component-cache off"
            );
            None
        }
    }
}
