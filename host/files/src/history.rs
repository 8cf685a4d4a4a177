//! The histories of a pipeline's sources: files that lie somehow, put in the order of event time.
//!
//! What order that is:
//! 1. sources in the order of the manifest, their files in the order of their paths, records as they lie in a file: so records get
//!    their numbers;
//! 2. all records of all sources are sorted by (event time, number). No file needs to be sorted, and files may overlap.
//!
//! A record whose event time cannot be read has that of the record before it in its file (before all, if there is none), so it is
//! refused among its neighbours.
//!
//! Everything is read once from its files and once from the sorted runs that [`sorter`] keeps on disk; in memory are a run of 64 MB, or
//! a block of each of the runs that are merged, whatever the length of the files.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use reelflow_core::{
    history::{HistoryPlan, TimeRange},
    plan::{FileFormat, SourceIdx},
    record::{Offset, Partition},
};
use reelflow_ports::history::{History, HistoryError, Past};

use self::{
    lines::Lines,
    listing::Found,
    place::{Lay, Place, Places},
    rows::ParquetRows,
    sorter::{Entry, Sorted, Sorter},
};

mod lines;
mod listing;
mod place;
mod rows;
mod sorter;

/// Records are placed so many at a time.
const PLACE_RECORDS: usize = 1024;
/// And at most so many bytes.
const PLACE_BYTES: usize = 1 << 20;

/// The history of a pipeline in local files.
pub struct LocalHistory {
    identity: String,
    sources: Vec<SourceIdx>,
    next_offsets: Vec<(SourceIdx, Partition, Offset)>,
    sorted: Sorted,
    origin: String,
}

/// What is read, and how far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    pub n_bytes: u64,
    pub n_bytes_all: u64,
}

/// A history that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// Whose files these are.
    pub source: Arc<str>,
    pub why: HistoryError,
}

impl LocalHistory {
    /// Reads and sorts the files of `plans`, whose paths are relative to `base`; keeps what is sorted in nameless files in the folder
    /// `spool`, which vanish with this process. `watch` is told how far it is.
    ///
    /// Every file is looked at before the first is read, so that all that is wrong with them is told at once.
    pub fn open(
        base: &Path,
        plans: &[HistoryPlan],
        range: TimeRange,
        n_partitions: u32,
        spool: &Path,
        watch: &mut dyn FnMut(Reading),
    ) -> Result<LocalHistory, Vec<Unusable>> {
        let files = look(base, plans)?;
        let mut reading = Reading { n_bytes: 0, n_bytes_all: files.iter().flatten().map(|found| found.n_bytes).sum() };
        let (mut sorter, mut next_offsets) = (Sorter::new(spool), Vec::new());
        for (plan, files) in plans.iter().zip(&files) {
            let unusable = |why| vec![Unusable { source: plan.name.clone(), why }];
            let mut reader = SourceReader::new(plan, range, n_partitions);
            for file in files {
                let before = reading;
                reader
                    .read(file, &mut sorter, &mut |n_bytes| {
                        reading.n_bytes = before.n_bytes + n_bytes;
                        watch(reading);
                    })
                    .map_err(unusable)?;
                reading.n_bytes = before.n_bytes + file.n_bytes;
            }
            if reader.n_read == 0 {
                return Err(unusable(HistoryError::Empty { in_range: false }));
            }
            next_offsets.extend(reader.next_offsets.into_iter().map(|(partition, next)| (plan.source, partition, next)));
        }
        let unusable = |why| vec![Unusable { source: plans[0].name.clone(), why }];
        let sorted = sorter.finish().map_err(unusable)?;
        if sorted.n_records() == 0 {
            return Err(unusable(HistoryError::Empty { in_range: true }));
        }
        let identity = format!("{} records {:08x} in {n_partitions} partitions", sorted.n_records(), sorted.crc32());
        let sources = plans.iter().map(|plan| plan.source).collect();
        Ok(LocalHistory { identity, sources, next_offsets, sorted, origin: String::new() })
    }
}

impl History for LocalHistory {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn sources(&self) -> &[SourceIdx] {
        &self.sources
    }

    fn n_records(&self) -> u64 {
        self.sorted.n_records()
    }

    fn next_offsets(&self) -> &[(SourceIdx, Partition, Offset)] {
        &self.next_offsets
    }

    fn next(&mut self) -> Result<Option<Past<'_>>, HistoryError> {
        let Some(entry) = self.sorted.next()? else { return Ok(None) };
        let Entry { time_ms, source, partition, timestamp_ms, key, value, origin } = entry;
        self.origin.clear();
        self.origin.push_str(&String::from_utf8_lossy(origin.unwrap_or_default()));
        let origin = origin.map(|_| self.origin.as_str());
        Ok(Some(Past { source: source as usize, partition, time_ms, timestamp_ms, key, value, origin }))
    }
}

