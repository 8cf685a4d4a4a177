//! `reel dlq`: dead letters as something one can work with.

use std::sync::Arc;

use reelflow_core::{
    letter::Letter,
    record::{Offset, Partition},
};
use reelflow_ports::log::{Log, LogError, TopicPartition};

use crate::{
    args::dlq::{Address, Dlq, Filters},
    failure::{Exit, Failure},
    manifest::Manifest,
};

mod bundle;
mod export;
mod list;
mod patch;
mod repairs;
mod retry;
mod show;
mod shown;

pub(crate) fn dlq(command: &Dlq) -> Result<(), Failure> {
    match command {
        Dlq::List(args) => list::list(args),
        Dlq::Show(args) => show::show(args),
        Dlq::Export(args) => export::export(args),
        Dlq::Retry(args) => retry::retry(args),
    }
}

/// The dead letters that were in the log when it was opened, in the order of partition and offset.
struct Letters<'a> {
    log: &'a dyn Log,
    topic: Arc<str>,
    /// Earliest offset and end of each partition; empty: the topic is not there, so nothing has died yet.
    extents: Vec<(Offset, Offset)>,
}

/// Where to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    partition: Partition,
    offset: Offset,
}

impl<'a> Letters<'a> {
    fn open(manifest: &Manifest, log: &'a dyn Log) -> Result<Letters<'a>, Failure> {
        let topic: Arc<str> = manifest.config.pipeline.dead_letters.as_str().into();
        let extents = || -> Result<Vec<_>, LogError> {
            let partitions = 0..log.n_partitions(&topic)?.unwrap_or(0);
            partitions.map(|partition| log.offsets(&TopicPartition { topic: topic.clone(), partition })).collect()
        };
        let extents = extents().map_err(|error| manifest.log_failure(error))?;
        Ok(Letters { log, topic, extents })
    }

    /// Gives `each` the letters that `filters` keep.
    fn each(&self, filters: &Filters, each: &mut dyn FnMut(Address, &Letter<'_>) -> Result<(), Failure>) -> Result<(), Failure> {
        let mut all = |address: Address, letter: &Letter<'_>| each(address, letter).map(|()| true);
        self.each_from(Cursor { partition: 0, offset: 0 }, filters, &mut all).map(drop)
    }

    /// Gives `each` the letters from `cursor` on that `filters` keep, until it returns `false`. Gives where to go on then; `None`: behind the end.
    fn each_from(
        &self,
        mut cursor: Cursor,
        filters: &Filters,
        each: &mut dyn FnMut(Address, &Letter<'_>) -> Result<bool, Failure>,
    ) -> Result<Option<Cursor>, Failure> {
        while let Some((from, to)) = self.range(cursor.partition, filters) {
            let at = TopicPartition { topic: self.topic.clone(), partition: cursor.partition };
            let mut stopped: Option<Result<Cursor, Failure>> = None;
            let from = from.max(cursor.offset);
            if from < to {
                self.log.scan(&at, from, to, &mut |record| {
                    let Some(letter) = Letter::read(record).filter(|letter| filters.keep(at.partition, letter)) else {
                        return true;
                    };
                    let address = Address { partition: at.partition, offset: record.offset };
                    match each(address, &letter) {
                        Ok(true) => {}
                        Ok(false) => stopped = Some(Ok(Cursor { partition: at.partition, offset: record.offset + 1 })),
                        Err(failure) => stopped = Some(Err(failure)),
                    }
                    stopped.is_none()
                })?;
            }
            if let Some(stopped) = stopped {
                return stopped.map(Some);
            }
            cursor = Cursor { partition: cursor.partition + 1, offset: 0 };
        }
        Ok(None)
    }

    /// What of `partition` has to be read; `None`: there is no such partition.
    fn range(&self, partition: Partition, filters: &Filters) -> Option<(Offset, Offset)> {
        let (earliest, end) = *self.extents.get(partition as usize)?;
        if filters.at.is_empty() {
            return Some((earliest, end));
        }
        let asked = || filters.at.iter().filter(|address| address.partition == partition).map(|address| address.offset);
        Some((asked().min().unwrap_or(end).max(earliest), asked().max().map_or(earliest, |last| last + 1).min(end)))
    }

    /// Gives `look` the letter at `address`.
    fn one<T>(&self, address: Address, look: impl FnOnce(&Letter<'_>) -> T) -> Result<T, Failure> {
        let filters = Filters { at: vec![address], ..Filters::default() };
        let (mut look, mut found) = (Some(look), None);
        self.each(&filters, &mut |_, letter| {
            found = look.take().map(|look| look(letter));
            Ok(())
        })?;
        found.ok_or_else(|| {
            let message = format!("topic \"{}\" has no dead letter at {address}", self.topic);
            let help = match self.extents.get(address.partition as usize) {
                None => format!("it has {} partitions", self.extents.len()),
                Some((earliest, end)) => format!("partition {} holds offsets {earliest} to {end}", address.partition),
            };
            Failure::new(Exit::User, message).help(help)
        })
    }
}
