//! Which code a pipeline runs: the records of its control topic, folded in the order of the log.
//!
//! New code is *proposed*. Every worker tries it on its partitions, in an epoch that is not committed yet, and says in the topic what came of it.
//! The *verdict* is a function of the records alone, so all processes come to the same one, whenever they read them:
//! - a failure that comes before every partition has passed: the code before goes on, and nobody commits the trial;
//! - every partition has passed: the new code is the pipeline's, and everybody commits the trial.
//!
//! Whoever crashes after the verdict does the epoch again with the code that the verdict chose, as after any crash. This is a two-phase commit whose
//! log outlives its coordinator (J. Gray, "Notes on Data Base Operating Systems", 1978): the coordinator is the order of the topic.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    sync::Arc,
};

use crate::{
    record::{Offset, Partition},
    time::WallTime,
};

pub mod follower;
pub mod tally;

/// How many proposals a ledger remembers.
pub const ENTRIES_MAX: usize = 50;
/// Of how many proposals the components are kept, beside those in use.
const KEPT: usize = 10;
/// Digits of a digest that people are shown.
const DIGITS_SHOWN: usize = 12;

/// BLAKE3 of a component, in hex.
pub type Digest = Arc<str>;

/// The component of each plugin, by the plugin's name in the manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodeSet(pub BTreeMap<Arc<str>, Digest>);

/// What one record of the control topic says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// `components_from`: the offset in the topic of components from which on all of them are found. `resets`: the stages whose state is forgotten if
    /// the code is accepted.
    Proposed { code: CodeSet, how: How, resets: BTreeSet<Arc<str>>, by: Arc<str>, components_from: Offset },
    /// The code of the proposal at that offset did its trial on these partitions.
    Passed { proposal: Offset, partitions: Vec<Partition> },
    /// It must not be used.
    Failed { proposal: Offset, why: Arc<str>, by: Arc<str> },
}

/// How code comes to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// A process was started with it: at once.
    Started,
    /// Somebody asked for it while the pipeline runs: after a trial.
    Reloaded { migration: Migration },
}

/// When states of older versions are rewritten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Migration {
    /// Each when it is touched.
    #[default]
    Lazy,
    /// All of them in the trial.
    Eager,
}

/// A proposal and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub proposal: Offset,
    pub at: WallTime,
    pub code: CodeSet,
    pub how: How,
    pub resets: BTreeSet<Arc<str>>,
    pub by: Arc<str>,
    pub components_from: Offset,
    pub verdict: Verdict,
    /// When the verdict fell, or the proposal came.
    pub decided_at: WallTime,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its trial is under way; these partitions have passed.
    Open {
        passed: BTreeSet<Partition>,
    },
    Accepted,
    /// Tried, and given up.
    RolledBack {
        why: Arc<str>,
        by: Arc<str>,
    },
    /// Never tried.
    Refused {
        why: Arc<str>,
    },
}

/// The control topic as far as it was read.
#[derive(Clone, Debug)]
pub struct Ledger {
    n_partitions: u32,
    /// Oldest first, at most [`ENTRIES_MAX`].
    entries: VecDeque<Entry>,
    /// Proposal whose code is the pipeline's.
    current: Option<Offset>,
    /// Stages whose state was forgotten, and the last accepted proposal that said so: also one whose entry is forgotten.
    resets: BTreeMap<Arc<str>, Offset>,
}

impl CodeSet {
    /// The plugins whose component differs from that of `before`, with the components; `None` where there was none.
    pub fn changed_from<'a>(
        &'a self,
        before: &'a CodeSet,
    ) -> impl Iterator<Item = (&'a Arc<str>, Option<&'a Digest>, &'a Digest)> {
        let pair = |(name, digest): (&'a Arc<str>, &'a Digest)| (name, before.0.get(name), digest);
        self.0.iter().map(pair).filter(|(_, was, is)| *was != Some(*is))
    }
}

impl Entry {
    fn decide(&mut self, at: WallTime, verdict: Verdict) {
        (self.verdict, self.decided_at) = (verdict, at);
    }
}

