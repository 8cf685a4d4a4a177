//! The model broker keeps the contract of logs, the store in memory that of stores.

use reelflow_core::time::WallTime;
use reelflow_ports::{
    contract::{self, Differences},
    simulated::{NoFaults, SimulatedBases, SimulatedLog, VirtualClock},
};

#[test]
fn the_simulated_log_keeps_the_contract() {
    let mut make = || -> Box<dyn reelflow_ports::log::Log> {
        Box::new(SimulatedLog::new(VirtualClock::starting_at(WallTime(1_767_225_600_000)), Box::new(NoFaults)))
    };
    contract::log(&mut make, &Differences::local());
}

#[test]
fn the_simulated_store_keeps_the_contract() {
    let store = SimulatedBases::new();
    contract::bases(&store, &store.clone());
}
