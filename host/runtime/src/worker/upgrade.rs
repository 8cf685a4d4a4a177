//! How a worker comes to other code: at the end of an epoch, without leaving its group, and on trial first.
//!
//! A trial is an epoch that stays open. The worker seals what it has, puts its tasks under the new code, and goes on; nothing of what follows is
//! committed before every partition of the pipeline has passed. So going back is what follows any crash: the open epoch is dropped, and the
//! tasks are recovered from the last commit, which the new code never touched. The session and its partitions stay.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use reelflow_core::{
    task::{Input, Stamps},
    time::WallTime,
    upgrade::{
        Migration,
        follower::{self, Effect, Follower, Rules},
        tally::Tally,
    },
};
use reelflow_ports::log::TopicPartition;

use super::{
    calls::{Instances, instances},
    life::Life,
};
use crate::{
    code::{Board, Posted, Program, Report, Trial},
    control,
    error::RunError,
    observe::Event,
    seal,
    worker::{Job, Step, Worker},
};

/// What a worker runs, and what it tries. When, its [`Follower`] decides.
pub(super) struct Following {
    board: Option<Arc<Board>>,
    follower: Follower,
    /// What the tasks have now. `None`: there is no board.
    code: Option<Arc<Program>>,
    /// What is not read while rows gather.
    gathering: Vec<TopicPartition>,
    /// What the tasks had before the trial, ready to go on.
    before: Option<Before>,
}

struct Before {
    /// When they had it last.
    until: WallTime,
    code: Arc<Program>,
    instances: Instances,
    tally: Tally,
}

impl Following {
    pub fn new(job: &Job) -> Following {
        let follower = Follower::new(job.trial_rules());
        Following { board: job.board.clone(), follower, code: None, gathering: Vec::new(), before: None }
    }

    /// Whether the open epoch is a trial.
    pub fn is_trying(&self) -> bool {
        self.follower.is_trying()
    }

    /// The session has ended, or its tasks are gone, and with them the open epoch.
    pub fn end(&mut self) {
        self.follower.handle(follower::Input::Ended, &mut Vec::new());
        self.gathering.clear();
        self.before = None;
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
        self.following.end();
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
            self.following.end();
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
        // Before the look: what comes between the two is looked at again.
        let version = board.version();
        let is_news = || !life.tasks.is_empty() && self.following.follower.is_news(version);
        if !self.following.is_trying() && !is_news() {
            return Ok(());
        }
        let posted = board.look();
        let now = self.job.clock.now();
        let input = match &self.following.before {
            Some(before) => {
                let (was, is, is_full) = (&before.tally, &life.tally, life.is_full(&self.job));
                follower::Input::Stepped { now, was, is, is_full, decided: posted.decided }
            }
            None => {
                let has = |code: &Arc<Program>| code.is(&posted.current.set, &posted.current.resets);
                let is_current = self.following.code.as_ref().is_some_and(has);
                let trial = posted.trial.as_ref().map(|trial| trial.proposal);
                follower::Input::Looked { now, posted: follower::Posted { version, is_current, trial } }
            }
        };
        let mut effects = Vec::new();
        self.following.follower.handle(input, &mut effects);
        self.perform(life, &board, &posted, effects)
    }

