//! One module for each verb of `reel`.

pub(crate) mod backfill;
pub(crate) mod build;
pub(crate) mod check;
pub(crate) mod dev;
pub(crate) mod dlq;
pub(crate) mod explain;
pub(crate) mod new;
pub(crate) mod plugin;
pub(crate) mod reload;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod shadow;
pub(crate) mod state;
pub(crate) mod status;
pub(crate) mod test;
pub(crate) mod top;
pub(crate) mod topic;
