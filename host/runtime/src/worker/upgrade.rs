//! How a worker comes to other code: at the end of an epoch, without leaving its group, and on trial first.
//!
//! A trial is an epoch that stays open. The worker seals what it has, puts its tasks under the new code, and goes on; nothing of what follows is
//! committed before every partition of the pipeline has passed. So going back is what follows any crash: the open epoch is dropped, and the
//! tasks are recovered from the last commit, which the new code never touched. The session and its partitions stay.

use std::{sync::Arc, time::Duration};

use reelflow_core::{
    record::Offset,
    task::{Input, Stamps},
    time::WallTime,
    upgrade::Migration,
};
use reelflow_ports::log::TopicPartition;

use super::{
    calls::{Instances, instances},
    life::Life,
    tally::Tally,
};
use crate::{
    code::{Board, Program, Report, Trial},
    control,
    error::RunError,
    observe::Event,
    seal,
    worker::{Job, Step, Worker},
};

/// What a worker runs, and what it tries.
pub(super) struct Following {
    board: Option<Arc<Board>>,
    /// What the tasks have now. `None`: there is no board.
    code: Option<Arc<Program>>,
    /// The version of the board that was followed to its end.
    seen: u64,
    trial: Option<Running>,
    gathering: Option<Gathering>,
    /// The trial that has failed here, until the board knows of it.
    given_up: Option<Offset>,
}

/// A trial is about to begin.
struct Gathering {
    proposal: Offset,
    since: WallTime,
    /// What is not read meanwhile.
    inputs: Vec<TopicPartition>,
}

/// A trial under way.
struct Running {
    proposal: Offset,
    since: WallTime,
    /// Since when everybody knows that it went well here.
    passed: Option<WallTime>,
    /// Which plugins are new.
    is_new: Vec<bool>,
    names: Vec<Arc<str>>,
    /// What the tasks had before, ready to go on.
    before: Before,
    is_held: bool,
}

struct Before {
    code: Arc<Program>,
    instances: Instances,
    tally: Tally,
}

impl Following {
    pub fn new(job: &Job) -> Following {
        Following { board: job.board.clone(), code: None, seen: 0, trial: None, gathering: None, given_up: None }
    }

    /// Whether the open epoch is a trial.
    pub fn is_trying(&self) -> bool {
        self.trial.is_some()
    }

    /// The session has ended, and with it the open epoch.
    pub fn end_trial(&mut self) {
        (self.trial, self.gathering) = (None, None);
        self.seen = 0;
    }

    /// Recovery was refused. Whether that may be because others run newer code, of which this process does not know yet: its verdict stands in the
    /// log before any state of it does.
    pub fn may_be_behind(&self, job: &Job) -> Result<bool, RunError> {
        let Some(board) = &self.board else { return Ok(false) };
        let is_current = self.code.as_ref().is_some_and(|code| Arc::ptr_eq(code, &board.current()));
        Ok(!is_current || control::has_news(&*job.log, &job.plan.name, board.read_to())?)
    }

    pub fn stamps(&self) -> Arc<Stamps> {
        self.code.as_ref().map(|code| code.stamps.clone()).unwrap_or_default()
    }
}

impl Worker {
    /// Takes the pipeline's code: a session is about to begin, or has no tasks.
    pub(super) fn use_current(&mut self) -> Result<(), RunError> {
        self.following.end_trial();
        let Some(board) = self.following.board.clone() else { return Ok(()) };
        let current = board.current();
        if self.following.code.as_ref().is_none_or(|code| !Arc::ptr_eq(code, &current)) {
            self.plugins.replace(instances(&current.plugins)?);
            self.set(current);
        }
        Ok(())
    }

    /// All partitions go away: commits the open epoch, unless it is a trial.
    pub(super) fn seal_or_drop(&mut self, life: &mut Life) -> Result<(), RunError> {
        if !self.following.is_trying() {
            // What was paused goes as well.
            self.following.gathering = None;
            return self.seal(life);
        }
        self.status().epochs_aborted += u64::from(life.open.since.is_some());
        seal::discard(&mut *life.session)?;
        self.use_current()?;
        life.stamps = self.following.stamps();
        Ok(())
    }

