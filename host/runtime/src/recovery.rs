//! From what the log says to tasks that stand where their committed positions are.
//!
//! The log is the only truth. For each task, in this order:
//! 1. its inputs' committed positions, whose metadata is the recovery point;
//! 2. without any (Kafka forgets the positions of a group that was idle for a week): the last epoch in the changelog, which holds
//!    the same facts, written in the same transaction;
//! 3. without either: the task is new and starts at the earliest records.
//!
//! Then the changes on the committed chain are applied in order, upon the base in the store that the point names ([`stored`]), if it names any. What
//! cannot be read back is an error: never a start from nothing, never a skipped record.

use std::{collections::BTreeMap, fmt, sync::Arc};

use reelflow_core::{
    checkpoint::{EpochRecord, Incarnation, RecoveryPoint, chain},
    plan::{FragmentIdx, FragmentPlan, Plan},
    record::{Offset, Partition},
    state::StateError,
    task::Task,
    time::WallTime,
};
use reelflow_ports::{
    bases::BaseStore,
    log::{Commit, Guarantee, Log, LogError, TopicPartition},
};

use crate::error::{RecoveryError, RunError};
use stored::Fetched;

mod stored;

/// A reader that is slower than the owner of a task may find bases gone that were named when it began: it begins anew so often.
const READINGS_MAX: u32 = 5;

/// What outlives a process.
#[derive(Clone, Copy)]
pub(crate) struct Durable<'a> {
    pub log: &'a dyn Log,
    /// `None`: the manifest names no store.
    pub bases: Option<&'a dyn BaseStore>,
}

/// A task as messages call it.
struct TaskName<'a> {
    plan: &'a Plan,
    fragment: FragmentIdx,
    partition: Partition,
}

/// A base that a recovery point names and that could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SkippedBase {
    pub task: String,
    pub name: String,
    pub why: String,
}

/// A task as it was at its last commit.
pub(crate) struct Recovered {
    pub fragment: FragmentIdx,
    pub partition: Partition,
    pub task: Task,
    pub point: RecoveryPoint,
    /// The next offset of each of the fragment's inputs.
    pub positions: Vec<Offset>,
    /// How many changelog records were applied.
    pub n_changes: usize,
    /// What all tasks have written to the changelog since this one's base.
    pub changelog_bytes: usize,
    /// The positions stand in the changelog alone and should be committed again.
    pub is_forgotten: bool,
    /// What an older base took the place of.
    pub skipped: Vec<SkippedBase>,
}

/// The records of one changelog partition, in log order.
#[derive(Default)]
struct Changes {
    offsets: Vec<Offset>,
    headers: Vec<EpochRecord>,
    chunks: Vec<Vec<u8>>,
}

/// Where a task's committed state stands, or that there is none.
struct Found {
    point: RecoveryPoint,
    /// Committed next offsets of those inputs that have one.
    positions: BTreeMap<TopicPartition, Offset>,
}

/// Brings back all tasks of `partitions`, in the order of partition and fragment.
pub(crate) fn recover(
    durable: &Durable<'_>,
    plan: &Arc<Plan>,
    group: &str,
    guarantee: Guarantee,
    partitions: &[Partition],
) -> Result<Vec<Recovered>, RunError> {
    let mut committed = durable.log.committed(group, &input_topics(plan))?;
    let mut n_readings = 1;
    loop {
        let tasks = |partition: &Partition| partition_tasks(durable, plan, guarantee, *partition, &committed);
        let recovered = partitions.iter().map(tasks).collect::<Result<Vec<_>, _>>();
        let Err(RunError::Recovery { why: RecoveryError::BasesLost { .. }, .. }) = &recovered else {
            return Ok(recovered?.into_iter().flatten().collect());
        };
        let now = durable.log.committed(group, &input_topics(plan))?;
        if now == committed || n_readings == READINGS_MAX {
            return Ok(recovered?.into_iter().flatten().collect());
        }
        (committed, n_readings) = (now, n_readings + 1);
    }
}

/// Refuses tasks with a reset of which `plan` does not know: whoever recovers is behind those who do.
pub(crate) fn not_ahead(plan: &Plan, recovered: &[Recovered]) -> Result<(), RunError> {
    recovered.iter().try_for_each(|one| {
        let fail = |why: StateError| RunError::Recovery { task: name(plan, one.fragment, one.partition), why: why.into() };
        one.task.not_ahead().map_err(fail)
    })
}