impl fmt::Display for CodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(|(name, digest)| format!("{name} {}", short(digest))).collect();
        f.write_str(&texts.join(", "))
    }
}

/// The first digits of a digest, for people.
pub fn short(digest: &str) -> &str {
    digest.get(..DIGITS_SHOWN).unwrap_or(digest)
}

impl Ledger {
    /// Before any record. `n_partitions`: of the pipeline's sources; each must pass.
    pub fn new(n_partitions: u32) -> Ledger {
        Ledger { n_partitions, entries: VecDeque::new(), current: None, resets: BTreeMap::new() }
    }

    /// The next record of the topic, at `offset`, written at `at`. What makes no sense where it stands is ignored: everybody ignores the same.
    pub fn apply(&mut self, offset: Offset, at: WallTime, said: Said) {
        match said {
            Said::Proposed { code, how, resets, by, components_from } => {
                self.proposed(Entry {
                    proposal: offset,
                    at,
                    code,
                    how,
                    resets,
                    by,
                    components_from,
                    verdict: Verdict::Accepted,
                    decided_at: at,
                });
            }
            Said::Passed { proposal, partitions } => self.passed(proposal, at, partitions),
            Said::Failed { proposal, why, by } => {
                if let Some(entry) = self.open_mut(proposal) {
                    entry.decide(at, Verdict::RolledBack { why, by });
                }
            }
        }
    }

    /// What the pipeline runs. `None`: nobody has said anything yet.
    pub fn current(&self) -> Option<&Entry> {
        self.current.and_then(|proposal| self.entry(proposal))
    }

    /// The stages that the pipeline's code begins anew, each with the last proposal that asked for it. State from before that is not theirs any more.
    pub fn resets(&self) -> &BTreeMap<Arc<str>, Offset> {
        &self.resets
    }

    /// [`Ledger::resets`] as they are if `entry` is accepted.
    pub fn resets_with(&self, entry: &Entry) -> BTreeMap<Arc<str>, Offset> {
        let mut resets = self.resets.clone();
        resets.extend(entry.resets.iter().map(|stage| (stage.clone(), entry.proposal)));
        resets
    }

    /// The trial that is under way.
    pub fn trial(&self) -> Option<&Entry> {
        self.entries.iter().find(|entry| matches!(entry.verdict, Verdict::Open { .. }))
    }

