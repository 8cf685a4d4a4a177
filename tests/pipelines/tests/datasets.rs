//! Every shipped dataset in every mode, on a real Apache Kafka: its rows equal those of a batch job in DuckDB.

use std::{collections::BTreeMap, fs, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use reelflow_broker_tests::Broker;
use reelflow_pipelines::{Job, LogKind, root, workload};

mod feeder;
mod processes;

use feeder::Feeder;
use processes::{Process, create_topics, finish, leave, log_end, start};

const N_EVENTS: u64 = 60_000;
const SEED: u64 = 11;
/// Records of one slice, and how long the next one waits.
const SLICE: usize = 2_000;
const PAUSE: Duration = Duration::from_millis(200);

/// A pipeline that ships, and what it computes.
struct Shipped {
    example: &'static str,
    oracle: &'static str,
    datasets: &'static [&'static str],
    /// What makes nothing late.
    complete: &'static [(&'static str, &'static str)],
}

const SHIPPED: [Shipped; 8] = [
    Shipped {
        example: "personalization",
        oracle: "personalization",
        datasets: &["d0", "d1", "d3", "d10"],
        complete: &[("lateness = \"6h\"", "lateness = \"8d\""), ("lateness = \"2m\"", "lateness = \"8d\"")],
    },
    Shipped {
        example: "rolling-counters",
        oracle: "rolling-counters",
        datasets: &["d4"],
        // State must outlive the lateness by a week.
        complete: &[
            ("lateness_ms = 3600000", "lateness_ms = 691200000"),
            ("lateness = \"1h\"", "lateness = \"8d\""),
            ("state_ttl = \"170h\"", "state_ttl = \"16d\""),
        ],
    },
    Shipped { example: "recent-plays", oracle: "recent-plays", datasets: &["d5"], complete: &[] },
    Shipped {
        example: "viewing-sessions",
        oracle: "sessions",
        datasets: &["d6"],
        complete: &[("lateness = \"1h\"", "lateness = \"8d\"")],
    },
    Shipped {
        example: "take-rate-hourly",
        oracle: "take-rate-hourly",
        datasets: &["d2"],
        // Once the last play was read, hours wait for impressions alone.
        complete: &[
            ("lateness = \"6h\"", "lateness = \"8d\""),
            ("horizon = \"6h\"", "horizon = \"9d\""),
            ("plugin = \"take-rate-hourly\"", "lateness = \"8d\"\nplugin = \"take-rate-hourly\""),
        ],
    },
    Shipped {
        example: "completion",
        oracle: "completion",
        datasets: &["d7"],
        complete: &[("lateness_ms = 93600000", "lateness_ms = 691200000"), ("lateness = \"26h\"", "lateness = \"8d\"")],
    },
    Shipped { example: "continue-watching", oracle: "continue-watching", datasets: &["d8"], complete: &[] },
    Shipped {
        example: "labelled-impressions",
        oracle: "labelled-impressions",
        datasets: &["d9"],
        // Who waits for what may be late for a week waits longer.
        complete: &[
            ("lateness = \"6h\"", "lateness = \"8d\""),
            ("lateness_ms = 93600000", "lateness_ms = 691200000"),
            ("lateness = \"26h\"", "lateness = \"8d\""),
            ("state_ttl = \"2d\"", "state_ttl = \"9d\""),
            ("wait_ms = 158400000", "wait_ms = 777600000"),
            ("\"44h\"", "\"9d\""),
        ],
    },
];

/// All pipelines side by side on one broker, which reads the same topics.
struct Run {
    broker: Broker,
    jobs: Vec<Job>,
    feeder: Feeder,
    /// By pipeline: its processes by name.
    processes: Vec<BTreeMap<&'static str, Process>>,
}

impl Run {
    fn new(is_complete: bool) -> Result<Run> {
        let broker = Broker::start()?;
        let log = LogKind::Kafka(broker.bootstrap());
        let edits = |shipped: &Shipped| if is_complete { shipped.complete } else { &[] };
        let jobs =
            SHIPPED.iter().map(|shipped| Job::example(shipped.example, &log, edits(shipped))).collect::<Result<Vec<_>>>()?;
        create_topics(&jobs[0])?;
        let feeder = Feeder::new(&broker.bootstrap(), &workload(N_EVENTS, SEED))?;
        Ok(Run { broker, jobs, feeder, processes: SHIPPED.iter().map(|_| BTreeMap::new()).collect() })
    }

    fn start(&mut self, pipeline: usize, name: &'static str) -> Result<()> {
        let process = start(&self.jobs[pipeline], name)?;
        self.processes[pipeline].insert(name, process);
        Ok(())
    }

