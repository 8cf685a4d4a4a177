//! Bases of the state in a folder or a bucket: named, lost, damaged, moved away from; and killed in between.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reelflow_broker_tests::Broker;
use reelflow_objects_tests::{BUCKET, KEY_ID, ObjectServer, SECRET};
use reelflow_pipelines::{Job, LogKind, TOPICS, said, workload};
use serde_json::Value;

const N_EVENTS: u64 = 60_000;
const SEED: u64 = 11;
/// Records come in so many slices, with a run behind each: a state that changes more than twice over has bases.
const N_SLICES: usize = 8;
const LOG: &str = "[log]\nkind";
const STORE: &str = "[state]\nstore = \"file://bases\"\n\n[log]\nkind";

/// The main job with bases in the folder `bases`.
fn job(log: &LogKind) -> Result<Job> {
    Job::example("personalization", log, &[(LOG, STORE)])
}

/// Writes slice `nth` of the workload into the topics; the last one ends them, if it shall.
fn write_slice(job: &Job, nth: usize, ends: bool) -> Result<()> {
    let data = workload(N_EVENTS, SEED);
    for topic in TOPICS {
        // Not all of them are text.
        let bytes = fs::read(data.join(format!("topics/{topic}.tsv")))?;
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        let slice = &lines[nth * lines.len() / N_SLICES..(nth + 1) * lines.len() / N_SLICES];
        fs::write(job.path().join("slice.tsv"), slice.concat())?;
        let write = ["topic", "write", topic, "slice.tsv", "--lines", "tsv", "--partitions", "2"];
        job.read(&[&write[..], if ends && nth + 1 == N_SLICES { &["--end"] } else { &[] }].concat())?;
    }
    Ok(())
}

/// The bases of each task, the newest last.
fn bases(job: &Job) -> Result<BTreeMap<PathBuf, Vec<PathBuf>>> {
    bases_in(job.path().join("bases"))
}

fn bases_in(folder: PathBuf) -> Result<BTreeMap<PathBuf, Vec<PathBuf>>> {
    let mut found: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry?.path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|extension| extension == "base") => {
                    found.entry(folder.clone()).or_default().push(path);
                }
                false => {}
            }
        }
    }
    found.values_mut().for_each(|paths| paths.sort());
    Ok(found)
}

/// Runs for so long at most, and kills.
fn run_and_kill(job: &Job, for_ms: u64) -> Result<()> {
    let mut child = job.reel(&["run", "--until-end", "--workers", "2"]).stderr(Stdio::null()).stdout(Stdio::null()).spawn()?;
    thread::sleep(Duration::from_millis(for_ms));
    child.kill()?;
    child.wait()?;
    Ok(())
}

fn spoil(path: &Path) -> Result<()> {
    let mut object = fs::read(path)?;
    let at = object.len() / 2;
    object[at] ^= 1;
    Ok(fs::write(path, object)?)
}

fn edit(job: &Job, from: &str, to: &str) -> Result<()> {
    let path = job.path().join("reel.toml");
    let text = fs::read_to_string(&path)?;
    ensure!(text.contains(from), "the manifest has no {from:?}");
    Ok(fs::write(&path, text.replace(from, to))?)
}

fn judge(output: &Output, exit: i32, words: &[&str]) {
    let text = said(output);
    assert_eq!(output.status.code(), Some(exit), "{text}");
    words.iter().for_each(|word| assert!(text.contains(word), "{word}: {text}"));
}

/// All that is kept, in an order of its own, and without the epochs as of which it is.
fn exported(job: &Job) -> Result<BTreeSet<String>> {
    let line = |text: &str| -> Result<String> {
        let mut line: Value = serde_json::from_str(text)?;
        line.as_object_mut().context("an object")?.remove("epoch").context("an epoch")?;
        Ok(line.to_string())
    };
    job.read(&["state", "export", "--to", "-"])?.lines().map(line).collect()
}