    pub fn entry(&self, proposal: Offset) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.proposal == proposal)
    }

    /// All that is remembered, oldest first.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// What a process that has `files` beside its manifest should run: what it has, unless that was replaced, or given up, while the pipeline ran, or
    /// is on trial. Then a process that starts again, with files that nobody has changed, runs what its neighbours run.
    pub fn is_stale(&self, files: &CodeSet) -> bool {
        let Some(current) = self.current() else { return false };
        let is_same_pipeline = current.code.0.keys().eq(files.0.keys());
        let was_reloaded = matches!(current.how, How::Reloaded { .. });
        let seen = |entry: &Entry| {
            let is_tried = matches!(entry.verdict, Verdict::RolledBack { .. } | Verdict::Open { .. });
            entry.code == *files && (is_tried || (was_reloaded && entry.proposal < current.proposal))
        };
        is_same_pipeline && current.code != *files && self.entries.iter().any(seen)
    }

    /// Components before this offset are not needed: neither the code that is used or tried nor the [`KEPT`] newest proposals name them.
    pub fn components_needed_from(&self) -> Option<Offset> {
        let in_use = self.current().into_iter().chain(self.trial());
        in_use.chain(self.entries.iter().rev().take(KEPT)).map(|entry| entry.components_from).min()
    }

    /// `entry`: what was proposed, whose verdict is to be found.
    fn proposed(&mut self, mut entry: Entry) {
        entry.verdict = match (entry.how, self.current(), self.trial()) {
            (How::Started, _, _) | (_, None, None) => Verdict::Accepted,
            (_, _, Some(trial)) => {
                let why = format!("the trial of {} is under way; try again when it is over", trial.code);
                Verdict::Refused { why: why.into() }
            }
            (_, Some(current), None) if current.code == entry.code && entry.resets.is_empty() => {
                Verdict::Refused { why: "the pipeline runs this code already".into() }
            }
            (How::Reloaded { .. }, Some(_), None) => Verdict::Open { passed: BTreeSet::new() },
        };
        if entry.verdict == Verdict::Accepted {
            // Whoever starts with code of its own ends a trial: what was tried is not what will run.
            if let Some(trial) = self.entries.iter_mut().find(|entry| matches!(entry.verdict, Verdict::Open { .. })) {
                let why = "a process was started with other code".into();
                trial.decide(entry.at, Verdict::RolledBack { why, by: entry.by.clone() });
            }
            self.current = Some(entry.proposal);
            self.resets = self.resets_with(&entry);
        }
        self.entries.push_back(entry);
        self.forget();
    }

    fn passed(&mut self, proposal: Offset, at: WallTime, partitions: Vec<Partition>) {
        let n_partitions = self.n_partitions;
        let Some(entry) = self.open_mut(proposal) else { return };
        let Verdict::Open { passed } = &mut entry.verdict else { return };
        passed.extend(partitions.into_iter().filter(|partition| *partition < n_partitions));
        if passed.len() < n_partitions as usize {
            return;
        }
        entry.decide(at, Verdict::Accepted);
        let entry = entry.clone();
        self.current = Some(proposal);
        self.resets = self.resets_with(&entry);
    }

    fn open_mut(&mut self, proposal: Offset) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.proposal == proposal && matches!(entry.verdict, Verdict::Open { .. }))
    }

    /// Forgets the oldest entries, never the current one or an open one.
    fn forget(&mut self) {
        while self.entries.len() > ENTRIES_MAX {
            let is_needed = |entry: &Entry| Some(entry.proposal) == self.current || matches!(entry.verdict, Verdict::Open { .. });
            let Some(at) = self.entries.iter().position(|entry| !is_needed(entry)) else { return };
            self.entries.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn code(digest: &str) -> CodeSet {
        CodeSet(BTreeMap::from([("count".into(), digest.into())]))
    }

    /// A topic of two partitions that runs `v1`.
    fn running() -> Ledger {
        let mut ledger = Ledger::new(2);
        assert_eq!(propose(&mut ledger, 0, "v1", How::Started), "accepted");
        ledger
    }

    const NOW: WallTime = WallTime(0);
    const RELOADED: How = How::Reloaded { migration: Migration::Lazy };

    fn proposed(digest: &str, how: How, components_from: Offset, resets: &[&str]) -> Said {
        let resets = resets.iter().map(|stage| Arc::from(*stage)).collect();
        Said::Proposed { code: code(digest), how, resets, by: "a".into(), components_from }
    }

    /// Proposes at `offset` + 1.
    fn propose(ledger: &mut Ledger, offset: Offset, digest: &str, how: How) -> &'static str {
        ledger.apply(offset + 1, NOW, proposed(digest, how, 100 * offset, &[]));
        verdict(ledger, offset + 1)
    }

    /// Applies `said` at `offset`; gives what has become of the proposal that it is about.
    fn say(ledger: &mut Ledger, offset: Offset, said: Said) -> &'static str {
        let about = match &said {
            Said::Proposed { .. } => offset,
            Said::Passed { proposal, .. } | Said::Failed { proposal, .. } => *proposal,
        };
        ledger.apply(offset, NOW, said);
        verdict(ledger, about)
    }

    fn verdict(ledger: &Ledger, proposal: Offset) -> &'static str {
        match ledger.entry(proposal).map(|entry| &entry.verdict) {
            None => "unknown",
            Some(Verdict::Open { .. }) => "open",
            Some(Verdict::Accepted) => "accepted",
            Some(Verdict::RolledBack { .. }) => "rolled back",
            Some(Verdict::Refused { .. }) => "refused",
        }
    }

    fn passed(proposal: Offset, partitions: &[Partition]) -> Said {
        Said::Passed { proposal, partitions: partitions.to_vec() }
    }

    fn failed(proposal: Offset, why: &str) -> Said {
        Said::Failed { proposal, why: why.into(), by: "a".into() }
    }

    fn current(ledger: &Ledger) -> &CodeSet {
        &ledger.current().unwrap().code
    }

    #[test]
    fn code_is_accepted_once_every_partition_has_passed() {
        let mut ledger = running();
        assert_eq!(propose(&mut ledger, 2, "v2", RELOADED), "open");
        assert_eq!(say(&mut ledger, 4, passed(3, &[1, 1, 7])), "open", "twice is not two, and 7 is nobody's");
        assert_eq!(current(&ledger), &code("v1"));
        assert_eq!(say(&mut ledger, 5, passed(3, &[0])), "accepted");
        assert_eq!(current(&ledger), &code("v2"));
        assert_eq!(say(&mut ledger, 6, failed(3, "too late")), "accepted", "a verdict never changes");
        assert_eq!(current(&ledger), &code("v2"));
    }

    #[test]
    fn one_failure_before_that_rolls_back() {
        let mut ledger = running();
        propose(&mut ledger, 2, "v2", RELOADED);
        say(&mut ledger, 4, passed(3, &[0]));
        assert_eq!(say(&mut ledger, 5, failed(3, "trap")), "rolled back");
        assert_eq!(say(&mut ledger, 6, passed(3, &[1])), "rolled back");
        assert_eq!(current(&ledger), &code("v1"));
        let why = ledger.entry(3).map(|entry| entry.verdict.clone());
        assert_eq!(why, Some(Verdict::RolledBack { why: "trap".into(), by: "a".into() }));
        assert_eq!(propose(&mut ledger, 7, "v2", RELOADED), "open", "it may be tried again");
    }

    #[test]
    fn what_cannot_be_tried_is_refused() {
        let mut ledger = running();
        assert_eq!(propose(&mut ledger, 3, "v1", RELOADED), "refused", "it runs already");
        propose(&mut ledger, 5, "v2", RELOADED);
        assert_eq!(propose(&mut ledger, 7, "v3", RELOADED), "refused", "one trial at a time");
        assert_eq!(ledger.trial().map(|entry| entry.proposal), Some(6));
    }

    #[test]
    fn a_start_with_other_code_ends_a_trial() {
        let mut ledger = running();
        propose(&mut ledger, 2, "v2", RELOADED);
        assert_eq!(propose(&mut ledger, 4, "v3", How::Started), "accepted");
        assert_eq!((current(&ledger), ledger.trial()), (&code("v3"), None));
        assert_eq!(say(&mut ledger, 6, passed(3, &[0, 1])), "rolled back");
    }

    #[test]
    fn a_reset_counts_with_its_verdict_and_for_ever() {
        let mut ledger = running();
        let resets = |ledger: &Ledger| -> Vec<(String, Offset)> {
            ledger.resets().iter().map(|(stage, proposal)| (stage.to_string(), *proposal)).collect()
        };
        // The same code, to forget what a stage keeps.
        assert_eq!(say(&mut ledger, 2, proposed("v1", RELOADED, 0, &["count"])), "open");
        assert_eq!(resets(&ledger), []);
        assert_eq!(ledger.resets_with(ledger.entry(2).unwrap()).len(), 1, "its trial has it");
        say(&mut ledger, 3, failed(2, "trap"));
        assert_eq!(resets(&ledger), [], "nothing came of it");
        say(&mut ledger, 4, proposed("v2", RELOADED, 0, &["count", "sum"]));
        say(&mut ledger, 5, passed(4, &[0, 1]));
        assert_eq!(resets(&ledger), [("count".to_owned(), 4), ("sum".to_owned(), 4)]);
        assert_eq!(say(&mut ledger, 6, proposed("v2", How::Started, 0, &["sum"])), "accepted");
        for n in 0..2 * ENTRIES_MAX as Offset {
            say(&mut ledger, 7 + n, proposed(&format!("v{n}"), How::Started, 0, &[]));
        }
        assert_eq!(ledger.entry(6), None, "the entry is forgotten");
        assert_eq!(resets(&ledger), [("count".to_owned(), 4), ("sum".to_owned(), 6)]);
    }

    #[test]
    fn files_are_stale_when_a_reload_has_replaced_them() {
        let mut ledger = running();
        assert!(!ledger.is_stale(&code("v1")), "it is what runs");
        assert!(!ledger.is_stale(&code("v2")), "nobody has seen it: it is new");
        propose(&mut ledger, 2, "v2", RELOADED);
        assert!(ledger.is_stale(&code("v2")), "its trial goes on, also if the process dies of it");
        ledger.apply(4, NOW, failed(3, "trap"));
        assert!(ledger.is_stale(&code("v2")), "it was given up");
        propose(&mut ledger, 5, "v3", RELOADED);
        ledger.apply(7, NOW, passed(6, &[0, 1]));
        assert!(ledger.is_stale(&code("v1")), "a reload has replaced it");
        propose(&mut ledger, 8, "v4", How::Started);
        assert!(!ledger.is_stale(&code("v1")), "since then a start counted: starting with older code is going back");
        let other = CodeSet(BTreeMap::from([("sum".into(), "v1".into())]));
        assert!(!ledger.is_stale(&other), "another pipeline");
    }

    #[test]
    fn old_entries_are_forgotten_and_what_is_in_use_is_not() {
        let mut ledger = running();
        for n in 0..3 * ENTRIES_MAX as Offset {
            propose(&mut ledger, 2 + 3 * n, &format!("bad{n}"), RELOADED);
            ledger.apply(4 + 3 * n, NOW, failed(3 + 3 * n, "trap"));
        }
        assert_eq!(ledger.entries().count(), ENTRIES_MAX);
        assert_eq!(current(&ledger), &code("v1"));
        assert_eq!(ledger.components_needed_from(), Some(0), "the component that runs stands first");
        propose(&mut ledger, 1000, "v2", How::Started);
        let newest = 100 * (2 + 3 * (3 * ENTRIES_MAX as Offset - KEPT as Offset + 1));
        assert_eq!(ledger.components_needed_from(), Some(newest), "it does not run any more");
    }

    fn said() -> impl Strategy<Value = Said> {
        let how = prop_oneof![4 => Just(RELOADED), 1 => Just(How::Started)];
        let digest = prop_oneof![Just("v1"), Just("v2"), Just("v3")];
        prop_oneof![
            (digest, how).prop_map(|(digest, how)| proposed(digest, how, 0, &[])),
            (0..40_i64, proptest::collection::vec(0..4_u32, 0..4))
                .prop_map(|(proposal, partitions)| Said::Passed { proposal, partitions }),
            (0..40_i64).prop_map(|proposal| failed(proposal, "trap")),
        ]
    }

    proptest! {
        #[test]
        fn a_verdict_never_changes_and_one_trial_is_open_at_most(all in proptest::collection::vec(said(), 0..40)) {
            let mut ledger = Ledger::new(3);
            let mut decided: BTreeMap<Offset, Verdict> = BTreeMap::new();
            for (offset, said) in (0..).zip(all) {
                ledger.apply(offset, NOW, said);
                let n_open = ledger.entries().filter(|entry| matches!(entry.verdict, Verdict::Open { .. })).count();
                prop_assert!(n_open <= 1);
                prop_assert_eq!(n_open == 1, ledger.trial().is_some(), "an open trial is the newest that was not refused, or is found");
                for entry in ledger.entries().filter(|entry| !matches!(entry.verdict, Verdict::Open { .. })) {
                    let known = decided.entry(entry.proposal).or_insert_with(|| entry.verdict.clone());
                    prop_assert_eq!(&*known, &entry.verdict);
                }
                if let Some(current) = ledger.current() {
                    prop_assert_eq!(&current.verdict, &Verdict::Accepted);
                }
            }
        }
    }
}
