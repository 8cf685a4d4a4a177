//! `reel dev`.

use clap::Args;

use super::ManifestArg;

#[derive(Debug, Args)]
#[command(
    after_help = "Builds the plugins whose components lie in their crate's folder, plays the tests, and shows what comes of the sample: the lines of TOPIC.ndjson beside the manifest, for each source that has such a file. Whenever something is saved it does so again, and shows what has changed. No log is read or written.\n\nExamples:\n  reel new trending && cd trending && reel dev\n  reel dev pipeline.toml --profile dev"
)]
pub(crate) struct Dev {
    #[command(flatten)]
    pub(crate) file: ManifestArg,
    /// The cargo profile.
    #[arg(long, default_value = "release")]
    pub(crate) profile: String,
}
