//! `reel state list`: how far each task has come, and how much its stages keep.

use reelflow_runtime::inspect::{StageState, TaskState};
use serde_json::{Value, json};

use super::Committed;
use crate::{
    args::{Format, state::StateList},
    failure::Failure,
    output::{Output, print},
    summary,
};

pub(super) fn list(args: &StateList) -> Result<(), Failure> {
    let committed = Committed::open(&args.file)?;
    let tasks = committed.tasks()?;
    let plan = &committed.plan;
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
