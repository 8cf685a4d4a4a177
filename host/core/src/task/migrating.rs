//! All states of a task brought to the version that its plugins write, or a dry run of that.
//!
//! A [`Migration`] is a list of calls over what a task keeps. It takes the answers and counts; what becomes of a migrated state is for
//! those who drive it: [`super::Input::Migrate`] puts it in its place, a dry run drops it. A call that breaks the plugin is cut down to the states
//! that do. What is found does not depend on how states are cut into calls.
//!
//! States are replaced while the calls go on, and the task does not remember those of before: it must be dropped when one of them cannot be
//! migrated. Kept aside until all are through, they would take the memory of a second task.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use crate::{
    column::Packed,
    plan::{PluginIdx, StageIdx},
    plugin::{PluginFault, Reject, Request, Response, StateVersion},
    stage::{
        DeadReason,
        bisect::{Bisect, Failed},
        states::{PluginStates, Spot},
    },
    task::{Effect, Task, stages::Stage},
};

/// A call has at most so many states, and ends once they have more bytes: it shall end in time, and plugins copy.
const CALL_STATES_MAX: usize = 1024;
const CALL_BYTES_MAX: usize = 1 << 20;

/// So many of a stage's failures are told one by one.
pub const FAILURES_MAX: usize = 10;

/// What became of the states of one stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageMigration {
    /// Its place in the plan.
    pub stage: StageIdx,
    /// What its plugin writes.
    pub version: u32,
    /// How many states had a version, of those that can have the new one.
    pub by_version: BTreeMap<u32, u64>,
    /// How many states cannot.
    pub n_failed: u64,
    /// The first [`FAILURES_MAX`] of these, in the order of their keys.
    pub failures: Vec<Unmigrated>,
}

/// A state that cannot be migrated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmigrated {
    pub spot: Spot,
    pub why: DeadReason,
}

/// The calls that migrate the states of a task. See the module's text.
#[derive(Debug)]
pub struct Migration {
    /// Those that are still to be done, the next one last.
    stages: Vec<OfStage>,
    done: Vec<StageMigration>,
}

#[derive(Debug)]
struct OfStage {
    plugin: PluginIdx,
    state: StateVersion,
    may_be_empty: bool,
    spots: Vec<Spot>,
    /// Its units are the spots.
    bisect: Bisect,
    found: StageMigration,
}

impl StageMigration {
    /// How many states have another version now.
    pub fn n_migrated(&self) -> u64 {
        self.by_version.iter().filter(|(version, _)| **version != self.version).map(|(_, count)| count).sum()
    }
}

impl Migration {
    /// The plugins that will be called: all of them must be able to migrate.
    pub fn plugins(&self) -> BTreeSet<PluginIdx> {
        self.stages.iter().map(|stage| stage.plugin).collect()
    }

    /// The next call, or `None` when all states of `task`, from which it comes, are through. Nothing happens to the task meanwhile, but
    /// that states are replaced.
    pub fn next_call(&mut self, task: &Task) -> Option<(PluginIdx, Request)> {
        loop {
            let stage = self.stages.last_mut()?;
            match stage.bisect.open_next() {
                Some(range) => return Some((stage.plugin, stage.request(range, task.plugin_states(stage.found.stage)))),
                None => self.done.extend(self.stages.pop().map(|stage| stage.found)),
            }
        }
    }

    /// Whose states the open call is about.
    pub(super) fn stage(&self) -> StageIdx {
        self.stages.last().expect("a call is open").found.stage
    }

    /// Takes the answer to the last call. `put` is given each state that could be migrated.
    pub fn returned(&mut self, result: Result<Response, PluginFault>, mut put: impl FnMut(StageIdx, &Spot, &[u8])) {
        let stage = self.stages.last_mut().expect("an answer follows a call");
        match result.and_then(|answer| stage.checked(answer)) {
            Ok(answer) => stage.answered(&answer, &mut put),
            Err(fault) => stage.faulted(fault),
        }
    }

    /// What became of the states of each stage, in topological order.
    pub fn finish(self) -> Vec<StageMigration> {
        assert!(self.stages.is_empty(), "some states are still to be migrated");
        self.done
    }
}

/// An answer that keeps the rules.
struct Answer {
    states: Packed,
    versions: Vec<u32>,
    /// By the index in the call.
    refused: BTreeMap<u32, DeadReason>,
}

impl OfStage {
    fn request(&mut self, range: Range<u32>, kept: &dyn PluginStates) -> Request {
        let mut states = Packed::default();
        for spot in &self.spots[range.start as usize..range.end as usize] {
            if states.data().len() > CALL_BYTES_MAX {
                break;
            }
            states.push(kept.state(spot));
        }
        self.bisect.shorten(states.len() as u32);
        Request::Migrate { states }
    }

