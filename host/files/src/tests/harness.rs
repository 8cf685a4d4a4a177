//! A sink in a temporary folder, the rows that wait for it, and what a reader of the folder sees.

use std::{
    collections::BTreeMap,
    fs,
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
};

use reelflow_core::{
    column::{RowBuilder, Value},
    plan::{Divided, FileFormat, FilesPlan, Plan, SinkPlan},
    record::Offset,
    schema::{Field, FieldType, Schema},
    stage::Batch,
    time::{EventTime, Watermark},
    watermark::InputMark,
};
use reelflow_ports::files::{FileSink, FilesError};

use crate::{
    disk::{Disk, LocalDisk},
    sink::LocalSink,
};

pub const HOUR_MS: i64 = 3_600_000;

pub fn field(name: &str, field_type: FieldType, required: bool) -> Field {
    Field { name: name.to_owned(), path: name.to_owned(), field_type, required }
}

pub fn plan(format: FileFormat, divided: Divided) -> Plan {
    let files = FilesPlan { path: "out/rows".into(), format, divided, roll_every_ms: 1_000, roll_bytes: 1 << 20 };
    let sink = SinkPlan {
        name: "rows".into(),
        topic: "reel.p.files.rows".into(),
        n_partitions: 2,
        schema: Schema { fields: vec![field("id", FieldType::Int, true)] },
        key: Vec::new(),
        upsert: false,
        tombstone: None,
        format: Default::default(),
        files: Some(files),
    };
    Plan {
        name: "p".into(),
        n_partitions: 2,
        sources: Vec::new(),
        stages: Vec::new(),
        shuffles: Vec::new(),
        sinks: vec![sink],
        fragments: Vec::new(),
        dead_letter_topic: "dead.p".into(),
        side_partitions: 2,
        changelog_topic: "reel.p.changelog".into(),
        resets: Default::default(),
    }
}

/// The sink of `plan(Ndjson, Hourly)` in `folder`.
pub fn sink(folder: &Path, disk: Arc<dyn Disk>) -> LocalSink {
    LocalSink::on(disk, &plan(FileFormat::Ndjson, Divided::Hourly), 0, folder)
}

pub fn local(folder: &Path) -> LocalSink {
    sink(folder, Arc::new(EventfulDisk::new(i64::MAX, false, Event::Crash)))
}

/// Rows with these ids, each happened in the hour that its id says.
pub fn batch(ids: &[i64]) -> Batch {
    let mut rows = RowBuilder::new([FieldType::Int.kind()]);
    ids.iter().for_each(|id| rows.push([Value::Int(*id)]));
    let times = ids.iter().map(|id| EventTime((id % 5) * HOUR_MS + id)).collect();
    Batch::made(rows.finish(), times, None)
}

pub fn mark(watermark: i64) -> InputMark {
    InputMark { watermark: Watermark(watermark), is_idle: false }
}

/// Twelve records with three rows each: record `n` holds the ids `3n`, `3n + 1` and `3n + 2`.
pub const N_RECORDS: i64 = 12;
pub const N_ROWS: i64 = 3 * N_RECORDS;

/// Publishes all records of partition 0 as whoever owns it does, with a roll every `roll_len` records. Lives have different ones: rolls
/// of the same offsets would overwrite each other's files, and hide that rows stand in both.
pub fn publish_all(sink: &LocalSink, roll_len: i64) -> Result<(), FilesError> {
    sink.prepare()?;
    let mut files = sink.open(0)?;
    let mut offset = files.next().unwrap_or(0);
    while offset < N_RECORDS {
        let end = N_RECORDS.min(offset + roll_len);
        for at in offset..end {
            files.write(at, &batch(&[3 * at, 3 * at + 1, 3 * at + 2]))?;
        }
        match files.publish(end, mark(end)) {
            Ok(_) => offset = end,
            Err(FilesError::Overtaken { .. }) => {
                files = sink.open(0)?;
                offset = files.next().expect("somebody has published");
            }
            Err(error) => return Err(error),
        }
    }
    sink.mark_complete().map(|_| ())
}

/// Every published file, below the sink's folder.
pub fn published(folder: &Path) -> Vec<PathBuf> {
    let root = folder.join("out/rows");
    let mut files = Vec::new();
    for day in entries(&root).into_iter().filter(|path| path.is_dir() && !path.ends_with("_reel")) {
        for hour in entries(&day) {
            files.extend(entries(&hour).into_iter().filter(|path| !path.ends_with("_SUCCESS")));
        }
    }
    files
}

