//! I-6: a retry that is killed, and begun again, doubles nothing and forgets nothing.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reelflow_broker_tests::Broker;
use reelflow_pipelines::{Job, LogKind};

use crate::{clean, dlq, feed, job, lines, play};

const RETRY: [&str; 4] = ["dlq", "retry", "--patch", r#"{"device":"tv"}"#];

/// A retry that does not outlive a test that fails.
struct Retry(Child);

impl Drop for Retry {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Begins a retry and kills it a moment after it has committed `n_commits` times.
fn killed(job: &Job, n_commits: usize, moment: Duration) -> Result<()> {
    let args = [&RETRY[..], &["--log", "reelflow_runtime=info"]].concat();
    let mut retry = Retry(job.reel(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?);
    let said = BufReader::new(retry.0.stderr.take().context("it is piped")?);
    let mut n_seen = 0;
    for line in said.lines() {
        n_seen += usize::from(line?.contains("put records back"));
        if n_seen == n_commits {
            thread::sleep(moment);
            return Ok(());
        }
    }
    ensure!(n_seen == n_commits, "it ended after {n_seen} commits");
    Ok(())
}

/// `n_letters` dead letters are put back by a command that is killed `n_kills` times in the middle.
fn check(log: &LogKind, n_letters: usize, n_kills: usize) -> Result<()> {
    let job = job(log, "")?;
    feed(&job, &(0..n_letters).map(|n| play(n, "\"fridge\"")).collect::<Vec<_>>())?;
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut n_before = 0;
    for _ in 0..n_kills {
        killed(&job, rng.random_range(1..3), Duration::from_micros(rng.random_range(0..5_000)))?;
        let n_now = dlq(&job, &["list"])?["retried"].as_u64().context("a number")?;
        assert!(n_now > n_before, "each life puts something back");
        n_before = n_now;
    }
    assert!(n_before < n_letters as u64, "something is left");
    let last = dlq(&job, &RETRY[1..])?;
    assert_eq!(last["put_back"].as_u64().zip(last["before"].as_u64()), Some((n_letters as u64 - n_before, n_before)), "{last}");
    let mut n_by_key: BTreeMap<String, usize> = BTreeMap::new();
    for record in lines(&job, &["topic", "read", "plays", "--format", "json"])? {
        *n_by_key.entry(record["key"].to_string()).or_default() += 1;
    }
    assert_eq!(n_by_key.len(), n_letters);
    assert!(n_by_key.values().all(|n_records| *n_records == 2), "each was written once and put back once");
    job.run_to_end(&[])?;
    assert_eq!(clean(&job)?, (0..n_letters as u64).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn i_6_kills_of_a_retry_double_nothing() -> Result<()> {
    check(&LogKind::Embedded, 20_000, 5)
}

#[test]
fn i_6_kills_of_a_retry_on_kafka_double_nothing() -> Result<()> {
    let broker = Broker::start()?;
    check(&LogKind::Kafka(broker.bootstrap()), 15_000, 3)
}
