//! What the boundary costs a pipeline: the same host path from log to log, with a component and with the same logic as a native closure.
//!
//! `cargo run --release -p reelflow-wasm --example boundary_run -- FOLDER [RECORDS]`, where FOLDER holds `filter_half.wasm` and `count.wasm` of
//! the shipped plugins (`target/plugins` after `cargo xtask plugins`). One worker reads records of about 310 bytes from the embedded log and
//! writes what comes of them there, exactly once. Both sides take turns; a figure is CPU time of the whole process, the median of the
//! rounds, and a ratio the median of the rounds' ratios. Compiling the component is not counted. On Kafka a record costs more, so there the
//! ratio is nearer to 1.

use std::{collections::BTreeMap, error::Error, fs, path::Path, sync::Arc};

use nix::sys::resource::{UsageWho, getrusage};
use reelflow_config::{Outside, Partitions};
use reelflow_core::{
    plan::Plan,
    plugin::{PluginFault, Request, Response},
    record::{END_KEY, Outgoing},
};
use reelflow_embedded::EmbeddedLog;
use reelflow_ports::{
    clock::SystemClock,
    engine::{Limits, Plugin, PluginEngine},
    log::{Log, NewTopic, Retention},
    native::NativePlugin,
    schemas::KnownSchemas,
};
use reelflow_runtime::{observe::Blind, pipeline::Pipeline, settings::Settings, worker::Job};
use reelflow_wasm::WasmEngine;

mod native;

use native::{counted, filtered};

const N_ROUNDS: usize = 5;
const START_MS: i64 = 1_767_225_600_000;
const N_PROFILES: u64 = 100_000;

const FILTER: &str = r#"
[plugin.filter]
path = "filter_half.wasm"
[stage.half]
kind = "transform"
input = "impressions"
plugin = "filter"
[sink.half]
input = "half"
topic = "half"
key = ["profile_id"]
"#;

const COUNT: &str = r#"
[plugin.count]
path = "count.wasm"
[stage.counts]
kind = "aggregate"
input = "impressions"
key = ["profile_id"]
window = { kind = "tumbling", size = "10s" }
emit = "final"
plugin = "count"
[sink.counts]
input = "counts"
topic = "counts"
key = ["key"]
"#;

const SOURCE: &str = r#"
[pipeline]
name = "boundary"
[log]
kind = "embedded"
path = "log"
[source.impressions]
topic = "impressions"
event_time = "event_ts"
key = ["profile_id"]
bound = "2s"
"#;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let plugins = args.next().ok_or("the folder of the plugins is missing")?;
    let n_records: u64 = args.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let folder = tempfile::tempdir()?;
    let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(folder.path())?);
    log.create_topic(&NewTopic { name: "impressions".into(), n_partitions: 1, retention: Retention::FromTimestamp })?;
    fill(&*log, n_records)?;
    println!("{:<10}{:>22}{:>22}{:>9}{:>17}", "", "native", "component", "ratio", "lowest, highest");
    compare(&log, n_records, "filter", FILTER, Path::new(&plugins).join("filter_half.wasm"), filtered)?;
    compare(&log, n_records, "count", COUNT, Path::new(&plugins).join("count.wasm"), counted)
}

