//! How plugins do: what a trial is judged by.

use reelflow_core::{
    plan::PluginIdx,
    plugin::{PluginFault, Request, Response},
};

/// By plugin: rows (or groups) given, rows refused, and the first fault.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(Vec<Record>);

#[derive(Clone, Debug, Default)]
struct Record {
    n_rows: u64,
    n_rejects: u64,
    fault: Option<PluginFault>,
}

impl Tally {
    pub fn count(&mut self, plugin: PluginIdx, request: &Request, result: &Result<Response, PluginFault>) {
        if self.0.len() <= plugin {
            self.0.resize_with(plugin + 1, Record::default);
        }
        let record = &mut self.0[plugin];
        record.n_rows += request.n_units() as u64;
        match result {
            Ok(Response::Rows { rejects, .. } | Response::States { rejects, .. } | Response::Processed { rejects, .. }) => {
                record.n_rejects += rejects.len() as u64;
            }
            Err(fault) => drop(record.fault.get_or_insert_with(|| fault.clone())),
        }
    }

    /// The first fault of `plugin`.
    pub fn fault(&self, plugin: PluginIdx) -> Option<&PluginFault> {
        self.0.get(plugin).and_then(|record| record.fault.as_ref())
    }

    /// The share of rows that `plugin` has refused; 0 of nothing.
    pub fn rejects_share(&self, plugin: PluginIdx) -> f64 {
        match self.0.get(plugin) {
            Some(record) if record.n_rows > 0 => record.n_rejects as f64 / record.n_rows as f64,
            _ => 0.0,
        }
    }
}