/// I-16: killed at random moments, with a base of each task damaged or gone, the outputs are those of a batch job.
fn killed_and_spoilt(log: &LogKind, moments_ms: std::ops::Range<u64>) -> Result<()> {
    let job = job(log)?;
    let mut rng = ChaCha8Rng::seed_from_u64(15);
    let mut spoilt: BTreeSet<PathBuf> = BTreeSet::new();
    for nth in 0..N_SLICES {
        write_slice(&job, nth, true)?;
        run_and_kill(&job, rng.random_range(moments_ms.clone()))?;
        if nth % 2 == 1 {
            job.run_to_end(&["--workers", "2"])?;
        }
        // Of those that are named one may go: of two the newest, of one as well, since the base before it is in the changelog then.
        for (folder, paths) in bases(&job)?.into_iter().filter(|(_, paths)| paths.len() <= 2) {
            if spoilt.insert(folder) {
                let newest = &paths[paths.len() - 1];
                if spoilt.len().is_multiple_of(2) { spoil(newest)? } else { fs::remove_file(newest)? }
            }
        }
    }
    ensure!(spoilt.len() > 2, "few tasks had bases: {spoilt:?}");
    job.run_to_end(&["--workers", "2"])?;
    job.dump()?;
    let data = workload(N_EVENTS, SEED);
    job.oracle("fates", &data)?;
    job.oracle("personalization", &data)?;
    Ok(())
}

#[test]
fn i_16_kills_and_lost_bases_change_no_row() -> Result<()> {
    killed_and_spoilt(&LogKind::Embedded, 300..1_500)
}

#[test]
fn i_16_kills_and_lost_bases_change_no_row_on_kafka() -> Result<()> {
    let broker = Broker::start()?;
    killed_and_spoilt(&LogKind::Kafka(broker.bootstrap()), 6_000..9_000)
}

/// A newest base that is gone is said, and its place taken; what is kept is the same, whoever asks and by whatever way it came back.
#[test]
fn what_is_kept_does_not_depend_on_its_bases() -> Result<()> {
    let job = job(&LogKind::Embedded)?;
    let mut n_written = 0;
    for nth in 0..N_SLICES {
        write_slice(&job, nth, false)?;
        n_written += job.run_to_end(&[])?["bases"]["written"].as_u64().context("a count of bases")?;
    }
    ensure!(n_written > 4, "only {n_written} bases were written");
    let export = || exported(&job);
    let before = export()?;
    let all = bases(&job)?;
    ensure!(
        !all.is_empty() && all.values().all(|paths| paths.len() <= 3),
        "the last two, and one that is not named yet: {all:?}"
    );
    for newest in all.values().filter_map(|paths| paths.last()) {
        spoil(newest)?;
    }
    assert!(export()? == before, "a damaged base changes nothing");
    judge(&job.reel(&["run", "--until-end"]).output()?, 0, &["was SKIPPED: its", "bytes are not those that were written"]);
    assert!(export()? == before, "nor does a run");
    Ok(())
}

/// From the changelog to a store, to another one by way of the changelog, and what is refused.
#[test]
fn a_store_is_left_by_way_of_the_changelog() -> Result<()> {
    let job = job(&LogKind::Embedded)?;
    edit(&job, STORE, LOG)?;
    write_slice(&job, 0, false)?;
    job.run_to_end(&[])?;
    let export = || exported(&job);
    let before = export()?;
    edit(&job, LOG, STORE)?;
    assert!(export()? == before, "a store that has nothing yet is not asked");
    for nth in 1..N_SLICES {
        write_slice(&job, nth, false)?;
        job.run_to_end(&[])?;
    }
    ensure!(!bases(&job)?.is_empty(), "bases are in the store now");
    let kept = export()?;

    edit(&job, STORE, LOG)?;
    let run = || job.reel(&["run", "--until-end"]).output();
    judge(&run()?, 2, &["RF0532", "lies in a store", "the manifest names none"]);
    judge(&job.reel(&["state", "list"]).output()?, 2, &["RF0532"]);
    edit(&job, LOG, "[state]\nstore = \"file://reel.toml\"\n\n[log]\nkind")?;
    judge(&run()?, 3, &["RF0530", "not a folder"]);

    edit(&job, "store = \"file://reel.toml\"\n", "store = \"file://bases\"\nbases = \"changelog\"\n")?;
    job.run_to_end(&[])?;
    assert!(export()? == kept, "moving changes nothing");
    assert_eq!(bases(&job)?.values().map(Vec::len).sum::<usize>(), 0, "what nobody names goes");
    edit(&job, "[state]\nstore = \"file://bases\"\nbases = \"changelog\"\n\n[log]\nkind", LOG)?;
    judge(&run()?, 0, &[]);
    assert!(export()? == kept, "the store is not needed any more");
    Ok(())
}

