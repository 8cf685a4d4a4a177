//! How a roll is published: the only place where the durable writes of this crate are ordered.
//!
//! A roll holds the rows of one partition between two offsets of the log, in some files. It is published so:
//!
//! 1. rows are written to new files in the staging folder, which no reader looks into;
//! 2. these files and their names are made durable;
//! 3. a record of the roll, which names them, gets the name of its sequence number, if no record has that name already:
//!    THE PUBLICATION POINT, a single step of the file system;
//! 4. that name is made durable;
//! 5. the files are moved to the names that the record gives them, and these are made durable;
//! 6. the caller lets the log forget the rows.
//!
//! Why a crash changes nothing, wherever it comes:
//! - Before 3 nothing is published. The rows are still in the log, and the next life writes them again, into files of other names.
//!   What was staged is removed once its sequence number is taken.
//! - After 3 all of the roll is published: whoever opens the partition does 4 and 5 again, which changes nothing where they were
//!   done, and goes on at the record's next offset. A reader may see some of the files before the others, but each of them whole.
//! - Files are moved only after 2 and 4: even if the machine stops, there is no published file that is torn, and none whose record is
//!   gone, so that its rows would come again.
//!
//! Why two processes that publish one partition, as when one is taken for dead, cannot publish a row twice:
//! - A roll begins where the record before it ends, and takes the sequence number behind it. Of two that stand there only one gets
//!   the number; the other one is [overtaken](FilesError::Overtaken), throws its files away and opens the partition anew.
//! - Records are removed when they are [`ROLLS_KEPT`] rolls old. One that has slept for so long could take a number that is free
//!   again: so whoever has got a number looks whether there is a greater one, and then gives it back. Only the newest record is ever
//!   acted on by others.
//! - Nobody removes staged files that could still be published: only those whose number is taken.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use reelflow_core::{
    record::{Offset, Partition},
    stage::Batch,
    watermark::InputMark,
};
use reelflow_ports::files::{FilesError, OpenRoll, PartitionFiles, Published};
use tracing::warn;

use crate::{
    disk::{self, Disk, failed},
    format::{Finished, RowFormat, Writer},
    layout::{Layout, Slot, sequence_of, staged},
    record::{RollRecord, RolledFile},
};

/// How many records of a partition are kept, for people who look, and so that a name that is free again is noticed.
const ROLLS_KEPT: u64 = 100;
/// No sink has more files open at one time, but one for each partition: processes may have about 1,000. A partition that needs another
/// one finishes the file of its earliest event time, which is the least likely to get more rows.
const OPEN_FILES_MAX: usize = 256;
/// A roll with so many files is published at once.
const ROLL_FILES_MAX: usize = 512;
/// Rows of a partition that wait in memory for the end of their row group are written down when they take more than this.
const MEMORY_BYTES_MAX: usize = 16 << 20;

/// What all partitions of a sink share.
pub(crate) struct Shared {
    pub disk: Arc<dyn Disk>,
    pub layout: Layout,
    pub rows: RowFormat,
    /// How many files of all partitions are open.
    pub n_open: Arc<AtomicUsize>,
}

/// Counts as an open file for as long as it lives.
struct CountedOpen(Arc<AtomicUsize>);

/// The rolls of one partition.
pub(crate) struct Rolls {
    shared: Arc<Shared>,
    partition: Partition,
    /// Differs between any two lives of this partition.
    attempt: String,
    last: Option<RollRecord>,
    /// The offset of the first row of the open roll.
    first: Option<Offset>,
    open: BTreeMap<Slot, OpenFile>,
    written: Vec<WrittenFile>,
    n_begun: usize,
    n_rows: u64,
}

struct OpenFile {
    staged: String,
    writer: Writer,
    n_rows: u64,
    _open: CountedOpen,
}

/// A staged file whose contents are durable.
struct WrittenFile {
    slot: Slot,
    staged: String,
    n_rows: u64,
    n_bytes: u64,
    crc32: u32,
}

