//! The calls of a worker's plugins: which are made again, and what they cost.
//!
//! A plugin is a pure function of its request, so what failed fails again; only a deadline depends on the machine. A call of many rows that
//! ran into its deadline is cut in half by its stage; one of a single row or group is made again, a few times, before it is given up. So a
//! machine that stood still costs no row, and a row that takes for ever costs a bounded time.

use std::{sync::Arc, time::Duration};

use reelflow_core::{
    plan::{PluginIdx, StageIdx},
    plugin::{PluginFault, Request, Response},
};
use reelflow_ports::engine::{LoadError, Plugin, PluginInstance};

use crate::{
    usage::{CallUsage, Took},
    worker::Job,
};

/// One instance of each plugin.
pub(crate) struct Plugins {
    /// By index in the plan.
    instances: Instances,
    /// By stage: a plugin may serve several.
    usage: Vec<CallUsage>,
}

impl Plugins {
    pub fn new(job: &Job) -> Result<Plugins, LoadError> {
        Ok(Plugins { instances: instances(&job.plugins)?, usage: vec![CallUsage::default(); job.plan.stages.len()] })
    }

    /// From now on other instances are called. Gives those from before.
    pub fn replace(&mut self, instances: Instances) -> Instances {
        std::mem::replace(&mut self.instances, instances)
    }

    /// What the calls of each stage have cost so far.
    pub fn usage(&self) -> &[CallUsage] {
        &self.usage
    }

    /// Makes the call that `stage` asks for, again if that may help.
    pub fn call(&mut self, job: &Job, stage: StageIdx, plugin: PluginIdx, request: &Request) -> Result<Response, PluginFault> {
        let retry = job.plan.stages[stage].failing.retry;
        let mut n_retries = 0;
        loop {
            // The reading of the CPU inside of that of the wall: so the one is never more than the other.
            let (began, cpu_before) = (job.clock.since_start(), job.clock.thread_cpu());
            let result = self.instances[plugin].call(request);
            let cpu = job.clock.thread_cpu().saturating_sub(cpu_before);
            let took = Took { wall: job.clock.since_start().saturating_sub(began), cpu };
            self.usage[stage].called(request, &result, took, self.instances[plugin].memory_bytes_max());
            let is_worth_another = matches!(result, Err(PluginFault::Deadline { .. })) && request.n_units() == 1;
            match retry.wait_ms(n_retries).filter(|_| is_worth_another) {
                Some(wait_ms) => job.clock.sleep(Duration::from_millis(wait_ms)),
                None => return result,
            }
            n_retries += 1;
            self.usage[stage].retries += 1;
        }
    }
}

pub(super) type Instances = Vec<Box<dyn PluginInstance>>;

/// One of each.
pub(super) fn instances(plugins: &[Arc<dyn Plugin>]) -> Result<Instances, LoadError> {
    plugins.iter().map(|plugin| plugin.instance()).collect()
}
