//! A state for each open session, or part of one.

use std::sync::Arc;

use super::{Session, sessions::Part};
use crate::{
    stage::states::{PluginStates, Spot},
    time::EventTime,
};

fn first_row(spot: &Spot) -> EventTime {
    spot.at.expect("a spot of a session")
}

impl PluginStates for Session {
    fn spots(&self) -> Vec<Spot> {
        let of_key = |(key, parts): (&[u8], &[Part])| {
            let key: Arc<[u8]> = key.into();
            parts.iter().map(move |part| Spot { key: key.clone(), at: Some(part.extent.first) }).collect::<Vec<_>>()
        };
        self.sessions.iter().flat_map(of_key).collect()
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
