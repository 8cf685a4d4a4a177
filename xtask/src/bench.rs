//! `cargo xtask bench`: the engine beside hand-written Kafka programs that do the same work on the same broker, in turns.
//!
//! The broker has one core to itself and the program under test another. What is compared is CPU time of the whole process, start and
//! compilation of the plugin included, since wall time says little on a machine that is shared. A figure is a median over the rounds; a
//! ratio is the median of the ratios of each round.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::resource::{UsageWho, getrusage},
    unistd::Pid,
};
use serde_json::Value;

use crate::{
    broker::Broker,
    prepare,
    sh::{cargo, command, read, read_quietly, root, run, target},
};

const BROKER_CORE: usize = 0;
const PROGRAM_CORE: usize = 1;
const N_PARTITIONS: &str = "4";
const TOPIC: &str = "impressions";

struct Row {
    name: &'static str,
    /// A manifest in `tests/yardstick/pipelines`, and a command of the yardstick.
    work: &'static str,
    guarantee: &'static str,
}

const ROWS: [Row; 5] = [
    Row { name: "stateless, at-least-once", work: "filter", guarantee: "at-least-once" },
    Row { name: "stateless, exactly-once", work: "filter", guarantee: "exactly-once" },
    Row { name: "tumbling 10 s, 100 K keys, exactly-once", work: "count", guarantee: "exactly-once" },
    Row { name: "sessions, gap 2 s, exactly-once", work: "sessions", guarantee: "exactly-once" },
    Row { name: "interval join, 1 s, exactly-once", work: "pairs", guarantee: "exactly-once" },
];

struct Options {
    n_records: u64,
    n_rounds: usize,
}

/// One run of one program.
struct Timed {
    cpu: Duration,
    records_read: u64,
    rows_out: u64,
}

impl Timed {
    fn per_cpu_second(&self) -> f64 {
        self.records_read as f64 / self.cpu.as_secs_f64()
    }
}

pub(crate) fn bench(args: &[String]) -> Result<bool> {
    let options = parse(args)?;
    println!("building with the release profile (about ten minutes the first time)");
    run(cargo().args(["build", "--release", "--bins", "-p", "reelflow-cli", "-p", "reelflow-yardstick"]))?;
    prepare::programs()?;
    prepare::plugins()?;
    ensure!(
        std::thread::available_parallelism()?.get() > PROGRAM_CORE,
        "two cores are needed: one for the broker, one for the program"
    );

    pin(BROKER_CORE)?;
    let broker = Broker::start()?;
    pin(PROGRAM_CORE)?;
    let folder = target().join("bench");
    fs::create_dir_all(&folder)?;
    let bench = Bench { broker, folder };
    println!("writing {} records of about 310 bytes", options.n_records);
    bench.create(TOPIC)?;
    bench.yardstick(&["fill", "--topic", TOPIC, "--records", &options.n_records.to_string()])?;

    println!("\n{:<42}{:>16}{:>16}{:>9}{:>17}", "records per CPU-second", "reelflow", "native", "ratio", "ratio min - max");
    for row in &ROWS {
        let mut rounds = Vec::new();
        for round in 0..options.n_rounds {
            // Whoever comes second finds the page cache warm: take turns.
            let (engine, native) = match round % 2 {
                0 => (bench.engine(row, round)?, bench.native(row, round)?),
                _ => {
                    let native = bench.native(row, round)?;
                    (bench.engine(row, round)?, native)
                }
            };
            let (ours, theirs) = ((engine.records_read, engine.rows_out), (native.records_read, native.rows_out));
            ensure!(ours == theirs, "{}: the engine read and wrote {ours:?} records, the native program {theirs:?}", row.name);
            rounds.push((engine.per_cpu_second(), native.per_cpu_second()));
        }
        let ratios: Vec<f64> = rounds.iter().map(|(engine, native)| engine / native).collect();
        let (engine, native) =
            (rounds.iter().map(|(engine, _)| *engine).collect(), rounds.iter().map(|(_, native)| *native).collect());
        let (low, high) = ratios.iter().fold((f64::MAX, 0.0_f64), |(low, high), ratio| (low.min(*ratio), high.max(*ratio)));
        println!(
            "{:<42}{:>16.0}{:>16.0}{:>9.2}{:>10.2} - {:.2}",
            row.name,
            median(engine),
            median(native),
            median(ratios),
            low,
            high
        );
    }
    Ok(true)
}

