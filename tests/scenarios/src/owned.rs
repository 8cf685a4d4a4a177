//! A task of a case, with a changelog that is a list.

use std::{collections::VecDeque, sync::Arc};

use reelflow_core::{
    plan::Plan,
    record::{Outgoing, Partition, RecordBatch},
    task::{Effect, Input, SealedTask, StageFailure, Task},
    time::{WallTime, Watermark},
};

use crate::plugins::Plugin;

/// A task, and what is known of it outside.
pub(crate) struct Owned {
    pub fragment: usize,
    pub partition: Partition,
    pub task: Task,
    /// The changelog.
    pub chunks: Vec<Vec<u8>>,
    /// What happened since the last seal, in order, and all that came of it.
    pub unsealed: Vec<Happened>,
    pub appended: Vec<Outgoing>,
    pub sealed_at: WallTime,
    /// For each input: whether all of it was read, now and when the last epoch was sealed.
    pub at_end: Vec<bool>,
    pub sealed_at_end: Vec<bool>,
    /// What stops the pipeline.
    pub failed: Option<StageFailure>,
}

#[derive(Clone)]
pub(crate) enum Happened {
    Records { input: usize, batch: Arc<RecordBatch> },
    Reading { input: usize, is_at_end: bool },
    Clock(WallTime),
    Job(Watermark),
}

impl Happened {
    pub fn input(&self) -> Input {
        match self {
            Happened::Records { input, batch } => Input::Records { input: *input, batch: batch.clone() },
            Happened::Reading { input, is_at_end } => Input::Reading { input: *input, is_at_end: *is_at_end },
            Happened::Clock(now) => Input::ClockRead { now: *now },
            Happened::Job(watermark) => Input::JobWatermark { watermark: *watermark },
        }
    }
}

impl Owned {
    /// Gives the task an input and calls the plugins that it asks for.
    pub fn handle(&mut self, input: Input, plugins: &[Plugin]) -> (Vec<Outgoing>, Option<SealedTask>) {
        let (mut appended, mut sealed) = (Vec::new(), None);
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut effects = Vec::new();
            self.task.handle(input, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Append(outgoing) => appended.push(outgoing),
                    Effect::Migrated(found) => panic!("nobody asked for a migration: {found:?}"),
                    Effect::Failed(failure) => drop(self.failed.get_or_insert(*failure)),
                    Effect::Sealed(state) => assert!(sealed.replace(state).is_none(), "sealed twice"),
                    Effect::Call { plugin, request, .. } => {
                        inputs.push_back(Input::PluginReturned { result: plugins[plugin].call(&request) });
                    }
                }
            }
            assert!(inputs.len() <= 1, "one call at a time");
        }
        (appended, sealed)
    }

    /// Loses the task and recovers it; what was not sealed happens again. Whether the same came of it.
    pub fn crash(&mut self, plan: &Arc<Plan>, plugins: &[Plugin]) -> Result<(), String> {
        self.task = Task::new(plan.clone(), self.fragment, self.partition);
        for chunk in &self.chunks {
            self.task.restore(chunk).map_err(|error| error.to_string())?;
        }
        // Idleness counts from the restart; here that is when the last epoch was sealed, so that what follows is the same.
        let (mut again, _) = self.handle(Input::ClockRead { now: self.sealed_at }, plugins);
        for (input, is_at_end) in self.sealed_at_end.clone().into_iter().enumerate() {
            again.extend(self.handle(Input::Reading { input, is_at_end }, plugins).0);
        }
        for happened in self.unsealed.clone() {
            again.extend(self.handle(happened.input(), plugins).0);
        }
        let (before, after) = (flat(&self.appended), flat(&again));
        if before == after {
            Ok(())
        } else {
            Err(format!("after a crash the same input gives\n{after:#?}\ninstead of\n{before:#?}"))
        }
    }

    pub fn seal(&mut self, plugins: &[Plugin], now: WallTime) -> Vec<Outgoing> {
        let (appended, sealed) = self.handle(Input::Seal, plugins);
        let SealedTask { chunks, is_base, .. } = sealed.expect("a seal is answered");
        if is_base {
            self.chunks.clear();
        }
        self.chunks.extend(chunks);
        self.unsealed.clear();
        self.appended.clear();
        self.sealed_at = now;
        self.sealed_at_end.clone_from(&self.at_end);
        appended
    }
}

/// A record as it was appended: topic, partition, time, key, value, headers.
fn flat(appended: &[Outgoing]) -> Vec<String> {
    let one = |outgoing: &Outgoing| {
        let records = outgoing.records.iter().zip(&outgoing.partitions);
        records.map(|(record, partition)| format!("{} {partition} {record:?}", outgoing.topic)).collect::<Vec<_>>()
    };
    appended.iter().flat_map(one).collect()
}
