//! Rows that are added up before they change their key, on a real Apache Kafka: what is trending equals a batch job's, whether rows are late or not.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, ensure};
use reelflow_broker_tests::Broker;
use reelflow_pipelines::{Job, LogKind, workload};

mod feeder;
mod processes;

use feeder::Feeder;
use processes::{Process, create_topics, finish, leave, log_end, start};

const N_EVENTS: u64 = 60_000;
const SEED: u64 = 11;
const COMBINED: (&str, &str) =
    ("emit = \"final\"\nplugin = \"trending\"", "emit = \"final\"\ncombine = true\nplugin = \"trending\"");

fn job(broker: &Broker, edits: &[(&str, &str)]) -> Result<Job> {
    let job = Job::example("personalization", &LogKind::Kafka(broker.bootstrap()), &[edits, &[COMBINED]].concat())?;
    create_topics(&job)?;
    Ok(job)
}

/// The oracle's line of what is trending, which it has compared.
fn trending(job: &Job, data: &Path) -> Result<String> {
    job.dump()?;
    job.oracle("fates", data)?;
    let table = job.oracle("personalization", data)?;
    let line = table.lines().find(|line| line.starts_with("d3 ")).with_context(|| format!("no d3 in:\n{table}"))?;
    eprintln!("{line}");
    Ok(line.to_owned())
}

/// Everything is there from the start, nothing is late.
#[test]
fn complete() -> Result<()> {
    let data = workload(N_EVENTS, SEED);
    let broker = Broker::start()?;
    let job = job(&broker, &[("lateness = \"6h\"", "lateness = \"8d\""), ("lateness = \"2m\"", "lateness = \"8d\"")])?;
    Feeder::new(&broker.bootstrap(), &data)?.feed_all()?;
    job.run_to_end(&["--workers", "2"])?;
    trending(&job, &data)?;
    Ok(())
}

/// While records come in, with the lateness that ships: what is late stands in the late topic row by row, also if processes are killed, come
/// and go.
#[test]
fn bounded() -> Result<()> {
    let data = workload(N_EVENTS, SEED);
    let broker = Broker::start()?;
    let job = job(&broker, &[])?;
    let mut feeder = Feeder::new(&broker.bootstrap(), &data)?;
    let mut processes: BTreeMap<&str, Process> = [("a", start(&job, "a")?), ("b", start(&job, "b")?)].into();
    let mut n_slices = 0;
    while feeder.feed_slice(2_000)? {
        n_slices += 1;
        match n_slices % 8 {
            0 => {
                let victim = processes.get_mut("a").context("it runs")?;
                victim.kill()?;
                *victim = start(&job, "a")?;
            }
            3 => drop(processes.insert("c", start(&job, "c")?)),
            6 => leave(processes.remove("c").context("it runs")?).with_context(|| log_end(&job, "c"))?,
            _ => {}
        }
        feeder.wait_until_read().with_context(|| format!("{}{}", log_end(&job, "a"), log_end(&job, "b")))?;
    }
    finish(&job, processes)?;
    let line = trending(&job, &data)?;
    ensure!(!line.ends_with(" 0"), "nothing was late: {line}");
    Ok(())
}
