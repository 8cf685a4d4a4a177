//! A global window that begins anew.

use super::Global;

impl Global {
    /// Forgets all states, but not how often keys were told that go on: what comes of them is a later revision of what their readers have.
    /// O(states).
    pub fn forget_states(&mut self) {
        self.keys.forget_states(!self.facts.window.clear);
    }
}