/// The greatest incarnation that `recovered` was sealed by.
pub(crate) fn last_incarnation(recovered: &[Recovered]) -> Incarnation {
    recovered.iter().map(|one| one.point.incarnation).max().unwrap_or(0)
}

/// Greater than any that sealed these tasks, and different from that of any other member: without transactions a zombie may still write epochs
/// of the same number, and only their incarnations tell them from ours. So wall time comes first, the member's hash makes the difference
/// within one ms, and what is known to have been used, `last`, is exceeded in any case.
pub(crate) fn next_incarnation(member: &str, last: Incarnation, now: WallTime) -> Incarnation {
    let hash =
        member.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let by_clock = (now.0.max(0) as u64) << 16 | (hash >> 48);
    if by_clock > last { by_clock } else { ((last >> 16) + 1) << 16 | (hash >> 48) }
}

fn partition_tasks(
    durable: &Durable<'_>,
    plan: &Arc<Plan>,
    guarantee: Guarantee,
    partition: Partition,
    committed: &[Commit],
) -> Result<Vec<Recovered>, RunError> {
    let found: Vec<Option<Found>> = (0..plan.fragments.len())
        .map(|fragment| {
            let inputs = inputs(plan, fragment, partition);
            let commits = committed.iter().filter(|commit| inputs.contains(&commit.at));
            of_commits(commits).map_err(|why| RunError::Recovery { task: name(plan, fragment, partition), why })
        })
        .collect::<Result<_, _>>()?;

    let changelog = TopicPartition { topic: plan.changelog_topic.clone(), partition };
    let fetch =
        |fragment: FragmentIdx, found: &Found| stored::fetch(durable, &TaskName { plan, fragment, partition }, &found.point);
    let fetched = |(fragment, found): (usize, &Option<Found>)| found.as_ref().map(|found| fetch(fragment, found)).transpose();
    let fetched: Vec<Option<Fetched>> = found.iter().enumerate().map(fetched).collect::<Result<_, _>>()?;
    let points = || found.iter().flatten().map(|found| found.point);
    let needed = points().map(|point| point.end).max().unwrap_or(0);
    let (from, to) = if found.iter().all(Option::is_some) {
        let behind =
            |(point, fetched): (RecoveryPoint, &Fetched)| fetched.base.as_ref().map_or(point.base, |base| base.named.after);
        (points().zip(fetched.iter().flatten()).map(behind).min().unwrap_or(0), needed)
    } else {
        // The visible end may lie before a committed epoch, while a dead worker's open transaction hides it: the scan must say so.
        let (earliest, end) = durable.log.offsets(&changelog)?;
        (earliest, end.max(needed))
    };
    let changes = read(durable.log, &changelog, from, to)?;

    let mut recovered = Vec::new();
    for ((fragment, committed), fetched) in found.into_iter().enumerate().zip(fetched) {
        let is_committed = committed.is_some();
        let found = committed.or_else(|| of_changes(&plan.fragments[fragment].name, guarantee, &changes));
        let is_forgotten = found.is_some() && !is_committed;
        let of = TaskName { plan, fragment, partition };
        let found = match (found, fetched) {
            (Some(found), Some(fetched)) => Some((found, fetched)),
            (Some(found), None) => Some(fetch(fragment, &found).map(|fetched| (found, fetched))?),
            (None, _) => None,
        };
        recovered.push(Recovered { is_forgotten, ..one_task(durable.log, plan, &of, found, &changes)? });
    }
    Ok(recovered)
}

