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