/// The files of each plan, all of them looked at.
fn look(base: &Path, plans: &[HistoryPlan]) -> Result<Vec<Vec<Found>>, Vec<Unusable>> {
    let (mut all, mut problems) = (Vec::new(), Vec::new());
    for plan in plans {
        let mut unusable = |why| problems.push(Unusable { source: plan.name.clone(), why });
        match listing::list(base, &plan.path, plan.format) {
            Ok(files) => {
                for file in files.iter().filter(|_| plan.format == FileFormat::Parquet) {
                    ParquetRows::open(&file.path, &plan.schema).err().into_iter().flatten().for_each(&mut unusable);
                }
                if files.is_empty() {
                    unusable(HistoryError::Empty { in_range: false });
                }
                all.push(files);
            }
            Err(why) => unusable(why),
        }
    }
    if problems.is_empty() { Ok(all) } else { Err(problems) }
}

/// One file, record by record.
enum Records {
    Lines(Lines),
    Rows(Box<ParquetRows>),
}

/// The files of one source.
struct SourceReader<'a> {
    plan: &'a HistoryPlan,
    range: TimeRange,
    places: Places,
    /// Records that were read and have no place yet: their bytes, and where each ends.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    n_read: u64,
    /// Where each partition of the topic goes on behind what was read.
    next_offsets: BTreeMap<Partition, Offset>,
}

impl<'a> SourceReader<'a> {
    fn new(plan: &'a HistoryPlan, range: TimeRange, n_partitions: u32) -> SourceReader<'a> {
        SourceReader {
            plan,
            range,
            places: Places::new(plan, n_partitions),
            bytes: Vec::new(),
            ends: Vec::new(),
            n_read: 0,
            next_offsets: BTreeMap::new(),
        }
    }

    /// Puts the records of `file` into `sorter`. `watch` is told how many bytes of it are read.
    fn read(&mut self, file: &Found, sorter: &mut Sorter, watch: &mut dyn FnMut(u64)) -> Result<(), HistoryError> {
        let path = &file.path;
        let mut records = match self.plan.format {
            FileFormat::Ndjson => Records::Lines(Lines::open(path, self.plan.value_bytes_max)?),
            FileFormat::Parquet => match ParquetRows::open(path, &self.plan.schema) {
                Ok(rows) => Records::Rows(Box::new(rows)),
                Err(mut problems) => return Err(problems.remove(0)),
            },
        };
        self.places.begin();
        let (mut value, mut n_bytes, mut n_placed, mut is_torn) = (Vec::new(), 0, 0, false);
        loop {
            let next = match &mut records {
                Records::Lines(lines) => lines.next(path, &mut value)?.map(|line| {
                    is_torn = !line.has_break;
                    line.n_bytes
                }),
                Records::Rows(rows) => rows.next(path, &mut value)?,
            };
            if let Some(n_bytes_more) = next {
                self.bytes.extend_from_slice(&value);
                self.ends.push(self.bytes.len());
                n_bytes += n_bytes_more;
            }
            if next.is_none() || self.ends.len() >= PLACE_RECORDS || self.bytes.len() >= PLACE_BYTES {
                let is_torn = next.is_none() && is_torn;
                self.place(file, n_placed, is_torn, sorter)?;
                n_placed += self.ends.len() as u64;
                self.bytes.clear();
                self.ends.clear();
                watch(n_bytes);
            }
            if next.is_none() {
                self.n_read += n_placed;
                return Ok(());
            }
        }
    }

    /// Places what was read; `n_before` records of the file were placed before. `is_torn`: the last one lacks its line break.
    fn place(&mut self, file: &Found, n_before: u64, is_torn: bool, sorter: &mut Sorter) -> Result<(), HistoryError> {
        let starts = || [0].into_iter().chain(self.ends.iter().copied());
        let values: Vec<&[u8]> = starts().zip(&self.ends).map(|(start, end)| &self.bytes[start..*end]).collect();
        let places = self.places.place(&values);
        let last = values.len().checked_sub(1);
        for (idx, (place, value)) in places.into_iter().zip(&values).enumerate() {
            let number = n_before + idx as u64 + 1;
            let damaged = |why: String| HistoryError::Damaged { path: file.path.clone(), why };
            let Place { time_ms, timestamp_ms, partition, key, is_refused, is_deleted, lay } = place;
            if is_refused && is_torn && Some(idx) == last {
                return Err(damaged(format!("it ends within line {number}")));
            }
            let Some(timestamp_ms) = timestamp_ms else {
                return Err(damaged(format!("record {number} has no timestamp, by which its source orders records")));
            };
            match lay {
                Lay::Unasked | Lay::Broken => {}
                Lay::At(offset) => {
                    let next = self.next_offsets.entry(partition).or_default();
                    *next = (*next).max(offset + 1);
                }
                Lay::Nowhere => {
                    return Err(damaged(format!(
                        "record {number} does not say at which partition and offset of the topic it lay"
                    )));
                }
            }
            if !self.range.contains(reelflow_core::time::EventTime(time_ms)) {
                continue;
            }
            let origin = is_refused.then(|| format!("{}:{number}", file.name));
            sorter.push(&Entry {
                time_ms,
                source: self.plan.source as u32,
                partition,
                timestamp_ms,
                key: key.as_deref(),
                value: (!is_deleted).then_some(*value),
                origin: origin.as_deref().map(str::as_bytes),
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
