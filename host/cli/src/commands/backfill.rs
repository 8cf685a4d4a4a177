//! `reel backfill`.

use std::sync::Arc;

use reelflow_config::Partitions;
use reelflow_core::{
    history::{HistoryPlan, TimeRange},
    plan::Plan,
};
use reelflow_ports::{clock::SystemClock, history::History, log::Log, schemas::KnownSchemas};
use reelflow_runtime::{pipeline::Pipeline, worker::Job};

use crate::{
    args::{Backfill, Format},
    commands::run::{banner, conduct, metrics, observer, registered, settings, source_partitions, warn},
    failure::Failure,
    manifest::{Manifest, Planned},
    progress::{Progress, ReadingBar},
};

pub(crate) fn backfill(args: &Backfill) -> Result<(), Failure> {
    let process = &args.process;
    let manifest = Manifest::load(&process.file.manifest)?;
    let name = name(args, &manifest.config.pipeline.name);
    let manifest = manifest.renamed(&name);
    warn(&manifest, &manifest.warnings);
    if args.in_place {
        none_or(&manifest, manifest.config.files_of_another_run())?;
    }
    let log: Arc<dyn Log> = manifest.open_log()?.into();
    let n_partitions = match args.partitions {
        Some(n_partitions) => n_partitions,
        None => source_partitions(process, &manifest, &*log)?,
    };
    let Planned { mut plan, plugins, warnings } = manifest.plan(Partitions::all(n_partitions))?;
    warn(&manifest, &warnings);
    let histories =
        manifest.config.histories(&plan, &args.only, args.then_live).map_err(|problems| manifest.failure(problems))?;
    let manifest = match registered(process, &manifest)? {
        None => manifest,
        Some(manifest) => {
            plan = manifest.plan(Partitions::all(n_partitions))?.plan;
            manifest
        }
    };
    if process.format == Format::Text {
        banner(&manifest, &*log, n_partitions, process.workers);
    }
    let history = read(args, &manifest, &histories, n_partitions)?;
    let progress = Arc::new(Progress::new(process.format, Some(history.n_records())));
    let live = Arc::new(plan);
    let job = Job {
        plan: Arc::new(replaying(&live, args.suffix.as_deref())),
        plugins,
        log,
        bases: manifest.bases()?,
        // Histories have no schema ids.
        schemas: Arc::new(KnownSchemas::default()),
        clock: Arc::new(SystemClock),
        settings: settings(&manifest, process, true),
        observer: observer(&progress, metrics(process, &manifest, &progress)?),
        board: None,
    };
    let files = manifest.file_sinks(&job.plan);
    let pipeline = Pipeline::new(job).with_files(files).with_history(history);
    let pipeline = if args.then_live { pipeline.then_live(live) } else { pipeline };
    conduct(pipeline, &manifest, &progress, process.format)
}

/// The name under which the backfill keeps its state: another suffix is another backfill, and what goes on live has its own.
fn name(args: &Backfill, pipeline: &str) -> String {
    let readable = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let suffix: String =
        args.suffix.iter().flat_map(|suffix| suffix.trim_start_matches(['.', '-', '_']).chars()).map(readable).collect();
    match (&args.name, suffix.is_empty()) {
        _ if args.then_live => pipeline.to_owned(),
        (Some(name), _) => name.clone(),
        (None, true) => format!("{pipeline}-backfill"),
        (None, false) => format!("{pipeline}-backfill-{suffix}"),
    }
}

fn replaying(plan: &Plan, suffix: Option<&str>) -> Plan {
    match suffix {
        Some(suffix) => plan.with_suffix(suffix).of_history(),
        None => plan.of_history(),
    }
}

/// Reads and sorts the files, with a bar on a terminal.
fn read(args: &Backfill, manifest: &Manifest, histories: &[HistoryPlan], n_partitions: u32) -> Result<Box<dyn History>, Failure> {
    let range = TimeRange { from: args.from, to: args.to };
    let bar = ReadingBar::new();
    let history = manifest.history(histories, range, n_partitions, args.spool.as_deref(), &mut |n_bytes, n_bytes_all| {
        bar.show(n_bytes, n_bytes_all);
    });
    bar.finish();
    history
}

fn none_or(manifest: &Manifest, problems: reelflow_config::Problems) -> Result<(), Failure> {
    if problems.is_empty() { Ok(()) } else { Err(manifest.failure(problems)) }
}