    /// Does what was decided, in order, and what follows from it.
    fn perform(&mut self, life: &mut Life, board: &Board, posted: &Posted, effects: Vec<Effect>) -> Result<(), RunError> {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            let answer = match effect {
                Effect::Switch => self.switch(life, posted.current.clone()).map(|()| None),
                Effect::Gather(_) => self.gather(life, posted.trial()).map(Some),
                Effect::EndGathering => life.pause(&std::mem::take(&mut self.following.gathering), false).map(|()| None),
                Effect::Adopt(_) => self.adopt(life, posted.trial()).map(Some),
                Effect::Begin(_) => self.begin(life, posted.trial()),
                Effect::Hold => life.pause_all(true).map(|()| None),
                Effect::Release => life.pause_all(false).map(|()| None),
                Effect::Passed(proposal) => {
                    board.report(Report::Passed { proposal, partitions: life.partitions() });
                    Ok(None)
                }
                Effect::Failed { proposal, why } => {
                    board.report(Report::Failed { proposal, why });
                    Ok(None)
                }
                Effect::Commit => {
                    self.following.before = None;
                    life.is_trial = false;
                    self.seal(life).map(|()| None)
                }
                Effect::GoBack => self.go_back(life).map(|()| None),
            };
            if let Some(answer) = answer? {
                let mut next = Vec::new();
                self.following.follower.handle(answer, &mut next);
                effects.extend(next);
            }
        }
        Ok(())
    }

    /// What a trial sends through a change of key cannot be read before it is committed. So the code before does not read such rows for a
    /// while: they are there then for the new code to be tried on.
    fn gather(&mut self, life: &mut Life, trial: &Trial) -> Result<follower::Input<'static>, RunError> {
        let current = self.following.code.as_ref().expect("who follows a board has its code");
        let inputs = life.shuffles_of(&current.plan, &trial.code.changed_from(current));
        if inputs.is_empty() {
            return Ok(follower::Input::NothingGathers);
        }
        life.pause(&inputs, true)?;
        self.following.gathering = inputs;
        Ok(follower::Input::Gathering { now: self.job.clock.now() })
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

    /// Seals what the code before has done, and puts the tasks under the new code.
    fn adopt(&mut self, life: &mut Life, trial: &Trial) -> Result<follower::Input<'static>, RunError> {
        let before = self.following.code.clone().expect("who follows a board has its code");
        // Whoever loses its tasks in a trial goes on with the code before, and may commit states by it after the verdict.
        let is_reset = |stage: &str| trial.code.resets.get(stage) != before.resets.get(stage);
        if let Some(why) = before.plan.unread_by(&trial.code.plan, is_reset) {
            return Ok(follower::Input::Failed { why });
        }
        self.seal(life)?;
        let now = self.job.clock.now();
        let ready = instances(&trial.code.plugins).map_err(|why| why.to_string());
        let adopted = ready.and_then(|instances| match life.adopt(&before.plan, &trial.code, now) {
            Ok(()) => Ok(instances),
            Err((task, why)) => Err(format!("the state of {task} cannot be used: {why}")),
        });
        let instances = match adopted {
            Ok(instances) => instances,
            Err(why) => return Ok(follower::Input::Failed { why }),
        };
        let plugins = trial.code.on_trial(&before);
        let (instances, tally) = (self.plugins.replace(instances), std::mem::take(&mut life.tally));
        self.following.before = Some(Before { until: now, code: before, instances, tally });
        life.is_trial = true;
        self.set(trial.code.clone());
        Ok(follower::Input::Adopted { now, plugins })
    }

    /// The tasks have the new code: tells them what they have to know, and migrates their states if all are to be.
    fn begin(&mut self, life: &mut Life, trial: &Trial) -> Result<Option<follower::Input<'static>>, RunError> {
        life.tell_again(&self.job, &mut self.plugins)?;
        if trial.migration == Migration::Eager
            && let Err(why) = self.migrate(life)?
        {
            return Ok(Some(follower::Input::Failed { why }));
        }
        let pause = self.following.before.as_ref().map_or(Duration::ZERO, |before| self.since(before.until));
        self.job.observer.event(&Event::Switched { worker: self.idx, is_trial: true, pause });
        Ok(None)
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

    /// A step came to `result`. That a stage cannot go on with the new code ends the trial, not the pipeline.
    pub(super) fn not_of_a_trial(&mut self, life: &mut Life, result: Result<Step, RunError>) -> Result<Step, RunError> {
        match (result, self.following.board.clone()) {
            (Err(RunError::Stage(why)), Some(board)) if self.following.is_trying() => {
                let mut effects = Vec::new();
                self.following.follower.handle(follower::Input::Failed { why: why.to_string() }, &mut effects);
                self.perform(life, &board, &board.look(), effects).map(|()| Step::Busy)
            }
            (result, _) => result,
        }
    }

    /// Drops the open epoch and goes on with the code from before, from the last commit.
    fn go_back(&mut self, life: &mut Life) -> Result<(), RunError> {
        let begin = self.job.clock.now();
        let before = self.following.before.take().expect("a trial has code before it");
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

impl Job {
    fn trial_rules(&self) -> Rules {
        let rules = self.settings.trial;
        Rules {
            trial_ms: self.intervals_ms(rules.n_epochs),
            gathering_ms: self.intervals_ms(rules.n_epochs_gathering),
            verdict_ms_max: i64::try_from(rules.verdict_max.as_millis()).unwrap_or(i64::MAX),
            bad_share_max: rules.bad_share_max,
        }
    }

    /// How long so many commit intervals are: at most as long as a trial may last.
    fn intervals_ms(&self, n: u32) -> i64 {
        let third = i64::try_from(self.settings.transaction_timeout.as_millis()).unwrap_or(i64::MAX) / 3;
        self.commit_interval_ms().saturating_mul(i64::from(n)).min(third)
    }
}