/// A test beside production, with the store of production: the one that came later is not started, and nothing of the first is touched.
#[test]
fn two_logs_do_not_share_a_store() -> Result<()> {
    let [first, second] = [job(&LogKind::Embedded)?, job(&LogKind::Embedded)?];
    let shared = format!("store = \"file://{}\"", first.path().join("bases").display());
    edit(&second, "store = \"file://bases\"", &shared)?;
    for nth in 0..N_SLICES {
        [&first, &second].into_iter().try_for_each(|job| write_slice(job, nth, false))?;
        first.run_to_end(&[])?;
    }
    let (kept, lies) = (exported(&first)?, bases(&first)?);
    ensure!(!lies.is_empty(), "there are bases");
    let run = || second.reel(&["run", "--until-end"]).output();
    judge(&run()?, 2, &["RF0533", "pipeline \"personalization\" of embedded log ", "personalization/.log"]);
    edit(&second, &shared, &format!("{shared}\nbases = \"changelog\""))?;
    judge(&run()?, 2, &["RF0533"]);
    assert!(exported(&first)? == kept && bases(&first)? == lies, "nothing of the first is touched");
    first.run_to_end(&[])?;
    Ok(())
}

/// In a bucket: who may not, a server that is gone and comes back, and newest bases that are damaged.
#[test]
fn bases_lie_in_a_bucket() -> Result<()> {
    let mut server = ObjectServer::start()?;
    let endpoint = server.endpoint();
    let bucket = format!("[state]\nstore = \"s3://{BUCKET}/reel\"\n\n[log]\nkind");
    let job = Job::example("personalization", &LogKind::Embedded, &[(LOG, &bucket)])?;
    let run = |secret: &str| {
        let mut command = job.reel(&["run", "--until-end", "--give-up-after", "5"]);
        command.env("AWS_ENDPOINT_URL", &endpoint).env("AWS_ACCESS_KEY_ID", KEY_ID).env("AWS_SECRET_ACCESS_KEY", secret);
        command.output()
    };
    write_slice(&job, 0, true)?;
    judge(&run("")?, 3, &["RF0530", "AWS_SECRET_ACCESS_KEY is not set"]);
    judge(&run("another")?, 3, &["RF0530", "403"]);
    for nth in 1..N_SLICES {
        judge(&run(SECRET)?, 0, &[]);
        write_slice(&job, nth, true)?;
    }
    server.kill()?;
    judge(&run(SECRET)?, 3, &["RF0530", "nothing that was committed is lost"]);
    server.restart()?;
    judge(&run(SECRET)?, 0, &[]);
    let all = bases_in(server.path("reel"))?;
    ensure!(all.len() > 2, "few tasks have bases: {all:?}");
    for newest in all.values().filter_map(|paths| paths.last()) {
        spoil(newest)?;
    }
    judge(&run(SECRET)?, 0, &["was SKIPPED: its"]);
    job.dump()?;
    job.oracle("personalization", &workload(N_EVENTS, SEED))?;
    Ok(())
}
