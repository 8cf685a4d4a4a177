//! Who watches a run.

use std::sync::Mutex;

use reelflow_runtime::{
    observe::{Event as Seen, Observer},
    summary::Summary,
};

/// Counts what workers report, and tells it if the run is replayed.
#[derive(Default)]
pub(super) struct Watch {
    pub n_sealed: Mutex<usize>,
    pub n_retries: Mutex<usize>,
    pub n_recovered: Mutex<usize>,
    pub n_skipped: Mutex<usize>,
    pub is_loud: bool,
}

impl Observer for Watch {
    fn event(&self, event: &Seen) {
        let counter = match event {
            Seen::Sealed(_) => Some(&self.n_sealed),
            Seen::Retrying { .. } => Some(&self.n_retries),
            Seen::Recovered { .. } => Some(&self.n_recovered),
            Seen::BaseSkipped { .. } => Some(&self.n_skipped),
            _ => None,
        };
        counter.into_iter().for_each(|counter| *counter.lock().expect("no panic with this lock") += 1);
        if self.is_loud {
            eprintln!("  {event:?}");
        }
    }

    fn progress(&self, _: &Summary) {}
}
