//! `reel reload` and `reel history`.

use clap::Args;

use super::{Format, ManifestArg};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  reel reload --plan\n  reel reload pipeline.toml --wait 60\n  reel reload --eager\n  reel reload --plan --reset count\n\nProposes the components that the manifest names to the processes that run its pipeline. They try them on all partitions, and keep them if all goes well. A pipeline on the embedded log belongs to one process: run that with `reel run --watch`.\n\nExit codes: 0 accepted, 1 rolled back or refused, 2 the code does not fit, 3 nobody answers."
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
    /// Rewrite all states of older versions in the trial, rather than each when it is touched.
    #[arg(long)]
    pub(crate) eager: bool,
    /// Forget what this stage keeps, in the trial of the new code; may be given several times. Where the code is the same, that is all that happens.
    #[arg(long, value_name = "STAGE")]
    pub(crate) reset: Vec<String>,
    /// Seconds to wait for the verdict.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub(crate) wait: u64,
    /// Who asks, for the history.
    #[arg(long, default_value = "reel reload", value_name = "NAME")]
    pub(crate) by: String,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  reel history\n  reel history pipeline.toml --format json")]
pub(crate) struct History {
    #[command(flatten)]
    pub(crate) file: ManifestArg,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}
