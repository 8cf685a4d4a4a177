//! `reel explain`: what a pipeline does, or what a code means.

use std::path::Path;

use reelflow_config::{Code, Config, Partitions, config::Guarantee, describe_plan};
use reelflow_core::plan::{Consumer, Plan};
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
    ];
    let described = describe_plan(config, plan);
    for (idx, fragment) in plan.fragments.iter().enumerate() {
        lines.push(String::new());
        lines.push(format!("fragment {}, one task for each of its partitions", fragment.name));
        for part in described.iter().filter(|part| part.fragment == idx) {
            let reads = if part.reads.is_empty() { String::new() } else { format!(" <- {}", part.reads.join(" + ")) };
            lines.push(format!("  {} {}{reads}", part.kind, part.name));
            lines.extend(part.lines.iter().map(|line| format!("    {line}")));
        }
    }
    lines.join("\n")
}

fn guarantee(config: &Config) -> String {
    let every = config.pipeline.commit_interval_ms;
    match config.pipeline.guarantee {
        Guarantee::ExactlyOnce => format!(
            "exactly once: outputs, state and positions commit together, every {every} ms; read with isolation.level=read_committed"
        ),
        Guarantee::AtLeastOnce => {
            format!("at least once: outputs may repeat after a crash, counts never do; positions commit every {every} ms")
        }
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
        let to = sink.files.as_ref().map_or(&sink.topic, |files| &files.path);
        lines.push(format!("  sink{idx}[\\\"{to}\"\\]"));
    }
    lines.join("\n")
}

fn json_of(config: &Config, plan: &Plan) -> Value {
    let parts = describe_plan(config, plan).into_iter().map(|part| {
        let fragment = &*plan.fragments[part.fragment].name;
        json!({ "kind": part.kind, "name": part.name, "reads": part.reads, "fragment": fragment, "details": part.lines })
    });
    json!({
        "format": 1,
        "pipeline": &*plan.name,
        "guarantee": config.pipeline.guarantee.name(),
        "changelog": &*plan.changelog_topic,
        "dead_letters": &*plan.dead_letter_topic,
        "shuffles": plan.shuffles.iter().map(|shuffle| &*shuffle.topic).collect::<Vec<_>>(),
        "parts": parts.collect::<Vec<_>>(),
    })
}
