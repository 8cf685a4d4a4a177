//! The model broker keeps the contract of logs.

use reelflow_core::time::WallTime;
use reelflow_ports::{
    contract::{self, Differences},
    simulated::{NoFaults, SimulatedLog, VirtualClock},
};

#[test]
fn the_simulated_log_keeps_the_contract() {
    let mut make = || -> Box<dyn reelflow_ports::log::Log> {
        Box::new(SimulatedLog::new(VirtualClock::starting_at(WallTime(1_767_225_600_000)), Box::new(NoFaults)))
    };
    contract::log(&mut make, &Differences::local());
}