fn one_task(
    log: &dyn Log,
    plan: &Arc<Plan>,
    of: &TaskName<'_>,
    found: Option<(Found, Fetched)>,
    changes: &Changes,
) -> Result<Recovered, RunError> {
    let TaskName { fragment, partition, .. } = *of;
    let fail = |why: RecoveryError| RunError::Recovery { task: of.to_string(), why };
    let mut task = Task::new(plan.clone(), fragment, partition);
    let mut point = RecoveryPoint::NOTHING;
    let mut committed = BTreeMap::new();
    let (mut n_changes, mut changelog_bytes) = (0, 0);
    let mut skipped = Vec::new();
    if let Some((found, fetched)) = found {
        skipped = fetched.skipped;
        not_renamed(&plan.fragments[fragment].name, &found, changes).map_err(fail)?;
        let upon = fetched.base.as_ref().map(|base| &base.named);
        let on_chain = chain(of.fragment(), &found.point, upon, &changes.headers).map_err(|gap| fail(gap.into()))?;
        agree(&found, &on_chain, changes).map_err(fail)?;
        let starts_over = on_chain.first().is_some_and(|first| changes.headers[*first].is_base);
        if let Some(base) = fetched.base.filter(|_| !starts_over) {
            base.each_chunk(|chunk| task.restore(chunk)).map_err(fail)?;
        }
        for idx in &on_chain {
            // An epoch that changed no state has an empty chunk.
            if !changes.chunks[*idx].is_empty() {
                let changelog = TopicPartition { topic: plan.changelog_topic.clone(), partition };
                let unreadable = |error| fail(unreadable(&changelog, changes.offsets[*idx], error));
                task.restore(&changes.chunks[*idx]).map_err(unreadable)?;
            }
        }
        task.restored();
        n_changes = on_chain.len();
        changelog_bytes = on_chain.first().map_or(0, |first| changes.chunks[*first..].iter().map(Vec::len).sum());
        (point, committed) = (found.point, found.positions);
    }
    let mut positions = Vec::new();
    for at in inputs(plan, fragment, partition) {
        let (earliest, end) = log.offsets(&at)?;
        let next = committed.get(&at).copied().unwrap_or(earliest);
        if next < earliest || next > end {
            return Err(LogError::OffsetLost { at, wanted: next, earliest, end }.into());
        }
        positions.push(next);
    }
    Ok(Recovered { fragment, partition, task, point, positions, n_changes, changelog_bytes, is_forgotten: false, skipped })
}

/// What the committed positions of one task's inputs say. All of them were written by one `add_offsets`, so they carry the same
/// point, unless a manifest that was edited has one task read what two had read; an input that the pipeline was given later has none yet.
fn of_commits<'a>(commits: impl Iterator<Item = &'a Commit>) -> Result<Option<Found>, RecoveryError> {
    let mut found: Option<Found> = None;
    for commit in commits {
        let point: RecoveryPoint = commit.metadata.parse()?;
        let found = found.get_or_insert_with(|| Found { point, positions: BTreeMap::new() });
        if found.point != point
            && let Some(first) = found.positions.keys().next()
        {
            let [one, other] = [&first.topic, &commit.at.topic].map(|topic| topic.to_string());
            return Err(StateError::ReadApart(one, other).into());
        }
        found.positions.insert(commit.at.clone(), commit.next);
    }
    Ok(found)
}

/// The last epoch of `fragment` in the changelog that must have been committed.
///
/// In a transactional changelog that is the last one. Without transactions its owner may have died before it committed the
/// positions, and before its outputs were acknowledged; an epoch that another one was built on was committed for certain. So was
/// one whose predecessor is gone: the changelog is trimmed only after a committed base. A first epoch with neither is done again.
fn of_changes(fragment: &Arc<str>, guarantee: Guarantee, changes: &Changes) -> Option<Found> {
    let own = || (0..changes.headers.len()).filter(|idx| changes.headers[*idx].fragment == *fragment).rev();
    let has_child = |idx: &usize| {
        let this = &changes.headers[*idx];
        own().any(|child| changes.headers[child].epoch == this.epoch + 1 && changes.headers[child].parent == this.incarnation)
    };
    let last = match guarantee {
        Guarantee::ExactlyOnce => own().next(),
        Guarantee::AtLeastOnce => own().find(has_child).or_else(|| own().next().filter(|idx| changes.headers[*idx].epoch > 1)),
    }?;
    let EpochRecord { epoch, incarnation, .. } = changes.headers[last];
    let end = changes.offsets[last] + 1;
    let first_part = own().find(|idx| {
        let header = &changes.headers[*idx];
        header.epoch == epoch && header.incarnation == incarnation && header.part == 0
    })?;
    let EpochRecord { positions, stored, .. } = &changes.headers[first_part];
    let mut point = RecoveryPoint { epoch, incarnation, base: changes.offsets[0], end, stored: *stored };
    match (stored.start(), chain(fragment, &point, None, &changes.headers)) {
        (Some(start), _) => point.base = start,
        (None, Ok(on_chain)) => point.base = changes.offsets[*on_chain.first()?],
        (None, Err(_)) => {}
    }
    let positions = positions.iter();
    let positions =
        positions.map(|(topic, partition, next)| (TopicPartition { topic: topic.clone(), partition: *partition }, *next));
    Some(Found { point, positions: positions.collect() })
}

