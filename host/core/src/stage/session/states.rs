//! A state for each open session, or part of one.

use super::Session;
use crate::{
    stage::states::{PluginStates, Spot},
    time::EventTime,
};

fn first_row(spot: &Spot) -> EventTime {
    spot.at.expect("a spot of a session")
}

impl PluginStates for Session {
    fn spots(&self) -> Vec<Spot> {
        let all = self.sessions.iter();
        all.flat_map(|(key, parts)| parts.iter().map(|part| Spot { key: key.clone(), at: Some(part.extent.first) })).collect()
    }

    fn state(&self, spot: &Spot) -> &[u8] {
        let part = self.sessions.of_key(&spot.key).iter().find(|part| part.extent.first == first_row(spot));
        &part.expect("a spot of a session that is there").state
    }

    fn replace(&mut self, spot: &Spot, state: &[u8]) {
        assert!(!state.is_empty(), "a session has a state");
        self.sessions.set_state(&spot.key, first_row(spot), state);
    }

    fn may_be_empty(&self) -> bool {
        false
    }
}