pub fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

/// The ids that a reader finds, each with how often. Every line must be whole and lie in the folder of its hour.
pub fn ids(folder: &Path) -> BTreeMap<i64, usize> {
    let mut ids = BTreeMap::new();
    for path in published(folder) {
        let text = fs::read_to_string(&path).expect("a published file is text");
        assert!(text.ends_with('\n'), "{} is torn", path.display());
        for line in text.lines() {
            let row: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
            let id = row["id"].as_i64().expect("an id");
            let hour = format!("dt=1970-01-01/hr={:02}", id % 5);
            assert!(path.parent().expect("a folder").ends_with(hour), "{id} lies in {}", path.display());
            *ids.entry(id).or_insert(0) += 1;
        }
    }
    ids
}

/// I-13: all rows, each once, and nothing left behind.
pub fn assert_whole(folder: &Path, case: &str) {
    let expected: BTreeMap<i64, usize> = (0..N_ROWS).map(|id| (id, 1)).collect();
    assert_eq!(ids(folder), expected, "{case}");
    let staging = folder.join("out/rows/_reel/staging");
    let left: Vec<PathBuf> = entries(&staging.join("p00000"));
    assert!(left.is_empty(), "{case}: {left:?}");
}

/// A disk on which something happens at one step: before or after it is done. It is a process that dies here, and not the machine:
/// nothing is made durable, which would take most of the tests' time.
pub struct EventfulDisk {
    steps_left: AtomicI64,
    after: bool,
    event: Event,
}

pub enum Event {
    /// This step and all after it fail: the process is dead.
    Crash,
    /// Happens once; the process goes on.
    Meanwhile(Mutex<Option<Box<dyn FnOnce() + Send>>>),
}

impl EventfulDisk {
    pub fn new(step: i64, after: bool, event: Event) -> EventfulDisk {
        EventfulDisk { steps_left: AtomicI64::new(step), after, event }
    }

    /// Whether the step was reached.
    pub fn has_happened(&self) -> bool {
        self.steps_left.load(Ordering::SeqCst) < 0
    }

    fn step<T>(&self, path: &Path, act: impl FnOnce() -> Result<T, FilesError>) -> Result<T, FilesError> {
        let left = self.steps_left.fetch_sub(1, Ordering::SeqCst);
        let crashed = || Err(FilesError::Unavailable { path: path.to_owned(), why: "crashed".to_owned() });
        match &self.event {
            Event::Crash if left < 0 || (left == 0 && !self.after) => crashed(),
            Event::Crash if left == 0 => act().and_then(|_| crashed()),
            Event::Meanwhile(event) if left == 0 => {
                let event = event.lock().expect("nobody panicked").take().expect("it happens once");
                if self.after {
                    let outcome = act();
                    event();
                    outcome
                } else {
                    event();
                    act()
                }
            }
            Event::Crash | Event::Meanwhile(_) => act(),
        }
    }
}

impl Disk for EventfulDisk {
    fn make_folder(&self, folder: &Path) -> Result<(), FilesError> {
        self.step(folder, || LocalDisk.make_folder(folder))
    }

    fn create(&self, file: &Path) -> Result<File, FilesError> {
        self.step(file, || LocalDisk.create(file))
    }

    fn sync(&self, _file: &File, at: &Path) -> Result<(), FilesError> {
        self.step(at, || Ok(()))
    }

    fn sync_folder(&self, folder: &Path) -> Result<(), FilesError> {
        self.step(folder, || Ok(()))
    }

    fn claim(&self, from: &Path, to: &Path) -> Result<bool, FilesError> {
        self.step(to, || LocalDisk.claim(from, to))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<bool, FilesError> {
        self.step(to, || LocalDisk.rename(from, to))
    }

    fn remove(&self, file: &Path) -> Result<(), FilesError> {
        self.step(file, || LocalDisk.remove(file))
    }
}

/// The offsets that a published name says.
pub fn offsets(path: &Path) -> (Offset, Offset) {
    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
    let (first, last) = name.split('.').nth(2).expect("offsets").split_once('-').expect("two of them");
    (first.parse().expect("a number"), last.parse().expect("a number"))
}
