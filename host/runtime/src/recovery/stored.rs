//! The base of a task in the store: the newest that is what was written.
//!
//! One that is gone or damaged is skipped loudly, since the older one and a longer chain give the same state. A store that does not answer is
//! waited for: it may have the newest.

use reelflow_core::checkpoint::{
    RecoveryPoint,
    stored::{BaseHeader, NamedBase, digest, folder, object_name},
};
use reelflow_ports::bases::BaseStore;
use tracing::warn;

use super::{Durable, TaskName};
use crate::{
    bases::object,
    error::{RecoveryError, RunError},
    recovery::SkippedBase,
};

/// A base that is what was written.
pub(super) struct StoredBase {
    pub named: NamedBase,
    pub name: String,
    pub object: Vec<u8>,
}

/// What the store has for a recovery point.
pub(super) struct Fetched {
    /// `None`: the chain begins with what is in the changelog.
    pub base: Option<StoredBase>,
    pub skipped: Vec<SkippedBase>,
}

/// The newest sound base that `point` names.
pub(super) fn fetch(durable: &Durable<'_>, of: &TaskName<'_>, point: &RecoveryPoint) -> Result<Fetched, RunError> {
    let mut skipped = Vec::new();
    if point.stored.is_empty() {
        return Ok(Fetched { base: None, skipped });
    }
    let fail = |why: RecoveryError| RunError::Recovery { task: of.to_string(), why };
    let folder = folder(of.pipeline(), of.fragment(), of.partition);
    for named in point.stored.newest_first() {
        let name = object_name(&folder, &named);
        let Some(store) = durable.bases else { return Err(fail(RecoveryError::NoStore { name })) };
        match load(store, &name, &named, of)? {
            Ok(object) => return Ok(Fetched { base: Some(StoredBase { named, name, object }), skipped }),
            Err(why) => {
                warn!(task = %of, %name, why, "skipped a base, an older one takes its place");
                skipped.push(SkippedBase { task: of.to_string(), name, why });
            }
        }
    }
    match point.stored.start() {
        // The one before it is in the changelog.
        None => Ok(Fetched { base: None, skipped }),
        Some(_) => {
            let store = durable.bases.map_or_else(String::new, BaseStore::describe);
            let bases = skipped.iter().map(|one| format!("{} ({})", one.name, one.why)).collect::<Vec<_>>().join(" and ");
            Err(fail(RecoveryError::BasesLost { store, bases }))
        }
    }
}

impl StoredBase {
    /// Gives the chunks of the state, in order.
    pub fn each_chunk(
        &self,
        each: impl FnMut(&[u8]) -> Result<(), reelflow_core::state::StateError>,
    ) -> Result<(), RecoveryError> {
        object::each_chunk(&self.object, each).map_err(|why| match why.is_of_another_plan() {
            true => why.into(),
            false => RecoveryError::UnreadableBase { name: self.name.clone(), why: Box::new(why) },
        })
    }
}

/// The object, or what is wrong with it.
fn load(store: &dyn BaseStore, name: &str, named: &NamedBase, of: &TaskName<'_>) -> Result<Result<Vec<u8>, String>, RunError> {
    let Some(object) = store.load(name)? else { return Ok(Err("it is not there".to_owned())) };
    if digest(&object) != named.digest {
        return Ok(Err(format!("its {} bytes are not those that were written", object.len())));
    }
    let header = match BaseHeader::decode(&object) {
        Ok((header, _)) => header,
        Err(why) => return Ok(Err(why.to_string())),
    };
    let is_ours = *header.pipeline == *of.pipeline() && header.fragment == *of.fragment() && header.partition == of.partition;
    let is_named = (header.epoch, header.incarnation) == (named.epoch, named.incarnation);
    if is_ours && is_named { Ok(Ok(object)) } else { Ok(Err("it holds the state of another task or epoch".to_owned())) }
}
