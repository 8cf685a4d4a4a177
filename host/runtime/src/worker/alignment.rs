//! Aligned reading: no source partition of a worker runs ahead of its slowest one by more than a bound, in event time.
//!
//! Without it, a replay reads each topic as fast as it comes, and a join keeps the faster one until the slower one has followed. With it,
//! what was read too early is held back, and its partition paused. What is given is given in the order of event time, a piece at a time.
//!
//! The slowest partition is never held, so reading goes on. A partition that is held has more to read, so it never counts as idle; an idle
//! one holds nobody. A partition without a single record, at its end, holds nobody either.
//!
//! Records whose schemas nobody has told yet (`schemas`) are held in the same way, whether reading is aligned or not.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use reelflow_core::{
    plan::FragmentInput,
    record::RecordBatch,
    time::Watermark,
    watermark::{InputMark, lowest},
};
use reelflow_ports::log::{Fetched, TopicPartition};

use super::{calls::Plugins, life::Life};
use crate::{error::RunError, worker::Job};

/// A partition with more pieces than this is paused although its turn will come: epochs may be shorter than what a poll gives.
const PIECES_MAX: usize = 16;

/// What was read and is not given yet.
#[derive(Default)]
pub(super) struct Held {
    pieces: BTreeMap<TopicPartition, VecDeque<Fetched>>,
    paused: BTreeSet<TopicPartition>,
    /// The epoch had to end before everything was given that may be.
    pub is_interrupted: bool,
}

impl Held {
    /// Whether `at` is paused because of what is held of it.
    pub fn is_paused(&self, at: &TopicPartition) -> bool {
        self.paused.contains(at)
    }
}

impl Life {
    /// Records came. With aligned reading, those of sources wait for [`Life::release`], and without it those that cannot be read yet.
    pub fn fetched(&mut self, job: &Job, plugins: &mut Plugins, fetched: Fetched) -> Result<(), RunError> {
        let alignment = job.settings.alignment.filter(|_| self.mark_of(&fetched.at).is_some());
        let must_wait = alignment.is_some() || self.held.pieces.contains_key(&fetched.at);
        if !must_wait && self.learn(job, plugins, &fetched.at, &fetched.batch)? {
            return self.take(job, plugins, fetched);
        }
        let at = fetched.at.clone();
        let pieces = self.held.pieces.entry(at.clone()).or_default();
        match alignment {
            Some(alignment) => pieces.extend(cut(fetched, alignment.piece_records)),
            None => pieces.push_back(fetched),
        }
        self.say_reading(job, plugins, &at, false)
    }

    /// Gives the tasks what can be read and is not too far ahead, the oldest first, until the epoch must end. Pauses what remains, and
    /// resumes the others.
    pub fn release(&mut self, job: &Job, plugins: &mut Plugins) -> Result<(), RunError> {
        self.held.is_interrupted = false;
        let mut unreadable = BTreeSet::new();
        while let Some(at) = self.next_piece(job, &unreadable) {
            let batch = self.held.pieces[&at].front().expect("none is kept empty").batch.clone();
            if !self.learn(job, plugins, &at, &batch)? {
                unreadable.insert(at);
                continue;
            }
            if self.is_due(job, job.clock.now()) {
                self.held.is_interrupted = true;
                break;
            }
            let pieces = self.held.pieces.get_mut(&at).expect("it was just found");
            let piece = pieces.pop_front().expect("none is kept empty");
            if pieces.is_empty() {
                self.held.pieces.remove(&at);
            }
            self.take(job, plugins, piece)?;
        }
        let is_interrupted = self.held.is_interrupted;
        let waits = |(at, pieces): (&TopicPartition, &VecDeque<Fetched>)| {
            (!is_interrupted || pieces.len() > PIECES_MAX).then(|| at.clone())
        };
        let wanted: BTreeSet<TopicPartition> = self.held.pieces.iter().filter_map(waits).collect();
        for at in wanted.symmetric_difference(&self.held.paused) {
            self.session.pause(at, wanted.contains(at))?;
        }
        self.held.paused = wanted;
        Ok(())
    }

