//! `reel shadow`: a candidate beside a running pipeline, and what it would have written otherwise.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use reelflow_runtime::{
    settings::Outage,
    shadow::{Reading, Report, Shadow},
    worker::Step,
};

use crate::{
    args::{Format, shadow::Shadow as Args},
    commands::{
        reload::{Running, Wanted},
        run::{self, on_signal},
    },
    failure::{Exit, Failure},
    manifest::Manifest,
    progress::Line,
};

mod named;
mod report;

/// How often the log is asked for more, where there was none.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub(crate) fn shadow(args: &Args) -> Result<(), Failure> {
    let manifest = Manifest::load(&args.file.manifest)?;
    let manifest = args.plugins.iter().try_fold(manifest, |manifest, said| manifest.with_candidate(said))?;
    if args.promote && manifest.has_own_log() {
        let message = "nothing can be promoted on a log on disk, which belongs to one process at a time";
        return Err(
            Failure::new(Exit::User, message).help("Shadow without --promote, then start `reel run` with the new component.")
        );
    }
    let running = Running::open(manifest)?;
    let candidate = running.weigh(running.manifest.components()?, &[])?;
    run::warn(&running.manifest, &candidate.warnings);
    // Who only looks breaks nobody.
    candidate.planned.refuse(args.allow_breaking || !args.promote)?;
    if args.format == Format::Text {
        candidate.planned.told().print(Format::Text)?;
    }
    let begin = Instant::now();
    let found = watch(args, &running, &candidate)?;
    let differs = found.differs();
    let other = running.other_code()?;
    if let Some(other) = &other {
        anstream::eprintln!("the pipeline runs other code by now: {other}; this was compared with what it ran before");
    }
    report::print(args.format, &candidate, &found, begin.elapsed())?;
    if !args.promote {
        return if differs { Err(Failure::Said(Exit::Runtime as u8)) } else { Ok(()) };
    }
    let refused = |message: &str, help: &str| Err(Failure::new(Exit::Runtime, message).help(help));
    if other.is_some() {
        return refused("the candidate is not promoted: the pipeline runs other code by now", "Compare it with that.");
    }
    if found.n_records == 0 {
        return refused(
            "the candidate is not promoted: no record came, so nothing was compared",
            "Give it more time with --for.",
        );
    }
    if differs && !args.accept_differences {
        return refused("the candidate is not promoted: it differs", "If that is what it is for, give --accept-differences.");
    }
    running.try_out(&candidate, &args.trying, "reel shadow", args.format)
}

/// Runs both programs until it is enough.
fn watch(args: &Args, running: &Running, candidate: &Wanted) -> Result<Report, Failure> {
    let Running { manifest, log, clock, .. } = running;
    let old = candidate.was.as_ref().map_err(|why| {
        Failure::new(Exit::User, format!("the code that runs cannot be compared: {why}"))
            .help("Shadow with the manifest that the pipeline runs by.")
    })?;
    // Nobody can write to a log on disk meanwhile.
    let until_end = args.until_end || manifest.has_own_log();
    let reading = Reading {
        log: log.clone(),
        bases: manifest.store()?,
        schemas: manifest.schemas()?,
        clock: clock.clone(),
        guarantee: manifest.guarantee(),
        outage: Outage::standard(),
        first_max: args.show.into(),
        until_end,
        is_alone: manifest.has_own_log(),
    };
    let failed = |error| manifest.run_failure(error);
    let mut shadow = Shadow::begin(reading, old, &candidate.new).map_err(failed)?;
    if shadow.n_committed() == 0 {
        let message = format!("pipeline \"{}\" has committed nothing yet", *manifest.config.pipeline.name);
        return Err(Failure::new(Exit::Environment, message).help("There is nothing to compare before its first epoch."));
    }
    let is_stopped = Arc::new(AtomicBool::new(false));
    let stop = is_stopped.clone();
    on_signal("comparing what is kept; once more to leave at once", move || stop.store(true, Ordering::SeqCst))?;
    let (begin, line) = (Instant::now(), Line::new());
    let is_enough = |shadow: &Shadow| {
        let has_enough = args.records.is_some_and(|records| shadow.n_records() >= records);
        let is_late = !until_end && begin.elapsed() >= args.lasts;
        has_enough || is_late || shadow.is_over() || is_stopped.load(Ordering::SeqCst)
    };
    while !is_enough(&shadow) {
        let wait = match shadow.step().map_err(failed)? {
            Step::Busy => Duration::ZERO,
            Step::Idle => LOOK_EVERY,
            Step::Retry { after } => after,
        };
        let seconds = begin.elapsed().as_secs();
        line.show(&format!("{seconds} s  {} records  {} rows differ so far", shadow.n_records(), shadow.n_differing()));
        if !is_enough(&shadow) {
            thread::sleep(wait);
        }
    }
    line.finish();
    Ok(shadow.finish())
}
