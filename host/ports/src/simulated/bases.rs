//! A store of bases in memory, which fails when it is told to.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use crate::bases::{BaseError, BaseStore};

/// What a store was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseCall {
    Put,
    Load,
    List,
    Forget,
}

/// How a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseFault {
    None,
    /// Nothing is done.
    FailBefore,
    /// It is done, and whoever asked does not hear of it.
    FailAfter,
}

/// Decides how each call goes.
pub type BaseFaults = Box<dyn FnMut(BaseCall) -> BaseFault + Send>;

/// The store. Clones share the objects.
#[derive(Clone)]
pub struct SimulatedBases {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    objects: BTreeMap<String, Vec<u8>>,
    faults: BaseFaults,
}

impl SimulatedBases {
    /// Without faults.
    pub fn new() -> SimulatedBases {
        SimulatedBases { inner: Arc::new(Mutex::new(Inner { objects: BTreeMap::new(), faults: Box::new(|_| BaseFault::None) })) }
    }

    pub fn set_faults(&self, faults: BaseFaults) {
        self.inner().faults = faults;
    }

    /// All names, in order.
    pub fn names(&self) -> Vec<String> {
        self.inner().objects.keys().cloned().collect()
    }

    /// Loses an object, as a disk may.
    pub fn lose(&self, name: &str) {
        self.inner().objects.remove(name);
    }

    /// Turns one bit of an object over: of the byte `at`, counted around.
    pub fn damage(&self, name: &str, at: usize) {
        if let Some(object) = self.inner().objects.get_mut(name) {
            let at = at % object.len();
            object[at] ^= 1;
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nobody panics with this lock")
    }

    fn call<T>(&self, call: BaseCall, what: impl FnOnce(&mut BTreeMap<String, Vec<u8>>) -> T) -> Result<T, BaseError> {
        let mut inner = self.inner();
        let fault = (inner.faults)(call);
        let failed = || BaseError::Unavailable("the model says so".to_owned());
        if fault == BaseFault::FailBefore {
            return Err(failed());
        }
        let done = what(&mut inner.objects);
        if fault == BaseFault::FailAfter { Err(failed()) } else { Ok(done) }
    }
}

impl Default for SimulatedBases {
    fn default() -> SimulatedBases {
        SimulatedBases::new()
    }
}

impl BaseStore for SimulatedBases {
    fn put(&self, name: &str, object: &[u8]) -> Result<(), BaseError> {
        self.call(BaseCall::Put, |objects| drop(objects.insert(name.to_owned(), object.to_vec())))
    }

    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, BaseError> {
        self.call(BaseCall::Load, |objects| objects.get(name).cloned())
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, BaseError> {
        self.call(BaseCall::List, |objects| objects.keys().filter(|name| name.starts_with(folder)).cloned().collect())
    }

    fn forget(&self, name: &str) -> Result<(), BaseError> {
        self.call(BaseCall::Forget, |objects| drop(objects.remove(name)))
    }

    fn describe(&self) -> String {
        "memory".to_owned()
    }
}
