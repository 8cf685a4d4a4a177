//! `reel plugin` on the command line.

use std::path::PathBuf;

use clap::Subcommand;

use crate::args::{Format, Kind};

#[derive(Debug, Subcommand)]
pub(crate) enum Plugin {
    /// What a component declares: kind, fields, outputs, state, size, digest.
    #[command(after_help = "Example:\n  reel plugin inspect trending.wasm --config '{\"top\":5}'")]
    Inspect {
        component: PathBuf,
        /// The config to describe itself under.
        #[arg(long, default_value = "{}", value_name = "JSON")]
        config: String,
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Make a component of a core module that another compiler than Rust's has built, and check it.
    #[command(after_help = "Example:\n  reel plugin encode filter_half.wasm --world transform --out plugins/filter_half.wasm")]
    Encode {
        module: PathBuf,
        /// The world whose functions the module exports.
        #[arg(long, value_enum)]
        world: Kind,
        /// Where to put the component.
        #[arg(long, short, value_name = "FILE")]
        out: PathBuf,
    },
}