    /// Looks whether there is other code, and how the trial stands.
    pub(super) fn follow(&mut self, life: &mut Life) -> Result<(), RunError> {
        let Some(board) = self.following.board.clone() else { return Ok(()) };
        if self.following.is_trying() {
            return self.judge(life, &board);
        }
        let version = board.version();
        if self.following.seen == version || life.tasks.is_empty() {
            return Ok(());
        }
        let posted = board.look();
        if self.following.code.as_ref().is_none_or(|code| !code.is(&posted.current.set, &posted.current.resets)) {
            self.switch(life, posted.current)?;
        }
        match posted.trial.filter(|trial| self.following.given_up != Some(trial.proposal)) {
            Some(trial) if !self.has_gathered(life, &trial)? => return Ok(()),
            Some(trial) => self.try_out(life, &board, trial)?,
            None => self.stop_gathering(life)?,
        }
        self.following.seen = version;
        Ok(())
    }

    /// What a trial sends through a change of key cannot be read before it is committed. So the code before does not read such rows for a
    /// while: they are there then for the new code to be tried on.
    fn has_gathered(&mut self, life: &mut Life, trial: &Trial) -> Result<bool, RunError> {
        let now = self.job.clock.now();
        match &self.following.gathering {
            Some(gathering) if gathering.proposal == trial.proposal => {
                if now.0 - gathering.since.0 < self.job.intervals_ms(self.job.settings.trial.n_epochs_gathering) {
                    return Ok(false);
                }
                self.stop_gathering(life)?;
                Ok(true)
            }
            _ => {
                self.stop_gathering(life)?;
                let Some(current) = &self.following.code else { return Ok(true) };
                let inputs = life.shuffles_of(&current.plan, &trial.code.changed_from(current));
                if inputs.is_empty() || self.job.settings.trial.n_epochs_gathering == 0 {
                    return Ok(true);
                }
                life.pause(&inputs, true)?;
                self.following.gathering = Some(Gathering { proposal: trial.proposal, since: now, inputs });
                Ok(false)
            }
        }
    }

    fn stop_gathering(&mut self, life: &mut Life) -> Result<(), RunError> {
        let Some(Gathering { inputs, .. }) = self.following.gathering.take() else { return Ok(()) };
        life.pause(&inputs, false)
    }

    /// Goes on with code that is the pipeline's already.
    fn switch(&mut self, life: &mut Life, code: Arc<Program>) -> Result<(), RunError> {
        self.seal(life)?;
        let begin = self.job.clock.now();
        let instances = instances(&code.plugins)?;
        life.adopt(&self.job.plan, &code, begin)
            .map_err(|(task, why)| RunError::Recovery { task: task.to_string(), why: why.into() })?;
        self.plugins.replace(instances);
        self.set(code);
        life.tell_again(&self.job, &mut self.plugins)?;
        self.job.observer.event(&Event::Switched { worker: self.idx, is_trial: false, pause: self.since(begin) });
        Ok(())
    }

    /// Seals what the code before has done, and begins the trial.
    fn try_out(&mut self, life: &mut Life, board: &Board, trial: Trial) -> Result<(), RunError> {
        let Trial { proposal, code, migration } = trial;
        let Some(before) = self.following.code.clone() else { return Ok(()) };
        self.seal(life)?;
        let begin = self.job.clock.now();
        let ready = instances(&code.plugins).map_err(|why| why.to_string());
        let adopted = ready.and_then(|instances| match life.adopt(&before.plan, &code, begin) {
            Ok(()) => Ok(instances),
            Err((task, why)) => Err(format!("the state of {task} cannot be used: {why}")),
        });
        let instances = match adopted {
            Ok(instances) => instances,
            Err(why) => {
                self.following.given_up = Some(proposal);
                board.report(Report::Failed { proposal, why });
                return Ok(());
            }
        };
        let before = Before { instances: self.plugins.replace(instances), tally: std::mem::take(&mut life.tally), code: before };
        self.following.trial = Some(Running {
            proposal,
            since: begin,
            passed: None,
            is_new: code.changed_from(&before.code),
            names: code.names.clone(),
            before,
            is_held: false,
        });
        life.is_trial = true;
        self.set(code);
        life.tell_again(&self.job, &mut self.plugins)?;
        if migration == Migration::Eager
            && let Err(why) = self.migrate(life)?
        {
            return self.give_up(life, board, Some(why));
        }
        self.job.observer.event(&Event::Switched { worker: self.idx, is_trial: true, pause: self.since(begin) });
        Ok(())
    }

