//! `--metrics`: what a running pipeline shows to machines, over HTTP.
//!
//! `/metrics` has the figures of [`Summary`] in the OpenMetrics format, `/healthz` says that the process answers, `/readyz` whether its workers
//! are at work. The pages are made of what the workers last said; a request never waits for them, nor they for it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use reelflow_config::Config;
use reelflow_ports::clock::{Clock, SystemClock};
use reelflow_runtime::{
    observe::{Event, Observer},
    summary::Summary,
};

use crate::failure::{Exit, Failure};
use http::Answer;

pub(crate) mod catalog;
mod http;
pub(crate) mod read;
mod text;

/// Watches a pipeline for those who ask.
pub(crate) struct Metrics {
    pipeline: String,
    /// The plugin of each stage that has one.
    plugins: BTreeMap<String, String>,
    state: Mutex<State>,
}

/// What was heard last.
#[derive(Clone, Debug, Default)]
struct State {
    summary: Option<Summary>,
    workers: Vec<WorkerState>,
    /// Trials of new code.
    n_accepted: u64,
    n_rolled_back: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WorkerState {
    /// It has the tasks that it was given, which may be none.
    Ready,
    /// It waits for its share, or reads the state of its tasks.
    Recovering,
    /// Its session ended by an error.
    Retrying,
}

impl State {
    fn of_workers(n_workers: usize) -> State {
        State { workers: vec![WorkerState::Recovering; n_workers], ..State::default() }
    }

    fn is_ready(&self) -> bool {
        self.workers.iter().all(|worker| *worker == WorkerState::Ready)
    }

    /// How many workers are in each state.
    fn workers(&self) -> [(&'static str, u64); 3] {
        let n_in = |state: WorkerState| self.workers.iter().filter(|worker| **worker == state).count() as u64;
        [
            ("ready", n_in(WorkerState::Ready)),
            ("recovering", n_in(WorkerState::Recovering)),
            ("retrying", n_in(WorkerState::Retrying)),
        ]
    }

    fn hear(&mut self, event: &Event) {
        let (worker, state) = match event {
            Event::CodeAccepted { .. } => return self.n_accepted += 1,
            Event::CodeRolledBack { .. } => return self.n_rolled_back += 1,
            Event::Recovered { worker, .. } => (*worker, WorkerState::Ready),
            Event::Assigned { worker, .. } | Event::Revoked { worker } | Event::Lost { worker } => {
                (*worker, WorkerState::Recovering)
            }
            Event::Retrying { worker: Some(worker), .. } => (*worker, WorkerState::Retrying),
            Event::Retrying { worker: None, .. }
            | Event::TopicCreated { .. }
            | Event::Sealed(_)
            | Event::Published { .. }
            | Event::AwaitingSchemas { .. }
            | Event::FilesStale { .. }
            | Event::CodeStarted { .. }
            | Event::TrialBegan { .. }
            | Event::Switched { .. }
            | Event::Resumed { .. }
            | Event::HandedOver { .. }
            | Event::ReachedEnd => return,
        };
        if let Some(slot) = self.workers.get_mut(worker) {
            *slot = state;
        }
    }
}

impl Metrics {
    pub(crate) fn new(config: &Config, n_workers: u16) -> Metrics {
        let plugin =
            |stage: &reelflow_config::config::Stage| Some((stage.name.value.clone(), stage.kind.plugin()?.value.clone()));
        Metrics {
            pipeline: config.pipeline.name.value.clone(),
            plugins: config.stages.iter().filter_map(plugin).collect(),
            state: Mutex::new(State::of_workers(usize::from(n_workers))),
        }
    }

    /// Serves the pages on `address` until the process ends. Returns where.
    pub(crate) fn serve(self: Arc<Metrics>, address: SocketAddr) -> Result<SocketAddr, Failure> {
        http::serve(address, Arc::new(move |path: &str| self.page(path))).map_err(|why| {
            Failure::new(Exit::Environment, format!("metrics cannot be served on {address}: {why}"))
                .help("Stop what listens there, or choose another port; --metrics 0 takes a free one.")
        })
    }

    fn page(&self, path: &str) -> Option<Answer> {
        Some(match path {
            "/metrics" => {
                let state = self.state().clone();
                let body = text::page(&self.pipeline, &self.plugins, &state, SystemClock.now());
                Answer { status: 200, content_type: text::CONTENT_TYPE, body }
            }
            "/healthz" => Answer::text(200, "ok\n"),
            "/readyz" => {
                let state = self.state();
                let [(_, n_ready), ..] = state.workers();
                let body = format!("{n_ready} of {} workers are ready\n", state.workers.len());
                Answer::text(if state.is_ready() { 200 } else { 503 }, body)
            }
            _ => return None,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Metrics {
    fn event(&self, event: &Event) {
        self.state().hear(event);
    }

    fn progress(&self, so_far: &Summary) {
        self.state().summary = Some(so_far.clone());
    }
}

/// Two who watch the same pipeline.
pub(crate) struct Both(pub(crate) Arc<dyn Observer>, pub(crate) Arc<dyn Observer>);

impl Observer for Both {
    fn event(&self, event: &Event) {
        self.0.event(event);
        self.1.event(event);
    }

    fn progress(&self, so_far: &Summary) {
        self.0.progress(so_far);
        self.1.progress(so_far);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_process_is_ready_when_each_worker_has_its_share() {
        let mut state = State::of_workers(2);
        let recovered = |worker| Event::Recovered { worker, n_tasks: 0, state_bytes: 0, n_changes: 0, took: Duration::ZERO };
        let mut check = |event: Event, is_ready: bool| {
            state.hear(&event);
            assert_eq!(state.is_ready(), is_ready, "{event:?}");
        };
        check(recovered(0), false);
        check(recovered(1), true);
        check(Event::ReachedEnd, true);
        check(Event::Revoked { worker: 1 }, false);
        check(Event::Assigned { worker: 1, partitions: Vec::new() }, false);
        check(recovered(1), true);
        check(Event::Lost { worker: 0 }, false);
        check(recovered(0), true);
        check(recovered(7), true);
    }
}