impl Rolls {
    /// Takes up a partition where its newest record says, after all that this record has left to do.
    pub fn open(shared: Arc<Shared>, partition: Partition) -> Result<Rolls, FilesError> {
        let layout = &shared.layout;
        shared.disk.make_folder(&layout.rolls(partition))?;
        shared.disk.make_folder(&layout.staging(partition))?;
        let last = newest(layout, partition)?;
        if let Some(last) = &last {
            // It may be a rival's, who has not come to this yet.
            shared.disk.sync_folder(&layout.rolls(partition))?;
            finish(&shared, last)?;
            remove_staged(&shared, partition, last.sequence)?;
        }
        Ok(Rolls {
            partition,
            attempt: attempt(),
            last,
            first: None,
            open: BTreeMap::new(),
            written: Vec::new(),
            n_begun: 0,
            n_rows: 0,
            shared,
        })
    }

    /// The number of the open roll.
    fn sequence(&self) -> u64 {
        self.last.as_ref().map_or(1, |last| last.sequence + 1)
    }

    fn staging(&self, name: &str) -> PathBuf {
        self.shared.layout.staging(self.partition).join(name)
    }

    fn write_to(&mut self, slot: Slot, batch: &Batch) -> Result<(), FilesError> {
        if !self.open.contains_key(&slot) {
            if self.shared.n_open.load(Ordering::Relaxed) >= OPEN_FILES_MAX
                && let Some((earliest, file)) = self.open.pop_first()
            {
                self.close(earliest, file)?;
            }
            let what = format!("{}.{}", self.n_begun, self.shared.layout.format.name());
            let staged = staged(self.sequence(), &self.attempt, &what);
            let path = self.staging(&staged);
            let writer = Writer::new(self.shared.disk.create(&path)?, path, &self.shared.rows)?;
            self.n_begun += 1;
            let open = CountedOpen::new(&self.shared.n_open);
            self.open.insert(slot, OpenFile { staged, writer, n_rows: 0, _open: open });
        }
        let file = self.open.get_mut(&slot).expect("it was just begun");
        file.writer.write(&self.shared.rows, batch)?;
        file.n_rows += batch.len() as u64;
        self.n_rows += batch.len() as u64;
        Ok(())
    }

    fn bound_memory(&mut self) -> Result<(), FilesError> {
        let in_memory: usize = self.open.values().map(|file| file.writer.memory_bytes()).sum();
        if in_memory <= MEMORY_BYTES_MAX {
            return Ok(());
        }
        let greatest = self.open.values_mut().max_by_key(|file| file.writer.memory_bytes());
        greatest.map_or(Ok(()), |file| file.writer.flush())
    }

    /// Ends a file and makes its contents durable.
    fn close(&mut self, slot: Slot, file: OpenFile) -> Result<(), FilesError> {
        let OpenFile { staged, writer, n_rows, _open } = file;
        let Finished { file, n_bytes, crc32 } = writer.finish()?;
        self.shared.disk.sync(&file, &self.staging(&staged))?;
        self.written.push(WrittenFile { slot, staged, n_rows, n_bytes, crc32 });
        Ok(())
    }

    fn close_all(&mut self) -> Result<(), FilesError> {
        std::mem::take(&mut self.open).into_iter().try_for_each(|(slot, file)| self.close(slot, file))
    }

    /// What the record says of the files of the open roll, all of which are closed.
    fn rolled_files(&mut self, first: Offset, next: Offset) -> Vec<RolledFile> {
        let mut n_of_slot: BTreeMap<Slot, usize> = BTreeMap::new();
        let layout = &self.shared.layout;
        let rolled = self.written.drain(..).map(|file| {
            let nth = n_of_slot.entry(file.slot).or_insert(0);
            let path = layout.published(file.slot, self.partition, first, next - 1, *nth);
            *nth += 1;
            RolledFile { staged: file.staged, path, rows: file.n_rows, bytes: file.n_bytes, crc32: file.crc32 }
        });
        rolled.collect()
    }

