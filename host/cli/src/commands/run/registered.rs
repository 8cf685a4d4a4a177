//! The schemas of sinks come to the registry before the first row is written.

use reelflow_ports::{
    clock::{Clock, SystemClock},
    log::Who,
};
use reelflow_runtime::{error::RunError, patience::Patience};

use super::outage;
use crate::{args::Process, failure::Failure, manifest::Manifest};

/// The manifest with the ids of its sinks' schemas; `None`: it has no such sinks. Waits while the registry does not answer, for as long as the user
/// said.
pub(in crate::commands) fn registered(process: &Process, manifest: &Manifest) -> Result<Option<Manifest>, Failure> {
    if !manifest.has_subjects() {
        return Ok(None);
    }
    let mut patience = Patience::new(outage(process));
    loop {
        let error = match manifest.registered()? {
            Ok(manifest) => return Ok(Some(manifest)),
            Err(error) => error,
        };
        let wait = patience.wait(SystemClock.now());
        if wait.is_over || error.who() != Who::Environment {
            return Err(manifest.run_failure(RunError::Schemas { failing_for: wait.failing_for, last: error }));
        }
        anstream::eprintln!("{error}; trying again");
        std::thread::sleep(wait.after);
    }
}
