//! A time zone as data: what its clocks showed when. Made by `reelflow-config`, so that nothing here reads a time zone database.
//!
//! Clocks are set forward and back: some local times never come (a gap), others come twice (a fold). What is asked here has one answer
//! all the same: which time clocks show at an instant, and at which instant they *first* show a local time or a later one.

use std::fmt;

use xxhash_rust::xxh3::xxh3_64;

/// The rules of a time zone. Times are in ms since 1970-01-01, instants of UTC, local times of the zone's clocks.
#[derive(Clone, PartialEq, Eq)]
pub struct Zone {
    name: String,
    /// What clocks showed more than UTC before the first change.
    first_offset_ms: i64,
    /// In order.
    changes: Vec<Change>,
    /// For each span between changes: no local time from here on was shown in it or before it. Never falls; the last span has no such
    /// time and is not in here.
    reached_ms: Vec<i64>,
}

/// From `at_ms` on clocks show `offset_ms` more than UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub at_ms: i64,
    pub offset_ms: i64,
}

impl Zone {
    /// The zone called `name`. Panics unless `changes` are in order of their times.
    pub fn new(name: &str, first_offset_ms: i64, changes: Vec<Change>) -> Zone {
        assert!(changes.is_sorted_by(|a, b| a.at_ms < b.at_ms), "the changes of {name} are in no order");
        let offsets = std::iter::once(first_offset_ms).chain(changes.iter().map(|change| change.offset_ms));
        let mut reached = i64::MIN;
        let mut reached_ms = Vec::with_capacity(changes.len());
        for (offset_ms, until) in offsets.zip(&changes) {
            reached = reached.max(until.at_ms + offset_ms);
            reached_ms.push(reached);
        }
        Zone { name: name.to_owned(), first_offset_ms, changes, reached_ms }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// When clocks were set.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// What clocks show at the instant `at_ms`. O(log changes).
    pub fn local_ms(&self, at_ms: i64) -> i64 {
        at_ms + self.offset_ms(self.changes.partition_point(|change| change.at_ms <= at_ms))
    }

    /// The first instant at which clocks show `local_ms` or later. O(log changes).
    pub fn first_instant_ms(&self, local_ms: i64) -> i64 {
        let span = self.reached_ms.partition_point(|reached_ms| *reached_ms <= local_ms);
        let at_ms = local_ms - self.offset_ms(span);
        // In a gap: when clocks were set.
        span.checked_sub(1).map_or(at_ms, |change| at_ms.max(self.changes[change].at_ms))
    }

    /// Of what the clocks show, not of the name: another number means other rules.
    pub fn fingerprint(&self) -> u64 {
        let changes = self.changes.iter().flat_map(|change| [change.at_ms, change.offset_ms]);
        let bytes: Vec<u8> = std::iter::once(self.first_offset_ms).chain(changes).flat_map(i64::to_le_bytes).collect();
        xxh3_64(&bytes)
    }

    /// In span `span`, which ends with change `span`.
    fn offset_ms(&self, span: usize) -> i64 {
        span.checked_sub(1).map_or(self.first_offset_ms, |change| self.changes[change].offset_ms)
    }
}

/// Not the changes: there may be thousands.
impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Set forward by 10 at 100, back by 10 at 200, back by 50 at 220 (from 220 to 170: local 170 to 220 come again), forward by 50 at 400.
    fn zone() -> Zone {
        let change = |(at_ms, offset_ms)| Change { at_ms, offset_ms };
        Zone::new("made up", 0, [(100, 10), (200, 0), (220, -50), (400, 0)].map(change).into())
    }

    #[test]
    fn clocks_show_what_they_were_set_to() {
        for (at, shown) in
            [(-5, -5), (99, 99), (100, 110), (199, 209), (200, 200), (219, 219), (220, 170), (399, 349), (400, 400)]
        {
            assert_eq!(zone().local_ms(at), shown, "at {at}");
        }
    }

    #[test]
    fn a_local_time_comes_first_when_clocks_show_it_or_later() {
        let cases = [
            (-5, -5, "before all changes"),
            (99, 99, "just before a gap"),
            (100, 100, "the first of a gap"),
            (109, 100, "the last of a gap"),
            (110, 100, "just after a gap"),
            (205, 195, "the first of two"),
            (210, 210, "passed by the first fold, but not shown in it"),
            (219, 219, "shown again later"),
            (220, 270, "after the second fold"),
            (350, 400, "the first of the second gap"),
            (400, 400, "after all changes"),
        ];
        for (local, first, why) in cases {
            assert_eq!(zone().first_instant_ms(local), first, "local {local}: {why}");
        }
    }

    #[test]
    fn the_first_instant_is_what_a_search_finds() {
        let zone = zone();
        for local in -20..500 {
            let found = (-100..600).find(|at| zone.local_ms(*at) >= local);
            assert_eq!(Some(zone.first_instant_ms(local)), found, "local {local}");
        }
    }

    #[test]
    fn other_rules_have_another_fingerprint_and_other_names_have_not() {
        let same = Zone::new("other", 0, zone().changes().to_vec());
        let later = Zone::new("made up", 0, zone().changes()[1..].to_vec());
        assert_eq!(same.fingerprint(), zone().fingerprint());
        assert_ne!(later.fingerprint(), zone().fingerprint());
    }
}