    /// Rewrites all states of older versions. An error says why one of them cannot be, and the tasks must be dropped.
    fn migrate(&mut self, life: &mut Life) -> Result<Result<(), String>, RunError> {
        let plan = self.job.plan.clone();
        for task_idx in 0..life.tasks.len() {
            let asked = life.tasks[task_idx].task.migration().plugins();
            if asked.is_empty() {
                continue;
            }
            if let Some(plugin) = asked.into_iter().find(|plugin| !self.job.plugins[*plugin].can_migrate()) {
                let name = self.following.code.as_ref().map_or_else(|| "?".into(), |code| code.names[plugin].clone());
                return Ok(Err(format!("plugin \"{name}\" migrates a state only when it is read: build it with a newer SDK")));
            }
            life.tasks[task_idx].changed = true;
            life.open.since.get_or_insert_with(|| self.job.clock.now());
            life.give(&self.job, &mut self.plugins, task_idx, Input::Migrate)?;
        }
        let found = std::mem::take(&mut life.migrated);
        let failed = found.iter().find(|of_stage| of_stage.n_failed > 0);
        Ok(failed.map_or(Ok(()), |of_stage| {
            let why = of_stage.failures.first().map(|first| format!("; the first: {}", first.why)).unwrap_or_default();
            let name = &plan.stages[of_stage.stage].name;
            Err(format!("{} states of stage \"{name}\" cannot be migrated{why}", of_stage.n_failed))
        }))
    }

    /// Looks at what the trial has done so far, and at what the others say.
    fn judge(&mut self, life: &mut Life, board: &Board) -> Result<(), RunError> {
        let now = self.job.clock.now();
        let rules = self.job.settings.trial;
        let running = self.following.trial.as_ref().expect("a trial is under way");
        let proposal = running.proposal;
        let elapsed_ms = |since: WallTime| now.0 - since.0;
        // At the end of its time, and of what comes while the others are awaited: a few rows say little.
        let is_over = elapsed_ms(running.since) >= self.job.intervals_ms(rules.n_epochs);
        let too_many_bad = || running.too_many_bad(&life.tally, rules.bad_share_max).filter(|_| is_over);
        if let Some(why) = running.fault(&life.tally).or_else(too_many_bad) {
            return self.give_up(life, board, Some(why));
        }
        if let Some(decided) = board.look().decided.filter(|decided| decided.proposal == proposal) {
            return if decided.is_accepted { self.accept(life) } else { self.give_up(life, board, None) };
        }
        match running.passed {
            None if is_over => {
                board.report(Report::Passed { proposal, partitions: life.partitions() });
                self.following.trial.as_mut().expect("it is").passed = Some(now);
            }
            Some(passed) if elapsed_ms(passed) > i64::try_from(rules.verdict_max.as_millis()).unwrap_or(i64::MAX) => {
                let why = format!("not all partitions have passed within {} s", rules.verdict_max.as_secs());
                return self.give_up(life, board, Some(why));
            }
            _ => {}
        }
        self.hold_if_full(life)
    }

    /// A step came to `result`. That a stage cannot go on with the new code ends the trial, not the pipeline.
    pub(super) fn not_of_a_trial(&mut self, life: &mut Life, result: Result<Step, RunError>) -> Result<Step, RunError> {
        match (result, self.following.board.clone()) {
            (Err(RunError::Stage(why)), Some(board)) if self.following.is_trying() => {
                self.give_up(life, &board, Some(why.to_string())).map(|()| Step::Busy)
            }
            (result, _) => result,
        }
    }

