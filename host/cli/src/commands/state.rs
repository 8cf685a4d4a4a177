//! `reel state`: what a pipeline keeps, as it was committed last.

use std::sync::Arc;

use reelflow_config::{Partitions, config::Guarantee as Promise};
use reelflow_ports::log::{Guarantee, Log};
use reelflow_runtime::inspect::{StageState, TaskState, inspect};
use serde_json::{Value, json};

use crate::{
    args::{Format, State, StateList},
    failure::Failure,
    manifest::Manifest,
    output::{Output, print},
    outside, summary,
};

pub(crate) fn state(command: &State) -> Result<(), Failure> {
    match command {
        State::List(args) => list(args),
    }
}

fn list(args: &StateList) -> Result<(), Failure> {
    let manifest = Manifest::load(&args.file.manifest)?;
    let log: Arc<dyn Log> = manifest.open_log()?.into();
    let found = outside::source_partitions(&manifest.config, &*log).map_err(|error| manifest.log_failure(error))?;
    let n_partitions = found.map_err(|problems| manifest.failure(problems))?;
    let plan = Arc::new(manifest.plan(Partitions::all(n_partitions))?.plan);
    let guarantee = match manifest.config.pipeline.guarantee {
        Promise::ExactlyOnce => Guarantee::ExactlyOnce,
        Promise::AtLeastOnce => Guarantee::AtLeastOnce,
    };
    let tasks = match log.n_partitions(&plan.changelog_topic).map_err(|error| manifest.log_failure(error))? {
        None => Vec::new(),
        Some(_) => inspect(&*log, &plan, guarantee).map_err(|error| manifest.run_failure(error))?,
    };
    match args.format {
        Format::Json => print(
            &json!({ "format": 1, "pipeline": &*plan.name, "tasks": tasks.iter().map(task_json).collect::<Vec<_>>() })
                .to_string(),
        ),
        Format::Text => text(&plan.name, &tasks),
    }
}

fn task_json(task: &TaskState) -> Value {
    let inputs = task
        .inputs
        .iter()
        .map(|(at, next, behind)| json!({ "topic": &*at.topic, "partition": at.partition, "next": next, "behind": behind }));
    let stage = |stage: &StageState| json!({ "stage": &*stage.name, "state_bytes": stage.state_bytes, "counts": summary::stage_json(&stage.counts) });
    json!({
        "fragment": &*task.fragment,
        "partition": task.partition,
        "epoch": task.epoch,
        "watermark": summary::watermark_json(task.watermark),
        "changes": task.n_changes,
        "inputs": inputs.collect::<Vec<_>>(),
        "stages": task.stages.iter().map(stage).collect::<Vec<_>>(),
    })
}

fn text(pipeline: &str, tasks: &[TaskState]) -> Result<(), Failure> {
    if tasks.iter().all(|task| task.epoch == 0) {
        return print(&format!("pipeline \"{pipeline}\" has committed nothing yet"));
    }
    let mut output = Output::new();
    for task in tasks {
        let behind: i64 = task.inputs.iter().map(|(_, _, behind)| behind).sum();
        let state: usize = task.stages.iter().map(|stage| stage.state_bytes).sum();
        output.line(&format!(
            "{}[{}]  epoch {}  watermark {}  state {state} bytes in {} changes  {behind} offsets behind",
            task.fragment,
            task.partition,
            task.epoch,
            summary::date(task.watermark),
            task.n_changes
        ))?;
        for stage in &task.stages {
            let counts = stage.counts;
            output.line(&format!(
                "  {:<24}{:>12} bytes{:>12} in{:>10} late{:>10} out",
                stage.name, stage.state_bytes, counts.rows_in, counts.late, counts.rows_out
            ))?;
        }
    }
    output.finish()
}
