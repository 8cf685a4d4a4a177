//! `reel shadow`.

use std::time::Duration;

use clap::Args;

use super::{Format, ManifestArg, reload::Trying, values::duration};

#[derive(Debug, Args)]
#[command(
    after_help = "Only reads: nothing of the candidate is written, and the pipeline does not know of it. A log on disk is opened by one process at a time: stop the run first, and shadow what was written since; it ends where the topics do.\n\nExamples:\n  reel shadow --plugin count=new.wasm\n  reel shadow pipeline.toml --for 10m --format json | jq '.outputs[] | select(.differing > 0)'\n  reel shadow --plugin count=new.wasm --for 5m --promote\n\nExit codes: 0 nothing differs, 1 something does (or the candidate was not taken), 2 the candidate does not fit, 3 the log does not answer, or the pipeline has committed nothing."
)]
pub(crate) struct Shadow {
    #[command(flatten)]
    pub(crate) file: ManifestArg,
    /// A component to try in the place of the one that the manifest names: of the plugin NAME, or of its only plugin.
    #[arg(long = "plugin", value_name = "[NAME=]FILE")]
    pub(crate) plugins: Vec<String>,
    /// How long to go on; ctrl-c ends it sooner, with a report.
    #[arg(long = "for", default_value = "60s", value_name = "DURATION", value_parser = duration)]
    pub(crate) lasts: Duration,
    /// Stop after about this many records.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) records: Option<u64>,
    /// Stop where the topics end at the start.
    #[arg(long)]
    pub(crate) until_end: bool,
    /// Show at most this many differences of each output.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u16).range(..=10_000))]
    pub(crate) show: u16,
    /// If nothing differs, propose the candidate to the pipeline, as `reel reload` does.
    #[arg(long)]
    pub(crate) promote: bool,
    /// Propose it although something differs.
    #[arg(long, requires = "promote")]
    pub(crate) accept_differences: bool,
    /// Propose it although readers of the results may break by it: fields of a sink that go or get another type.
    #[arg(long, requires = "promote")]
    pub(crate) allow_breaking: bool,
    #[command(flatten)]
    pub(crate) trying: Trying,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}
