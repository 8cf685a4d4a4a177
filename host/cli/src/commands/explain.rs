//! `reel explain`: what a pipeline does, or what a code means.

use std::path::Path;

use reelflow_config::{Code, Config, Partitions};
use reelflow_core::plan::{Consumer, Emission, FragmentInput, Plan, StageKind, WindowSpec};
use serde_json::{Value, json};

use crate::{
    args::{Explain, ExplainFormat},
    failure::{Exit, Failure},
    manifest::Manifest,
    output::print,
};

pub(crate) fn explain(args: &Explain) -> Result<(), Failure> {
    if looks_like_code(&args.subject) {
        let code: Code = args
            .subject
            .parse()
            .map_err(|why| Failure::new(Exit::User, why).help("Codes are printed in the brackets of an error: RF0210."))?;
        return print(reelflow_config::explain(code));
    }
    let manifest = Manifest::load(Path::new(&args.subject))?;
    // The partition count changes nothing that is explained.
    let plan = manifest.plan(Partitions::all(1))?.plan;
    match args.format {
        ExplainFormat::Text => print(&text(&manifest.config, &plan)),
        ExplainFormat::Mermaid => print(&mermaid(&plan)),
        ExplainFormat::Json => print(&json_of(&manifest.config, &plan).to_string()),
    }
}

fn looks_like_code(subject: &str) -> bool {
    let digits = subject.strip_prefix("RF").or_else(|| subject.strip_prefix("rf"));
    digits.is_some_and(|digits| !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit()))
}

fn text(config: &Config, plan: &Plan) -> String {
    let mut lines = vec![
        format!("pipeline {}", plan.name),
        format!("  {}", guarantee(config)),
        format!("  state changes go to topic {}, refused records to {}", plan.changelog_topic, plan.dead_letter_topic),
        String::new(),
    ];
    for source in &plan.sources {
        lines.push(format!("source {} reads topic {}", source.name, source.topic));
        let fields: Vec<&str> = source.stream.schema.fields.iter().map(|field| field.name.as_str()).collect();
        lines.push(format!("  decodes {}", fields.join(", ")));
        lines.push(format!(
            "  watermark: greatest event time − {}; left out after {} of silence",
            span(source.bound_ms),
            span(source.idle_after_ms)
        ));
    }
    for fragment in &plan.fragments {
        lines.push(String::new());
        lines.push(format!("fragment {}, one task per partition", fragment.name));
        for input in &fragment.inputs {
            if let FragmentInput::Shuffle(shuffle) = input {
                let shuffle = &plan.shuffles[*shuffle];
                let key: Vec<&str> = names(&shuffle.stream.schema.fields, &shuffle.key);
                lines.push(format!("  reads the internal topic {}, partitioned by {}", shuffle.topic, key.join(", ")));
            }
        }
        for stage in &fragment.stages {
            let (stage_name, facts) = (&plan.stages[*stage].name, facts(plan, *stage));
            lines.push(format!("  stage {stage_name}: {}", facts.what));
            lines.extend(facts.details.iter().map(|detail| format!("    {detail}")));
        }
    }
    lines.push(String::new());
    for sink in &plan.sinks {
        let upsert = if sink.upsert { ", rows with rev and final: the last one of a key counts" } else { "" };
        lines.push(format!("sink {} writes topic {}{upsert}", sink.name, sink.topic));
    }
    lines.join("\n")
}

fn guarantee(config: &Config) -> String {
    let every = span(i64::try_from(config.pipeline.commit_interval_ms).unwrap_or(i64::MAX));
    match config.pipeline.guarantee {
        reelflow_config::config::Guarantee::ExactlyOnce => {
            format!(
                "exactly once: outputs, state and positions commit together, every {every}; consumers read with isolation.level=read_committed"
            )
        }
        reelflow_config::config::Guarantee::AtLeastOnce => {
            format!("at least once: outputs may repeat after a crash, counts never do; an epoch every {every}")
        }
    }
}

/// What a stage does, and how long it keeps what.
struct Facts {
    what: String,
    details: Vec<String>,
}

