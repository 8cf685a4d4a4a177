//! What a round of `reel dev` depends on, and when it was saved. Looked at again and again: that works on every file system.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime},
};

use crate::manifest::Manifest;

const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Folders in folders beyond this are no sources.
const DEPTH_MAX: usize = 16;

/// Files, with when they were saved last and how long they are.
pub(super) type Seen = BTreeMap<PathBuf, (SystemTime, u64)>;

/// The manifest, the sources of its plugins or the components that have none, and its samples.
pub(super) fn look(manifest: &Path) -> Seen {
    let mut seen = Seen::new();
    note(manifest, &mut seen);
    // Of a manifest that is broken nothing else is known; mending it begins a round.
    let Ok(read) = Manifest::load(manifest) else { return seen };
    for source in &read.config.sources {
        note(&read.sample(&source.topic), &mut seen);
    }
    let crates = read.crates();
    for (dir, _) in &crates {
        note(&dir.join("Cargo.toml"), &mut seen);
        below(&dir.join("src"), DEPTH_MAX, &mut seen);
    }
    for component in read.component_paths() {
        if !crates.iter().any(|(_, built)| *built == component) {
            note(&component, &mut seen);
        }
    }
    seen
}

/// Returns once something is not as it was `seen`.
pub(super) fn wait(manifest: &Path, seen: &Seen) {
    while look(manifest) == *seen {
        thread::sleep(LOOK_EVERY);
    }
}

fn note(file: &Path, seen: &mut Seen) {
    if let Ok(found) = fs::metadata(file)
        && let Ok(saved) = found.modified()
    {
        seen.insert(file.to_owned(), (saved, found.len()));
    }
}

fn below(folder: &Path, depth: usize, seen: &mut Seen) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        match path.is_dir() {
            true if depth > 0 => below(&path, depth - 1, seen),
            true => {}
            false => note(&path, seen),
        }
    }
}
