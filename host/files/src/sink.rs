//! The folder of one sink: whose it is, its partitions, and which folders of event time are complete.

use std::{
    collections::BTreeSet,
    io::Write,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use reelflow_core::{
    plan::{Divided, Plan, SinkIdx},
    record::Partition,
    time::Watermark,
    watermark::lowest,
};
use reelflow_ports::files::{FileSink, FilesError, PartitionFiles};

use crate::{
    disk::{self, Disk, LocalDisk, failed},
    format::RowFormat,
    layout::{COMPLETE, Layout, Slot, day_of, hour_of},
    record::Owner,
    roll::{self, Rolls, Shared, attempt},
};

/// A sink whose files lie in a folder of this machine.
pub struct LocalSink {
    shared: Arc<Shared>,
    owner: Owner,
    n_partitions: u32,
    /// Folders that are known to be marked as complete.
    complete: Mutex<BTreeSet<Slot>>,
}

impl LocalSink {
    /// The sink `sink` of `plan`, which must write files; its folder is relative to `base`. Touches nothing yet.
    pub fn new(plan: &Plan, sink: SinkIdx, base: &Path) -> LocalSink {
        LocalSink::on(Arc::new(LocalDisk), plan, sink, base)
    }

    pub(crate) fn on(disk: Arc<dyn Disk>, plan: &Plan, sink: SinkIdx, base: &Path) -> LocalSink {
        let of_sink = &plan.sinks[sink];
        let files = of_sink.files.as_ref().expect("the caller asks for sinks that write files");
        let layout =
            Layout { root: base.join(&*files.path), sink: of_sink.name.clone(), format: files.format, divided: files.divided };
        LocalSink {
            shared: Arc::new(Shared {
                disk,
                layout,
                rows: RowFormat::new(files.format, of_sink.schema.clone(), of_sink.upsert),
                n_open: Arc::default(),
            }),
            owner: Owner::new(&plan.name, &of_sink.name, files.format.name(), files.divided.name()),
            n_partitions: plan.n_partitions,
            complete: Mutex::default(),
        }
    }

    /// Whether the folder says whose it is; an error if it says that it is another's.
    fn is_owned(&self) -> Result<bool, FilesError> {
        let path = self.shared.layout.owner();
        let Some(bytes) = disk::read(&path)? else { return Ok(false) };
        let found = Owner::read(&bytes, &path)?;
        if found == self.owner { Ok(true) } else { Err(self.foreign(found.to_string())) }
    }

    fn foreign(&self, found: String) -> FilesError {
        FilesError::Foreign { path: self.shared.layout.root.clone(), found, wanted: self.owner.to_string() }
    }

    /// Removes what earlier lives have left. Now that the name is taken, nobody needs it.
    fn remove_staged_owners(&self, staging: &Path) -> Result<(), FilesError> {
        let left = disk::names(staging)?.into_iter().filter(|name| name.starts_with("sink."));
        left.into_iter().try_for_each(|name| self.shared.disk.remove(&staging.join(name)))
    }

    /// The watermark that all partitions have passed, as far as their rows are published.
    fn published_watermark(&self) -> Result<Watermark, FilesError> {
        let mut marks = Vec::new();
        for partition in 0..self.n_partitions {
            let Some(record) = roll::newest(&self.shared.layout, partition)? else { return Ok(Watermark::UNKNOWN) };
            if roll::is_unfinished(&self.shared.layout, &record) {
                roll::finish(&self.shared, &record)?;
            }
            marks.push(record.mark());
        }
        Ok(lowest(marks).unwrap_or(Watermark::UNKNOWN))
    }

    /// All folders of event time that exist.
    fn slots(&self) -> Result<Vec<Slot>, FilesError> {
        let root = &self.shared.layout.root;
        let mut slots = Vec::new();
        for (name, day) in disk::names(root)?.iter().filter_map(|name| Some((name, day_of(name)?))) {
            match self.shared.layout.divided {
                Divided::Hourly => {
                    let hours = disk::names(&root.join(name))?;
                    slots.extend(hours.iter().filter_map(|name| Some(day * 24 + hour_of(name)?)));
                }
                Divided::Daily => slots.push(day),
                Divided::Not => {}
            }
        }
        Ok(slots)
    }

    fn mark(&self, slot: Slot) -> Result<bool, FilesError> {
        let folder = self.shared.layout.root.join(self.shared.layout.folder(slot));
        let marker = folder.join(COMPLETE);
        if marker.exists() {
            return Ok(false);
        }
        match self.shared.disk.create(&marker) {
            Ok(_) => self.shared.disk.sync_folder(&folder).map(|()| true),
            // Another process was faster, or the folder was removed meanwhile.
            Err(_) if marker.exists() || !folder.exists() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl FileSink for LocalSink {
    fn prepare(&self) -> Result<(), FilesError> {
        let Shared { disk, layout, .. } = &*self.shared;
        disk.make_folder(&layout.root)?;
        let was_owned = self.is_owned()?;
        if !was_owned {
            // What begins with a dot is nobody's business; our own folder may be there if another process starts too.
            let foreign = disk::names(&layout.root)?.into_iter().find(|name| !name.starts_with('.') && name != "_reel");
            if let Some(name) = foreign {
                return Err(self.foreign(format!("\"{name}\" and is not known to be a sink's")));
            }
        }
        let staging = layout.own().join("staging");
        disk.make_folder(&staging)?;
        // Written even where it is known already: this tells early that nothing can be written.
        let written = staging.join(format!("sink.{}.json", attempt()));
        let mut file = disk.create(&written)?;
        file.write_all(&self.owner.bytes()).map_err(|why| failed(&written, &why))?;
        disk.sync(&file, &written)?;
        let claimed = if was_owned { Ok(false) } else { disk.claim(&written, &layout.owner()) };
        disk.remove(&written)?;
        if matches!(claimed, Ok(true)) {
            disk.sync_folder(&layout.own())?;
        }
        match self.is_owned()? {
            true => self.remove_staged_owners(&staging),
            false => claimed.map(|_| ()),
        }
    }

    fn open(&self, partition: Partition) -> Result<Box<dyn PartitionFiles>, FilesError> {
        Ok(Box::new(Rolls::open(self.shared.clone(), partition)?))
    }

    fn mark_complete(&self) -> Result<usize, FilesError> {
        if self.shared.layout.divided == Divided::Not {
            return Ok(0);
        }
        let watermark = self.published_watermark()?;
        if watermark == Watermark::UNKNOWN {
            return Ok(0);
        }
        let mut complete = self.complete.lock().unwrap_or_else(PoisonError::into_inner);
        let mut n_new = 0;
        for slot in self.slots()? {
            let is_passed = self.shared.layout.end(slot).is_some_and(|end| watermark.reached(end));
            if is_passed && !complete.contains(&slot) {
                n_new += usize::from(self.mark(slot)?);
                complete.insert(slot);
            }
        }
        Ok(n_new)
    }
}
