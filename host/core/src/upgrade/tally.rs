//! How plugins do: what a trial is judged by.

use std::sync::Arc;

use crate::{
    plan::PluginIdx,
    plugin::{PluginFault, Request, Response},
};

/// By plugin: rows (or groups) given, rows refused or guilty of a fault, and the first fault of each kind.
#[derive(Clone, Debug, Default)]
pub struct Tally(Vec<Record>);

/// A plugin that is tried, and the one that it is to replace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnTrial {
    /// In the new plan.
    pub plugin: PluginIdx,
    /// As the manifest calls it.
    pub name: Arc<str>,
    /// In the plan before. `None`: there was no such plugin.
    pub before: Option<PluginIdx>,
}

#[derive(Clone, Debug, Default)]
struct Record {
    n_rows: u64,
    n_bad: u64,
    faults: Vec<PluginFault>,
}

impl Tally {
    /// Counts what came of a call of `plugin`.
    pub fn count(&mut self, plugin: PluginIdx, request: &Request, result: &Result<Response, PluginFault>) {
        if matches!(request, Request::Migrate { .. }) {
            return; // states, not rows; judged by what became of them
        }
        if self.0.len() <= plugin {
            self.0.resize_with(plugin + 1, Record::default);
        }
        let record = &mut self.0[plugin];
        record.n_rows += request.n_units() as u64;
        match result {
            Ok(Response::Rows { rejects, .. } | Response::States { rejects, .. } | Response::Processed { rejects, .. }) => {
                record.n_bad += rejects.len() as u64;
            }
            Ok(Response::Migrated { .. }) => {}
            Err(fault) => {
                // What breaks a longer batch is looked for in its halves.
                record.n_bad += u64::from(request.n_units() == 1);
                if record.faults.iter().all(|known| known.kind() != fault.kind()) {
                    record.faults.push(fault.clone());
                }
            }
        }
    }

    /// The first fault of each kind of `plugin`.
    fn faults(&self, plugin: PluginIdx) -> &[PluginFault] {
        self.0.get(plugin).map_or(&[], |record| &record.faults)
    }

    /// How many rows `plugin` has refused, or was broken by.
    fn n_bad(&self, plugin: PluginIdx) -> u64 {
        self.0.get(plugin).map_or(0, |record| record.n_bad)
    }

    fn n_rows(&self, plugin: PluginIdx) -> u64 {
        self.0.get(plugin).map_or(0, |record| record.n_rows)
    }

    /// The share of rows that `plugin` has refused, or that broke it; 0 of nothing.
    fn bad_share(&self, plugin: PluginIdx) -> f64 {
        match self.n_rows(plugin) {
            0 => 0.0,
            n_rows => self.n_bad(plugin) as f64 / n_rows as f64,
        }
    }
}

impl OnTrial {
    /// A fault of a kind that the plugin before never had: of `is`, since the trial began, and of `was`, before it.
    pub(super) fn new_fault(&self, is: &Tally, was: &Tally) -> Option<String> {
        let known = self.before.map_or(&[][..], |before| was.faults(before));
        let is_new = |fault: &&PluginFault| known.iter().all(|known| known.kind() != fault.kind());
        let fault = is.faults(self.plugin).iter().find(is_new)?;
        Some(format!("plugin \"{}\": {fault}", self.name))
    }

    /// Whether it refuses, or breaks by, a share of its rows that is surely greater by more than `more_max` than that of the plugin before.
    pub(super) fn too_many_bad(&self, is: &Tally, was: &Tally, more_max: f64) -> Option<String> {
        let was = self.before.map_or(0.0, |before| was.bad_share(before));
        let (n_bad, n_rows) = (is.n_bad(self.plugin), is.n_rows(self.plugin));
        is_surely_more(n_bad, n_rows, was + more_max).then(|| {
            let [is, was] = [is.bad_share(self.plugin), was].map(|share| format!("{:.1} %", 100.0 * share));
            format!("plugin \"{}\" refused {is} of its {n_rows} rows, the one before {was}", self.name)
        })
    }
}

/// One trial in so many may fail by chance, of code that refuses just as many as it may.
const ONE_FAILS_OF: f64 = 1_000.0;

