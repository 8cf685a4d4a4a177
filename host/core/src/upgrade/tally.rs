//! How plugins do: what a trial is judged by.

use std::sync::Arc;

use crate::{
    plan::PluginIdx,
    plugin::{PluginFault, Request, Response},
};

/// By plugin: rows (or groups) given, rows refused or guilty of a fault, and the first fault.
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
    fault: Option<PluginFault>,
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
                record.fault.get_or_insert_with(|| fault.clone());
            }
        }
    }

    /// The first fault of `plugin`.
    pub fn fault(&self, plugin: PluginIdx) -> Option<&PluginFault> {
        self.0.get(plugin).and_then(|record| record.fault.as_ref())
    }

    /// The share of rows that `plugin` has refused, or that broke it; 0 of nothing.
    pub fn bad_share(&self, plugin: PluginIdx) -> f64 {
        match self.0.get(plugin) {
            Some(record) if record.n_rows > 0 => record.n_bad as f64 / record.n_rows as f64,
            _ => 0.0,
        }
    }
}

impl OnTrial {
    /// The first fault, where the plugin before never had any: of `is`, since the trial began, and of `was`, before it.
    pub(super) fn fault(&self, is: &Tally, was: &Tally) -> Option<String> {
        let fault = is.fault(self.plugin)?;
        let had_some = self.before.is_some_and(|before| was.fault(before).is_some());
        (!had_some).then(|| format!("plugin \"{}\": {fault}", self.name))
    }

    /// Whether it refuses, or breaks by, a share of its rows that is greater by more than `more_max` than that of the plugin before.
    pub(super) fn too_many_bad(&self, is: &Tally, was: &Tally, more_max: f64) -> Option<String> {
        let was = self.before.map_or(0.0, |before| was.bad_share(before));
        let is = is.bad_share(self.plugin);
        (is > was + more_max).then(|| {
            let [is, was] = [is, was].map(|share| format!("{:.1} %", 100.0 * share));
            format!("plugin \"{}\" refused {is} of its rows, the one before {was}", self.name)
        })
    }
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
        assert_eq!((tally.bad_share(1), tally.fault(1)), (0.0, None));
        tally.count(1, &rows(6), &answer(1));
        assert_eq!((tally.bad_share(1), tally.bad_share(0)), (1.0 / 6.0, 0.0));
        let trap = |text: &str| Err(PluginFault::Trap(text.to_owned().into()));
        // A batch that breaks, and its one guilty row.
        tally.count(1, &rows(1), &trap("first"));
        tally.count(1, &rows(1), &answer(0));
        assert_eq!(tally.bad_share(1), 2.0 / 8.0);
        tally.count(1, &rows(8), &trap("second"));
        assert_eq!(tally.bad_share(1), 2.0 / 16.0, "whose rows it was is not known yet");
        assert_eq!(tally.fault(1).map(ToString::to_string), trap("first").err().map(|fault: PluginFault| fault.to_string()));
    }
    /// Of plugin 0 before: `n_rows` with `n_bad`; of plugin 1, which is to replace it, 100 rows.
    fn judged(was: (usize, u32), n_bad: u32, more_max: f64) -> Option<String> {
        let (mut before, mut since) = (Tally::default(), Tally::default());
        before.count(0, &rows(was.0), &answer(was.1));
        since.count(1, &rows(100), &answer(n_bad));
        OnTrial { plugin: 1, name: "p".into(), before: Some(0) }.too_many_bad(&since, &before, more_max)
    }

    #[test]
    fn a_share_may_be_greater_by_what_is_tolerated_and_no_more() {
        assert_eq!(judged((100, 0), 1, 0.01), None);
        let why = "plugin \"p\" refused 2.0 % of its rows, the one before 0.0 %";
        assert_eq!(judged((100, 0), 2, 0.01).as_deref(), Some(why));
        assert_eq!(judged((10, 1), 15, 0.05), None, "beyond what the one before has refused");
        assert!(judged((10, 1), 16, 0.05).is_some());
        assert!(judged((100, 0), 1, 0.0).is_some());
        assert_eq!(judged((0, 0), 100, 1.0), None);
    }

    #[test]
    fn the_first_fault_counts_where_there_was_none_before() {
        let trap = || Err(PluginFault::Trap("seven".to_owned().into()));
        let (mut clean, mut broken) = (Tally::default(), Tally::default());
        clean.count(0, &rows(5), &answer(5));
        broken.count(0, &rows(5), &trap());
        let replaces = |before| OnTrial { plugin: 0, name: "p".into(), before };
        let why = |before, was: &Tally| replaces(before).fault(&broken, was);
        assert!(why(Some(0), &clean).is_some_and(|why| why.starts_with("plugin \"p\": ") && why.contains("seven")));
        assert_eq!(why(Some(0), &broken), None, "the one before broke as well");
        assert!(why(None, &broken).is_some(), "there was none before");
        assert_eq!(replaces(Some(0)).fault(&clean, &broken), None);
    }
}