fn parse(args: &[String]) -> Result<Options> {
    let mut options = Options { n_records: 3_000_000, n_rounds: 5 };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut number = || -> Result<u64> {
            let number = args.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0);
            number.with_context(|| format!("{arg} takes a number greater than 0"))
        };
        match arg.as_str() {
            "--records" => options.n_records = number()?,
            "--rounds" => options.n_rounds = usize::try_from(number()?)?,
            other => bail!("bench takes --records N and --rounds N, not {other}"),
        }
    }
    Ok(options)
}

struct Bench {
    broker: Broker,
    folder: std::path::PathBuf,
}

impl Bench {
    fn engine(&self, row: &Row, round: usize) -> Result<Timed> {
        let name = format!("{}-{}-{round}", row.work, row.guarantee);
        let manifest = self.manifest(row.work, row.guarantee, &name)?;
        // The topics exist before the clock starts, as those of the native program do.
        self.create_as(&manifest, &name)?;
        let before = cpu_of_children()?;
        let mut run_it = self.reel(&["run", "--until-end", "--format", "json"]);
        let summary = read_quietly(run_it.arg(&manifest), &self.folder.join("reel.log"))?;
        let cpu = cpu_of_children()? - before;
        let summary: Value = serde_json::from_str(&summary)?;
        let number = |value: &Value| value.as_u64().context("a number in the summary");
        let (read, ends) =
            (number(&summary["sources"][0]["total"]["decoded"])?, number(&summary["sources"][0]["total"]["dead"])?);
        ensure!(ends == 0, "{ends} records were refused");
        let last = summary["stages"].as_array().and_then(|stages| stages.last()).context("a stage in the summary")?;
        Ok(Timed { cpu, records_read: read, rows_out: number(&last["total"]["rows_out"])? })
    }

    fn native(&self, row: &Row, round: usize) -> Result<Timed> {
        let out = format!("native-{}-{}-{round}", row.work, row.guarantee);
        self.create(&out)?;
        self.create(&format!("{out}.changelog"))?;
        let before = cpu_of_children()?;
        let figures = self.yardstick(&[row.work, "--topic", TOPIC, "--out", &out, "--guarantee", row.guarantee])?;
        let cpu = cpu_of_children()? - before;
        let number = |name: &str| figures[name].as_u64().context("a number of the yardstick");
        Ok(Timed { cpu, records_read: number("records_read")?, rows_out: number("rows_out")? })
    }

    fn yardstick(&self, args: &[&str]) -> Result<Value> {
        let mut yardstick = command(target().join("release/reelflow-yardstick"));
        let output = read(yardstick.args(args).args(["--brokers", &self.broker.address, "--partitions", N_PARTITIONS]))?;
        Ok(serde_json::from_str(&output)?)
    }

    fn reel(&self, args: &[&str]) -> std::process::Command {
        let mut reel = command(target().join("release/reel"));
        reel.current_dir(&self.folder).env("KAFKA_BROKERS", &self.broker.address).args(args);
        // Compiling is counted, and so must not be spared in the later rounds.
        reel.env("REEL_COMPONENT_CACHE", "off");
        reel
    }

    fn manifest(&self, work: &str, guarantee: &str, name: &str) -> Result<std::path::PathBuf> {
        let text = fs::read_to_string(root().join(format!("tests/yardstick/pipelines/{work}.toml")))?;
        let plugins = target().join("plugins");
        let text = text.replace("@NAME@", name).replace("@GUARANTEE@", guarantee);
        let text = text.replace("path = \"", &format!("path = \"{}/", plugins.display()));
        let manifest = self.folder.join(format!("{name}.toml"));
        fs::write(&manifest, text)?;
        Ok(manifest)
    }

    fn create(&self, topic: &str) -> Result<()> {
        self.create_as(&self.manifest("filter", "at-least-once", "topics")?, topic)
    }

    fn create_as(&self, manifest: &Path, topic: &str) -> Result<()> {
        read(self.reel(&["topic", "create", topic, "--partitions", N_PARTITIONS, "--manifest"]).arg(manifest))?;
        Ok(())
    }
}

/// What is started from now on runs on this core alone.
fn pin(core: usize) -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &cores).with_context(|| format!("run on core {core}"))
}

/// User and system time of all children that have ended.
fn cpu_of_children() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = |time: nix::sys::time::TimeVal| time.tv_sec() as u64 * 1_000_000 + time.tv_usec() as u64;
    Ok(Duration::from_micros(micros(usage.user_time()) + micros(usage.system_time())))
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    let middle = of.len() / 2;
    if of.len() % 2 == 1 { of[middle] } else { (of[middle - 1] + of[middle]) / 2.0 }
}
