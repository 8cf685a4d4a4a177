//! Time: read by the driver, handed to the core as data, and let go by.

use std::{
    sync::LazyLock,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use nix::time::{ClockId, clock_gettime};
use reelflow_core::time::WallTime;

/// What reads wall time, for time-outs and metrics only.
pub trait Clock: Send + Sync {
    fn now(&self) -> WallTime;

    /// Time since some moment of this process, which never goes back: how long something took.
    fn since_start(&self) -> Duration;

    /// CPU time that the thread which asks has used so far. Asking is a call of the system, unlike [`Clock::since_start`].
    fn thread_cpu(&self) -> Duration;

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

    fn thread_cpu(&self) -> Duration {
        clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("each thread has a clock of its own").into()
    }

    fn sleep(&self, wait: Duration) {
        thread::sleep(wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_works_uses_cpu_and_one_that_sleeps_does_not() {
        let clock = SystemClock;
        let before = (clock.since_start(), clock.thread_cpu());
        clock.sleep(Duration::from_millis(50));
        let slept = (clock.since_start(), clock.thread_cpu());
        assert!(slept.1 >= before.1 && slept.1 - before.1 < slept.0 - before.0);
        while clock.thread_cpu() == slept.1 {
            std::hint::black_box(before);
        }
        // Another thread has not worked yet.
        let other = thread::spawn(|| SystemClock.thread_cpu()).join().expect("it only reads a clock");
        assert!(other < clock.since_start());
    }
}
