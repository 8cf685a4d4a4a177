//! What two tasks keep, by stage and key.

use std::{
    collections::BTreeMap,
    hash::{Hash, Hasher},
};

use xxhash_rust::xxh3::Xxh3;

use super::{Pair, Tally};
use crate::{
    plan::{Plan, StageIdx},
    stage::kept::Kept,
    task::Task,
};

/// What the stages of two programs keep, by their places in the plan; those alone that keep something.
#[derive(Debug, Default)]
pub struct States {
    pub by_stage: BTreeMap<StageIdx, KeptKeys>,
}

/// Keys of a stage, or the ids of a dedup, which have no key that could be shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct KeptKeys {
    pub keys: Tally<Vec<u8>>,
    /// The versions of the state, if the two programs write different ones: then bytes say nothing.
    pub versions: Option<[u32; 2]>,
}

impl States {
    /// Compares what `old` and `new` keep, which are the same task of two programs. O(state) in time, O(keys) in memory.
    pub fn compare(&mut self, (old_plan, old): (&Plan, &Task), (new_plan, new): (&Plan, &Task), first_max: usize) {
        let sides = [digests(old), digests(new)];
        let mut stages: Vec<StageIdx> = sides.iter().flat_map(BTreeMap::keys).copied().collect();
        stages.sort_unstable();
        stages.dedup();
        for stage in stages {
            let found = self.by_stage.entry(stage).or_default();
            let [was, is] = [old_plan, new_plan].map(|plan| plan.stages[stage].state.as_ref().map(|state| state.version));
            if let (Some(was), Some(is)) = (was, is)
                && was != is
            {
                found.versions = Some([was, is]);
                continue;
            }
            let none = BTreeMap::new();
            let [old, new] = [0, 1].map(|side| sides[side].get(&stage).unwrap_or(&none));
            of_stage(old, new, &mut found.keys, first_max);
        }
    }
}

/// What is kept of a key, as one number.
type Digests = BTreeMap<Vec<u8>, u128>;

fn of_stage(old: &Digests, new: &Digests, tally: &mut Tally<Vec<u8>>, first_max: usize) {
    for (key, digest) in old {
        match new.get(key) {
            Some(other) if other == digest => tally.equal += 1,
            Some(_) => tally.differs(Pair::Changed { old: key.clone(), new: key.clone() }, first_max),
            None => tally.differs(Pair::OnlyOld(key.clone()), first_max),
        }
    }
    for key in new.keys().filter(|key| !old.contains_key(*key)) {
        tally.differs(Pair::OnlyNew(key.clone()), first_max);
    }
}

/// By stage and key. Of several things that are kept of a key the numbers are added up, in whatever order they come.
fn digests(task: &Task) -> BTreeMap<StageIdx, Digests> {
    let mut found: BTreeMap<StageIdx, Digests> = BTreeMap::new();
    task.kept(&mut |stage, kept| {
        let id;
        let key = match kept {
            Kept::Id { hash, .. } => {
                id = hash.to_be_bytes();
                &id[..]
            }
            other => other.key().unwrap_or_default(),
        };
        let of_stage = found.entry(stage).or_default();
        let digest = digest(&kept);
        match of_stage.get_mut(key) {
            Some(sum) => *sum = sum.wrapping_add(digest),
            None => drop(of_stage.insert(key.to_vec(), digest)),
        }
    });
    found
}

/// 128 bits: that two different states have the same ones by chance is not to be expected. Of this run alone, since it depends on the machine.
fn digest(kept: &Kept<'_>) -> u128 {
    struct Wide(Xxh3);
    impl Hasher for Wide {
        fn finish(&self) -> u64 {
            self.0.digest()
        }

        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
    }
    let mut hasher = Wide(Xxh3::new());
    kept.hash(&mut hasher);
    hasher.0.digest128()
}
