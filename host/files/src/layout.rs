//! Where everything of a sink lies.
//!
//! ```text
//! <path>/dt=2026-11-26/hr=07/rows.p00003.000000000120-000000000450.parquet     published
//! <path>/dt=2026-11-26/hr=07/_SUCCESS                                          complete
//! <path>/_reel/sink.json                                                       whose folder it is
//! <path>/_reel/rolls/p00003/000000000017.json                                  what roll 17 of partition 3 has published
//! <path>/_reel/staging/p00003/000000000017.<attempt>.0.parquet                 what an attempt at roll 17 has written
//! ```
//!
//! A published name says the sink, the partition and the offsets of the roll; a roll that has several files for one folder numbers
//! them. What begins with `_` is skipped by the readers that know this layout (Hive's), and no glob of `dt=*/hr=*/*.parquet`
//! sees it.

use std::{path::PathBuf, sync::Arc};

use reelflow_core::{
    plan::{Divided, FileFormat},
    record::{Offset, Partition},
    time::EventTime,
};

use crate::calendar::{date_of, days_of};

/// The file that says that a folder of event time is complete.
pub(crate) const COMPLETE: &str = "_SUCCESS";
const OWN: &str = "_reel";

/// The names in the folder of one sink.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub root: PathBuf,
    pub sink: Arc<str>,
    pub format: FileFormat,
    pub divided: Divided,
}

/// Number of a folder of event time: how many lengths of it after 1970.
pub(crate) type Slot = i64;

impl Layout {
    pub fn own(&self) -> PathBuf {
        self.root.join(OWN)
    }

    pub fn owner(&self) -> PathBuf {
        self.own().join("sink.json")
    }

    pub fn staging(&self, partition: Partition) -> PathBuf {
        self.own().join("staging").join(format!("p{partition:05}"))
    }

    pub fn rolls(&self, partition: Partition) -> PathBuf {
        self.own().join("rolls").join(format!("p{partition:05}"))
    }

    pub fn roll(&self, partition: Partition, sequence: u64) -> PathBuf {
        self.rolls(partition).join(format!("{sequence:012}.json"))
    }

    /// The folder of event time that `time` belongs to.
    pub fn slot(&self, time: EventTime) -> Slot {
        self.divided.length_ms().map_or(0, |length_ms| time.0.div_euclid(length_ms))
    }

    /// The end of a folder's event time; `None` if it has none.
    pub fn end(&self, slot: Slot) -> Option<EventTime> {
        self.divided.length_ms().map(|length_ms| EventTime((slot + 1) * length_ms))
    }

    /// The name of a folder of event time, below the root; empty for the root itself.
    pub fn folder(&self, slot: Slot) -> String {
        match self.divided {
            Divided::Hourly => format!("{}/hr={:02}", day_name(slot.div_euclid(24)), slot.rem_euclid(24)),
            Divided::Daily => day_name(slot),
            Divided::Not => String::new(),
        }
    }

    /// The name of a published file, below the root.
    pub fn published(&self, slot: Slot, partition: Partition, first: Offset, last: Offset, nth: usize) -> String {
        let nth = if nth == 0 { String::new() } else { format!(".{nth}") };
        let name = format!("{}.p{partition:05}.{first:012}-{last:012}{nth}.{}", self.sink, self.format.name());
        match self.folder(slot) {
            folder if folder.is_empty() => name,
            folder => format!("{folder}/{name}"),
        }
    }
}

/// The name of a staged file or record. `attempt` differs between any two processes.
pub(crate) fn staged(sequence: u64, attempt: &str, what: &str) -> String {
    format!("{sequence:012}.{attempt}.{what}")
}

/// The number of the roll that a staged file or a record belongs to.
pub(crate) fn sequence_of(name: &str) -> Option<u64> {
    name.split('.').next()?.parse().ok()
}

/// The day that a folder called `dt=…` stands for.
pub(crate) fn day_of(name: &str) -> Option<Slot> {
    let mut parts = name.strip_prefix("dt=")?.rsplitn(3, '-').map(str::parse::<i64>);
    let (day, month, year) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    let days = days_of(year, month, day);
    (day_name(days) == name).then_some(days)
}

/// The hour that a folder called `hr=…` stands for.
pub(crate) fn hour_of(name: &str) -> Option<i64> {
    name.strip_prefix("hr=")?.parse().ok().filter(|hour| (0..24).contains(hour))
}

fn day_name(days: i64) -> String {
    let (year, month, day) = date_of(days);
    format!("dt={year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(divided: Divided) -> Layout {
        Layout { root: "out".into(), sink: "rows".into(), format: FileFormat::Parquet, divided }
    }

    #[test]
    fn rows_go_to_the_folder_of_their_hour_or_day() {
        for (ms, hour, day) in [
            (0, "dt=1970-01-01/hr=00", "dt=1970-01-01"),
            (-1, "dt=1969-12-31/hr=23", "dt=1969-12-31"),
            (3_599_999, "dt=1970-01-01/hr=00", "dt=1970-01-01"),
            (3_600_000, "dt=1970-01-01/hr=01", "dt=1970-01-01"),
            (1_795_678_496_123, "dt=2026-11-26/hr=07", "dt=2026-11-26"),
        ] {
            for (divided, expected) in [(Divided::Hourly, hour), (Divided::Daily, day), (Divided::Not, "")] {
                let layout = layout(divided);
                let slot = layout.slot(EventTime(ms));
                assert_eq!(layout.folder(slot), expected, "{ms}");
                assert!(layout.end(slot).is_none_or(|end| end.0 > ms), "{ms}");
            }
        }
    }

    #[test]
    fn folders_are_read_back() {
        let (first, last) = (EventTime::MIN.0.div_euclid(86_400_000), EventTime::MAX.0.div_euclid(86_400_000));
        for days in (first..=last).step_by(31) {
            assert_eq!(day_of(&day_name(days)), Some(days), "{}", day_name(days));
        }
        for name in ["dt=", "dt=2026-1-01", "dt=2026-02-30", "dt=x-01-01", "2026-01-01", "dt=2026-01"] {
            assert_eq!(day_of(name), None, "{name}");
        }
        assert_eq!([hour_of("hr=07"), hour_of("hr=24"), hour_of("hr=-1"), hour_of("07")], [Some(7), None, None, None]);
    }

    #[test]
    fn published_names_say_sink_partition_and_offsets() {
        let hourly = layout(Divided::Hourly);
        assert_eq!(hourly.published(1, 3, 120, 450, 0), "dt=1970-01-01/hr=01/rows.p00003.000000000120-000000000450.parquet");
        assert_eq!(layout(Divided::Not).published(0, 3, 120, 450, 2), "rows.p00003.000000000120-000000000450.2.parquet");
        assert_eq!(sequence_of(&staged(17, "a1", "0.parquet")), Some(17));
    }
}
