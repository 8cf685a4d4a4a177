//! Sorting more than fits into memory: runs of 64 MB are sorted and written, then merged.
//!
//! Runs lie in files without a name, which no other process can find and which are gone when this one ends. Where there are too many to
//! be merged at once, some are merged to a longer one first.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{self, BufReader, BufWriter, ErrorKind, Read, Seek, Write},
    mem,
    path::{Path, PathBuf},
};

use reelflow_core::record::Partition;
use reelflow_ports::history::HistoryError;

/// A run is written when its records take so many bytes.
const RUN_BYTES: usize = 64 << 20;
/// So many runs are merged at once: each needs an open file and a window of zstd.
const MERGED_MAX: usize = 64;
/// Records repeat themselves; more effort than the least takes longer than it saves.
const ZSTD_LEVEL: i32 = 1;
/// Stands for a key, an origin or a value that a record does not have.
const ABSENT: u32 = u32::MAX;
/// The bytes of a record in front of its key.
const HEAD_BYTES: usize = 44;

/// A record with its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub time_ms: i64,
    pub source: u32,
    pub partition: Partition,
    pub timestamp_ms: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub origin: Option<&'a [u8]>,
}

/// What records are sorted by: event time, and the number in which they came.
type Place = (i64, u64);

/// Takes records in any order.
pub(super) struct Sorter {
    folder: PathBuf,
    run_bytes: usize,
    merged_max: usize,
    bytes: Vec<u8>,
    /// Where in `bytes` each record begins.
    index: Vec<(Place, usize)>,
    /// Written runs; those at `n` were merged `n` times.
    runs: Vec<Vec<File>>,
    n_records: u64,
    crc: crc32fast::Hasher,
}

/// Gives them in order.
pub(super) struct Sorted {
    merge: Merge,
    n_records: u64,
    crc32: u32,
}

impl Sorter {
    /// `folder`: where runs lie.
    pub fn new(folder: &Path) -> Sorter {
        Sorter::with_limits(folder, RUN_BYTES, MERGED_MAX)
    }

    fn with_limits(folder: &Path, run_bytes: usize, merged_max: usize) -> Sorter {
        Sorter {
            folder: folder.to_owned(),
            run_bytes,
            merged_max,
            bytes: Vec::new(),
            index: Vec::new(),
            runs: vec![Vec::new()],
            n_records: 0,
            crc: crc32fast::Hasher::new(),
        }
    }

    pub fn push(&mut self, entry: &Entry<'_>) -> Result<(), HistoryError> {
        let start = self.bytes.len();
        let place = (entry.time_ms, self.n_records);
        encode(place, entry, &mut self.bytes);
        self.crc.update(&self.bytes[start..]);
        self.index.push((place, start));
        self.n_records += 1;
        if self.bytes.len() >= self.run_bytes { self.write_run() } else { Ok(()) }
    }

    pub fn finish(mut self) -> Result<Sorted, HistoryError> {
        self.write_run()?;
        let mut left: Vec<File> = mem::take(&mut self.runs).into_iter().flatten().collect();
        while left.len() > self.merged_max {
            let rest = left.split_off(self.merged_max);
            let merged = self.merged(mem::replace(&mut left, rest))?;
            left.push(merged);
        }
        let merge = Merge::new(&self.folder, left)?;
        Ok(Sorted { merge, n_records: self.n_records, crc32: self.crc.finalize() })
    }

    fn write_run(&mut self) -> Result<(), HistoryError> {
        if self.index.is_empty() {
            return Ok(());
        }
        self.index.sort_unstable();
        let mut run = RunWriter::new(&self.folder)?;
        for (_, start) in &self.index {
            let n_bytes = n_bytes(self.bytes[*start..][..HEAD_BYTES].try_into().expect("the head was written"));
            run.write(&self.bytes[*start..][..n_bytes])?;
        }
        self.bytes.clear();
        self.index.clear();
        self.runs[0].push(run.finish()?);
        for level in 0.. {
            if self.runs[level].len() < self.merged_max {
                break;
            }
            let full = mem::take(&mut self.runs[level]);
            let merged = self.merged(full)?;
            if self.runs.len() == level + 1 {
                self.runs.push(Vec::new());
            }
            self.runs[level + 1].push(merged);
        }
        Ok(())
    }

