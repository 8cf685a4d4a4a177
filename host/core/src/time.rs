//! Event time, wall time and watermarks: three clocks that must never be mixed up.

use std::fmt;

/// When something happened, in ms since 1970-01-01 UTC; may be negative.
///
/// Bounded to [`EventTime::MIN`]..=[`EventTime::MAX`] when decoded, so that adding a window, a lateness and a bound cannot overflow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EventTime(pub i64);

impl EventTime {
    /// The earliest event time that is accepted: about 9,000 years before 1970.
    pub const MIN: EventTime = EventTime(-(1 << 48));
    /// The latest event time that is accepted: about 9,000 years after 1970.
    pub const MAX: EventTime = EventTime(1 << 48);

    /// The event time of `ms`, or `None` outside of [`EventTime::MIN`]..=[`EventTime::MAX`].
    pub fn checked(ms: i64) -> Option<EventTime> {
        (Self::MIN.0..=Self::MAX.0).contains(&ms).then_some(EventTime(ms))
    }
}

impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What a wall clock reads, in ms since 1970. For time-outs, idleness and metrics only: never for windows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct WallTime(pub i64);

/// A promise that no later record has an event time below it.
///
/// Source: Akidau et al., "The Dataflow Model", PVLDB 8(12), 2015, section 2.3.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Watermark(pub i64);

impl Watermark {
    /// Nothing is promised yet.
    pub const UNKNOWN: Watermark = Watermark(i64::MIN);
    /// Nothing will come any more: what an `__end` record says.
    pub const END: Watermark = Watermark(i64::MAX);

    /// Whether this watermark has reached `at`, i.e. a window that ends at `at` may fire.
    pub fn reached(self, at: EventTime) -> bool {
        self.0 >= at.0
    }

    /// This watermark moved back by `ms >= 0`; the two extremes stay where they are.
    pub fn minus(self, ms: i64) -> Watermark {
        match self {
            Watermark::UNKNOWN | Watermark::END => self,
            Watermark(at) => Watermark(at.saturating_sub(ms)),
        }
    }
}

impl fmt::Display for Watermark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Watermark::UNKNOWN => f.write_str("unknown"),
            Watermark::END => f.write_str("end"),
            Watermark(at) => write!(f, "{at}"),
        }
    }
}

/// `[start, end)` in event time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Window {
    start: EventTime,
    end: EventTime,
}

impl Window {
    /// `[start, end)`. Panics if `end <= start`: a window is never empty.
    pub fn new(start: EventTime, end: EventTime) -> Window {
        assert!(start < end, "a window is never empty: [{start}, {end})");
        Window { start, end }
    }

    pub fn start(self) -> EventTime {
        self.start
    }

    pub fn end(self) -> EventTime {
        self.end
    }
}

/// `ms` as manifests write it, the shortest way: `90s`, `6h`, `1d`.
pub fn duration_text(ms: i64) -> String {
    let units = [("d", 24 * 3_600_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    match units.into_iter().find(|(_, factor)| ms != 0 && ms % factor == 0) {
        Some((unit, factor)) => format!("{}{unit}", ms / factor),
        None if ms == 0 => "0s".to_owned(),
        None => format!("{ms}ms"),
    }
}