    /// Steps 3 and 4. `false`: the number is somebody else's.
    fn claim(&self, record: &RollRecord) -> Result<bool, FilesError> {
        let Shared { disk, layout, .. } = &*self.shared;
        let written = self.staging(&staged(record.sequence, &self.attempt, "json"));
        let mut file = disk.create(&written)?;
        file.write_all(&record.bytes()).map_err(|why| failed(&written, &why))?;
        disk.sync(&file, &written)?;
        let claimed = layout.roll(self.partition, record.sequence);
        if !disk.claim(&written, &claimed)? {
            return Ok(false);
        }
        let is_newest = sequences(layout, self.partition)?.last() == Some(&record.sequence);
        if !is_newest {
            disk.remove(&claimed)?;
            return Ok(false);
        }
        disk.sync_folder(&layout.rolls(self.partition))?;
        Ok(true)
    }

    fn remove_old_records(&self, newest: u64) -> Result<(), FilesError> {
        let Shared { disk, layout, .. } = &*self.shared;
        let old = sequences(layout, self.partition)?.into_iter().filter(|sequence| sequence + ROLLS_KEPT <= newest);
        old.into_iter().try_for_each(|sequence| disk.remove(&layout.roll(self.partition, sequence)))
    }
}

impl CountedOpen {
    fn new(n_open: &Arc<AtomicUsize>) -> CountedOpen {
        n_open.fetch_add(1, Ordering::Relaxed);
        CountedOpen(n_open.clone())
    }
}

impl Drop for CountedOpen {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl PartitionFiles for Rolls {
    fn next(&self) -> Option<Offset> {
        self.last.as_ref().map(|last| last.next)
    }

    fn mark(&self) -> InputMark {
        self.last.as_ref().map_or(InputMark::UNKNOWN, RollRecord::mark)
    }

    fn write(&mut self, offset: Offset, batch: &Batch) -> Result<(), FilesError> {
        assert!(self.next().is_none_or(|next| offset >= next), "offset {offset} is published already");
        self.first.get_or_insert(offset);
        let mut rows_of: BTreeMap<Slot, Vec<u32>> = BTreeMap::new();
        for (row, time) in (0..).zip(&batch.times) {
            rows_of.entry(self.shared.layout.slot(*time)).or_default().push(row);
        }
        for (slot, rows) in rows_of {
            if rows.len() == batch.len() {
                self.write_to(slot, batch)?;
            } else {
                self.write_to(slot, &batch.take(&rows))?;
            }
        }
        self.bound_memory()
    }

    fn open_roll(&self) -> OpenRoll {
        let of_open = self.open.values().map(|file| file.writer.n_bytes());
        let of_written = self.written.iter().map(|file| file.n_bytes);
        OpenRoll {
            n_rows: self.n_rows,
            n_files: self.n_begun,
            bytes_max: of_open.chain(of_written).max().unwrap_or(0),
            is_full: self.n_begun >= ROLL_FILES_MAX,
        }
    }

    fn publish(&mut self, next: Offset, mark: InputMark) -> Result<Published, FilesError> {
        let first = self.next().or(self.first).unwrap_or(next);
        assert!(first <= next, "a roll from {first} does not end at {next}");
        self.close_all()?;
        let files = self.rolled_files(first, next);
        if !files.is_empty() {
            self.shared.disk.sync_folder(&self.shared.layout.staging(self.partition))?;
        }
        let record = RollRecord::new(self.sequence(), self.partition, (first, next), mark, files);
        if !self.claim(&record)? {
            let staged = record.files.iter().map(|file| self.staging(&file.staged));
            let own_record = self.staging(&staged_record(&record, &self.attempt));
            staged.chain([own_record]).try_for_each(|path| self.shared.disk.remove(&path))?;
            return Err(FilesError::Overtaken { partition: self.partition });
        }
        finish(&self.shared, &record)?;
        remove_staged(&self.shared, self.partition, record.sequence)?;
        self.remove_old_records(record.sequence)?;
        let published = Published {
            n_rows: record.files.iter().map(|file| file.rows).sum(),
            n_files: record.files.len(),
            n_bytes: record.files.iter().map(|file| file.bytes).sum(),
        };
        (self.first, self.n_begun, self.n_rows, self.last) = (None, 0, 0, Some(record));
        Ok(published)
    }