fn facts(plan: &Plan, stage: usize) -> Facts {
    let stage = &plan.stages[stage];
    let fields = |port: usize, columns: &[usize]| names(&stage.inputs[port].fields, columns).join(", ");
    match &stage.kind {
        StageKind::Transform { columns, .. } => Facts {
            what: "transform".to_owned(),
            details: vec![format!("reads {}", fields(0, columns)), "keeps no state".to_owned()],
        },
        StageKind::Dedup { id, horizon_ms } => Facts {
            what: format!("drops records whose {} came before", fields(0, &[*id])),
            details: vec![format!("keeps an id until the job's watermark is {} past its event time", span(*horizon_ms))],
        },
        StageKind::Aggregate { key, window, lateness_ms, emission, .. } => Facts {
            what: format!("aggregate by {} in {}", fields(0, key), window_text(*window)),
            details: vec![
                emission_text(*emission, "its window's end", *lateness_ms),
                format!(
                    "keeps one state per key and {} pane until the pane's last window's end + {}",
                    span(window.slide_ms()),
                    span(*lateness_ms)
                ),
                late_text(stage.late_topic.as_deref()),
            ],
        },
        StageKind::Join { left_key, within_ms, outer, lateness_ms, emission, .. } => Facts {
            what: format!(
                "join on {}: the latest right row at most {} before the left one; a left row without a match is {}",
                fields(0, left_key),
                span(*within_ms),
                if *outer { "emitted too" } else { "dropped" }
            ),
            details: vec![
                emission_text(*emission, "the left row's event time", *lateness_ms),
                format!("keeps left rows for {}, right rows for {}", span(*lateness_ms), span(within_ms + lateness_ms)),
                late_text(stage.late_topic.as_deref()),
            ],
        },
    }
}

fn names<'a>(fields: &'a [reelflow_core::schema::Field], columns: &[usize]) -> Vec<&'a str> {
    columns.iter().map(|column| fields[*column].name.as_str()).collect()
}

fn window_text(window: WindowSpec) -> String {
    match window {
        WindowSpec::Tumbling { size_ms } => format!("tumbling windows of {}", span(size_ms)),
        WindowSpec::Hopping { size_ms, slide_ms } => format!("windows of {} every {}", span(size_ms), span(slide_ms)),
    }
}

fn emission_text(emission: Emission, at: &str, lateness_ms: i64) -> String {
    match emission {
        Emission::Final => format!("emits once, when the watermark reaches {at} + {}", span(lateness_ms)),
        Emission::Upsert => {
            format!(
                "emits when the watermark reaches {at}, again when a late record changes the result, and as final {} later",
                span(lateness_ms)
            )
        }
    }
}

fn late_text(topic: Option<&str>) -> String {
    format!("later records go to topic {}", topic.unwrap_or("none"))
}

/// A length of time in the manifest's own notation.
fn span(ms: i64) -> String {
    const UNITS: [(i64, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    match UNITS.iter().find(|(unit, _)| ms >= *unit && ms % unit == 0) {
        Some((unit, name)) => format!("{}{name}", ms / unit),
        None => format!("{ms}ms"),
    }
}

fn mermaid(plan: &Plan) -> String {
    let mut lines = vec!["flowchart LR".to_owned()];
    let arrow = |from: &str, consumers: &[Consumer], lines: &mut Vec<String>| {
        for consumer in consumers {
            let to = match consumer {
                Consumer::Stage { stage, .. } => format!("stage{stage}"),
                Consumer::Shuffle(shuffle) => format!("shuffle{shuffle}"),
                Consumer::Sink(sink) => format!("sink{sink}"),
            };
            lines.push(format!("  {from} --> {to}"));
        }
    };
    for (idx, source) in plan.sources.iter().enumerate() {
        lines.push(format!("  source{idx}[/\"{}\"/]", source.topic));
        arrow(&format!("source{idx}"), &source.stream.consumers, &mut lines);
    }
    for (idx, stage) in plan.stages.iter().enumerate() {
        lines.push(format!("  stage{idx}[\"{}\"]", stage.name));
        stage.outputs.iter().for_each(|output| arrow(&format!("stage{idx}"), &output.consumers, &mut lines));
    }
    for (idx, shuffle) in plan.shuffles.iter().enumerate() {
        lines.push(format!("  shuffle{idx}[(\"{}\")]", shuffle.topic));
        arrow(&format!("shuffle{idx}"), &shuffle.stream.consumers, &mut lines);
    }
    for (idx, sink) in plan.sinks.iter().enumerate() {
        lines.push(format!("  sink{idx}[\\\"{}\"\\]", sink.topic));
    }
    lines.join("\n")
}

fn json_of(config: &Config, plan: &Plan) -> Value {
    let stages = (0..plan.stages.len()).map(|idx| {
        let facts = facts(plan, idx);
        let stage = &plan.stages[idx];
        json!({ "name": &*stage.name, "fragment": &*plan.fragments[stage.fragment].name, "what": facts.what, "details": facts.details })
    });
    json!({
        "format": 1,
        "pipeline": &*plan.name,
        "guarantee": config.pipeline.guarantee.name(),
        "changelog": &*plan.changelog_topic,
        "dead_letters": &*plan.dead_letter_topic,
        "sources": plan.sources.iter().map(|source| json!({"name": &*source.name, "topic": &*source.topic})).collect::<Vec<_>>(),
        "stages": stages.collect::<Vec<_>>(),
        "shuffles": plan.shuffles.iter().map(|shuffle| &*shuffle.topic).collect::<Vec<_>>(),
        "sinks": plan.sinks.iter().map(|sink| json!({"name": &*sink.name, "topic": &*sink.topic, "upsert": sink.upsert})).collect::<Vec<_>>(),
    })
}
