//! How plugins do: what a trial is judged by.

use reelflow_core::{
    plan::PluginIdx,
    plugin::{PluginFault, Request, Response},
};

/// By plugin: rows (or groups) given, rows refused or guilty of a fault, and the first fault.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(Vec<Record>);

#[derive(Clone, Debug, Default)]
struct Record {
    n_rows: u64,
    n_bad: u64,
    fault: Option<PluginFault>,
}

impl Tally {
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

#[cfg(test)]
mod tests {
    use super::*;
    use reelflow_core::{column::Rows, plugin::Reject};

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
}
