//! Wall time, read by the driver and handed to the core as data.

use std::time::{SystemTime, UNIX_EPOCH};

use reelflow_core::time::WallTime;

/// What reads wall time, for time-outs and metrics only.
pub trait Clock: Send + Sync {
    fn now(&self) -> WallTime;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> WallTime {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock stands after 1970");
        WallTime(i64::try_from(since_1970.as_millis()).expect("the clock stands before the year 292 million"))
    }
}
