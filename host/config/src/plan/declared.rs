//! What the plugins of stages say of themselves, where it fits the kind of stage.

use std::collections::BTreeMap;

use reelflow_core::plugin::{Declaration, World};

use crate::{
    code::Code,
    config::{Config, StageKind},
    problem::{At, Problem, Problems},
};

/// The declarations of the stages' plugins that can be used; reports the others.
pub(super) fn of_stages<'c>(
    config: &Config,
    declarations: &'c BTreeMap<String, Declaration>,
    problems: &mut Problems,
) -> Vec<Option<&'c Declaration>> {
    let mut missing: Vec<String> = Vec::new();
    let mut of_stage = |kind: &StageKind, name: &At<String>| {
        let plugin = kind.plugin()?;
        let Some(declaration) = declarations.get(&plugin.value) else {
            if !missing.contains(&plugin.value) {
                missing.push(plugin.value.clone());
                problems.push(config.plugin_refused(&plugin.value, "what it reads and emits is not known"));
            }
            return None;
        };
        let (world, n_inputs) = match kind {
            StageKind::Transform { .. } => (World::Transform, 1),
            StageKind::Aggregate { .. } => (World::Aggregate, 1),
            StageKind::Join { .. } | StageKind::Lookup { .. } => (World::Join, 2),
            StageKind::Process { .. } => (World::Process, 1),
            StageKind::Dedup { .. } => return None,
        };
        if declaration.world != world {
            let message = format!("stage \"{}\" needs a plugin of kind \"{}\"", **name, world.name());
            let label = format!("plugin \"{}\" is of kind \"{}\"", plugin.value, declaration.world.name());
            problems
                .push(Problem::at(Code::WrongWorld, plugin.span.clone(), message, label).also(name.span.clone(), "this stage"));
            return None;
        }
        if declaration.inputs.len() != n_inputs
            || (matches!(world, World::Aggregate | World::Join) && declaration.outputs.len() != 1)
        {
            problems
                .push(config.plugin_refused(&plugin.value, format!("it describes itself wrongly for kind \"{}\"", world.name())));
            return None;
        }
        Some(declaration)
    };
    config.stages.iter().map(|stage| of_stage(&stage.kind, &stage.name)).collect()
}
