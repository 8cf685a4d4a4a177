//! Bases in a store: written behind the commits, named by later ones, so that no transaction waits for them.
//!
//! When a base is due and there is [room](Bases::reserve), the epoch has its changes all the same, and what follows is, in this order:
//!
//! 1. the epoch is committed as any other;
//! 2. the state at its end is encoded, before anything else comes to the task (no transaction is open then), and a thread of this process compresses
//!    and puts it into the store ([`Bases::work`]);
//! 3. a later epoch's recovery point names the base ([`crate::seal`]): only now is it part of what the log says;
//! 4. the changelog is cut at the older of the two bases that the point names;
//! 5. objects of the task that the point does not name are forgotten, if they are older than the newest one.
//!
//! Why a crash changes nothing, wherever it comes:
//! - Before 3 nobody knows of the base. Its object is an orphan, of an epoch that is over: whoever recovers the task looks for such objects, and so
//!   does 5.
//! - After 3 recovery has the base, or, should its object be gone, the older one: neither 4 nor 5 has touched what that needs, since both go by a
//!   committed point. In between more is kept than is needed.
//! - A zombie may do 2. It cannot do 3, whose epoch is refused, and so neither 4 nor 5.
//!
//! Nothing waits for the store but this thread. While it does not answer, states wait in memory, at most [`ROOM`] of a process, tasks go on with their
//! changes, and the changelog grows.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use reelflow_core::{
    checkpoint::{
        Epoch, Incarnation,
        stored::{BaseHeader, NamedBase, StoredBases, digest, epoch_of, folder, object_name},
    },
    record::{Offset, Partition},
    time::WallTime,
};
use reelflow_ports::bases::{BaseError, BaseStore};
use tracing::warn;

use crate::{
    error::RunError,
    observe::{Event, Observer},
    pipeline::{Stopper, patiently},
    worker::Job,
};

pub(crate) mod object;

/// So many states of a process may be on their way: one is compressed and put, one waits (I-9).
const ROOM: usize = 2;
/// A store that fails is asked again after so long,
const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// and, while it goes on failing, after twice as long each time, up to this.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The store of a process, and what is on its way there.
pub struct Bases {
    store: Arc<dyn BaseStore>,
    /// Whether new bases go there; otherwise those that are there are read, and forgotten once nothing names them.
    is_written: bool,
    n_reserved: Arc<AtomicUsize>,
    queue: Mutex<Queue>,
    changed: Condvar,
    figures: Figures,
}

/// What became of bases in a run, as far as this process knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BasesSummary {
    /// Durable in the store.
    pub written: u64,
    pub bytes_written: u64,
    /// Calls of the store that failed.
    pub failures: u64,
    /// Named by a recovery point, and not to be used.
    pub skipped: u64,
    /// When the newest base of that task was taken whose newest base is the oldest. `None`: no task of this process has one in the store.
    pub oldest: Option<WallTime>,
}

#[derive(Debug, Default)]
struct Figures {
    n_written: AtomicU64,
    bytes_written: AtomicU64,
    n_failures: AtomicU64,
    n_skipped: AtomicU64,
}

#[derive(Default)]
struct Queue {
    uploads: VecDeque<Upload>,
    /// By the folder of the task.
    sweeps: BTreeMap<String, Sweep>,
    /// The store has failed: nothing is tried before this time.
    not_before: Option<WallTime>,
    backoff: Duration,
}

/// A place on the way to the store. Given back when it is dropped.
pub(crate) struct Permit(Arc<AtomicUsize>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A state on its way: what its task holds of it. Dropped, the state is too.
#[derive(Debug, Default)]
pub(crate) struct Writing(OnceLock<NamedBase>);

impl Writing {
    /// The base, once it is durable.
    pub fn done(&self) -> Option<NamedBase> {
        self.0.get().copied()
    }
}

/// The state of a task at the end of an epoch that is committed.
pub(crate) struct Image {
    pub pipeline: Arc<str>,
    pub fragment: Arc<str>,
    pub partition: Partition,
    pub epoch: Epoch,
    pub incarnation: Incarnation,
    /// One past the changelog offset of the epoch's last record.
    pub after: Offset,
    pub taken: WallTime,
    pub chunks: Vec<Vec<u8>>,
    pub permit: Permit,
}

enum Upload {
    Image {
        image: Image,
        to: Weak<Writing>,
    },
    /// It was compressed, but not put yet.
    Object {
        name: String,
        object: Vec<u8>,
        base: NamedBase,
        to: Weak<Writing>,
        permit: Permit,
    },
}

struct Sweep {
    named: StoredBases,
    /// Objects of this epoch and later ones may still be named by somebody.
    before: Epoch,
}

/// What a call of [`Bases::work`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worked {
    Done,
    /// There is nothing to do, or not yet.
    Nothing,
}