    /// One run of several.
    fn merged(&self, runs: Vec<File>) -> Result<File, HistoryError> {
        let mut merge = Merge::new(&self.folder, runs)?;
        let mut to = RunWriter::new(&self.folder)?;
        while let Some(bytes) = merge.next()? {
            to.write(bytes)?;
        }
        to.finish()
    }
}

impl Sorted {
    pub fn n_records(&self) -> u64 {
        self.n_records
    }

    /// Of all records, as they came.
    pub fn crc32(&self) -> u32 {
        self.crc32
    }

    pub fn next(&mut self) -> Result<Option<Entry<'_>>, HistoryError> {
        Ok(self.merge.next()?.map(decode))
    }
}

/// Several runs as one.
struct Merge {
    folder: PathBuf,
    runs: Vec<RunReader>,
    /// The place of the next record of each run that has one.
    next: BinaryHeap<Reverse<(Place, usize)>>,
    /// The run whose record was given last.
    given: Option<usize>,
}

impl Merge {
    fn new(folder: &Path, runs: Vec<File>) -> Result<Merge, HistoryError> {
        let runs = runs.into_iter().map(RunReader::new).collect::<io::Result<Vec<_>>>().map_err(|why| failed(folder, &why))?;
        let mut merge = Merge { folder: folder.to_owned(), runs, next: BinaryHeap::new(), given: None };
        (0..merge.runs.len()).try_for_each(|run| merge.advance(run))?;
        Ok(merge)
    }

    fn advance(&mut self, run: usize) -> Result<(), HistoryError> {
        let place = self.runs[run].advance().map_err(|why| failed(&self.folder, &why))?;
        self.next.extend(place.map(|place| Reverse((place, run))));
        Ok(())
    }

    fn next(&mut self) -> Result<Option<&[u8]>, HistoryError> {
        if let Some(run) = self.given.take() {
            self.advance(run)?;
        }
        let Some(Reverse((_, run))) = self.next.pop() else { return Ok(None) };
        self.given = Some(run);
        Ok(Some(&self.runs[run].record))
    }
}

struct RunWriter {
    folder: PathBuf,
    file: zstd::stream::write::Encoder<'static, BufWriter<File>>,
}

impl RunWriter {
    fn new(folder: &Path) -> Result<RunWriter, HistoryError> {
        let file = tempfile::tempfile_in(folder).map(BufWriter::new);
        let file =
            file.and_then(|file| zstd::stream::write::Encoder::new(file, ZSTD_LEVEL)).map_err(|why| failed(folder, &why))?;
        Ok(RunWriter { folder: folder.to_owned(), file })
    }

    fn write(&mut self, record: &[u8]) -> Result<(), HistoryError> {
        self.file.write_all(record).map_err(|why| failed(&self.folder, &why))
    }

    fn finish(self) -> Result<File, HistoryError> {
        let finished = self.file.finish().and_then(|file| file.into_inner().map_err(io::IntoInnerError::into_error));
        finished.map_err(|why| failed(&self.folder, &why))
    }
}

struct RunReader {
    file: zstd::stream::read::Decoder<'static, BufReader<File>>,
    record: Vec<u8>,
}

impl RunReader {
    fn new(mut file: File) -> io::Result<RunReader> {
        file.rewind()?;
        Ok(RunReader { file: zstd::stream::read::Decoder::new(file)?, record: Vec::new() })
    }

    /// Reads the next record and gives its place.
    fn advance(&mut self) -> io::Result<Option<Place>> {
        let mut head = [0; HEAD_BYTES];
        if self.file.read(&mut head[..1])? == 0 {
            return Ok(None);
        }
        self.file.read_exact(&mut head[1..])?;
        self.record.clear();
        self.record.extend_from_slice(&head);
        self.record.resize(n_bytes(head), 0);
        self.file.read_exact(&mut self.record[HEAD_BYTES..])?;
        let mut fields = &head[..];
        let time_ms = i64::from_le_bytes(take(&mut fields));
        Ok(Some((time_ms, u64::from_le_bytes(take(&mut fields)))))
    }
}

