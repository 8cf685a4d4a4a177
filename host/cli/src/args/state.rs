//! `reel state`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Format, ManifestArg};

#[derive(Debug, Subcommand)]
pub(crate) enum State {
    /// Say of each task how far it has come and what each of its stages keeps.
    List(StateList),
    /// Print what a stage keeps of one key.
    Get(StateGet),
    /// Write everything that is kept to a file, a JSON object a line.
    Export(StateExport),
    /// Find out whether all states can be migrated to the versions that the plugins write.
    Migrate(StateMigrate),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Reads the log as recovery does and changes nothing. A log on disk is opened by one process at a time: stop the run first.\n\nExamples:\n  reel state list\n  reel state list --format json | jq '.tasks[].stages[] | {stage, state_bytes}'"
)]
pub(crate) struct StateList {
    #[command(flatten)]
    pub(crate) file: ManifestArg,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Reads the log as recovery does and changes nothing. A log on disk is opened by one process at a time: stop the run first.\n\nExamples:\n  reel state get --stage hourly --key '[\"EWR\"]'\n  reel state get pipeline.toml --stage trending --key '{\"country\":\"US\",\"title_id\":7}' --format json\n  reel state get --stage unique_plays --key '\"019b76db-058f-7411-af48-d1493627b76d\"'"
)]
pub(crate) struct StateGet {
    #[command(flatten)]
    pub(crate) file: ManifestArg,
    /// The stage, as the manifest calls it.
    #[arg(long, value_name = "NAME")]
    pub(crate) stage: String,
    /// The key's values as a JSON array or object; of one value, the value alone will do. For a dedup the id.
    #[arg(long, value_name = "JSON")]
    pub(crate) key: String,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Reads the log as recovery does and changes nothing. A log on disk is opened by one process at a time: stop the run first.\n\nExamples:\n  reel state export --to state.ndjson\n  reel state export pipeline.toml --stage trending --to - | jq -c 'select(.partition == 0)'"
)]
pub(crate) struct StateExport {
    #[command(flatten)]
    pub(crate) file: ManifestArg,
    /// Only this stage.
    #[arg(long, value_name = "NAME")]
    pub(crate) stage: Option<String>,
    /// The file; `-` is standard output. A file that is there is replaced, once all is written.
    #[arg(long, value_name = "FILE")]
    pub(crate) to: PathBuf,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Gives every state to its plugin and drops the answers. A run migrates a state when it is read: nothing has to be done before.\nReads the log as recovery does and changes nothing. A log on disk is opened by one process at a time: stop the run first.\n\nExamples:\n  reel state migrate --dry-run\n  reel state migrate pipeline.toml --dry-run --plugin views=new/views.wasm --format json | jq '.stages[] | {stage, failed}'\n\nExit code 1: a state cannot be migrated."
)]
pub(crate) struct StateMigrate {
    #[command(flatten)]
    pub(crate) file: ManifestArg,
    /// Change nothing. It must be said: that states change without it is not what this command does.
    #[arg(long, required = true)]
    pub(crate) dry_run: bool,
    /// A component to try in the place of the one that the manifest names: of the plugin NAME, or of its only plugin.
    #[arg(long = "plugin", value_name = "[NAME=]FILE")]
    pub(crate) plugins: Vec<String>,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}
