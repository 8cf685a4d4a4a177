//! The port to file sinks: a folder in which the rows of a log partition are published, each in one file.
//!
//! Rows are published in *rolls*: all rows of one partition of the sink's topic between two offsets. A roll is published whole or
//! not at all, and the folder alone knows which was the last one. So whoever publishes a partition asks the folder where to go on,
//! and two that publish the same partition cannot publish a row twice: one of them finds out that it was [overtaken].
//!
//! [overtaken]: FilesError::Overtaken

use std::path::PathBuf;

use reelflow_core::{
    record::{Offset, Partition},
    stage::Batch,
    watermark::InputMark,
};

use crate::log::Who;

/// The folder of one sink. Shared by all partitions.
pub trait FileSink: Send + Sync {
    /// Makes the folder if it is missing, and checks that it is this sink's and can be written. Publishes nothing.
    fn prepare(&self) -> Result<(), FilesError>;

    /// Takes up a partition: finishes what the last roll has left to do and removes what no roll names.
    fn open(&self, partition: Partition) -> Result<Box<dyn PartitionFiles>, FilesError>;

    /// Marks the folders of event time that the watermarks of all partitions have passed, as far as they are published. Returns how
    /// many are new. O(folders).
    fn mark_complete(&self) -> Result<usize, FilesError>;
}

/// One partition of a sink: the published rolls, and the one that is being written. After an error it must be dropped and opened
/// anew; what was not published is then read again.
pub trait PartitionFiles: Send {
    /// The offset behind the last published roll; `None` if nothing was published yet.
    fn next(&self) -> Option<Offset>;

    /// How far the task had come at the end of the last published roll.
    fn mark(&self) -> InputMark;

    /// Writes rows into the open roll, where no reader sees them. `offset` is that of the record they came from.
    fn write(&mut self, offset: Offset, batch: &Batch) -> Result<(), FilesError>;

    /// What the open roll holds so far.
    fn open_roll(&self) -> OpenRoll;

    /// Publishes the open roll, which may be empty: all rows before offset `next`, at whose end the task had come to `mark`.
    fn publish(&mut self, next: Offset, mark: InputMark) -> Result<Published, FilesError>;

    /// Gives up the open roll, and removes what was written of it.
    fn discard(&mut self);
}

/// What was written and not published yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenRoll {
    pub n_rows: u64,
    pub n_files: usize,
    /// Of the longest file.
    pub bytes_max: u64,
    /// No more files should be begun.
    pub is_full: bool,
}

/// What a roll has published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    pub n_rows: u64,
    pub n_files: usize,
    pub n_bytes: u64,
}

/// What went wrong with a folder, by what can be done about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilesError {
    #[error("\"{}\" is not a folder", .0.display())]
    NotAFolder(PathBuf),
    #[error("\"{}\" cannot be written: {why}", .path.display())]
    Denied { path: PathBuf, why: String },
    /// What a sink needs and this file system does not have.
    #[error("\"{}\" is on a file system that cannot publish: {why}", .path.display())]
    Unfit { path: PathBuf, why: String },
    /// Of another pipeline or sink, in another format or division.
    #[error("\"{}\" holds {found}, not {wanted}", .path.display())]
    Foreign { path: PathBuf, found: String, wanted: String },
    /// Written by a newer build, or by none.
    #[error("\"{}\" cannot be read: {why}", .path.display())]
    Damaged { path: PathBuf, why: String },
    /// The log was created anew, or is another one.
    #[error("the folder has published partition {partition} up to offset {next}, but the log ends at {end}")]
    Ahead { partition: Partition, next: Offset, end: Offset },
    /// The folder was emptied, or is another one.
    #[error("rows of partition {partition} before offset {earliest} were published, but not in this folder")]
    Behind { partition: Partition, earliest: Offset },
    /// Rows that wait to be published are not those that the sink writes now.
    #[error("rows of partition {partition} at offset {offset} cannot be read: {why}")]
    Unreadable { partition: Partition, offset: Offset, why: String },
    #[error("no space is left for \"{}\"", .0.display())]
    DiskFull(PathBuf),
    #[error("\"{}\": {why}", .path.display())]
    Unavailable { path: PathBuf, why: String },
    /// Another process has published a roll of this partition meanwhile: nothing of the open one was published.
    #[error("another process has published partition {partition} meanwhile")]
    Overtaken { partition: Partition },
}

impl FilesError {
    pub fn who(&self) -> Who {
        match self {
            FilesError::NotAFolder(_)
            | FilesError::Denied { .. }
            | FilesError::Unfit { .. }
            | FilesError::Foreign { .. }
            | FilesError::Damaged { .. }
            | FilesError::Ahead { .. }
            | FilesError::Behind { .. }
            | FilesError::Unreadable { .. } => Who::User,
            FilesError::DiskFull(_) | FilesError::Unavailable { .. } | FilesError::Overtaken { .. } => Who::Environment,
        }
    }
}