/// Time, number, timestamp, source, partition; the lengths of key, origin and value; then these.
fn encode((time_ms, number): Place, entry: &Entry<'_>, to: &mut Vec<u8>) {
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).expect("values have at most 64 MiB");
    to.extend_from_slice(&time_ms.to_le_bytes());
    to.extend_from_slice(&number.to_le_bytes());
    to.extend_from_slice(&entry.timestamp_ms.to_le_bytes());
    for word in [
        entry.source,
        entry.partition,
        entry.key.map_or(ABSENT, len),
        entry.origin.map_or(ABSENT, len),
        entry.value.map_or(ABSENT, len),
    ] {
        to.extend_from_slice(&word.to_le_bytes());
    }
    for part in [entry.key.unwrap_or_default(), entry.origin.unwrap_or_default(), entry.value.unwrap_or_default()] {
        to.extend_from_slice(part);
    }
}

fn decode(record: &[u8]) -> Entry<'_> {
    let (mut head, mut rest) = record.split_at(HEAD_BYTES);
    let time_ms = i64::from_le_bytes(take(&mut head));
    let _number = u64::from_le_bytes(take(&mut head));
    let timestamp_ms = i64::from_le_bytes(take(&mut head));
    let [source, partition, key, origin, value] = [(); 5].map(|()| u32::from_le_bytes(take(&mut head)));
    let mut part = |n_bytes: u32| {
        let (part, after) = rest.split_at(n_bytes as usize);
        rest = after;
        part
    };
    let key = (key != ABSENT).then(|| part(key));
    let origin = (origin != ABSENT).then(|| part(origin));
    let value = (value != ABSENT).then(|| part(value));
    Entry { time_ms, source, partition, timestamp_ms, key, origin, value }
}

/// How many bytes a record has, by its head.
fn n_bytes(head: [u8; HEAD_BYTES]) -> usize {
    let mut lens = &head[HEAD_BYTES - 12..];
    let len = |bytes: u32| if bytes == ABSENT { 0 } else { bytes as usize };
    let lens = [(); 3].map(|()| len(u32::from_le_bytes(take(&mut lens))));
    HEAD_BYTES + lens.iter().sum::<usize>()
}

fn take<const N: usize>(from: &mut &[u8]) -> [u8; N] {
    let (taken, rest) = from.split_first_chunk().expect("a head is whole");
    *from = rest;
    *taken
}

fn failed(folder: &Path, why: &io::Error) -> HistoryError {
    match why.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => HistoryError::DiskFull(folder.to_owned()),
        _ => HistoryError::Unavailable { path: folder.to_owned(), why: why.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(times: &[i64], run_bytes: usize, merged_max: usize) {
        let folder = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::with_limits(folder.path(), run_bytes, merged_max);
        let values: Vec<String> = (0..times.len()).map(|idx| format!("value {idx}")).collect();
        let entry = |idx: usize| Entry {
            time_ms: times[idx],
            source: idx as u32 % 3,
            partition: idx as u32 % 5,
            timestamp_ms: !times[idx],
            key: idx.is_multiple_of(2).then(|| values[idx].as_bytes()),
            value: (!idx.is_multiple_of(3)).then(|| values[idx].as_bytes()),
            origin: idx.is_multiple_of(7).then_some(b"" as &[u8]),
        };
        (0..times.len()).try_for_each(|idx| sorter.push(&entry(idx))).unwrap();
        let mut sorted = sorter.finish().unwrap();
        let mut expected: Vec<usize> = (0..times.len()).collect();
        expected.sort_by_key(|idx| (times[*idx], *idx));
        assert_eq!(sorted.n_records(), times.len() as u64);
        for idx in expected {
            assert_eq!(sorted.next().unwrap(), Some(entry(idx)));
        }
        assert_eq!(sorted.next().unwrap(), None);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "runs have no names");
    }

    #[test]
    fn however_many_runs_there_are() {
        let times: Vec<i64> = (0..500).map(|idx| (idx * 7919 % 101) - 50).collect();
        for (run_bytes, merged_max) in [(1 << 20, 64), (1 << 10, 64), (1, 64), (1, 2), (300, 3)] {
            check(&times, run_bytes, merged_max);
        }
        check(&[], 1, 2);
        check(&[i64::MAX, i64::MIN, 0], 1, 2);
    }

    #[test]
    fn a_folder_that_is_not_there_is_told() {
        let mut sorter = Sorter::with_limits(Path::new("nowhere/to/be/found"), 1, 2);
        let entry = Entry { time_ms: 0, source: 0, partition: 0, timestamp_ms: 0, key: None, value: Some(b""), origin: None };
        assert!(matches!(sorter.push(&entry), Err(HistoryError::Unavailable { .. })));
    }
}