    /// An epoch is bounded, a trial as well: what is beyond waits for the verdict.
    fn hold_if_full(&mut self, life: &mut Life) -> Result<(), RunError> {
        let is_full = life.is_full(&self.job);
        let running = self.following.trial.as_mut().expect("a trial is under way");
        if is_full && !running.is_held {
            running.is_held = true;
            life.pause_all(true)?;
        }
        Ok(())
    }

    /// All have passed: the trial is an epoch like any other.
    fn accept(&mut self, life: &mut Life) -> Result<(), RunError> {
        let running = self.following.trial.take().expect("a trial is under way");
        self.following.seen = 0;
        life.is_trial = false;
        if running.is_held {
            life.pause_all(false)?;
        }
        self.seal(life)
    }

    /// Drops the open epoch and goes on with the code from before, from the last commit. `why`: to be told to the others.
    fn give_up(&mut self, life: &mut Life, board: &Board, why: Option<String>) -> Result<(), RunError> {
        let begin = self.job.clock.now();
        let Running { proposal, before, .. } = self.following.trial.take().expect("a trial is under way");
        if let Some(why) = why {
            board.report(Report::Failed { proposal, why });
        }
        self.following.given_up = Some(proposal);
        self.following.seen = 0;
        self.status().epochs_aborted += u64::from(life.open.since.is_some());
        let partitions = life.partitions();
        life.forget();
        seal::discard(&mut *life.session)?;
        self.plugins.replace(before.instances);
        life.tally = before.tally;
        self.set(before.code);
        life.stamps = self.following.stamps();
        self.recover(life, &partitions)?;
        self.job.observer.event(&Event::Resumed { worker: self.idx, took: self.since(begin) });
        Ok(())
    }

    fn set(&mut self, code: Arc<Program>) {
        self.job.plan = code.plan.clone();
        self.job.plugins = code.plugins.clone();
        self.following.code = Some(code);
    }

    fn since(&self, begin: WallTime) -> Duration {
        Duration::from_millis((self.job.clock.now().0 - begin.0).max(0) as u64)
    }
}

impl Running {
    /// The first fault of a new plugin, where the one before it never had any.
    fn fault(&self, tally: &Tally) -> Option<String> {
        let fault = |plugin: usize| {
            let fault = tally.fault(plugin)?;
            let had_some = self.before_of(plugin).is_some_and(|old| self.before.tally.fault(old).is_some());
            (!had_some).then(|| format!("plugin \"{}\": {fault}", self.names[plugin]))
        };
        self.new_plugins().find_map(fault)
    }

    /// Which new plugin refuses, or breaks by, more rows than the one before did, beyond what is tolerated.
    fn too_many_bad(&self, tally: &Tally, more_max: f64) -> Option<String> {
        let bad = |plugin: usize| {
            let was = self.before_of(plugin).map_or(0.0, |old| self.before.tally.bad_share(old));
            let is = tally.bad_share(plugin);
            (is > was + more_max).then(|| {
                let [is, was] = [is, was].map(|share| format!("{:.1} %", 100.0 * share));
                format!("plugin \"{}\" refused {is} of its rows, the one before {was}", self.names[plugin])
            })
        };
        self.new_plugins().find_map(bad)
    }

    fn new_plugins(&self) -> impl Iterator<Item = usize> {
        self.is_new.iter().enumerate().filter(|(_, is_new)| **is_new).map(|(plugin, _)| plugin)
    }

    /// The plugin of that name before.
    fn before_of(&self, plugin: usize) -> Option<usize> {
        self.before.code.names.iter().position(|old| *old == self.names[plugin])
    }
}

impl Job {
    /// How long so many commit intervals are: at most as long as a trial may last.
    fn intervals_ms(&self, n: u32) -> i64 {
        let third = i64::try_from(self.settings.transaction_timeout.as_millis()).unwrap_or(i64::MAX) / 3;
        self.commit_interval_ms().saturating_mul(i64::from(n)).min(third)
    }
}
