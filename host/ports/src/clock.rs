//! Time: read by the driver, handed to the core as data, and let go by.

use std::{
    sync::LazyLock,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use reelflow_core::time::WallTime;

/// What reads wall time, for time-outs and metrics only.
pub trait Clock: Send + Sync {
    fn now(&self) -> WallTime;

    /// Time since some moment of this process, which never goes back: how long something took.
    fn since_start(&self) -> Duration;

    /// Lets `wait` go by. For waits that are short beside a transaction: nothing else happens to a worker meanwhile.
    fn sleep(&self, wait: Duration);
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> WallTime {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock stands after 1970");
        WallTime(i64::try_from(since_1970.as_millis()).expect("the clock stands before the year 292 million"))
    }

    fn since_start(&self) -> Duration {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        START.elapsed()
    }

    fn sleep(&self, wait: Duration) {
        thread::sleep(wait);
    }
}
