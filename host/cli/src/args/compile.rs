//! Where plugins are compiled, and what becomes of it.

use std::{convert::Infallible, path::PathBuf};

use clap::Args;

/// Where the code of compiled components is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ComponentCache {
    Off,
    /// The folder for such things that each user has.
    OfUser,
    Folder(PathBuf),
}

pub(crate) fn component_cache(text: &str) -> Result<ComponentCache, Infallible> {
    Ok(match text {
        // So a variable that is set to nothing is one that is not set.
        "" => ComponentCache::OfUser,
        "off" => ComponentCache::Off,
        folder => ComponentCache::Folder(folder.into()),
    })
}

#[derive(Debug, Args)]
pub(crate) struct CompileComponent {
    /// Memory beyond what the program itself takes.
    #[arg(long)]
    pub(crate) memory_bytes: u64,
    /// CPU time.
    #[arg(long)]
    pub(crate) cpu_s: u64,
}
