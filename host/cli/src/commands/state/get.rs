//! `reel state get`: what a stage keeps of one key.

use reelflow_core::{
    column::Rows,
    json::decode::Projector,
    plan::{StageIdx, StagePlan},
    schema::{Field, Schema},
    stage::kept::Wanted,
    state::StateError,
};
use reelflow_runtime::inspect::TaskState;
use serde_json::{Map, Value, json};

use super::{Committed, shown, unreadable};
use crate::{
    args::{Format, state::StateGet},
    failure::{Exit, Failure},
    output::{Output, print},
};

/// What one task keeps of the key.
struct Found {
    /// Of the task: partition, epoch.
    of: (u32, u64),
    /// One for each thing, as JSON and as a line.
    kept: Vec<(Value, String)>,
    /// Another key of which something is kept.
    other: Option<String>,
}

pub(super) fn get(args: &StateGet) -> Result<(), Failure> {
    let committed = Committed::open(&args.file)?;
    let stage_idx = committed.stage(&args.stage)?;
    let stage = &committed.plan.stages[stage_idx];
    let schema = stage.key_schema().expect("a stage that keeps something has a key");
    let key = parse(stage, &schema, &args.key)?;
    let wanted = Wanted::of(stage, &key);
    let tasks = committed.tasks()?;
    let found = tasks.iter().map(|task| look(task, stage, stage_idx, wanted.as_ref()));
    let found: Vec<Found> = found.collect::<Result<_, _>>().map_err(|why| unreadable(stage, &why))?;
    let key = shown::key_text(&schema, &key);
    if found.iter().all(|found| found.kept.is_empty()) {
        let help = match found.into_iter().find_map(|found| found.other) {
            Some(other) => format!("among what it keeps is {other}; `reel state export --stage {}` writes all", stage.name),
            None => "`reel state list` says how much each stage keeps".to_owned(),
        };
        return Err(Failure::new(Exit::User, format!("stage \"{}\" keeps nothing of {key}", stage.name)).help(help));
    }
    match args.format {
        Format::Json => {
            let kept: Vec<Value> = found.into_iter().flat_map(|found| found.kept).map(|(json, _)| json).collect();
            print(&json!({ "format": 1, "pipeline": &*committed.plan.name, "kept": kept }).to_string())
        }
        Format::Text => text(&stage.name, &key, &found),
    }
}

fn look(task: &TaskState, stage: &StagePlan, stage_idx: StageIdx, wanted: Option<&Wanted>) -> Result<Found, StateError> {
    let versions = task.versions(stage_idx);
    let mut found = Found { of: (task.partition, task.epoch), kept: Vec::new(), other: None };
    let mut failed = None;
    task.kept(&mut |idx, kept| {
        if idx != stage_idx {
            return;
        }
        if wanted.is_some_and(|wanted| wanted.is(&kept)) {
            match shown::json_of(task, stage, versions, &kept)
                .and_then(|json| Ok((json, shown::text_of(stage, versions, &kept)?)))
            {
                Ok(shown) => found.kept.push(shown),
                Err(why) => failed = Some(why),
            }
        } else if let (None, Some(key), Some(schema)) = (&found.other, kept.key(), stage.key_schema()) {
            found.other = schema.decode_key(key).ok().map(|key| shown::key_text(&schema, &key));
        }
    });
    failed.map_or(Ok(found), Err)
}

fn text(stage: &str, key: &str, found: &[Found]) -> Result<(), Failure> {
    let mut output = Output::new();
    for Found { of: (partition, epoch), kept, .. } in found.iter().filter(|found| !found.kept.is_empty()) {
        output.line(&format!("stage \"{stage}\" keeps of {key}, in partition {partition}, as of epoch {epoch}"))?;
        for (_, line) in kept {
            output.line(&format!("  {line}"))?;
        }
    }
    output.finish()
}

/// The row of `schema` that `text` says: an array of all values, an object of them by name, or the only value.
fn parse(stage: &StagePlan, schema: &Schema, text: &str) -> Result<Rows, Failure> {
    let names: Vec<&str> = schema.fields.iter().map(|field| field.name.as_str()).collect();
    let refuse = |why: String| {
        let fields: Vec<String> =
            schema.fields.iter().map(|field| format!("{} {}", field.name, field.field_type.name())).collect();
        let message = format!("--key {text} is no key of stage \"{}\": {why}", stage.name);
        let help = format!("it is {}: write a JSON array of the values, or an object", fields.join(", "));
        Failure::new(Exit::User, message).help(help)
    };
    let value: Value = serde_json::from_str(text).map_err(|why| refuse(format!("it is not JSON: {why}")))?;
    let members: Map<String, Value> = match value {
        Value::Object(members) => members,
        Value::Array(values) if values.len() == names.len() => names.iter().map(|name| (*name).to_owned()).zip(values).collect(),
        Value::Array(values) => return Err(refuse(format!("{} values instead of {}", values.len(), names.len()))),
        only if names.len() == 1 => [(names[0].to_owned(), only)].into_iter().collect(),
        _ => return Err(refuse(format!("one value instead of {}", names.len()))),
    };
    if let Some(unknown) = members.keys().find(|member| !names.contains(&member.as_str())) {
        return Err(refuse(format!("it has no field \"{unknown}\"")));
    }
    // The value of a key may lie deeper in a record; here it stands under its name.
    let fields = schema.fields.iter().map(|field| Field { path: field.name.clone(), ..field.clone() });
    let mut projector = Projector::new(&Schema { fields: fields.collect() });
    let mut rows = projector.rows();
    projector.decode(Value::Object(members).to_string().as_bytes(), &mut rows).map_err(|why| refuse(why.to_string()))?;
    Ok(rows.finish())
}
