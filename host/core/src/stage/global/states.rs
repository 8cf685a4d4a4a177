//! A state for each key that has one.

use super::Global;
use crate::stage::states::{PluginStates, Spot};

impl PluginStates for Global {
    fn spots(&self) -> Vec<Spot> {
        let with_state = self.keys.iter().filter(|(_, kept)| !kept.state.is_empty());
        with_state.map(|(key, _)| Spot { key: key.clone(), at: None }).collect()
    }

    fn state(&self, spot: &Spot) -> &[u8] {
        match self.keys.state(&spot.key) {
            [] => unreachable!("a spot of a key that has a state"),
            state => state,
        }
    }

    fn replace(&mut self, spot: &Spot, state: &[u8]) {
        assert!(!state.is_empty(), "a key that has a state keeps one");
        self.keys.set_state(&spot.key, state);
    }

    fn may_be_empty(&self) -> bool {
        false
    }
}