    fn discard(&mut self) {
        let open = std::mem::take(&mut self.open).into_values().map(|file| file.staged);
        let written = std::mem::take(&mut self.written).into_iter().map(|file| file.staged);
        for staged in open.chain(written) {
            let path = self.staging(&staged);
            if let Err(error) = self.shared.disk.remove(&path) {
                // It is removed when its number is taken.
                warn!(path = %path.display(), %error, "could not remove a staged file");
            }
        }
        (self.first, self.n_begun, self.n_rows) = (None, 0, 0);
    }
}

/// The record of the last roll of a partition.
pub(crate) fn newest(layout: &Layout, partition: Partition) -> Result<Option<RollRecord>, FilesError> {
    let Some(sequence) = sequences(layout, partition)?.pop() else { return Ok(None) };
    let path = layout.roll(partition, sequence);
    let bytes = disk::read(&path)?.ok_or(FilesError::Overtaken { partition })?;
    let record = RollRecord::read(&bytes, &path)?;
    if (record.sequence, record.partition) != (sequence, partition) {
        let why = format!("it is roll {} of partition {}", record.sequence, record.partition);
        return Err(FilesError::Damaged { path, why });
    }
    Ok(Some(record))
}

/// Whether files of a roll still wait for their names.
pub(crate) fn is_unfinished(layout: &Layout, record: &RollRecord) -> bool {
    let staging = layout.staging(record.partition);
    record.files.iter().any(|file| staging.join(&file.staged).exists())
}

/// Step 5: gives the files of a roll their names. Changes nothing where that was done.
pub(crate) fn finish(shared: &Shared, record: &RollRecord) -> Result<(), FilesError> {
    let Shared { disk, layout, .. } = shared;
    let staging = layout.staging(record.partition);
    let mut folders: BTreeSet<PathBuf> = BTreeSet::new();
    for file in &record.files {
        let (staged, published) = (staging.join(&file.staged), layout.root.join(&file.path));
        let folder = published.parent().expect("a file lies in a folder").to_owned();
        if staged.exists() {
            disk.make_folder(&folder)?;
        }
        if !disk.rename(&staged, &published)? && !published.exists() {
            // It was durable before its record was: somebody removed it, as retention does.
            warn!(path = %published.display(), "a published file is gone");
        }
        if folder.exists() {
            folders.insert(folder);
        }
    }
    folders.iter().try_for_each(|folder| disk.sync_folder(folder))
}

/// Removes what was staged for rolls up to `sequence`: their numbers are taken, so no record will ever name it.
fn remove_staged(shared: &Shared, partition: Partition, sequence: u64) -> Result<(), FilesError> {
    let staging = shared.layout.staging(partition);
    let is_over = |name: &String| sequence_of(name).is_some_and(|of| of <= sequence);
    let over = disk::names(&staging)?.into_iter().filter(is_over);
    over.into_iter().try_for_each(|name| shared.disk.remove(&staging.join(name)))
}

fn staged_record(record: &RollRecord, attempt: &str) -> String {
    staged(record.sequence, attempt, "json")
}

/// The numbers of a partition's records, in order.
fn sequences(layout: &Layout, partition: Partition) -> Result<Vec<u64>, FilesError> {
    Ok(disk::names(&layout.rolls(partition))?.iter().filter_map(|name| sequence_of(name)).collect())
}

/// A word that no other life says: of other processes by their number and the time, of this one by counting.
pub(crate) fn attempt() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let nth = COUNT.fetch_add(1, Ordering::Relaxed);
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!("{:x}-{nanos:x}-{nth:x}", std::process::id())
}
