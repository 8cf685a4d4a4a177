//! How an epoch becomes durable: the only place where durable writes are ordered (I-5).
//!
//! An epoch of a worker is one transaction of the log. The outputs were appended to it while the epoch ran; here follow
//!
//! 1. `append_deltas`: the state changes of every task, one [`EpochRecord`] each or several, into the changelog;
//! 2. `drain`: every record of the transaction is acknowledged, and the deltas' offsets are known;
//! 3. `add_offsets`: the consumed positions, each with the task's [`RecoveryPoint`] as its metadata;
//! 4. `commit`: THE COMMIT POINT.
//!
//! Why a crash changes nothing, wherever it comes:
//! - Before 4 nothing of the epoch can be believed. Its records are in an open transaction, which no reader of committed records
//!   sees and which the next life of this member aborts; positions and recovery points are those of the epoch before, and belong
//!   to each other because they were written by one `add_offsets`.
//! - After 4 all of it is there: outputs, changes, positions, points. Nothing is left to be done, so nothing can be forgotten.
//! - During 4 nobody knows ([`LogError::InDoubt`]), but the log does. The session is dropped, never retried; whoever owns the
//!   partitions next reads positions and points from the log, after the log has decided.
//!
//! Why the order is this one:
//! - 2 before 3: a point holds the changelog offsets of its epoch, which only the acknowledgement tells.
//! - 1 and 3 in one transaction: a position committed without its changes would skip records whose effect on the state was lost;
//!   changes committed without their position would apply records twice.
//! - Nothing durable before 1: a checkpoint kept elsewhere and believed early would skip records whose output was lost. A prepared
//!   transaction cannot be resumed, joining aborts it.
//!
//! Without transactions (at least once) the same calls in the same order mean: outputs and changes are durable at 2, positions at
//! 4. A crash between them repeats outputs, never state: the changes of the lost epoch lie in the changelog beyond every committed
//! point, and carry an incarnation that is on no committed chain ([`reelflow_core::checkpoint::chain`]).
//!
//! Records of a history go the same way before they are read ([`load`]): the count of them is a position that commits with them. So do
//! records of dead letters that are put back ([`crate::retry`]), with the marks that say so.
//!
//! A base that is in a store is named by the epoch after it became durable ([`crate::bases`]): its name is part of the point, and so believed or not
//! with the epoch.
//!
//! A zombie cannot commit: 3 and 4 are refused for an earlier life of a member, and for a member that is no longer in the group.

use std::sync::Arc;

use reelflow_core::{
    checkpoint::{
        EpochRecord, Incarnation, RecoveryPoint,
        stored::{NamedBase, StoredBases},
    },
    record::{Offset, Outgoing, Partition},
    task::SealedTask,
    time::WallTime,
};
use reelflow_ports::log::{Commit, LogError, Session, TopicPartition};

/// What one task brings to an epoch.
pub(crate) struct TaskEpoch {
    pub fragment: Arc<str>,
    pub partition: Partition,
    /// Where the task stood before this epoch.
    pub before: RecoveryPoint,
    pub incarnation: Incarnation,
    pub sealed: SealedTask,
    /// A base of an earlier epoch that has become durable in the store since.
    pub named: Option<NamedBase>,
    /// The next offset of each of its inputs.
    pub positions: Vec<(TopicPartition, Offset)>,
}

impl TaskEpoch {
    /// Whether the chain of the task begins with this epoch: it needs nothing from before.
    pub fn starts_over(&self) -> bool {
        self.sealed.is_base || self.before.epoch == 0
    }

    /// The bases that its recovery point names, and where the changelog is needed from if that is behind one of them.
    fn stored(&self) -> (StoredBases, Option<Offset>) {
        if self.starts_over() {
            return (StoredBases::NONE, None);
        }
        let mut stored = self.before.stored;
        let start = self.named.and_then(|named| stored.name(named));
        (stored, start)
    }
}

/// What an epoch left in the log.
pub(crate) struct Sealed {
    /// The new recovery point of each task, in the order in which they were given.
    pub points: Vec<RecoveryPoint>,
    pub changelog_bytes: u64,
}

