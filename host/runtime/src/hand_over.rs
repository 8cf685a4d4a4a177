//! From the end of a history to the live topics.
//!
//! Once all of a history is processed, every task stands at the end of the topics that held it. One epoch, in which no state changes, then
//! moves all tasks of the pipeline to the offsets at which the live topics go on; whoever runs the pipeline from then on recovers them there.
//! It is one transaction of a member that owns every partition: a crash leaves tasks that all stand in the history, or all in the topics.

use std::{collections::BTreeMap, sync::Arc};

use reelflow_core::{
    plan::{FragmentInput, Plan, SourceIdx},
    record::{Offset, Partition},
    task::SealedTask,
    time::WallTime,
};
use reelflow_ports::{
    history::{History, HistoryError},
    log::{LogError, MemberSpec, Polled, Session, TopicPartition},
};

use crate::{
    bases::Bases,
    error::RunError,
    load,
    observe::Event,
    patience::Patience,
    recovery::{self, Durable, Recovered},
    seal::{self, TaskEpoch},
    worker::{Job, POLL},
};

/// So many session timeouts may pass until the group has forgotten whoever was in it before.
const TIMEOUTS_MAX: u32 = 3;

/// What the tasks of a pipeline are to go on with.
pub struct HandOver {
    /// Its plan reads the history.
    job: Job,
    /// Reads the live topics.
    live: Arc<Plan>,
    /// Where these go on, in each partition that the history has records of.
    next_offsets: BTreeMap<(SourceIdx, Partition), Offset>,
}

impl HandOver {
    pub fn new(job: &Job, live: Arc<Plan>, history: &dyn History) -> HandOver {
        let next = history.next_offsets().iter().map(|(source, partition, next)| ((*source, *partition), *next));
        HandOver { job: job.clone(), live, next_offsets: next.collect() }
    }

    pub fn live(&self) -> &Plan {
        &self.live
    }

    /// Whether it was done before. What stands in its way is an error.
    pub fn is_done(&self) -> Result<bool, RunError> {
        if is_live(&self.job, &self.live)? {
            return match is_begun(&self.job, &self.live)? {
                true => Ok(true),
                false => Err(HistoryError::Live(self.live.name.clone()).into()),
            };
        }
        self.positions()?;
        Ok(false)
    }

    /// Moves the tasks, whose history is processed. Waits until nobody else is in the group.
    pub fn run(&self) -> Result<(), RunError> {
        let clock = &self.job.clock;
        let mut patience = Patience::new(self.job.settings.outage);
        loop {
            match self.is_done() {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => self.wait_after(error, &mut patience)?,
            }
            let deadline = WallTime(clock.now().0 + (self.job.settings.session_timeout * TIMEOUTS_MAX).as_millis() as i64);
            match self.attempt(deadline) {
                Ok(positions) => {
                    self.job.observer.event(&Event::HandedOver { positions });
                    return Ok(());
                }
                Err(error) => self.wait_after(error, &mut patience)?,
            }
        }
    }

    fn wait_after(&self, error: RunError, patience: &mut Patience) -> Result<(), RunError> {
        match error {
            RunError::Log(error) if error.ends_only_the_session() => {
                let wait = patience.failed(self.job.clock.now(), &error)?;
                let (failing_for, after) = (wait.failing_for, wait.after);
                self.job.observer.event(&Event::Retrying { worker: None, error, failing_for, after });
                std::thread::sleep(after);
                Ok(())
            }
            error => Err(error),
        }
    }

    fn attempt(&self, deadline: WallTime) -> Result<Vec<(TopicPartition, Offset)>, RunError> {
        let spec = MemberSpec { topics: recovery::input_topics(&self.live), ..self.job.member(0) };
        let mut session = self.job.log.join(&spec)?;
        loop {
            match session.poll(POLL)? {
                Polled::Assigned(of) if (0..self.live.n_partitions).all(|one| of.iter().any(|at| at.partition == one)) => {
                    let positions = self.move_all(&mut *session, &spec)?;
                    session.leave()?;
                    return Ok(positions);
                }
                // Somebody else has the rest.
                Polled::Assigned(of) => {
                    let ends = of.into_iter().map(|at| Ok((at.clone(), self.job.log.offsets(&at)?.1)));
                    session.start(&ends.collect::<Result<Vec<_>, LogError>>()?)?;
                }
                Polled::Revoked | Polled::Lost => session.give_up()?,
                Polled::Idle | Polled::Fetched(_) => {}
            }
            if self.job.clock.now() > deadline {
                return Err(HistoryError::NotAlone(self.live.name.clone()).into());
            }
        }
    }