impl Bases {
    pub fn new(store: Arc<dyn BaseStore>, is_written: bool) -> Bases {
        Bases {
            store,
            is_written,
            n_reserved: Arc::default(),
            queue: Mutex::default(),
            changed: Condvar::new(),
            figures: Figures::default(),
        }
    }

    pub fn store(&self) -> &dyn BaseStore {
        &*self.store
    }

    pub(crate) fn is_written(&self) -> bool {
        self.is_written
    }

    /// Whether the store is there for `pipeline` of `log`, and can be written, if that is what it is for. `who`: no other process has that name.
    fn check(&self, pipeline: &str, who: &str, log: &str) -> Result<(), BaseError> {
        self.claim(pipeline, log)?;
        if !self.is_written {
            return self.store.list(&format!("{pipeline}/")).map(drop);
        }
        let name = format!("{pipeline}/probe/{who}");
        self.store.put(&name, b"reelflow")?;
        self.store.forget(&name)
    }

    /// Says in the store that `pipeline` is one of `log`. Another log's pipeline of that name would have its bases swept by this one: no point of this
    /// log names them. Two that are started for the first time at once may both find it free; the next start of one of them tells.
    fn claim(&self, pipeline: &str, log: &str) -> Result<(), BaseError> {
        let name = claim_name(pipeline);
        let mut owner = self.store.load(&name)?;
        if owner.is_none() && self.is_written {
            self.store.put(&name, log.as_bytes())?;
            owner = self.store.load(&name)?;
        }
        match owner {
            Some(by) if by != log.as_bytes() => {
                let by = String::from_utf8_lossy(&by).into_owned();
                Err(BaseError::Taken { pipeline: pipeline.to_owned(), by, log: log.to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// Room for one more state on its way, if there is any.
    pub(crate) fn reserve(&self) -> Option<Permit> {
        let more = |n: usize| (n < ROOM).then_some(n + 1);
        self.n_reserved.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Permit(self.n_reserved.clone()))
    }

    /// Has `image` written, unless what is returned is dropped before.
    pub(crate) fn write(&self, image: Image) -> Arc<Writing> {
        let writing: Arc<Writing> = Arc::default();
        self.queue().uploads.push_back(Upload::Image { image, to: Arc::downgrade(&writing) });
        self.changed.notify_all();
        writing
    }

    /// Has objects of a task forgotten that its committed point does not name, of epochs before `before`. A sweep that is not done yet is replaced:
    /// the later one finds what it would have found.
    pub(crate) fn sweep(&self, folder: String, named: StoredBases, before: Epoch) {
        self.queue().sweeps.insert(folder, Sweep { named, before });
        self.changed.notify_all();
    }

    /// Does one thing that is to be done, and tells `observer`. Waits for nothing but the store.
    pub fn work(&self, now: WallTime, observer: &dyn Observer) -> Worked {
        let mut queue = self.queue();
        if queue.not_before.is_some_and(|not_before| now < not_before) {
            return Worked::Nothing;
        }
        if let Some(upload) = queue.uploads.pop_front() {
            drop(queue);
            let Some((upload, error)) = self.upload(upload, observer) else { return Worked::Done };
            let after = self.failed(now, |queue| queue.uploads.push_front(upload));
            observer.event(&Event::BaseDelayed { error, after });
            return Worked::Done;
        }
        let Some((folder, sweep)) = queue.sweeps.pop_first() else { return Worked::Nothing };
        drop(queue);
        if !self.has_swept(&folder, &sweep) {
            self.failed(now, |_| ());
        }
        Worked::Done
    }

    /// Sweeps what is left to be swept, once no task of this process goes on.
    pub(crate) fn finish(&self) {
        let sweeps = std::mem::take(&mut self.queue().sweeps);
        // One that fails is enough to know what the others would come to.
        sweeps.iter().all(|(folder, sweep)| self.has_swept(folder, sweep));
    }

    /// Counts a base that recovery could not use.
    pub(crate) fn skipped(&self) {
        self.figures.n_skipped.fetch_add(1, Ordering::Relaxed);
    }

    /// Without what only tasks know.
    pub(crate) fn summary(&self) -> BasesSummary {
        let Figures { n_written, bytes_written, n_failures, n_skipped } = &self.figures;
        let [written, bytes_written, failures, skipped] =
            [n_written, bytes_written, n_failures, n_skipped].map(|figure| figure.load(Ordering::Relaxed));
        BasesSummary { written, bytes_written, failures, skipped, oldest: None }
    }

    /// Gives the upload back if the store failed.
    fn upload(&self, upload: Upload, observer: &dyn Observer) -> Option<(Upload, BaseError)> {
        let (name, object, base, to, permit) = match upload {
            // The task is gone, or has begun anew.
            Upload::Image { to, .. } | Upload::Object { to, .. } if to.strong_count() == 0 => return None,
            Upload::Image { image, to } => {
                let (name, object, base, permit) = compressed(image);
                (name, object, base, to, permit)
            }
            Upload::Object { name, object, base, to, permit } => (name, object, base, to, permit),
        };
        if let Err(error) = self.store.put(&name, &object) {
            return Some((Upload::Object { name, object, base, to, permit }, error));
        }
        self.queue().not_before = None;
        self.queue().backoff = BACKOFF_MIN;
        self.figures.n_written.fetch_add(1, Ordering::Relaxed);
        self.figures.bytes_written.fetch_add(object.len() as u64, Ordering::Relaxed);
        observer.event(&Event::BaseWritten { name, n_bytes: object.len() });
        if let Some(writing) = to.upgrade() {
            writing.0.set(base).expect("an image is uploaded once");
        }
        None
    }

    /// The store did not answer: nothing more is asked of it for a while. Returns for how long.
    fn failed(&self, now: WallTime, put_back: impl FnOnce(&mut Queue)) -> Duration {
        self.figures.n_failures.fetch_add(1, Ordering::Relaxed);
        let mut queue = self.queue();
        let after = queue.backoff.max(BACKOFF_MIN);
        queue.backoff = (after * 2).min(BACKOFF_MAX);
        queue.not_before = Some(WallTime(now.0 + after.as_millis() as i64));
        put_back(&mut queue);
        after
    }

    /// Nothing is tried again for what is left if it fails: the next base of this task has it swept as well.
    fn has_swept(&self, folder: &str, sweep: &Sweep) -> bool {
        let swept = self.forget_unnamed(folder, sweep);
        if let Err(error) = &swept {
            warn!(%folder, %error, "bases that are not needed any more are still in the store");
        }
        swept.is_ok()
    }

    fn forget_unnamed(&self, folder: &str, sweep: &Sweep) -> Result<(), BaseError> {
        let named: Vec<String> = sweep.named.newest_first().map(|base| object_name(folder, &base)).collect();
        for name in self.store.list(folder)? {
            let is_old = epoch_of(&name).is_some_and(|epoch| epoch < sweep.before);
            if is_old && !named.contains(&name) {
                self.store.forget(&name)?;
            }
        }
        Ok(())
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn compressed(image: Image) -> (String, Vec<u8>, NamedBase, Permit) {
    let Image { pipeline, fragment, partition, epoch, incarnation, after, taken, chunks, permit } = image;
    let folder = folder(&pipeline, &fragment, partition);
    let object = object::encode(BaseHeader { pipeline, fragment, partition, epoch, incarnation, n_bytes: 0 }, chunks);
    let base = NamedBase { epoch, incarnation, digest: digest(&object), after, taken };
    (object_name(&folder, &base), object, base, permit)
}

/// Where the log of a pipeline is named. No source begins with a dot, so no task's folder is called so.
fn claim_name(pipeline: &str) -> String {
    format!("{pipeline}/.log")
}

/// Whether the store of `job` can be used as it must be.
pub(crate) fn check(job: &Job, stopper: &Stopper) -> Result<(), RunError> {
    let Some(bases) = &job.bases else { return Ok(()) };
    let mut log = None;
    patiently(job, stopper, || {
        log = Some(job.log.identity()?);
        Ok(())
    })?;
    match log {
        Some(log) => Ok(bases.check(&job.plan.name, &job.settings.instance, &log)?),
        None => Ok(()), // it was stopped
    }
}

/// Writes what is to be written until `stopper` says so. What is not written by then is not missed. `None`: there is no store.
pub(crate) fn spawn(job: &Job, stopper: Stopper) -> Option<JoinHandle<Result<(), RunError>>> {
    let bases = job.bases.clone()?;
    let (clock, observer) = (job.clock.clone(), job.observer.clone());
    let run = move || {
        while !stopper.is_stopped() {
            if bases.work(clock.now(), &*observer) == Worked::Nothing {
                let queue = bases.queue();
                drop(bases.changed.wait_timeout(queue, LOOK_EVERY));
            }
        }
        Ok(())
    };
    Some(thread::Builder::new().name("bases".to_owned()).spawn(run).expect("the machine has room for a few threads"))
}

#[cfg(test)]
mod tests;