/// Whether `n_bad` of `n_rows` are too many to have come by chance where each row is bad with probability `share_max`: such a trial can be one in
/// [`ONE_FAILS_OF`] at most. By the bound of Chernoff on the tail of a binomial distribution (Hoeffding, "Probability inequalities for sums of bounded
/// random variables", 1963, theorem 1): the chance of that many is at most `exp(-n_rows · D)`, D being the divergence of Kullback and Leibler between
/// the two shares. A few rows fail when most of them are bad, thousands when a little more are than may be.
fn is_surely_more(n_bad: u64, n_rows: u64, share_max: f64) -> bool {
    if n_bad as f64 <= share_max * n_rows as f64 {
        return false;
    }
    let share = n_bad as f64 / n_rows as f64;
    let part = |is: f64, may_be: f64| if is > 0.0 { is * (is / may_be).ln() } else { 0.0 };
    let divergence = part(share, share_max) + part(1.0 - share, 1.0 - share_max);
    n_rows as f64 * divergence > ONE_FAILS_OF.ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{column::Rows, plugin::Reject};

    fn rows(n: usize) -> Request {
        Request::Transform { rows: Rows::new(n, Vec::new()).expect("rows without columns") }
    }

    fn answer(n_rejects: u32) -> Result<Response, PluginFault> {
        let reject = |row| Reject { row, code: 0, message: String::new() };
        Ok(Response::Rows { outputs: Vec::new(), rejects: (0..n_rejects).map(reject).collect() })
    }

    #[test]
    fn refused_rows_and_guilty_ones_count() {
        let mut tally = Tally::default();
        assert_eq!((tally.bad_share(1), tally.faults(1)), (0.0, &[][..]));
        tally.count(1, &rows(6), &answer(1));
        assert_eq!((tally.bad_share(1), tally.bad_share(0)), (1.0 / 6.0, 0.0));
        let trap = |text: &str| Err(PluginFault::Trap(text.to_owned().into()));
        // A batch that breaks, and its one guilty row.
        tally.count(1, &rows(1), &trap("first"));
        tally.count(1, &rows(1), &answer(0));
        assert_eq!(tally.bad_share(1), 2.0 / 8.0);
        tally.count(1, &rows(8), &trap("second"));
        assert_eq!(tally.bad_share(1), 2.0 / 16.0, "whose rows it was is not known yet");
        let late = PluginFault::Deadline { limit_ms: 1 };
        tally.count(1, &rows(8), &Err(late.clone()));
        assert_eq!(tally.faults(1), [trap("first").expect_err("it is a fault"), late], "the first of each kind");
    }

    /// Of plugin 0 before: `n_rows` with `n_bad`; of plugin 1, which is to replace it, 100 rows.
    fn judged(was: (usize, u32), n_bad: u32, more_max: f64) -> Option<String> {
        let (mut before, mut since) = (Tally::default(), Tally::default());
        before.count(0, &rows(was.0), &answer(was.1));
        since.count(1, &rows(100), &answer(n_bad));
        OnTrial { plugin: 1, name: "p".into(), before: Some(0) }.too_many_bad(&since, &before, more_max)
    }

    #[test]
    fn a_share_may_be_greater_by_what_is_tolerated_and_by_chance() {
        assert_eq!(judged((100, 0), 6, 0.01), None);
        let why = "plugin \"p\" refused 7.0 % of its 100 rows, the one before 0.0 %";
        assert_eq!(judged((100, 0), 7, 0.01).as_deref(), Some(why));
        assert_eq!(judged((10, 1), 29, 0.05), None, "beyond what the one before has refused");
        assert!(judged((10, 1), 30, 0.05).is_some());
        assert!(judged((100, 0), 1, 0.0).is_some(), "none may be bad");
        assert_eq!(judged((0, 0), 100, 1.0), None);
    }

    /// How many must be bad at least for it to be no chance.
    fn n_bad_too_many(n_rows: u64, share_max: f64) -> Option<u64> {
        (0..=n_rows).find(|&n_bad| is_surely_more(n_bad, n_rows, share_max))
    }

    #[test]
    fn few_rows_must_be_bad_for_the_most_part_and_many_by_little() {
        let found: Vec<_> = [1, 2, 10, 100, 1_000, 10_000].map(|n_rows| n_bad_too_many(n_rows, 0.01)).into();
        assert_eq!(found, [None, Some(2), Some(3), Some(7), Some(24), Some(140)]);
        assert_eq!(n_bad_too_many(0, 0.01), None);
        assert_eq!(
            n_bad_too_many(23, 0.01),
            Some(4),
            "one bad row of 23 had code rolled back that was as good as the one before"
        );
    }

    /// The chance of `n_bad` or more, by adding up the binomial distribution.
    fn chance(n_bad: u64, n_rows: u64, share: f64) -> f64 {
        let mut exactly = vec![1.0];
        for _ in 0..n_rows {
            let more = exactly.iter().map(|p| p * share).collect::<Vec<_>>();
            exactly.iter_mut().for_each(|p| *p *= 1.0 - share);
            exactly.push(0.0);
            exactly.iter_mut().skip(1).zip(more).for_each(|(p, more)| *p += more);
        }
        exactly[n_bad as usize..].iter().sum()
    }

    #[test]
    fn what_may_be_fails_once_in_a_thousand_trials_at_most() {
        for share in [0.001, 0.01, 0.05, 0.3, 0.5, 0.9] {
            for n_rows in 1..200 {
                if let Some(n_bad) = n_bad_too_many(n_rows, share) {
                    let chance = chance(n_bad, n_rows, share);
                    assert!(chance < 1.0 / ONE_FAILS_OF, "{n_bad} of {n_rows} at {share}: {chance}");
                }
            }
        }
    }

    #[test]
    fn a_fault_counts_that_is_of_a_new_kind() {
        let trap = PluginFault::Trap("seven".to_owned().into());
        let [mut clean, mut broken, mut slow] = [Tally::default(), Tally::default(), Tally::default()];
        clean.count(0, &rows(5), &answer(5));
        broken.count(0, &rows(5), &Err(trap.clone()));
        slow.count(0, &rows(5), &Err(trap));
        slow.count(0, &rows(5), &Err(PluginFault::Deadline { limit_ms: 7 }));
        let replaces = |before| OnTrial { plugin: 0, name: "p".into(), before };
        let why = |before, is: &Tally, was: &Tally| replaces(before).new_fault(is, was);
        assert!(why(Some(0), &broken, &clean).is_some_and(|why| why.starts_with("plugin \"p\": ") && why.contains("seven")));
        assert_eq!(why(Some(0), &broken, &broken), None, "the one before broke as well");
        assert_eq!(why(Some(0), &broken, &slow), None);
        assert!(why(Some(0), &slow, &broken).is_some_and(|why| why.contains("7 ms")), "but in no other way");
        assert!(why(None, &broken, &broken).is_some(), "there was none before");
        assert_eq!(why(Some(0), &clean, &broken), None);
    }
}
