//! `reel run`.

use std::{
    collections::BTreeSet,
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use reelflow_config::{Partitions, config::Guarantee as Promise};
use reelflow_ports::{
    clock::SystemClock,
    log::{Guarantee, Log, LogError, TopicPartition},
};
use reelflow_runtime::{
    pipeline::Pipeline,
    settings::{Retry, Settings},
    worker::Job,
};

use crate::{
    args::{Format, Run},
    failure::{Exit, Failure},
    manifest::Manifest,
    output::print,
    progress::Progress,
    summary,
};

pub(crate) fn run(args: &Run) -> Result<(), Failure> {
    let manifest = Manifest::load(&args.file.manifest)?;
    warn(&manifest, &manifest.warnings);
    let log: Arc<dyn Log> = patient(args, || manifest.open_log())?.into();
    let n_partitions = patient(args, || source_partitions(&manifest, &*log))?;
    let planned = manifest.plan(Partitions::all(n_partitions))?;
    warn(&manifest, &planned.warnings);
    let settings = settings(&manifest, args);
    let total = if args.until_end { Some(n_records(&manifest, &*log, n_partitions)?) } else { None };
    let progress = Arc::new(Progress::new(args.format, total));
    if args.format == Format::Text {
        banner(&manifest, &*log, n_partitions, args.workers);
    }
    let job = Job {
        plan: Arc::new(planned.plan),
        plugins: planned.plugins,
        log,
        clock: Arc::new(SystemClock),
        settings,
        observer: progress.clone(),
    };
    let pipeline = Pipeline::new(job);
    stop_on_signal(&pipeline)?;
    let outcome = pipeline.run();
    progress.finish();
    let figures = outcome?;
    match args.format {
        Format::Text => print(&summary::text_of(&figures)),
        Format::Json => print(&summary::json_of(&figures, &manifest.config.pipeline.name).to_string()),
    }
}

/// Says warnings of the manifest, if there are any.
fn warn(manifest: &Manifest, warnings: &reelflow_config::Problems) {
    if !warnings.is_empty() {
        anstream::eprintln!("{}", reelflow_config::render(warnings, &manifest.file(), manifest.text(), false));
    }
}

fn banner(manifest: &Manifest, log: &dyn Log, n_partitions: u32, n_workers: u16) {
    let pipeline = &manifest.config.pipeline;
    anstream::eprintln!(
        "reel {} · {} · {} · {} · {n_partitions} partitions, {n_workers} workers · stop with ctrl-c",
        env!("CARGO_PKG_VERSION"),
        *pipeline.name,
        pipeline.guarantee.name(),
        log.describe()
    );
}

/// Tries again while the log does not answer, with a visible message, for as long as the user said.
fn patient<T>(args: &Run, mut attempt: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
    let started = std::time::Instant::now();
    loop {
        match attempt() {
            Err(Failure::Other { exit: Exit::Environment, message, help }) if message.starts_with(UNAVAILABLE) => {
                if started.elapsed() >= Duration::from_secs(args.give_up_after) {
                    let message = format!("gave up after {} s: {message}", started.elapsed().as_secs());
                    return Err(Failure::Other { exit: Exit::Environment, message, help });
                }
                anstream::eprintln!("{message}; trying again");
                std::thread::sleep(Duration::from_millis(500));
            }
            outcome => return outcome,
        }
    }
}

/// How [`LogError::Unavailable`] begins.
const UNAVAILABLE: &str = "the log is unavailable";

/// The partition count that all sources share.
fn source_partitions(manifest: &Manifest, log: &dyn Log) -> Result<u32, Failure> {
    let mut counts = BTreeSet::new();
    let mut found = Vec::new();
    for source in &manifest.config.sources {
        let topic: Arc<str> = source.topic.as_str().into();
        let n_partitions = log.n_partitions(&topic)?.ok_or_else(|| LogError::TopicMissing(topic.clone()))?;
        counts.insert(n_partitions);
        found.push(format!("\"{topic}\" has {n_partitions}"));
    }
    match counts.first() {
        Some(n_partitions) if counts.len() == 1 => Ok(*n_partitions),
        _ => Err(Failure::new(Exit::User, format!("the source topics have different partition counts: {}", found.join(", ")))
            .help("Records that meet must lie in partitions of the same number: give all topics of one pipeline equally many.")),
    }
}

/// How many offsets the source topics hold: about how many records there are to read.
fn n_records(manifest: &Manifest, log: &dyn Log, n_partitions: u32) -> Result<u64, Failure> {
    let mut total = 0;
    for source in &manifest.config.sources {
        for partition in 0..n_partitions {
            let (earliest, end) = log.offsets(&TopicPartition { topic: source.topic.as_str().into(), partition })?;
            total += u64::try_from(end - earliest).unwrap_or(0);
        }
    }
    Ok(total)
}

fn settings(manifest: &Manifest, args: &Run) -> Settings {
    let pipeline = &manifest.config.pipeline;
    let standard = Settings::standard(args.instance.as_str().into());
    Settings {
        guarantee: match pipeline.guarantee {
            Promise::ExactlyOnce => Guarantee::ExactlyOnce,
            Promise::AtLeastOnce => Guarantee::AtLeastOnce,
        },
        n_workers: usize::from(args.workers),
        commit_interval: Duration::from_millis(pipeline.commit_interval_ms),
        epoch_records_max: usize::try_from(pipeline.epoch_records_max).unwrap_or(usize::MAX),
        session_timeout: Duration::from_secs(args.session_timeout),
        retry: Retry { give_up_after: Duration::from_secs(args.give_up_after), ..standard.retry },
        until_end: args.until_end,
        ..standard
    }
}

/// The first signal seals the open epoch and leaves; the second leaves at once.
fn stop_on_signal(pipeline: &Pipeline) -> Result<(), Failure> {
    let stopper = pipeline.stopper();
    let asked = AtomicBool::new(false);
    ctrlc::set_handler(move || {
        if asked.swap(true, Ordering::SeqCst) {
            process::exit(130);
        }
        anstream::eprintln!("sealing the open epoch; once more to leave at once");
        stopper.stop();
    })
    .map_err(|why| Failure::new(Exit::Environment, format!("signals cannot be handled: {why}")))
}
