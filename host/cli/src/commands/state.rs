//! `reel state`: what a pipeline keeps, as it was committed last.

use std::{collections::BTreeSet, sync::Arc};

use reelflow_config::{Partitions, closest};
use reelflow_core::{
    plan::{Plan, StageIdx, StageKind, StagePlan},
    state::StateError,
};
use reelflow_ports::{engine::Plugin, log::Log};
use reelflow_runtime::inspect::{TaskState, inspect};

use crate::{
    args::{ManifestArg, state::State},
    failure::{Exit, Failure},
    manifest::{Manifest, Planned},
    outside,
};

mod export;
mod get;
mod list;
mod migrate;
pub(super) mod shown;

pub(crate) fn state(command: &State) -> Result<(), Failure> {
    match command {
        State::List(args) => list::list(args),
        State::Get(args) => get::get(args),
        State::Export(args) => export::export(args),
        State::Migrate(args) => migrate::migrate(args),
    }
}

/// A pipeline, and a log to read its state from.
pub(super) struct Committed {
    pub(super) manifest: Manifest,
    pub(super) log: Arc<dyn Log>,
    pub(super) plan: Arc<Plan>,
    /// By the plan's index.
    plugins: Vec<Arc<dyn Plugin>>,
}

impl Committed {
    pub(super) fn open(file: &ManifestArg) -> Result<Committed, Failure> {
        Committed::of(Manifest::load(&file.manifest)?)
    }

    fn of(manifest: Manifest) -> Result<Committed, Failure> {
        let log: Arc<dyn Log> = manifest.open_log()?.into();
        let found = outside::source_partitions(&manifest.config, &*log).map_err(|error| manifest.log_failure(error))?;
        let n_partitions = found.map_err(|problems| manifest.failure(problems))?;
        let Planned { plan, plugins, .. } = manifest.plan(Partitions::all(n_partitions))?;
        Ok(Committed { manifest, log, plan: Arc::new(plan), plugins })
    }

    /// All tasks as they were committed last, in the order of partition and fragment. None: nothing was ever committed.
    pub(super) fn tasks(&self) -> Result<Vec<TaskState>, Failure> {
        tasks(&self.manifest, &*self.log, &self.plan)
    }

    /// The place in the plan of the stage called `name`, which must keep something.
    fn stage(&self, name: &str) -> Result<StageIdx, Failure> {
        stage(&self.plan, name)
    }
}

/// As [`Committed::tasks`], of a `plan` that `manifest` has with other components than it names.
pub(super) fn tasks(manifest: &Manifest, log: &dyn Log, plan: &Arc<Plan>) -> Result<Vec<TaskState>, Failure> {
    match log.n_partitions(&plan.changelog_topic).map_err(|error| manifest.log_failure(error))? {
        None => Ok(Vec::new()),
        Some(_) => {
            let store = manifest.store()?;
            inspect(log, store.as_deref(), plan, manifest.guarantee()).map_err(|error| manifest.run_failure(error))
        }
    }
}

/// The stages called `names`, which must keep something.
pub(super) fn keeping(plan: &Plan, names: &[String]) -> Result<BTreeSet<Arc<str>>, Failure> {
    names.iter().map(|name| stage(plan, name).map(|idx| plan.stages[idx].name.clone())).collect()
}

fn stage(plan: &Plan, name: &str) -> Result<StageIdx, Failure> {
    let keeping = || plan.stages.iter().filter(|stage| keeps(stage)).map(|stage| &*stage.name);
    let list = || match keeping().collect::<Vec<_>>() {
        none if none.is_empty() => "no stage of this pipeline keeps anything".to_owned(),
        names => format!("what keeps something is {}", names.join(", ")),
    };
    let fail = |message: String, help: String| Err(Failure::new(Exit::User, message).help(help));
    let pipeline = &plan.name;
    match plan.stages.iter().position(|stage| *stage.name == *name) {
        Some(idx) if keeps(&plan.stages[idx]) => Ok(idx),
        Some(_) => fail(format!("stage \"{name}\" is a transform, which keeps nothing"), list()),
        None => {
            let meant = closest(name, keeping()).map(|meant| format!("did you mean \"{meant}\"?"));
            fail(format!("pipeline \"{pipeline}\" has no stage \"{name}\""), meant.unwrap_or_else(list))
        }
    }
}

/// Stored bytes that passed recovery and yet are not what the stage's fields say.
pub(super) fn unreadable(stage: &StagePlan, why: &StateError) -> Failure {
    Failure::new(Exit::Runtime, format!("the state of stage \"{}\" cannot be shown: {why}", stage.name))
}

fn keeps(stage: &StagePlan) -> bool {
    !matches!(stage.kind, StageKind::Transform { .. })
}
