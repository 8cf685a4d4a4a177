//! `cargo xtask demo`: the main job from a fresh clone, on the embedded log or on a real Kafka, checked against a batch recomputation.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    broker::Broker,
    prepare,
    sh::{built, command, read, read_quietly, root, run, target},
    twin,
};

const TOPICS: [&str; 3] = ["impressions", "play_starts", "playback_events"];
/// (dataset, sink topic, what it answers)
const DATASETS: [(&str, &str, &str); 3] = [
    ("source_of_discovery", "source_of_discovery", "for each play, the impression that led to it"),
    ("trending", "trending", "every minute and country, the ten titles with the most viewers of the last five minutes"),
    ("frequency_cap", "frequency_cap", "days on which a profile saw a title three times or more"),
];

struct Options {
    n_events: u64,
    kafka: bool,
}

pub(crate) fn demo(args: &[String]) -> Result<bool> {
    let options = parse(args)?;
    println!("building (about ten minutes the first time)");
    prepare::programs()?;
    prepare::plugins()?;
    let started = Instant::now();
    let folder = target().join("demo");
    if folder.exists() {
        fs::remove_dir_all(&folder).context("remove the demo of last time")?;
    }
    fs::create_dir_all(&folder)?;

    println!("\n== making {} events: late, doubled, out of order, some of them broken", options.n_events);
    let data = folder.join("data");
    read(command(built("reel-workload")).arg(&data).args(["--events", &options.n_events.to_string()]))?;

    let broker = if options.kafka { Some(Broker::start()?) } else { None };
    let manifest = write_manifest(&folder, broker.as_ref())?;
    let reel = |args: &[&str]| {
        let mut reel = command(built("reel"));
        reel.current_dir(&folder).args(args);
        if let Some(broker) = &broker {
            reel.env("KAFKA_BROKERS", &broker.address);
        }
        reel
    };
    println!("== writing them to topics");
    for topic in TOPICS {
        let file = data.join(format!("topics/{topic}.tsv"));
        run(reel(&["topic", "write", topic, "--lines", "tsv", "--partitions", "4", "--end"]).arg(&file))?;
    }

    println!("\n== reel run {} --until-end --workers 2", manifest.file_name().unwrap_or_default().to_string_lossy());
    let mut run_it = reel(&["run", "--until-end", "--workers", "2", "--format", "json"]);
    let summary: Value = serde_json::from_str(&read_quietly(&mut run_it, &folder.join("reel.log"))?)?;
    let outputs = folder.join("outputs");
    fs::create_dir_all(&outputs)?;
    let topics: Value = serde_json::from_str(&read(&mut reel(&["topic", "list", "--format", "json"]))?)?;
    for topic in topics["topics"].as_array().into_iter().flatten().filter_map(|topic| topic["topic"].as_str()) {
        let is_output = topic.starts_with("late.") || DATASETS.iter().any(|(_, sink, _)| *sink == topic);
        if is_output {
            fs::write(outputs.join(format!("{topic}.ndjson")), read(&mut reel(&["topic", "read", topic]))?)?;
        }
    }
    let equal = show(&summary, &data, &outputs)?;
    println!("\n{} s since the build; data, topics and outputs are in target/demo", started.elapsed().as_secs());
    Ok(equal)
}

fn parse(args: &[String]) -> Result<Options> {
    let mut options = Options { n_events: 150_000, kafka: false };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--kafka" => options.kafka = true,
            "--events" => options.n_events = args.next().and_then(|n| n.parse().ok()).context("--events takes a number")?,
            other => bail!("demo takes --events N and --kafka, not {other}"),
        }
    }
    Ok(options)
}

/// The shipped manifest, with the section `[log]` changed for Kafka.
fn write_manifest(folder: &Path, broker: Option<&Broker>) -> Result<PathBuf> {
    let mut text = fs::read_to_string(root().join("examples/personalization/reel.toml"))?;
    if broker.is_some() {
        let (from, to) = ("kind = \"embedded\"\npath = \"log\"", "kind = \"kafka\"\nbrokers = { env = \"KAFKA_BROKERS\" }");
        anyhow::ensure!(text.contains(from), "the shipped manifest has another [log] than the demo changes");
        text = text.replace(from, to);
    }
    fs::create_dir_all(folder.join("plugins"))?;
    for entry in fs::read_dir(target().join("plugins"))? {
        let entry = entry?;
        fs::copy(entry.path(), folder.join("plugins").join(entry.file_name()))?;
    }
    let manifest = folder.join("reel.toml");
    fs::write(&manifest, text)?;
    Ok(manifest)
}

/// Prints each dataset, the fates, and the verdict.
fn show(summary: &Value, data: &Path, outputs: &Path) -> Result<bool> {
    println!("\n== what came out");
    let verdicts = twin::check(data, outputs)?;
    let mut equal = true;
    for ((name, topic, what), verdict) in DATASETS.iter().zip(&verdicts) {
        println!("\n{name}: {what}");
        let rows = fs::read_to_string(outputs.join(format!("{topic}.ndjson")))?;
        rows.lines().take(3).for_each(|row| println!("  {row}"));
        println!("  {verdict}");
        equal &= verdict.is_equal();
    }
    println!("\n== what became of every record");
    println!("{:<24}{:>10}{:>10}{:>11}{:>8}{:>7}{:>10}", "", "in", "accepted", "duplicate", "late", "dead", "out");
    for source in summary["sources"].as_array().into_iter().flatten() {
        let total = &source["total"];
        println!(
            "{:<24}{:>10}{:>10}{:>11}{:>8}{:>7}{:>10}",
            source["name"].as_str().unwrap_or(""),
            n(&total["read"]),
            n(&total["decoded"]),
            "",
            "",
            n(&total["dead"]),
            n(&total["decoded"])
        );
    }
    for stage in summary["stages"].as_array().into_iter().flatten() {
        let total = &stage["total"];
        let name = format!("  {}", stage["name"].as_str().unwrap_or(""));
        let [rows_in, accepted, duplicate, late, dead, out] =
            ["rows_in", "accepted", "duplicate", "late", "dead", "rows_out"].map(|field| n(&total[field]));
        println!("{name:<24}{rows_in:>10}{accepted:>10}{duplicate:>11}{late:>8}{dead:>7}{out:>10}");
        equal &= rows_in == accepted + duplicate + late + dead;
    }
    println!(
        "\n{} records in {:.1} s: {:.0} records/s",
        n(&summary["records_read"]),
        n(&summary["elapsed_ms"]) as f64 / 1_000.0,
        summary["records_per_s"].as_f64().unwrap_or(0.0)
    );
    println!("{}", if equal { "equal: the stream gave the batch job's answer" } else { "DIFFERENT from the batch job's answer" });
    Ok(equal)
}

fn n(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}
