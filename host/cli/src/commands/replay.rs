//! `reel replay`: the call of an incident once more, without a log or a manifest.

use std::fs;

use serde_json::{Value, json};

use crate::{
    args::{Format, dlq::Replay},
    failure::{Exit, Failure},
    incident::{Incident, Outcome, Words},
    output::{Output, print, printable},
};

pub(crate) fn replay(args: &Replay) -> Result<(), Failure> {
    let incident = Incident::read(&args.bundle)?;
    let component = match &args.plugin {
        None => incident.component(),
        Some(path) => fs::read(path)
            .map_err(|why| Failure::new(Exit::Environment, format!("\"{}\" cannot be read: {why}", path.display())))?,
    };
    let outcome = incident.run(&component)?;
    let other = incident.other_component(&component);
    match args.format {
        Format::Json => print(&json_of(&incident, &outcome, other.as_deref()).to_string())?,
        Format::Text => text(&incident, &outcome, other)?,
    }
    match outcome {
        Outcome::Answered(_) => Ok(()),
        Outcome::Reproduced | Outcome::Other(_) => Err(Failure::Said(Exit::Runtime as u8)),
    }
}

fn json_of(incident: &Incident, outcome: &Outcome, other: Option<&str>) -> Value {
    let words = |words: &Words| json!({ "reason": words.reason, "code": words.code, "error": words.error });
    let (name, now, rows) = match outcome {
        Outcome::Reproduced => ("reproduced", words(&incident.died), Vec::new()),
        Outcome::Other(now) => ("other", words(now), Vec::new()),
        Outcome::Answered(rows) => {
            let row = |(output, row): &(String, String)| json!({ "output": output, "row": serde_json::from_str::<Value>(row).expect("the encoder writes JSON") });
            ("answered", Value::Null, rows.iter().map(row).collect())
        }
    };
    json!({
        "format": 1,
        "pipeline": incident.pipeline,
        "stage": incident.stage,
        "letter": incident.letter.get("letter"),
        "other_component": other,
        "outcome": name,
        "then": words(&incident.died),
        "now": now,
        "rows": rows,
    })
}

fn text(incident: &Incident, outcome: &Outcome, other: Option<String>) -> Result<(), Failure> {
    let mut output = Output::new();
    let mut line = |text: String| output.line(&printable(&text));
    let words = |Words { reason, code, error }: &Words| match code {
        Some(code) => format!("{reason} ({code}): {error}"),
        None => format!("{reason}: {error}"),
    };
    let letter = incident.letter.get("letter").and_then(Value::as_str).unwrap_or("unknown");
    line(format!(
        "dead letter {letter} of pipeline {}, stage {}, plugin {}",
        incident.pipeline, incident.stage, incident.plugin.name
    ))?;
    other.into_iter().try_for_each(&mut line)?;
    line(format!("  then  {}", words(&incident.died)))?;
    match outcome {
        Outcome::Reproduced => line("  now   the same".to_owned())?,
        Outcome::Other(now) => line(format!("  now   {}", words(now)))?,
        Outcome::Answered(rows) => {
            line(format!("  now   the plugin answers, with {} rows", rows.len()))?;
            rows.iter().try_for_each(|(name, row)| line(format!("        {name} {row}")))?;
        }
    }
    output.finish()
}
