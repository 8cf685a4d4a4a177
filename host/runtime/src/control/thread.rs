//! The control of a process on a thread of its own, from before its workers begin until after they have ended.

use std::thread::{self, JoinHandle};

use reelflow_ports::clock::{Clock, SystemClock};
use tracing::warn;

use super::{Control, ControlTopic, Started, Upgrader, control_topics};
use crate::{
    error::RunError,
    patience::Patience,
    pipeline::{self, Stopper},
    settings::Outage,
    worker::Job,
};

/// Decides what `job` runs, with the topic that others wrote to, which is created if it is missing. Has to be given `job` before any worker is.
pub fn enter(job: &mut Job, started: &Started, upgrader: Upgrader) -> Result<Control, RunError> {
    for topic in control_topics(&job.plan.name) {
        pipeline::create(&*job.log, &topic, &*job.observer)?;
    }
    let topic = ControlTopic::new(job.log.clone(), job.clock.clone(), &job.plan.name);
    let by = &job.settings.instance;
    let control = Control::begin(topic, job.plan.n_partitions, started, by, job.observer.clone(), upgrader)?;
    let program = control.board().current();
    (job.plan, job.plugins, job.board) = (program.plan.clone(), program.plugins.clone(), Some(control.board()));
    Ok(control)
}

/// [`enter`], again and again while the log does not answer. `None`: stopped before it did.
pub(crate) fn start(
    job: &mut Job,
    started: &Started,
    upgrader: &Upgrader,
    stopper: &Stopper,
) -> Result<Option<Control>, RunError> {
    let mut control = None;
    let mut entered = job.clone();
    pipeline::patiently(job, stopper, || {
        control = Some(enter(&mut entered, started, upgrader.clone())?);
        Ok(())
    })?;
    *job = entered;
    Ok(control)
}

/// Follows the topic until `stopper` stops everything; stops it when this process cannot go on with the pipeline's code.
pub(crate) fn spawn(mut control: Control, outage: Outage, stopper: Stopper) -> JoinHandle<Result<(), RunError>> {
    let run = move || {
        let mut patience = Patience::new(outage);
        while !stopper.is_stopped() {
            let wait = match control.step() {
                Ok(wait) => {
                    patience.succeeded();
                    wait
                }
                Err(RunError::Log(error)) if error.ends_only_the_session() => {
                    warn!(%error, "the control topic cannot be reached");
                    // The workers see the same trouble, and know when to give up.
                    patience.failed(SystemClock.now(), &error).map_or(outage.backoff_max, |wait| wait.after)
                }
                Err(error) => {
                    stopper.stop();
                    return Err(error);
                }
            };
            stopper.wait(wait);
        }
        Ok(())
    };
    thread::Builder::new().name("control".to_owned()).spawn(run).expect("the machine has room for a few threads")
}