    /// Of the partitions with something to give, the one that has come the least far; `None` if all of them are too far ahead, or
    /// `unreadable`.
    fn next_piece(&self, job: &Job, unreadable: &BTreeSet<TopicPartition>) -> Option<TopicPartition> {
        let readable = self.held.pieces.keys().filter(|at| !unreadable.contains(*at));
        let marks = readable.filter_map(|at| Some((self.mark_of(at)?.watermark, at)));
        let Some(alignment) = job.settings.alignment else { return marks.min().map(|(_, at)| at.clone()) };
        let low = lowest(self.holding_marks(job));
        let max_drift_ms = i64::try_from(alignment.max_drift.as_millis()).unwrap_or(i64::MAX);
        let is_within = |mark: Watermark| match low {
            None | Some(Watermark::END) => true,
            Some(low) => matches!(mark, Watermark::UNKNOWN | Watermark::END) || mark.0.saturating_sub(low.0) <= max_drift_ms,
        };
        marks.filter(|(mark, _)| is_within(*mark)).min().map(|(_, at)| at.clone())
    }

    /// How far the source partitions have come that others wait for.
    fn holding_marks(&self, job: &Job) -> impl Iterator<Item = InputMark> {
        let of_task = |owned: &super::life::OwnedTask| -> Vec<InputMark> {
            let inputs = job.plan.fragments[owned.fragment].inputs.iter().enumerate();
            let sources = inputs.filter(|(_, input)| matches!(input, FragmentInput::Source(_)));
            let marks = sources.filter_map(|(idx, _)| Some((idx, owned.task.source_mark(idx)?)));
            marks
                .filter(|(idx, mark)| !(owned.at_end[*idx] && mark.watermark == Watermark::UNKNOWN))
                .map(|(_, mark)| mark)
                .collect()
        };
        self.tasks.iter().flat_map(of_task).collect::<Vec<_>>().into_iter()
    }

    /// `None` for a shuffle: its partitions come as they are written, aligned by those who write them.
    fn mark_of(&self, at: &TopicPartition) -> Option<InputMark> {
        let (task_idx, input) = *self.by_input.get(at)?;
        self.tasks[task_idx].task.source_mark(input)
    }
}

/// `fetched` in pieces of at most `n_records`; the news that it reached the end comes with the last one.
fn cut(fetched: Fetched, n_records: usize) -> Vec<Fetched> {
    if fetched.batch.len() <= n_records {
        return vec![fetched];
    }
    let mut pieces = Vec::new();
    for first in (0..fetched.batch.len()).step_by(n_records) {
        let mut batch = RecordBatch::default();
        let range = first..(first + n_records).min(fetched.batch.len());
        range.clone().for_each(|record_idx| batch.push(fetched.batch.record(record_idx)));
        let is_last = range.end == fetched.batch.len();
        let next = if is_last { fetched.next } else { fetched.batch.record(range.end - 1).offset + 1 };
        pieces.push(Fetched { at: fetched.at.clone(), batch: batch.into(), next, at_end: is_last && fetched.at_end });
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use reelflow_core::record::Record;

    #[test]
    fn pieces_hold_every_record_once_and_the_end_comes_last() {
        let mut batch = RecordBatch::default();
        for offset in [3, 4, 7, 8, 9] {
            batch.push(Record { offset, timestamp_ms: 0, key: None, value: None, headers: &[] });
        }
        let at = TopicPartition { topic: "plays".into(), partition: 0 };
        let fetched = Fetched { at, batch: batch.into(), next: 12, at_end: true };
        let pieces: Vec<(Vec<i64>, i64, bool)> = cut(fetched.clone(), 2)
            .into_iter()
            .map(|piece| (piece.batch.iter().map(|record| record.offset).collect(), piece.next, piece.at_end))
            .collect();
        assert_eq!(pieces, [(vec![3, 4], 5, false), (vec![7, 8], 9, false), (vec![9], 12, true)]);
        assert_eq!(cut(fetched, 5).len(), 1);
    }
}
