//! What a stage keeps that is to begin anew: counted before anybody is asked to forget it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use reelflow_core::{plan::StageIdx, stage::kept};
use reelflow_ports::log::Log;
use reelflow_runtime::code::Program;

use super::told::{Kept, Reset};
use crate::{commands::state, failure::Failure, manifest::Manifest};

/// What a stage keeps, as it was committed last.
pub(super) struct Forgotten {
    pub(super) stage: Arc<str>,
    /// `None`: the code that runs cannot be used here, so nobody can read what it keeps.
    kept: Option<Counted>,
}

/// How much of each sort is kept.
#[derive(Default)]
struct Counted {
    keys: BTreeSet<Box<[u8]>>,
    /// By their start.
    panes: BTreeSet<i64>,
    /// What belongs to no pane, by what it is called.
    others: BTreeMap<&'static str, u64>,
}

/// Counts what `resets` keep, which are stages of `running`, the code that runs. O(state of the pipeline), and nothing if they are none.
pub(super) fn count(
    manifest: &Manifest,
    log: &dyn Log,
    running: Option<&Program>,
    resets: &BTreeSet<Arc<str>>,
) -> Result<Vec<Forgotten>, Failure> {
    let mut counted: BTreeMap<StageIdx, Counted> = BTreeMap::new();
    if let Some(program) = running.filter(|_| !resets.is_empty()) {
        for task in state::tasks(manifest, log, &program.plan)? {
            task.kept(&mut |stage, kept| counted.entry(stage).or_default().add(kept));
        }
    }
    let of_stage = |name: &Arc<str>| {
        let place = running.and_then(|program| program.plan.stages.iter().position(|stage| stage.name == *name));
        Forgotten { stage: name.clone(), kept: place.map(|idx| counted.remove(&idx).unwrap_or_default()) }
    };
    Ok(resets.iter().map(of_stage).collect())
}

impl Counted {
    fn add(&mut self, kept: kept::Kept<'_>) {
        let mut keyed = |key: &[u8], what: &'static str| {
            self.keys.insert(key.into());
            *self.others.entry(what).or_default() += 1;
        };
        match kept {
            kept::Kept::Pane { key, pane, .. } => {
                self.panes.insert(pane.start().0);
                self.keys.insert(key.into());
            }
            // It stays known.
            kept::Kept::Revision { .. } => {}
            kept::Kept::Session { key, .. } => keyed(key, "sessions"),
            // How often it was told stays known.
            kept::Kept::Global { state: [], .. } => {}
            kept::Kept::Global { key, .. } => drop(self.keys.insert(key.into())),
            kept::Kept::Left { key, .. } => keyed(key, "left rows"),
            kept::Kept::Right { key, .. } => keyed(key, "right rows"),
            kept::Kept::Waiting { key, .. } => keyed(key, "rows that wait"),
            kept::Kept::Version { key, .. } => keyed(key, "versions"),
            kept::Kept::Key { key, timers, .. } => {
                self.keys.insert(key.into());
                *self.others.entry("timers").or_default() += timers.len() as u64;
            }
            kept::Kept::Id { .. } => *self.others.entry("ids").or_default() += 1,
        }
    }
}

impl Forgotten {
    pub(super) fn told(&self) -> Reset {
        let kept = |Counted { keys, panes, others }: &Counted| Kept {
            keys: keys.len() as u64,
            windows: panes.len() as u64,
            others: others.iter().map(|(what, n)| (what.replace(' ', "_"), *n)).collect(),
        };
        Reset { stage: self.stage.to_string(), text: self.to_string(), forgotten: self.kept.as_ref().map(kept) }
    }
}

impl fmt::Display for Forgotten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "state of stage \"{}\": RESET: ", self.stage)?;
        let Some(Counted { keys, panes, others }) = &self.kept else {
            return f.write_str("what it keeps is forgotten; it cannot be counted, as the code that runs cannot be used here");
        };
        let parts: Vec<String> = others.iter().map(|(what, n)| format!("{} {what}", thousands(*n))).collect();
        let n_keys = thousands(keys.len() as u64);
        match (keys.is_empty(), panes.is_empty(), parts.is_empty()) {
            (true, _, true) => f.write_str("it keeps nothing"),
            (true, _, false) => write!(f, "{} are forgotten", parts.join(" and ")),
            (false, false, _) => write!(f, "{n_keys} keys in {} open windows are forgotten", thousands(panes.len() as u64)),
            (false, true, true) => write!(f, "{n_keys} keys are forgotten"),
            (false, true, false) => write!(f, "{n_keys} keys with {} are forgotten", parts.join(" and ")),
        }
    }
}

/// `12,480`
fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let cut = |(at, digit): (usize, char)| {
        let comma = (at > 0 && (digits.len() - at).is_multiple_of(3)).then_some(',');
        comma.into_iter().chain([digit])
    };
    digits.chars().enumerate().flat_map(cut).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use reelflow_core::{
        stage::kept::Kept,
        time::{EventTime, Window},
    };

    fn text(kept: &[Kept<'_>]) -> String {
        let mut counted = Counted::default();
        kept.iter().for_each(|one| counted.add(*one));
        let all = Forgotten { stage: "count".into(), kept: Some(counted) }.to_string();
        all.strip_prefix("state of stage \"count\": RESET: ").expect("it says so first").to_owned()
    }

    #[test]
    fn all_sorts_of_state_are_counted() {
        let pane = |key, start| {
            let pane = Window::new(EventTime(start), EventTime(start + 10));
            Kept::Pane { key, pane, state: b"s" }
        };
        let session = |key| Kept::Session { key, first: EventTime(1), last: EventTime(2), state: b"s" };
        assert_eq!(text(&[]), "it keeps nothing");
        assert_eq!(text(&[pane(b"a", 0), pane(b"b", 0), pane(b"a", 10)]), "2 keys in 2 open windows are forgotten");
        assert_eq!(text(&[session(b"a"), session(b"a")]), "1 keys with 2 sessions are forgotten");
        assert_eq!(text(&[Kept::Id { hash: 1, until: 2 }]), "1 ids are forgotten");
    }

    #[test]
    fn numbers_are_read_in_threes() {
        let texts = [0, 999, 1_000, 12_480, 1_234_567].map(thousands);
        assert_eq!(texts, ["0", "999", "1,000", "12,480", "1,234,567"]);
    }
}
