//! `reel top`.

use std::net::SocketAddr;

use clap::Args;

use super::values::listening;

/// Which pipeline, and how often.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  reel run --metrics 9464 &\n  reel top --metrics 9464\n  reel top --metrics 9464 --once\n\nWhere lines cannot be rewritten, each look is printed below the one before."
)]
pub(crate) struct Top {
    /// Where `reel run --metrics` serves: a port of this machine, or ADDRESS:PORT.
    #[arg(long, value_name = "ADDR", value_parser = listening)]
    pub(crate) metrics: SocketAddr,
    /// Seconds between two looks: rates are those of this time.
    #[arg(long, default_value_t = 2, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) every: u64,
    /// Look once, and end.
    #[arg(long)]
    pub(crate) once: bool,
}
