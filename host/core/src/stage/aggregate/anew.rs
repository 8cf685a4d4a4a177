//! An aggregate that begins anew.

use super::Aggregate;
use crate::{plan::Emission, time::EventTime};

impl Aggregate {
    /// Forgets all states, but not which results were told: what comes of an open window from now on is a later revision of what its readers have.
    /// O(states).
    pub fn forget_states(&mut self) {
        if self.facts.emission == Emission::Upsert {
            self.note_what_was_told();
        }
        self.panes = Default::default();
        self.trails = Default::default();
        if let Some(early) = &mut self.early {
            early.drop_before(EventTime(i64::MAX));
        }
    }

    /// That a window which has fired has told a key of its panes once goes without saying only as long as they are there.
    fn note_what_was_told(&mut self) {
        let closed_until = self.watermark.minus(self.facts.lateness_ms);
        for pane_idx in self.panes.all() {
            let (windowing, pane) = (&self.facts.windowing, self.panes.pane(pane_idx));
            let windows = windowing.windows_of(windowing.pane(self.panes.start(pane_idx)));
            let fired = windows.take_while(|window| self.watermark.reached(window.end()));
            for window in fired.filter(|window| !closed_until.reached(window.end())) {
                pane.entries().for_each(|entry| self.revisions.told(window, pane.key(entry)));
            }
        }
    }
}
