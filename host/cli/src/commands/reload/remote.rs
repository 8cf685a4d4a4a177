//! `reel reload --admin` and `reel history --admin`: the process that runs the pipeline is asked instead of the log.

use std::net::SocketAddr;

use super::told;
use crate::{
    admin::{client, said},
    args::{Format, Reload},
    failure::Failure,
    manifest::Manifest,
};

pub(super) fn reload(address: SocketAddr, manifest: &Manifest, args: &Reload) -> Result<(), Failure> {
    let said::Reloaded { plan, warnings, verdict, .. } = client::reload(address, &manifest.components()?, args)?;
    if let Some(warnings) = warnings {
        anstream::eprintln!("{warnings}");
    }
    if args.plan || args.format == Format::Text {
        plan.print(args.format)?;
    }
    match args.plan {
        true => Ok(()),
        false => told::say_verdict(verdict.as_ref(), args.format, args.trying.wait),
    }
}

pub(super) fn history(address: SocketAddr) -> Result<Vec<told::Entry>, Failure> {
    Ok(client::read::<said::History>(address, "/history")?.entries)
}
