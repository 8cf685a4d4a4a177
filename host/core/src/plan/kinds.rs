//! What all kinds of stages have in common.

use crate::plan::{PluginIdx, StageKind};

impl StageKind {
    /// The plugin that its rows go through. `None`: a dedup.
    pub fn plugin(&self) -> Option<PluginIdx> {
        match self {
            StageKind::Transform { plugin, .. }
            | StageKind::Aggregate { plugin, .. }
            | StageKind::Join { plugin, .. }
            | StageKind::Lookup { plugin, .. }
            | StageKind::Process { plugin, .. } => Some(*plugin),
            StageKind::Dedup { .. } => None,
        }
    }
}