    /// Seals the epoch in which all tasks come to the live topics.
    fn move_all(&self, session: &mut dyn Session, spec: &MemberSpec) -> Result<Vec<(TopicPartition, Offset)>, RunError> {
        let Job { log, plan, bases, settings, clock, .. } = &self.job;
        let partitions: Vec<Partition> = (0..plan.n_partitions).collect();
        let recovered = recovery::recover(
            &Durable { log: &**log, bases: bases.as_deref().map(Bases::store) },
            plan,
            &spec.group,
            settings.guarantee,
            &partitions,
        )?;
        let now = clock.now();
        let incarnation = recovery::next_incarnation(&spec.member, recovery::last_incarnation(&recovered), now);
        let live = self.positions()?;
        let epoch = |one: &Recovered| TaskEpoch {
            fragment: plan.fragments[one.fragment].name.clone(),
            partition: one.partition,
            before: one.point,
            incarnation,
            sealed: SealedTask { chunks: Vec::new(), is_base: false, is_image_due: false },
            named: None,
            positions: self.moved(one, &live),
        };
        let epochs: Vec<TaskEpoch> = recovered.iter().map(epoch).collect();
        let positions: Vec<(TopicPartition, Offset)> = epochs.iter().flat_map(|epoch| epoch.positions.iter().cloned()).collect();
        session.start(&positions)?;
        seal::seal(session, &plan.changelog_topic, &epochs, now)?;
        Ok(live.into_iter().collect())
    }

    /// Where a task goes on: its sources in the live topics, what comes through a change of key where it is.
    fn moved(&self, one: &Recovered, live: &BTreeMap<TopicPartition, Offset>) -> Vec<(TopicPartition, Offset)> {
        let inputs = self.live.fragments[one.fragment].inputs.iter().zip(&one.positions);
        let position = |(input, stands): (&FragmentInput, &Offset)| {
            let at = TopicPartition { topic: self.live.input_topic(*input).clone(), partition: one.partition };
            let next = match input {
                FragmentInput::Source(_) => live[&at],
                FragmentInput::Shuffle(_) => *stands,
            };
            (at, next)
        };
        inputs.map(position).collect()
    }

    /// Where each live partition goes on. It must hold what comes behind the files, and have held what is in them.
    fn positions(&self) -> Result<BTreeMap<TopicPartition, Offset>, RunError> {
        let mut positions = BTreeMap::new();
        for (source, plan) in self.live.sources.iter().enumerate() {
            for partition in 0..self.live.n_partitions {
                let next = self.next_offsets.get(&(source, partition)).copied().unwrap_or(0);
                let at = TopicPartition { topic: plan.topic.clone(), partition };
                let (earliest, end) = self.job.log.offsets(&at)?;
                if next < earliest {
                    return Err(HistoryError::Gap { at: at.to_string(), next, earliest }.into());
                }
                if next > end {
                    return Err(HistoryError::Beyond { at: at.to_string(), next, end }.into());
                }
                positions.insert(at, next);
            }
        }
        Ok(positions)
    }
}

/// A pipeline whose history is being replayed must not read its topics yet: it would begin at their earliest records. `job`: its plan reads
/// the live topics.
pub(crate) fn none_under_way(job: &Job) -> Result<(), RunError> {
    match is_begun(job, &job.plan)? && !is_live(job, &job.plan)? {
        true => Err(HistoryError::UnderWay(job.plan.name.clone()).into()),
        false => Ok(()),
    }
}

/// Whether a history of the pipeline was loaded, or a part of it.
fn is_begun(job: &Job, live: &Plan) -> Result<bool, LogError> {
    let topic = live.history_topic(0);
    if job.log.n_partitions(&topic)?.is_none() {
        return Ok(false);
    }
    Ok(!job.log.committed(&load::group_of(job), &[topic])?.is_empty())
}

/// Whether the pipeline has positions in its topics.
fn is_live(job: &Job, live: &Plan) -> Result<bool, LogError> {
    let topics: Vec<Arc<str>> = live.sources.iter().map(|source| source.topic.clone()).collect();
    Ok(!job.log.committed(&job.group(), &topics)?.is_empty())
}