/// Makes the open epoch durable. After an error nothing of it was kept, or nobody knows: the session must be dropped.
///
/// `tasks` must not be empty: an epoch in which nothing changed is not sealed.
pub(crate) fn seal(
    session: &mut dyn Session,
    changelog: &Arc<str>,
    tasks: &[TaskEpoch],
    now: WallTime,
) -> Result<Sealed, LogError> {
    assert!(!tasks.is_empty(), "an epoch in which nothing changed is not sealed");
    let deltas = deltas(changelog, tasks, now);
    session.append_deltas(&deltas)?;
    let offsets: Vec<Offset> = session.drain()?.into_iter().map(|appended| appended.offset).collect();
    if offsets.len() != deltas.len() {
        return Err(LogError::Unavailable(format!("{} of {} changes were acknowledged", offsets.len(), deltas.len())));
    }
    let points = points(tasks, &offsets);
    session.add_offsets(&commits(tasks, &points))?;
    session.commit()?;
    Ok(Sealed { points, changelog_bytes: deltas.records.n_bytes() as u64 })
}

/// Makes records durable that are to be read by the pipeline, together with how many of them there are now: all by one commit, so that
/// the count is never wrong.
pub(crate) fn load(session: &mut dyn Session, lists: &[Outgoing], count: &Commit) -> Result<(), LogError> {
    lists.iter().try_for_each(|records| session.append(records))?;
    session.drain()?;
    session.add_offsets(std::slice::from_ref(count))?;
    session.commit()
}

/// Drops the open epoch: the partitions are lost, or nothing of it is wanted.
pub(crate) fn discard(session: &mut dyn Session) -> Result<(), LogError> {
    session.abort()
}

/// One changelog record for each chunk; an epoch that changed no state has one record with an empty chunk, for its positions.
fn deltas(changelog: &Arc<str>, tasks: &[TaskEpoch], now: WallTime) -> Outgoing {
    let mut deltas = Outgoing::new(changelog.clone());
    let nothing: Vec<Vec<u8>> = vec![Vec::new()];
    for task in tasks {
        let chunks = if task.sealed.chunks.is_empty() { &nothing } else { &task.sealed.chunks };
        let n_parts = u32::try_from(chunks.len()).expect("an epoch's changes fit in memory, chunks are long");
        for (part, chunk) in (0..).zip(chunks) {
            let positions = match part {
                0 => task.positions.iter().map(|(at, next)| (at.topic.clone(), at.partition, *next)).collect(),
                _ => Vec::new(),
            };
            let stored = if part == 0 { task.stored().0 } else { StoredBases::NONE };
            let header = EpochRecord {
                fragment: task.fragment.clone(),
                epoch: task.before.epoch + 1,
                incarnation: task.incarnation,
                parent: task.before.incarnation,
                is_base: task.sealed.is_base,
                part,
                n_parts,
                positions,
                stored,
            };
            deltas.push(task.partition, now.0, Some(task.fragment.as_bytes()), Some(&header.encode(chunk)), &[]);
        }
    }
    deltas
}

/// `offsets`: of all deltas, in the order of `deltas`.
fn points(tasks: &[TaskEpoch], mut offsets: &[Offset]) -> Vec<RecoveryPoint> {
    let point = |task: &TaskEpoch| {
        let (own, rest) = offsets.split_at(task.sealed.chunks.len().max(1));
        offsets = rest;
        let (first, last) = (own[0], own[own.len() - 1]);
        let (stored, start) = task.stored();
        let base = start.unwrap_or(if task.starts_over() { first } else { task.before.base });
        RecoveryPoint { epoch: task.before.epoch + 1, incarnation: task.incarnation, base, end: last + 1, stored }
    };
    tasks.iter().map(point).collect()
}

fn commits(tasks: &[TaskEpoch], points: &[RecoveryPoint]) -> Vec<Commit> {
    let of_task = |(task, point): (&TaskEpoch, &RecoveryPoint)| {
        let metadata = point.to_string();
        task.positions
            .iter()
            .map(|(at, next)| Commit { at: at.clone(), next: *next, metadata: metadata.clone() })
            .collect::<Vec<_>>()
    };
    tasks.iter().zip(points).flat_map(of_task).collect()
}
