//! `--metrics`: what a running pipeline shows to machines, over HTTP.
//!
//! `/metrics` has the figures of [`Summary`] in the OpenMetrics format, `/healthz` says that the process answers, `/readyz` whether its workers
//! are at work. The pages are made of what the workers last said; a request never waits for them, nor they for it.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use reelflow_config::Config;
use reelflow_ports::clock::{Clock, SystemClock};
use reelflow_runtime::{
    observe::{Event, Observer},
    summary::Summary,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    failure::{Exit, Failure},
    http::{Answer, Head, Reply, server},
    summary,
};

pub(crate) mod catalog;
pub(crate) mod read;
mod text;

/// Watches a pipeline for those who ask.
pub(crate) struct Metrics {
    pipeline: String,
    /// The plugin of each stage that has one.
    plugins: BTreeMap<String, String>,
    state: Mutex<State>,
}

/// How a process stands, for programs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Standing {
    pub ready: bool,
    /// How many are ready, recovering and retrying.
    pub workers: BTreeMap<String, u64>,
    /// As the run says them at its end ([`summary::json_of`]); null before the first were heard.
    pub figures: Option<Value>,
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
            Event::AwaitingBases { worker, .. } => (*worker, WorkerState::Retrying),
            Event::Retrying { worker: None, .. }
            | Event::BaseWritten { .. }
            | Event::BaseDelayed { .. }
            | Event::BaseSkipped { .. }
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
        let pages = move |head: &Head| Reply::Now(self.answer(head));
        server::serve("metrics", address, Arc::new(pages)).map_err(|why| cannot_serve("metrics", address, &why))
    }

    fn answer(&self, head: &Head) -> Answer {
        match self.page(&head.path) {
            Some(page) if head.is_reading() => page,
            Some(_) => Answer::only("GET, HEAD"),
            None => Answer::text(404, "there are /metrics, /healthz and /readyz\n"),
        }
    }

    /// The page at `path`, if it is one of these.
    pub(crate) fn page(&self, path: &str) -> Option<Answer> {
        Some(match path {
            "/metrics" => {
                let state = self.state().clone();
                let body = text::page(&self.pipeline, &self.plugins, &state, SystemClock.now());
                Answer { content_type: text::CONTENT_TYPE, ..Answer::text(200, body) }
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

    pub(crate) fn standing(&self) -> Standing {
        let state = self.state();
        Standing {
            ready: state.is_ready(),
            workers: state.workers().into_iter().map(|(name, n)| (name.to_owned(), n)).collect(),
            figures: state.summary.as_ref().map(|summary| summary::json_of(summary, &self.pipeline)),
        }
    }

    /// The stages that call `plugin`.
    pub(crate) fn stages_of(&self, plugin: &str) -> Vec<&str> {
        self.plugins.iter().filter(|(_, name)| *name == plugin).map(|(stage, _)| stage.as_str()).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why nothing is served on `address`: `what` would be.
pub(crate) fn cannot_serve(what: &str, address: SocketAddr, why: &io::Error) -> Failure {
    Failure::new(Exit::Environment, format!("{what} cannot be served on {address}: {why}"))
        .help(format!("Stop what listens there, or choose another port; --{what} 0 takes a free one."))
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
