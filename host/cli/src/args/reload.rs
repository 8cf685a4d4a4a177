//! `reel reload` and `reel history`.

use std::path::PathBuf;

use clap::Args;
use reelflow_core::upgrade::Migration;

use super::{Format, ManifestArg, admin::Ask};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  reel reload --plan\n  reel reload pipeline.toml --wait 60\n  reel reload --eager\n  reel reload --plan --reset count\n  reel reload --admin http://127.0.0.1:7070\n\nProposes the components that the manifest names to the processes that run its pipeline. They try them on all partitions, and keep them if all goes well. A pipeline on the embedded log belongs to one process: ask that with --admin (`reel run --admin`), or run it with `reel run --watch`.\n\nExit codes: 0 accepted, 1 rolled back or refused, 2 the code does not fit, 3 nobody answers, or the pipeline has never run."
)]
pub(crate) struct Reload {
    #[command(flatten)]
    pub(crate) file: ManifestArg,
    /// Only say what would change.
    #[arg(long)]
    pub(crate) plan: bool,
    /// Also take what readers of the results may break by: fields of a sink that go or get another type.
    #[arg(long)]
    pub(crate) allow_breaking: bool,
    /// Forget what this stage keeps, in the trial of the new code; may be given several times. Where the code is the same, that is all that happens.
    #[arg(long, value_name = "STAGE")]
    pub(crate) reset: Vec<String>,
    #[command(flatten)]
    pub(crate) trying: Trying,
    #[command(flatten)]
    pub(crate) ask: Ask,
    /// A file with the token of that process; else the environment variable REEL_ADMIN_TOKEN.
    #[arg(long, value_name = "FILE", requires = "admin")]
    pub(crate) admin_token_file: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// How new code is tried.
#[derive(Debug, Args)]
pub(crate) struct Trying {
    /// Rewrite all states of older versions in the trial, rather than each when it is touched.
    #[arg(long)]
    pub(crate) eager: bool,
    /// Seconds to wait for the verdict.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub(crate) wait: u64,
    /// Who asks, for the history; the command's name if not given.
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
}

impl Trying {
    pub(crate) fn migration(&self) -> Migration {
        if self.eager { Migration::Eager } else { Migration::Lazy }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  reel history\n  reel history pipeline.toml --format json\n  reel history --admin 7070")]
pub(crate) struct History {
    #[command(flatten)]
    pub(crate) file: ManifestArg,
    #[command(flatten)]
    pub(crate) ask: Ask,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}
