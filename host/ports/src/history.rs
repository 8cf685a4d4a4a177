//! The port to histories: records of a pipeline's sources from outside of the log, each with its place in the order of event time.
//!
//! The order is total, and the same whenever the same records are read: by event time; of equal times in the order in which they lie. So
//! a count of records says how far somebody has come.

use std::{path::PathBuf, sync::Arc};

use reelflow_core::{
    plan::SourceIdx,
    record::{Offset, Partition},
};

use crate::log::Who;

/// Records of the past, oldest first.
pub trait History: Send {
    /// Which records these are, in words: the same for the same ones.
    fn identity(&self) -> &str;

    /// Whose records there are.
    fn sources(&self) -> &[SourceIdx];

    /// How many there are.
    fn n_records(&self) -> u64;

    /// Where the topics of the sources go on behind the records, in each partition that had any. Empty: nobody asked.
    fn next_offsets(&self) -> &[(SourceIdx, Partition, Offset)] {
        &[]
    }

    /// The next one, or `None` after the last.
    fn next(&mut self) -> Result<Option<Past<'_>>, HistoryError>;
}

/// A record as the topic of its source would have held it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past<'a> {
    pub source: SourceIdx,
    pub partition: Partition,
    /// What it has its place by.
    pub time_ms: i64,
    /// What the log would have said of its time.
    pub timestamp_ms: i64,
    pub key: Option<&'a [u8]>,
    /// `None`: its key is deleted.
    pub value: Option<&'a [u8]>,
    /// Where a record lies that its source will refuse: the file and, behind a colon, the line or row, from 1.
    pub origin: Option<&'a str>,
}

/// What went wrong with a history, by what can be done about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    #[error("\"{}\" does not exist", .0.display())]
    Missing(PathBuf),
    #[error("no file has a name like \"{}\"", .0.display())]
    NothingFound(PathBuf),
    /// A file that would be left out without a word.
    #[error("\"{}\" is no {wanted} file by its name", .path.display())]
    Foreign { path: PathBuf, wanted: &'static str },
    #[error("\"{0}\" is no pattern: {1}")]
    Pattern(String, String),
    #[error("folders are nested too deep at \"{}\"", .0.display())]
    TooDeep(PathBuf),
    #[error("\"{}\" cannot be read: {why}", .path.display())]
    Unreadable { path: PathBuf, why: String },
    /// Cut off, or of another format.
    #[error("\"{}\" is damaged: {why}", .path.display())]
    Damaged { path: PathBuf, why: String },
    #[error("\"{}\" is compressed with {codec}", .path.display())]
    Codec { path: PathBuf, codec: String },
    #[error("\"{}\" has no column \"{column}\"", .path.display())]
    ColumnMissing { path: PathBuf, column: String },
    #[error("column \"{column}\" of \"{}\" is {found}, not {wanted}", .path.display())]
    ColumnType { path: PathBuf, column: String, found: String, wanted: &'static str },
    #[error("no record lies there{}", if *.in_range { " within the times asked for" } else { "" })]
    Empty { in_range: bool },
    #[error("the records are not those that this backfill began with: {is}, and were {was}")]
    Changed { was: String, is: String },
    /// The log has forgotten the position that counts them.
    #[error("topic \"{0}\" holds records of a history, and nothing says how many were loaded")]
    Uncounted(Arc<str>),
    /// Records that are neither in the files nor in the topic any more.
    #[error("the files end before offset {next} of {at}, which begins at {earliest} by now: what lay between is in neither")]
    Gap { at: String, next: Offset, earliest: Offset },
    #[error("the files go up to offset {next} of {at}, which ends at {end}: they are of another topic")]
    Beyond { at: String, next: Offset, end: Offset },
    /// A history cannot come before what was read already.
    #[error("pipeline \"{0}\" has read its topics already")]
    Live(Arc<str>),
    #[error("its history is being replayed, and not done")]
    UnderWay(Arc<str>),
    #[error("other processes are in the group of pipeline \"{0}\"")]
    NotAlone(Arc<str>),
    #[error("no space is left for \"{}\"", .0.display())]
    DiskFull(PathBuf),
    /// What is kept in between cannot be written or read.
    #[error("\"{}\": {why}", .path.display())]
    Unavailable { path: PathBuf, why: String },
}

impl HistoryError {
    pub fn who(&self) -> Who {
        match self {
            HistoryError::Missing(_)
            | HistoryError::NothingFound(_)
            | HistoryError::Foreign { .. }
            | HistoryError::Pattern(..)
            | HistoryError::TooDeep(_)
            | HistoryError::Unreadable { .. }
            | HistoryError::Damaged { .. }
            | HistoryError::Codec { .. }
            | HistoryError::ColumnMissing { .. }
            | HistoryError::ColumnType { .. }
            | HistoryError::Empty { .. }
            | HistoryError::Changed { .. }
            | HistoryError::Uncounted(_)
            | HistoryError::Gap { .. }
            | HistoryError::Beyond { .. }
            | HistoryError::Live(_)
            | HistoryError::UnderWay(_)
            | HistoryError::NotAlone(_) => Who::User,
            HistoryError::DiskFull(_) | HistoryError::Unavailable { .. } => Who::Environment,
        }
    }
}

/// Source, partition, event time, key, value.
pub type RememberedRecord = (SourceIdx, Partition, i64, Option<Vec<u8>>, Vec<u8>);

/// A history in memory.
#[derive(Clone, Debug)]
pub struct Remembered {
    pub identity: String,
    pub sources: Vec<SourceIdx>,
    /// In order.
    pub records: Vec<RememberedRecord>,
    pub next_offsets: Vec<(SourceIdx, Partition, Offset)>,
    next: usize,
}

impl Remembered {
    pub fn new(identity: &str, records: Vec<RememberedRecord>) -> Remembered {
        let sources: std::collections::BTreeSet<SourceIdx> = records.iter().map(|(source, ..)| *source).collect();
        Remembered {
            identity: identity.to_owned(),
            sources: sources.into_iter().collect(),
            records,
            next_offsets: Vec::new(),
            next: 0,
        }
    }
}

impl History for Remembered {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn sources(&self) -> &[SourceIdx] {
        &self.sources
    }

    fn n_records(&self) -> u64 {
        self.records.len() as u64
    }

    fn next_offsets(&self) -> &[(SourceIdx, Partition, Offset)] {
        &self.next_offsets
    }

    fn next(&mut self) -> Result<Option<Past<'_>>, HistoryError> {
        let Some((source, partition, time_ms, key, value)) = self.records.get(self.next) else { return Ok(None) };
        self.next += 1;
        let (source, partition, time_ms, key) = (*source, *partition, *time_ms, key.as_deref());
        Ok(Some(Past { source, partition, time_ms, timestamp_ms: time_ms, key, value: Some(value), origin: None }))
    }
}
