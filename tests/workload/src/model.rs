//! The numbers of a workload.

/// One minute in ms.
pub const MINUTE: i64 = 60_000;
/// One hour in ms.
pub const HOUR: i64 = 60 * MINUTE;

/// How large a workload is and from which seed it grows; the mixture of delays and faults is fixed (see [`crate::disturb`]).
#[derive(Clone, Debug)]
pub struct Model {
    pub seed: u64,
    pub n_profiles: u32,
    pub n_titles: u32,
    pub n_days: u32,
    /// About how many events the devices make, before duplicates and broken records.
    pub n_events: u64,
    /// Event time of the first session, ms since 1970.
    pub start_ms: i64,
    /// How many partitions the topics will have: one of them falls silent for two hours.
    pub n_partitions: u32,
}

impl Model {
    /// 3,000 profiles, 2,000 titles, 3 days, 400 k events.
    pub fn small(seed: u64) -> Model {
        Model {
            seed,
            n_profiles: 3_000,
            n_titles: 2_000,
            n_days: 3,
            n_events: 400_000,
            start_ms: 1_767_225_600_000,
            n_partitions: 4,
        }
    }

    /// The small model with another number of events; profiles and titles shrink with it, days stay.
    pub fn of_size(seed: u64, n_events: u64) -> Model {
        let small = Model::small(seed);
        let scale = |count: u32, floor: u32| ((u64::from(count) * n_events / small.n_events) as u32).clamp(floor, 1_000_000);
        Model { n_events, n_profiles: scale(small.n_profiles, 200), n_titles: scale(small.n_titles, 300).min(20_000), ..small }
    }

    pub fn end_ms(&self) -> i64 {
        self.start_ms + i64::from(self.n_days) * 24 * HOUR
    }
}
