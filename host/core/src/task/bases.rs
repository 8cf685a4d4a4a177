//! When a task writes its whole state, and where that goes.

use crate::{
    checkpoint::{BASE_AFTER_BYTES, is_base_due},
    task::{SealedTask, Task},
};

/// Where the whole state goes when a base is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BasePlace {
    /// Into the epoch, in place of its changes.
    Epoch,
    /// To be taken behind the commit of the epoch, which has its changes as always: [`SealedTask::is_image_due`].
    Store,
    /// Nowhere yet: there is no room on the way to the store.
    Later,
}

/// What a task knows of its bases.
#[derive(Debug)]
pub(super) struct Bases {
    place: BasePlace,
    /// Bytes of changes since the last one.
    pub n_bytes_since: usize,
    /// One was asked for.
    pub is_asked: bool,
    /// Something must not be left on the chain, so the next epoch is one, wherever others go: what was forgotten, states of older versions.
    pub is_owed: bool,
}

impl Bases {
    pub fn new() -> Bases {
        Bases { place: BasePlace::Epoch, n_bytes_since: 0, is_asked: false, is_owed: false }
    }

    pub fn go(&mut self, to: BasePlace) {
        self.place = to;
    }
}

impl Task {
    pub(super) fn seal_state(&mut self) -> SealedTask {
        let is_due = self.bases.is_asked || is_base_due(self.bases.n_bytes_since, self.state_bytes(), BASE_AFTER_BYTES);
        let is_base = self.bases.is_owed || (is_due && self.bases.place == BasePlace::Epoch);
        let is_image_due = is_due && !is_base && self.bases.place == BasePlace::Store;
        let chunks = if is_base { self.image() } else { self.changes() };
        self.bases.n_bytes_since += chunks.iter().map(Vec::len).sum::<usize>();
        if is_base || is_image_due {
            self.bases = Bases { place: self.bases.place, ..Bases::new() };
        }
        SealedTask { chunks, is_base, is_image_due }
    }

    /// The whole state, for a store. Behind a seal and before any other input: then it is the state at the end of that epoch. O(state).
    pub fn store_image(&mut self) -> Vec<Vec<u8>> {
        self.image()
    }
}