    /// What [`Request::check`] does not know: which versions the plugin declares, and where a state may be empty.
    fn checked(&self, answer: Response) -> Result<Answer, PluginFault> {
        let Response::Migrated { states, versions, rejects } = answer else {
            unreachable!("an answer to another call, Request::check lets none through: {answer:?}")
        };
        let mut refused = BTreeMap::new();
        for Reject { row, code, message } in rejects {
            refused.entry(row).or_insert(DeadReason::Rejected { code, message });
        }
        for (row, (state, version)) in (0..).zip(states.iter().zip(&versions)).filter(|(row, _)| !refused.contains_key(row)) {
            if state.is_empty() && !self.may_be_empty {
                return Err(PluginFault::Malformed(format!("state {row} is empty")));
            }
            if *version != self.state.version && !self.state.reads.contains(version) {
                return Err(PluginFault::Malformed(format!("state {row} had version {version}, which it does not declare")));
            }
        }
        Ok(Answer { states, versions, refused })
    }

    fn answered(&mut self, answer: &Answer, put: &mut impl FnMut(StageIdx, &Spot, &[u8])) {
        let range = self.bisect.succeeded();
        for (row, (state, version)) in (0..).zip(answer.states.iter().zip(&answer.versions)) {
            let spot_idx = range.start + row;
            match answer.refused.get(&row) {
                Some(why) => self.failed(spot_idx, why.clone()),
                None => {
                    *self.found.by_version.entry(*version).or_default() += 1;
                    put(self.found.stage, &self.spots[spot_idx as usize], state);
                }
            }
        }
    }

    /// The open call gave no answer: it is halved, or its only state cannot be migrated.
    fn faulted(&mut self, fault: PluginFault) {
        if let Failed::Guilty(spot_idx) = self.bisect.failed() {
            self.failed(spot_idx, DeadReason::Fault(fault));
        }
    }

    fn failed(&mut self, spot_idx: u32, why: DeadReason) {
        self.found.n_failed += 1;
        if self.found.failures.len() < FAILURES_MAX {
            self.found.failures.push(Unmigrated { spot: self.spots[spot_idx as usize].clone(), why });
        }
    }
}

impl Task {
    /// The migration of all states of stages that keep some in an older version than their plugin writes. O(states).
    pub fn migration(&self) -> Migration {
        self.migration_of(|stage| stage.versions.to_migrate().is_some())
    }

    /// The same, and the states of all other stages whose plugin can migrate: to see whether it reads what it declares. O(states).
    pub fn dry_run(&self, can_migrate: &dyn Fn(PluginIdx) -> bool) -> Migration {
        self.migration_of(|stage| stage.versions.to_migrate().is_some() || self.plugin_of(stage).is_some_and(can_migrate))
    }

    fn migration_of(&self, is_asked: impl Fn(&Stage) -> bool) -> Migration {
        let stages = self.stages.iter().rev().filter(|stage| is_asked(stage)).filter_map(|stage| {
            let (kept, state) = (stage.state.plugin_states()?, stage.versions.plugin()?);
            let mut spots = kept.spots();
            spots.sort();
            let found = StageMigration {
                stage: stage.idx,
                version: state.version,
                by_version: BTreeMap::new(),
                n_failed: 0,
                failures: Vec::new(),
            };
            Some(OfStage {
                plugin: self.plugin_of(stage)?,
                state: state.clone(),
                may_be_empty: kept.may_be_empty(),
                bisect: Bisect::new(spots.len(), CALL_STATES_MAX),
                spots,
                found,
            })
        });
        Migration { stages: stages.collect(), done: Vec::new() }
    }

    fn plugin_of(&self, stage: &Stage) -> Option<PluginIdx> {
        self.plan.stages[stage.idx].kind.plugin()
    }

    pub(super) fn migrate(&mut self, effects: &mut Vec<Effect>) {
        self.migrating = Some(self.migration());
        self.go_on_migrating(effects);
    }

    pub(super) fn migration_returned(&mut self, result: Result<Response, PluginFault>, effects: &mut Vec<Effect>) {
        self.is_call_open = false;
        let Task { migrating, stages, places, .. } = self;
        let migration = migrating.as_mut().expect("the migration that asked for the call");
        migration.returned(result, |stage, spot, state| {
            let at = places[stage].expect("a stage of this task");
            stages[at].state.plugin_states_mut().expect("a stage that keeps states of its plugin").replace(spot, state);
        });
        self.go_on_migrating(effects);
    }

    fn go_on_migrating(&mut self, effects: &mut Vec<Effect>) {
        let mut migration = self.migrating.take().expect("a migration is being done");
        if let Some((plugin, request)) = migration.next_call(self) {
            let stage = migration.stage();
            self.migrating = Some(migration);
            self.is_call_open = true;
            effects.push(Effect::Call { stage, plugin, request });
            return;
        }
        let found = migration.finish();
        if found.iter().all(|one| one.n_failed == 0) {
            self.bases.is_owed |= !found.is_empty();
            for one in &found {
                let at = self.places[one.stage].expect("a stage of this task");
                self.stages[at].versions.migrated();
            }
        }
        effects.push(Effect::Migrated(found));
    }

    /// Panics for a stage of another task, and for one that keeps no states of a plugin.
    fn plugin_states(&self, stage: StageIdx) -> &dyn PluginStates {
        let at = self.places[stage].expect("a stage of this task");
        self.stages[at].state.plugin_states().expect("a stage that keeps states of its plugin")
    }
}