/// A task without any epoch whose inputs another one has sealed is that one by another name, and its changes are not found by this one.
fn not_renamed(fragment: &Arc<str>, found: &Found, changes: &Changes) -> Result<(), RecoveryError> {
    if changes.headers.iter().any(|header| header.fragment == *fragment) {
        return Ok(());
    }
    let is_read = |topic: &Arc<str>| found.positions.keys().any(|at| at.topic == *topic);
    let of_inputs = |header: &&EpochRecord| header.positions.iter().any(|(topic, ..)| is_read(topic));
    match changes.headers.iter().find(of_inputs) {
        Some(header) => Err(StateError::Renamed { was: header.fragment.to_string(), is: fragment.to_string() }.into()),
        None => Ok(()),
    }
}

/// Position and recovery point are in two places that cannot disagree, unless somebody moved one of them.
fn agree(found: &Found, on_chain: &[usize], changes: &Changes) -> Result<(), RecoveryError> {
    let is_last = |idx: &&usize| {
        let header = &changes.headers[**idx];
        header.epoch == found.point.epoch && header.part == 0
    };
    let Some(last) = on_chain.iter().find(is_last) else { return Ok(()) };
    for (topic, partition, sealed) in &changes.headers[*last].positions {
        let at = TopicPartition { topic: topic.clone(), partition: *partition };
        if let Some(committed) = found.positions.get(&at)
            && committed != sealed
        {
            return Err(RecoveryError::Moved { at, committed: *committed, epoch: found.point.epoch, sealed: *sealed });
        }
    }
    Ok(())
}

fn read(log: &dyn Log, changelog: &TopicPartition, from: Offset, to: Offset) -> Result<Changes, RunError> {
    let mut changes = Changes::default();
    let mut damaged = None;
    if from < to {
        log.scan(changelog, from, to, &mut |record| {
            match EpochRecord::decode(record.value.unwrap_or_default()) {
                Ok((header, chunk)) => {
                    changes.offsets.push(record.offset);
                    changes.headers.push(header);
                    changes.chunks.push(chunk.to_vec());
                }
                Err(error) => damaged = Some(unreadable(changelog, record.offset, error)),
            }
            damaged.is_none()
        })?;
    }
    match damaged {
        Some(why) => Err(RunError::Recovery { task: changelog.topic.to_string(), why }),
        None => Ok(changes),
    }
}

/// Sound bytes that the plan does not go with have no place that is to blame; damage has one.
fn unreadable(at: &TopicPartition, offset: Offset, why: StateError) -> RecoveryError {
    match why.is_of_another_plan() {
        true => why.into(),
        false => RecoveryError::Unreadable { at: at.clone(), offset, why: Box::new(why) },
    }
}

/// All topics that the pipeline reads: its sources and its shuffles.
pub(crate) fn input_topics(plan: &Plan) -> Vec<Arc<str>> {
    let topics =
        |fragment: &FragmentPlan| fragment.inputs.iter().map(|input| plan.input_topic(*input).clone()).collect::<Vec<_>>();
    plan.fragments.iter().flat_map(topics).collect()
}

/// The partitions that one task reads, in the order of its fragment's inputs.
pub(crate) fn inputs(plan: &Plan, fragment: FragmentIdx, partition: Partition) -> Vec<TopicPartition> {
    let topic = |input: &_| TopicPartition { topic: plan.input_topic(*input).clone(), partition };
    plan.fragments[fragment].inputs.iter().map(topic).collect()
}

pub(crate) fn name(plan: &Plan, fragment: FragmentIdx, partition: Partition) -> String {
    TaskName { plan, fragment, partition }.to_string()
}

impl<'a> TaskName<'a> {
    fn pipeline(&self) -> &'a str {
        &self.plan.name
    }

    fn fragment(&self) -> &'a Arc<str> {
        &self.plan.fragments[self.fragment].name
    }
}

impl fmt::Display for TaskName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task \"{}\" [{}]", self.fragment(), self.partition)
    }
}
