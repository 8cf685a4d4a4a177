//! The states of its plugin that a stage keeps, one by one: so that all of them can be given to the plugin at once, and others put in
//! their places.

use std::sync::Arc;

use crate::time::EventTime;

/// Where a stage keeps one state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    /// Key bytes ([`crate::key`]).
    pub key: Arc<[u8]>,
    /// When its pane starts, or the first row of its session; a process keeps one state of each key.
    pub at: Option<EventTime>,
}

/// A stage that keeps states of its plugin. Nothing of this happens while a call of the stage's own is open.
pub trait PluginStates {
    /// Where there is a state, in no order. O(states).
    fn spots(&self) -> Vec<Spot>;

    /// Panics where there is none.
    fn state(&self, spot: &Spot) -> &[u8];

    /// Puts `state` in the place of the one that is there. The next changes hold it. Panics where there is none, and for an empty one
    /// unless [`PluginStates::may_be_empty`].
    fn replace(&mut self, spot: &Spot, state: &[u8]);

    /// Whether an empty state is a state: that nothing is kept.
    fn may_be_empty(&self) -> bool;
}
