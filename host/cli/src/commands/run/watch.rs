//! `reel run --watch`: components that are written anew are proposed to the pipeline of this process.

use std::{
    path::PathBuf,
    thread,
    time::{Duration, SystemTime},
};

use reelflow_core::upgrade::Migration;
use reelflow_runtime::{control::Upgrader, pipeline::Stopper};

use crate::manifest::Manifest;

const LOOK_EVERY: Duration = Duration::from_millis(200);

/// When a file was written and how long it is; `None`: it is not there, while it is replaced.
type Look = Option<(SystemTime, u64)>;

/// Looks at the manifest's components until `stopper` stops the run.
pub(super) fn spawn(manifest: Manifest, n_partitions: u32, upgrader: Upgrader, stopper: Stopper) {
    let paths = manifest.component_paths();
    let run = move || {
        let mut known = look(&paths);
        let mut pending: Option<Vec<Look>> = None;
        while !stopper.is_stopped() {
            thread::sleep(LOOK_EVERY);
            let now = look(&paths);
            // What is still being written looks otherwise the next time.
            match pending.take() {
                Some(before) if before == now => {
                    known.clone_from(&now);
                    propose(&manifest, n_partitions, &upgrader);
                }
                _ if now != known && now.iter().all(Option::is_some) => pending = Some(now),
                _ => {}
            }
        }
    };
    thread::Builder::new().name("watch".to_owned()).spawn(run).expect("the machine has room for a few threads");
}

fn look(paths: &[PathBuf]) -> Vec<Look> {
    let one = |path: &PathBuf| {
        let facts = path.metadata().ok()?;
        Some((facts.modified().ok()?, facts.len()))
    };
    paths.iter().map(one).collect()
}

/// Checks what was written before anybody is asked to try it.
fn propose(manifest: &Manifest, n_partitions: u32, upgrader: &Upgrader) {
    let checked = manifest.components().and_then(|components| {
        let (code, _) = manifest.code(&components, n_partitions)?;
        Ok((components, code.set))
    });
    match checked {
        Ok((components, set)) => upgrader.ask(components, set, Migration::Lazy),
        Err(failure) => {
            anstream::eprintln!("the new code cannot be used, the pipeline goes on with what it has:");
            failure.say();
        }
    }
}
