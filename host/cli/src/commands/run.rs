//! `reel run`.

use std::{
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use reelflow_config::config::upgrade::Upgrade;
use reelflow_ports::{
    clock::{Clock, SystemClock},
    log::{Log, LogError, TopicPartition},
};
use reelflow_runtime::{
    control::Started,
    observe::Observer,
    patience::Patience,
    pipeline::Pipeline,
    settings::{Alignment, Outage, Settings, TrialRules},
    worker::Job,
};

use crate::{
    admin::Admin,
    args::{Format, Process, Run},
    commands::{reload::ManifestLoader, state},
    failure::{Exit, Failure},
    manifest::Manifest,
    metrics::{Both, Metrics},
    output::print,
    outside,
    progress::Progress,
    summary,
};

mod registered;
mod watch;

pub(super) use registered::registered;

pub(crate) fn run(args: &Run) -> Result<(), Failure> {
    let manifest = Manifest::load(&args.process.file.manifest)?;
    warn(&manifest, &manifest.warnings);
    let log: Arc<dyn Log> = manifest.open_log()?.into();
    let schemas = manifest.schemas()?;
    let n_partitions = source_partitions(&args.process, &manifest, &*log)?;
    let components = manifest.components()?;
    let (mut code, warnings) = manifest.code(&components, n_partitions)?;
    warn(&manifest, &warnings);
    // Not before it is known that the rows fit.
    let manifest = match registered(&args.process, &manifest)? {
        None => manifest,
        Some(manifest) => {
            (code, _) = manifest.code(&components, n_partitions)?;
            manifest
        }
    };
    let resets = state::keeping(&code.plan, &args.reset)?;
    let code = Arc::new(code);
    let settings = settings(&manifest, &args.process, args.until_end);
    let total = if args.until_end {
        Some(n_records(&manifest, &*log, n_partitions).map_err(|error| manifest.log_failure(error))?)
    } else {
        None
    };
    let progress = Arc::new(Progress::new(args.process.format, total));
    if args.process.format == Format::Text {
        banner(&manifest, &*log, n_partitions, args.process.workers);
    }
    let job = Job {
        plan: code.plan.clone(),
        plugins: code.plugins.clone(),
        observer: watched(args, &manifest, &log, n_partitions, &progress)?,
        log,
        bases: manifest.bases()?,
        schemas,
        clock: Arc::new(SystemClock),
        settings,
        board: None,
    };
    let files = manifest.file_sinks(&job.plan);
    let loader = Arc::new(ManifestLoader { manifest: manifest.clone(), n_partitions });
    let pipeline = Pipeline::new(job).with_files(files).with_upgrades(Started { code, components, loader, resets });
    args.reset.iter().for_each(|stage| progress.say(&format!("state of stage \"{stage}\": RESET: what it keeps is forgotten")));
    if args.watch {
        watch::spawn(manifest.clone(), n_partitions, pipeline.upgrader(), pipeline.stopper());
    }
    conduct(pipeline, &manifest, &progress, args.process.format)
}

/// Serves what the user wants to have served of a run. Gives who watches it.
fn watched(
    args: &Run,
    manifest: &Manifest,
    log: &Arc<dyn Log>,
    n_partitions: u32,
    progress: &Arc<Progress>,
) -> Result<Arc<dyn Observer>, Failure> {
    let mut metrics = metrics(&args.process, manifest, progress)?;
    if let Some(address) = args.serve.admin {
        let of_run = || Arc::new(Metrics::new(&manifest.config, args.process.workers));
        let watching = metrics.get_or_insert_with(of_run).clone();
        let token_file = args.serve.admin_token_file.as_deref();
        let admin = Admin::new(watching, manifest.clone(), log.clone(), n_partitions, token_file)?;
        progress.say(&format!("admin at http://{}", admin.serve(address)?));
    }
    Ok(observer(progress, metrics))
}

/// Serves the metrics of a run where the user wants them.
pub(super) fn metrics(process: &Process, manifest: &Manifest, progress: &Progress) -> Result<Option<Arc<Metrics>>, Failure> {
    let Some(address) = process.metrics else { return Ok(None) };
    let metrics = Arc::new(Metrics::new(&manifest.config, process.workers));
    let address = metrics.clone().serve(address)?;
    progress.say(&format!("metrics at http://{address}/metrics"));
    Ok(Some(metrics))
}

/// Who watches a run: its progress is shown, and served where somebody serves it.
pub(super) fn observer(progress: &Arc<Progress>, metrics: Option<Arc<Metrics>>) -> Arc<dyn Observer> {
    match metrics {
        None => progress.clone(),
        Some(metrics) => Arc::new(Both(progress.clone(), metrics)),
    }
}

/// Runs `pipeline` until it ends or is told to by a signal, and prints its figures.
pub(super) fn conduct(pipeline: Pipeline, manifest: &Manifest, progress: &Progress, format: Format) -> Result<(), Failure> {
    stop_on_signal(&pipeline)?;
    let outcome = pipeline.run();
    progress.finish();
    let figures = outcome.map_err(|error| manifest.run_failure(error))?;
    match format {
        Format::Text => print(&summary::text_of(&figures)),
        Format::Json => print(&summary::json_of(&figures, &manifest.config.pipeline.name).to_string()),
    }
}

/// The partition count that all source topics share. Waits while the log does not answer.
pub(super) fn source_partitions(process: &Process, manifest: &Manifest, log: &dyn Log) -> Result<u32, Failure> {
    patient(process, manifest, || outside::source_partitions(&manifest.config, log))?
        .map_err(|problems| manifest.failure(problems))
}

/// Says warnings of the manifest, if there are any.
pub(super) fn warn(manifest: &Manifest, warnings: &reelflow_config::Problems) {
    if !warnings.is_empty() {
        anstream::eprintln!("{}", reelflow_config::render(warnings, &manifest.file(), manifest.text(), false));
    }
}

pub(super) fn banner(manifest: &Manifest, log: &dyn Log, n_partitions: u32, n_workers: u16) {
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
fn patient<T>(process: &Process, manifest: &Manifest, mut attempt: impl FnMut() -> Result<T, LogError>) -> Result<T, Failure> {
    let mut patience = Patience::new(outage(process));
    loop {
        match attempt() {
            Err(error @ LogError::Unavailable(_)) => {
                let wait = patience.failed(SystemClock.now(), &error).map_err(|error| manifest.run_failure(error))?;
                anstream::eprintln!("{error}; trying again");
                std::thread::sleep(wait.after);
            }
            outcome => return outcome.map_err(|error| manifest.log_failure(error)),
        }
    }
}

/// How long to go on while the log fails: the user says when to give up.
fn outage(process: &Process) -> Outage {
    Outage { give_up_after: Duration::from_secs(process.give_up_after), ..Outage::standard() }
}

/// How many offsets the source topics hold: about how many records there are to read.
fn n_records(manifest: &Manifest, log: &dyn Log, n_partitions: u32) -> Result<u64, LogError> {
    let mut total = 0;
    for source in &manifest.config.sources {
        for partition in 0..n_partitions {
            let (earliest, end) = log.offsets(&TopicPartition { topic: source.topic.as_str().into(), partition })?;
            total += u64::try_from(end - earliest).unwrap_or(0);
        }
    }
    Ok(total)
}

pub(super) fn settings(manifest: &Manifest, process: &Process, until_end: bool) -> Settings {
    let pipeline = &manifest.config.pipeline;
    let standard = Settings::standard(process.instance.as_str().into());
    Settings {
        guarantee: manifest.guarantee(),
        n_workers: usize::from(process.workers),
        commit_interval: Duration::from_millis(pipeline.commit_interval_ms),
        epoch_records_max: usize::try_from(pipeline.epoch_records_max).unwrap_or(usize::MAX),
        session_timeout: Duration::from_secs(process.session_timeout),
        outage: outage(process),
        alignment: pipeline.max_drift_ms.map(|ms| Alignment::within(Duration::from_millis(ms))),
        trial: trial(&manifest.config.upgrade),
        until_end,
        ..standard
    }
}

fn trial(upgrade: &Upgrade) -> TrialRules {
    TrialRules {
        n_epochs: upgrade.trial_intervals,
        n_epochs_gathering: upgrade.gather_intervals,
        bad_share_max: f64::from(upgrade.bad_share_max) / 10_000.0,
        verdict_max: Duration::from_millis(upgrade.verdict_wait_ms),
    }
}

/// The first signal seals the open epoch and leaves; the second leaves at once.
fn stop_on_signal(pipeline: &Pipeline) -> Result<(), Failure> {
    let stopper = pipeline.stopper();
    on_signal("sealing the open epoch; once more to leave at once", move || stopper.stop())
}

/// Says `text` and calls `first` at the first signal; at the second the process leaves at once.
pub(super) fn on_signal(text: &'static str, first: impl Fn() + Send + 'static) -> Result<(), Failure> {
    let asked = AtomicBool::new(false);
    ctrlc::set_handler(move || {
        if asked.swap(true, Ordering::SeqCst) {
            process::exit(130);
        }
        anstream::eprintln!("{text}");
        first();
    })
    .map_err(|why| Failure::new(Exit::Environment, format!("signals cannot be handled: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_without_upgrade_tries_new_code_by_the_standard() {
        assert_eq!(format!("{:?}", trial(&Upgrade::STANDARD)), format!("{:?}", TrialRules::STANDARD));
        let other = Upgrade { trial_intervals: 5, gather_intervals: 0, verdict_wait_ms: 1_500, bad_share_max: 25 };
        let TrialRules { n_epochs, n_epochs_gathering, bad_share_max, verdict_max } = trial(&other);
        assert_eq!((n_epochs, n_epochs_gathering, bad_share_max, verdict_max.as_millis()), (5, 0, 0.0025, 1_500));
    }
}