/// Prints what a record costs on either side.
fn compare(
    log: &Arc<dyn Log>,
    n_records: u64,
    name: &str,
    stages: &str,
    component: impl AsRef<Path>,
    answer: fn(&Request) -> Result<Response, PluginFault>,
) -> Result<(), Box<dyn Error>> {
    let component = WasmEngine::new().load(&fs::read(component)?, "{}", &Limits::STANDARD)?;
    let native: Arc<dyn Plugin> = Arc::new(NativePlugin::new(name, component.declaration().clone(), answer));
    let mut rounds: Vec<[f64; 2]> = Vec::new();
    for round in 0..N_ROUNDS {
        let mut ns = [0.0; 2];
        // Whoever comes second finds the page cache warm: take turns.
        for turn in 0..2 {
            let side = (turn + round) % 2;
            let plugin = [&native, &component][side];
            ns[side] = run(log, &format!("{name}-{round}-{side}"), name, stages, plugin)? / n_records as f64;
        }
        rounds.push(ns);
    }
    let of_side = |side: usize| median(rounds.iter().map(|ns| ns[side]).collect());
    let ratios: Vec<f64> = rounds.iter().map(|[native, component]| native / component).collect();
    let (low, high) = ratios.iter().fold((f64::MAX, 0.0_f64), |(low, high), ratio| (low.min(*ratio), high.max(*ratio)));
    println!(
        "{name:<10}{:>12.0} ns/record{:>12.0} ns/record{:>9.3}{low:>10.3}, {high:.3}",
        of_side(0),
        of_side(1),
        median(ratios)
    );
    Ok(())
}

/// Runs a pipeline of this name to its end. The CPU time that it took, in ns.
fn run(log: &Arc<dyn Log>, name: &str, plugin_name: &str, stages: &str, plugin: &Arc<dyn Plugin>) -> Result<f64, Box<dyn Error>> {
    let config = reelflow_config::parse(&format!("{SOURCE}{stages}")).map_err(|_| "the manifest is no good")?.value;
    let declarations = BTreeMap::from([(plugin_name.to_owned(), plugin.declaration().clone())]);
    let outside = Outside { declarations, ..Outside::default() };
    let plan =
        reelflow_config::plan(&config.renamed(name), &outside, Partitions::all(1)).map_err(|_| "the plugin does not fit")?;
    let plan: Plan = plan.value.with_suffix(&format!(".{name}"));
    let job = Job {
        plan: Arc::new(plan),
        plugins: vec![plugin.clone()],
        log: log.clone(),
        bases: None,
        schemas: Arc::new(KnownSchemas::default()),
        clock: Arc::new(SystemClock),
        settings: Settings { until_end: true, ..Settings::standard("0".into()) },
        observer: Arc::new(Blind),
        board: None,
    };
    let before = cpu_ns()?;
    let summary = Pipeline::new(job).run()?;
    let took = cpu_ns()? - before;
    match summary.unaccounted().is_empty() {
        true => Ok(took),
        false => Err(format!("records are not accounted for: {:?}", summary.unaccounted()).into()),
    }
}

/// Writes records like those of the benchmark, and ends them.
fn fill(log: &dyn Log, n_records: u64) -> Result<(), Box<dyn Error>> {
    let mut records = Outgoing::new("impressions".into());
    for n in 0..n_records {
        let noise = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (event_ts, profile_id) =
            (START_MS + (n / 50) as i64 - (noise % 1_000) as i64, 8_000_000 + (noise >> 20) % N_PROFILES);
        let value = format!(
            r#"{{"v":1,"event_id":"019b76db-0000-7000-af48-{n:012x}","event_ts":{event_ts},"sent_ts":{event_ts},"profile_id":{profile_id},"account_id":{},"device":"tv","country":"IN","title_id":{},"page":"home","request_id":"r-{:08x}","row":{},"row_type":"continue_watching","position":{},"algo":"pvr-4","art_id":{}}}"#,
            3_000_000 + profile_id % 50_000,
            70_000_000 + (noise >> 40) % 2_000,
            noise >> 32,
            (noise >> 8) % 40,
            (noise >> 16) % 75,
            noise % 30_000
        );
        records.push(0, event_ts, Some(profile_id.to_string().as_bytes()), Some(value.as_bytes()), &[]);
        if records.len() == 20_000 {
            log.write(&records)?;
            records = Outgoing::new("impressions".into());
        }
    }
    records.push(0, START_MS, Some(END_KEY), Some(b""), &[]);
    Ok(log.write(&records)?)
}

fn cpu_ns() -> Result<f64, Box<dyn Error>> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let ns = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 * 1e9 + time.tv_usec() as f64 * 1e3;
    Ok(ns(usage.user_time()) + ns(usage.system_time()))
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}