    /// Feeds everything, a slice after the other; `between` is told how many there were.
    fn feed(&mut self, mut between: impl FnMut(&mut Run, usize) -> Result<()>) -> Result<()> {
        let mut n_slices = 0;
        while self.feeder.feed_slice(SLICE)? {
            n_slices += 1;
            between(self, n_slices)?;
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Ends the processes, has one more life of each pipeline process what is left, and asks the oracle.
    fn check(self, mode: &str) -> Result<()> {
        let data = workload(N_EVENTS, SEED);
        for ((shipped, job), processes) in SHIPPED.iter().zip(&self.jobs).zip(self.processes) {
            finish(job, processes).with_context(|| format!("{} in mode {mode}", shipped.example))?;
        }
        // They share one log.
        self.jobs[0].dump()?;
        self.jobs[1..].iter().try_for_each(|job| job.dump_of(&self.jobs[0]))?;
        for (shipped, job) in SHIPPED.iter().zip(&self.jobs) {
            let table = job.oracle(shipped.oracle, &data).with_context(|| format!("{} in mode {mode}", shipped.example))?;
            for dataset in shipped.datasets {
                let row = table.lines().find(|line| line.split_whitespace().next() == Some(dataset));
                eprintln!("{mode:<10} {}", row.with_context(|| format!("no {dataset} in:\n{table}"))?);
            }
        }
        drop(self.broker);
        Ok(())
    }
}

/// Everything is there from the start, nothing is late.
#[test]
fn complete() -> Result<()> {
    let mut run = Run::new(true)?;
    run.feeder.feed_all()?;
    run.check("complete")
}

/// While records come in, with the bounds on lateness that ship: equal to the batch job without what was late.
#[test]
fn bounded() -> Result<()> {
    let mut run = Run::new(false)?;
    (0..SHIPPED.len()).try_for_each(|pipeline| run.start(pipeline, "a"))?;
    // At the pace of one of them, so that what comes late is late.
    run.feed(|run, _| run.feeder.wait_until_read())?;
    run.check("bounded")
}

/// One process after the other is killed, in turns.
#[test]
fn killed() -> Result<()> {
    let mut run = Run::new(true)?;
    (0..SHIPPED.len()).try_for_each(|pipeline| run.start(pipeline, "a"))?;
    run.feed(|run, n_slices| {
        let victim = n_slices % SHIPPED.len();
        run.processes[victim].get_mut("a").context("it runs")?.kill()?;
        run.start(victim, "a")
    })?;
    run.check("killed")
}

/// One process, then four, then two, of two pipelines after two others.
#[test]
fn rescaled() -> Result<()> {
    let mut run = Run::new(true)?;
    (0..SHIPPED.len()).try_for_each(|pipeline| run.start(pipeline, "a"))?;
    run.feed(|run, n_slices| {
        let (first, step) = (n_slices / 7 * 2, n_slices % 7);
        for pipeline in first..SHIPPED.len().min(first + 2) {
            match step {
                1 => ["b", "c", "d"].into_iter().try_for_each(|name| run.start(pipeline, name))?,
                5 => {
                    for name in ["a", "c"] {
                        let process = run.processes[pipeline].remove(name).context("it runs")?;
                        leave(process).with_context(|| log_end(&run.jobs[pipeline], name))?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    })?;
    run.check("rescaled")
}

/// Rows as files: two processes publish, now this one is killed, now that one; each row is in one file in the end.
#[test]
fn files_from_kafka_hold_each_row_once() -> Result<()> {
    let broker = Broker::start()?;
    let edits = [
        ("lateness = \"6h\"", "lateness = \"8d\""),
        ("roll_every = \"5m\"\n", ""),
        ("roll_bytes = \"128MiB\"\n", ""),
        ("format = \"parquet\"", "format = \"parquet\"\nroll_every = \"500ms\"\nroll_bytes = \"64KiB\""),
    ];
    let job = Job::example("training-rows", &LogKind::Kafka(broker.bootstrap()), &edits)?;
    create_topics(&job)?;
    let data = workload(N_EVENTS, SEED);
    let mut feeder = Feeder::new(&broker.bootstrap(), &data)?;
    let mut processes = BTreeMap::from([("a", start(&job, "a")?), ("b", start(&job, "b")?)]);
    let mut n_slices = 0;
    while feeder.feed_slice(SLICE)? {
        n_slices += 1;
        if n_slices % 4 == 0 {
            let name = if n_slices % 8 == 0 { "a" } else { "b" };
            processes.get_mut(name).context("both run")?.kill()?;
            processes.insert(name, start(&job, name)?);
        }
        thread::sleep(PAUSE);
    }
    finish(&job, processes)?;
    job.dump()?;
    job.oracle("training-rows", &data)?;
    Ok(())
}

/// The page of datasets says what is tested here, and nothing else; each has a page with its manifest, plugins and SQL.
#[test]
fn the_page_of_datasets_is_true() -> Result<()> {
    let page = fs::read_to_string(root().join("docs/datasets.md"))?;
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| [D")).collect();
    let tested: Vec<(&str, &Shipped)> =
        SHIPPED.iter().flat_map(|shipped| shipped.datasets.iter().map(move |dataset| (*dataset, shipped))).collect();
    ensure!(rows.len() == tested.len(), "{} rows for {} datasets", rows.len(), tested.len());
    for (dataset, shipped) in tested {
        let begin = format!("| [{}](", dataset.to_uppercase());
        let row = rows.iter().find(|row| row.starts_with(&begin)).with_context(|| format!("no row {begin}"))?;
        ensure!(row.contains(&format!("examples/{}/reel.toml", shipped.example)), "{row}");
        ensure!(row.matches("| equal ").count() == 5, "complete, bounded, killed, rescaled and, in `backfill`, replayed: {row}");
        let page = fs::read_to_string(root().join(format!("docs/datasets/{dataset}.md")))?;
        let links: Vec<&str> = page.split("](../../").skip(1).filter_map(|rest| rest.split(')').next()).collect();
        let example = format!("examples/{}/reel.toml", shipped.example);
        ensure!(links.contains(&example.as_str()) && links.iter().any(|link| link.ends_with(".sql")), "{dataset}: {links:?}");
        let manifest = fs::read_to_string(root().join(&example))?;
        for link in links {
            ensure!(root().join(link).exists(), "{dataset}: {link} does not exist");
            let plugin = link.strip_prefix("plugins/").and_then(|rest| rest.split('/').next());
            ensure!(plugin.is_none_or(|name| manifest.contains(&format!("[plugin.{name}]"))), "{dataset}: {link}");
        }
    }
    Ok(())
}
