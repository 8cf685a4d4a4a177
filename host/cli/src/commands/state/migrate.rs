//! `reel state migrate --dry-run`: whether the plugins can migrate all that is kept, without doing it.

use std::collections::BTreeMap;

use reelflow_core::{
    plan::{StageIdx, StagePlan},
    stage::DeadReason,
    state::StateError,
    task::{FAILURES_MAX, Migration, StageMigration, Unmigrated},
    time::Watermark,
};
use reelflow_ports::engine::PluginInstance;
use reelflow_runtime::inspect::TaskState;
use serde_json::{Value, json};

use super::{Committed, shown, unreadable};
use crate::{
    args::{Format, state::StateMigrate},
    failure::{Exit, Failure},
    manifest::Manifest,
    output::{Output, print},
    summary,
};

/// What was found of a stage, in all tasks.
struct Found {
    version: u32,
    /// How many states had a version, of those that can be migrated.
    by_version: BTreeMap<u32, u64>,
    n_migrated: u64,
    n_failed: u64,
    /// The first ones.
    failures: Vec<Failed>,
}

struct Failed {
    partition: u32,
    epoch: u64,
    /// As `--key` takes it.
    key: String,
    at: Option<i64>,
    code: Option<u32>,
    error: String,
}

pub(super) fn migrate(args: &StateMigrate) -> Result<(), Failure> {
    let manifest = Manifest::load(&args.file.manifest)?;
    let manifest = args.plugins.iter().try_fold(manifest, |manifest, said| manifest.with_candidate(said))?;
    let committed = Committed::of(manifest)?;
    let tasks = committed.tasks()?;
    let found = run_dry(&committed, &tasks)?;
    let pipeline = &committed.plan.name;
    match args.format {
        Format::Json => print(&json_of(&committed, &found).to_string())?,
        Format::Text if tasks.iter().all(|task| task.epoch == 0) => {
            print(&format!("pipeline \"{pipeline}\" has committed nothing yet"))?;
        }
        Format::Text => text(&committed, &found)?,
    }
    if found.values().all(|found| found.n_failed == 0) { Ok(()) } else { Err(Failure::Said(Exit::Runtime as u8)) }
}

/// Has the plugins migrate what each task keeps.
fn run_dry(committed: &Committed, tasks: &[TaskState]) -> Result<BTreeMap<StageIdx, Found>, Failure> {
    let can_migrate = |plugin: usize| committed.plugins[plugin].can_migrate();
    let dry_runs: Vec<Migration> = tasks.iter().map(|task| task.dry_run(&can_migrate)).collect();
    for plugin in dry_runs.iter().flat_map(Migration::plugins) {
        if !can_migrate(plugin) {
            let name = &*committed.manifest.config.plugins[plugin].name;
            let message = format!("plugin \"{name}\" cannot be asked to migrate: its component does not offer it");
            let help = "Build it again with an SDK that does. A run can use it as it is: it migrates each state when it is read.";
            return Err(Failure::new(Exit::User, message).help(help));
        }
    }
    let instances = committed.plugins.iter().zip(&committed.manifest.config.plugins).map(|(plugin, section)| {
        plugin.instance().map_err(|why| committed.manifest.failure(committed.manifest.plugin_problem(&section.name, &why)))
    });
    let mut instances: Vec<Box<dyn PluginInstance>> = instances.collect::<Result<_, _>>()?;
    let mut found: BTreeMap<StageIdx, Found> = BTreeMap::new();
    for (task, dry_run) in tasks.iter().zip(dry_runs) {
        for one in task.run_dry(dry_run, &mut instances) {
            let stage = &committed.plan.stages[one.stage];
            let total = found.entry(one.stage).or_insert_with(|| Found::nothing(one.version));
            total.add(task, stage, one).map_err(|why| unreadable(stage, &why))?;
        }
    }
    Ok(found)
}

impl Found {
    fn nothing(version: u32) -> Found {
        Found { version, by_version: BTreeMap::new(), n_migrated: 0, n_failed: 0, failures: Vec::new() }
    }

    fn add(&mut self, task: &TaskState, stage: &StagePlan, more: StageMigration) -> Result<(), StateError> {
        self.n_migrated += more.n_migrated();
        self.n_failed += more.n_failed;
        for (version, count) in more.by_version {
            *self.by_version.entry(version).or_default() += count;
        }
        for Unmigrated { spot, why } in more.failures {
            if self.failures.len() == FAILURES_MAX {
                break;
            }
            let schema = stage.key_schema().expect("a stage that keeps states of its plugin has a key");
            let (code, error) = match why {
                DeadReason::Rejected { code, message } => (Some(code), message),
                DeadReason::Fault(fault) => (None, fault.to_string()),
                DeadReason::EventTime(why) => (None, why),
            };
            self.failures.push(Failed {
                partition: task.partition,
                epoch: task.epoch,
                key: shown::key_text(&schema, &schema.decode_key(&spot.key)?),
                at: spot.at.map(|at| at.0),
                code,
                error,
            });
        }
        Ok(())
    }
}

fn json_of(committed: &Committed, found: &BTreeMap<StageIdx, Found>) -> Value {
    let failure = |failed: &Failed| {
        let Failed { partition, epoch, key, at, code, error } = failed;
        let key: Value = serde_json::from_str(key).expect("a key is JSON");
        json!({ "partition": partition, "epoch": epoch, "key": key, "at": at, "code": code, "error": error })
    };
    let stage = |(stage_idx, found): (&StageIdx, &Found)| {
        let stage = &committed.plan.stages[*stage_idx];
        json!({
            "stage": &*stage.name,
            "type": stage.state.as_ref().map(|state| &state.name),
            "version": found.version,
            "by_version": found.by_version,
            "migrated": found.n_migrated,
            "failed": found.n_failed,
            "failures": found.failures.iter().map(failure).collect::<Vec<_>>(),
        })
    };
    json!({ "format": 1, "pipeline": &*committed.plan.name, "stages": found.iter().map(stage).collect::<Vec<_>>() })
}

fn text(committed: &Committed, found: &BTreeMap<StageIdx, Found>) -> Result<(), Failure> {
    let mut output = Output::new();
    if found.is_empty() {
        output.line("no stage keeps states of a plugin that can be asked to migrate, nor states of an older version")?;
    }
    for (stage_idx, found) in found {
        let stage = &committed.plan.stages[*stage_idx];
        let state = stage.state.as_ref().map_or("", |state| &state.name);
        output.line(&format!("stage \"{}\", whose plugin writes {state} {}", stage.name, found.version))?;
        for (version, count) in &found.by_version {
            let what = if *version == found.version { "need no migration" } else { "can be migrated" };
            output.line(&format!("{count:>12} of version {version} {what}"))?;
        }
        if found.n_failed > 0 || found.by_version.is_empty() {
            output.line(&format!("{:>12} cannot be migrated", found.n_failed))?;
        }
        for failed in &found.failures {
            let at = failed.at.map_or(String::new(), |at| format!(" from {}", summary::date(Watermark(at))));
            let code = failed.code.map_or(String::new(), |code| format!("refused with code {code}: "));
            output.line(&format!("  {}{at} in partition {}: {code}{}", failed.key, failed.partition, failed.error))?;
        }
        let n_untold = found.n_failed - found.failures.len() as u64;
        if n_untold > 0 {
            output.line(&format!("  and {n_untold} more"))?;
        }
    }
    output.finish()
}
