//! A state for each key in each pane.

use super::{Aggregate, panes::Cell};
use crate::{
    key::HashedKey,
    stage::states::{PluginStates, Spot},
};

impl Aggregate {
    fn cell(&self, spot: &Spot) -> Cell {
        let pane = spot.at.and_then(|start| self.panes.starting(start)).expect("a spot of a pane that is there");
        let entry = self.panes.pane(pane).find(HashedKey::new(&spot.key)).expect("a spot of a key that is there");
        Cell { pane, entry }
    }
}

impl PluginStates for Aggregate {
    fn spots(&self) -> Vec<Spot> {
        let of_pane = |pane_idx| {
            let (pane, at) = (self.panes.pane(pane_idx), Some(self.panes.start(pane_idx)));
            pane.entries().map(move |entry| Spot { key: pane.key(entry).into(), at })
        };
        self.panes.all().flat_map(of_pane).collect()
    }

    fn state(&self, spot: &Spot) -> &[u8] {
        self.panes.state(self.cell(spot))
    }

    fn replace(&mut self, spot: &Spot, state: &[u8]) {
        assert!(!state.is_empty(), "a key in a pane has a state");
        let cell = self.cell(spot);
        self.panes.set_state(cell, state);
        if self.facts.has_trails() {
            self.trails.changed(&self.panes, cell);
        }
    }

    fn may_be_empty(&self) -> bool {
        false
    }
}
