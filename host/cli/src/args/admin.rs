//! `--admin`: where a process is looked at and changed over HTTP.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;

use super::{
    Format,
    values::{asked, of_this_machine},
};

/// Where a run serves its admin pages.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Serve what --metrics does, and /status, /history, /plugins and /reload, on a port of this machine. Port 0 is a free one.
    #[arg(long, value_name = "PORT", value_parser = of_this_machine)]
    pub(crate) admin: Option<SocketAddr>,
    /// A file with the token that a change needs; else the environment variable REEL_ADMIN_TOKEN. Without either nothing can be changed.
    #[arg(long, value_name = "FILE", requires = "admin")]
    pub(crate) admin_token_file: Option<PathBuf>,
}

/// Whom to ask instead of the log.
#[derive(Debug, Args)]
pub(crate) struct Ask {
    /// Ask the process that serves there (`reel run --admin`) instead of the log: http://127.0.0.1:7070, or a port of this machine.
    #[arg(long, value_name = "ADDR", value_parser = asked)]
    pub(crate) admin: Option<SocketAddr>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  reel run --admin 7070 &\n  reel status --admin 7070\n  reel status --admin 7070 --format json | jq .trial"
)]
pub(crate) struct Status {
    /// Where `reel run --admin` serves: http://127.0.0.1:7070, or a port of this machine.
    #[arg(long, value_name = "ADDR", value_parser = asked)]
    pub(crate) admin: SocketAddr,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}
