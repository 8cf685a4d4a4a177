//! Windows in time zones against the arithmetic with dates of the library that holds the database.

use std::sync::{Arc, LazyLock};

use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase},
};
use proptest::prelude::*;
use reelflow_config::time_zone;
use reelflow_core::{
    plan::WindowSpec,
    time::{EventTime, Window},
    window::{Windowing, local::LocalWindows},
    zone::Zone,
};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Set at 02:00, at midnight, just after midnight, by half an hour, by two hours, by a whole day, during Ramadan, never.
const ZONES: [&str; 14] = [
    "America/New_York",
    "America/Sao_Paulo",
    "America/Havana",
    "America/St_Johns",
    "Africa/Casablanca",
    "Africa/Cairo",
    "Antarctica/Troll",
    "Asia/Beirut",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Europe/Dublin",
    "Pacific/Apia",
    "Pacific/Kwajalein",
    "UTC",
];

const SIZES_H: [i64; 9] = [1, 2, 4, 6, 12, 24, 48, 7 * 24, 30 * 24];

/// The rules of [`ZONES`], without the changes after 2200: thousands that only cost time.
static RULES: LazyLock<Vec<Arc<Zone>>> = LazyLock::new(|| {
    let rules = |name: &&str| {
        let zone = time_zone(name).expect("a zone of the database");
        let changes = zone.changes().iter().copied().filter(|change| change.at_ms < YEAR_2200_MS).collect();
        Arc::new(Zone::new(name, zone.local_ms(i64::MIN / 2) - i64::MIN / 2, changes))
    };
    ZONES.iter().map(rules).collect()
});

const YEAR_2199_MS: i64 = 7_226_582_400_000;
const YEAR_2200_MS: i64 = 7_258_118_400_000;

fn library(zone: &str) -> TimeZone {
    TimeZoneDatabase::bundled().get(zone).expect("a zone of the database")
}

fn timestamp(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).expect("within the library's years")
}

/// Ms between 1970-01-01 00:00 and `local`, as if both were UTC.
fn local_ms(local: DateTime) -> i64 {
    TimeZone::UTC.to_timestamp(local).expect("within the library's years").as_millisecond()
}

/// When clocks show `local` or later for the first time: by what the library says of local times that never come, or come twice.
fn first_instant_ms(zone: &TimeZone, local: i64) -> i64 {
    let ambiguous = zone.to_ambiguous_timestamp(TimeZone::UTC.to_datetime(timestamp(local)));
    match ambiguous.offset() {
        AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => {
            ambiguous.earlier().expect("within the library's years").as_millisecond()
        }
        AmbiguousOffset::Gap { after, .. } => {
            // The change lies after the instant that the later offset gives, by less than the gap.
            let before_change = timestamp(local - i64::from(after.seconds()) * 1000 - 1);
            zone.following(before_change).next().expect("a gap has a change").timestamp().as_millisecond()
        }
    }
}

/// The window that holds `at`, by trying those around it.
fn brute_force(zone: &TimeZone, size_ms: i64, offset_ms: i64, at: i64) -> Window {
    let near = (local_ms(zone.to_datetime(timestamp(at))) - offset_ms).div_euclid(size_ms);
    let reach = 2 + 2 * DAY_MS / size_ms;
    let starts: Vec<i64> = (near - reach..=near + reach).map(|n| first_instant_ms(zone, n * size_ms + offset_ms)).collect();
    let start = starts.iter().copied().filter(|start| *start <= at).max().expect("one has begun");
    let end = starts.iter().copied().filter(|start| *start > at).min().expect("one comes");
    Window::new(EventTime(start), EventTime(end))
}

/// Around the changes of a zone, and anywhere from 1900 to 2200.
fn instants() -> impl Strategy<Value = (usize, i64)> {
    let anywhere = (0..ZONES.len(), -2_208_988_800_000_i64..YEAR_2199_MS);
    let at_a_change = (0..ZONES.len(), any::<prop::sample::Index>(), -2 * DAY_MS..2 * DAY_MS).prop_map(|(zone, change, by)| {
        let changes: Vec<i64> = RULES[zone].changes().iter().map(|change| change.at_ms).filter(|at| *at < YEAR_2199_MS).collect();
        // Often to the very ms.
        let by = if by.rem_euclid(4) == 0 { by.signum() } else { by };
        (zone, if changes.is_empty() { by } else { changes[change.index(changes.len())] + by })
    });
    prop_oneof![anywhere, at_a_change]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn windows_tile_and_are_those_of_the_library((zone, at) in instants(), size in 0..SIZES_H.len(), offset in 0..100_i64) {
        let size_ms = SIZES_H[size] * HOUR_MS;
        // Often none, or whole hours.
        let offset_ms = if offset < 40 { 0 } else { (offset * HOUR_MS / 2) % size_ms };
        let windows = LocalWindows::new(RULES[zone].clone(), size_ms, size_ms, offset_ms);
        let longest_ms = windows.longest_ms();
        let windows = Windowing::new(WindowSpec::Local(Arc::new(windows)));
        let window = windows.pane(EventTime(at));
        prop_assert!(window.start().0 <= at && at < window.end().0);
        prop_assert!(window.end().0 - window.start().0 <= longest_ms);
        let library = library(ZONES[zone]);
        prop_assert_eq!(window, brute_force(&library, size_ms, offset_ms, at));
        // Every instant in it is in no other, and its neighbours begin where it ends.
        let within = window.start().0 + (at - window.start().0) / 2;
        for same in [window.start().0, within, window.end().0 - 1] {
            prop_assert_eq!(windows.pane(EventTime(same)), window);
        }
        prop_assert_eq!(windows.pane(window.end()).start(), window.end());
        prop_assert_eq!(windows.pane(EventTime(window.start().0 - 1)).end(), window.start());
    }

    /// Where clocks are never set back over midnight, a window of a day holds the instants of one date.
    #[test]
    fn a_day_is_a_date((zone, at) in instants()) {
        // Newfoundland's clocks went from 00:01 to 23:01 for years, Kwajalein left a date out and once had one twice.
        if ["America/St_Johns", "Pacific/Kwajalein", "Pacific/Apia"].contains(&ZONES[zone]) || at < 0 {
            return Ok(());
        }
        let library = library(ZONES[zone]);
        let date = |ms: i64| library.to_datetime(timestamp(ms)).date();
        let window = days(RULES[zone].clone()).pane(EventTime(at));
        prop_assert_eq!(date(window.start().0), date(at));
        prop_assert_eq!(date(window.end().0 - 1), date(at));
        prop_assert_ne!(date(window.end().0), date(at));
    }
}

fn days(zone: Arc<Zone>) -> Windowing {
    Windowing::new(WindowSpec::Local(Arc::new(LocalWindows::new(zone, DAY_MS, DAY_MS, 0))))
}

/// `zone`, a local time in it, and the window of a day around it: start and end in UTC.
#[track_caller]
fn check(zone: &str, at: &str, day: [&str; 2]) {
    let at: Timestamp = at.parse().unwrap();
    let window = days(time_zone(zone).expect("a zone of the database")).pane(EventTime(at.as_millisecond()));
    let text = |at: EventTime| timestamp(at.0).to_string();
    assert_eq!([text(window.start()), text(window.end())], day, "{zone} at {at}");
}

#[test]
fn days_on_which_clocks_are_set() {
    check("America/New_York", "2013-03-10T12:00:00Z", ["2013-03-10T05:00:00Z", "2013-03-11T04:00:00Z"]);
    check("America/New_York", "2013-11-03T12:00:00Z", ["2013-11-03T04:00:00Z", "2013-11-04T05:00:00Z"]);
    // There was no midnight: the day began at 01:00.
    check("America/Sao_Paulo", "2018-11-04T12:00:00Z", ["2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"]);
    check("Asia/Beirut", "2021-03-28T12:00:00Z", ["2021-03-27T22:00:00Z", "2021-03-28T21:00:00Z"]);
    // Midnight came twice: the first one counts.
    check("America/Havana", "2013-11-03T12:00:00Z", ["2013-11-03T04:00:00Z", "2013-11-04T05:00:00Z"]);
    // The 30th of December 2011 was left out.
    check("Pacific/Apia", "2011-12-30T09:59:59Z", ["2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"]);
    check("Pacific/Apia", "2011-12-30T10:00:00Z", ["2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"]);
}

#[test]
fn weeks_that_slide_by_days_where_a_day_is_left_out_end_together() {
    let zone = time_zone("Pacific/Apia").expect("a zone of the database");
    let weeks = Windowing::new(WindowSpec::Local(Arc::new(LocalWindows::new(zone, 7 * DAY_MS, DAY_MS, 0))));
    let at: Timestamp = "2011-12-29T12:00:00Z".parse().unwrap();
    let text = |at: EventTime| timestamp(at.0).strftime("%m-%d %H").to_string();
    let held = weeks.windows_of(weeks.pane(EventTime(at.as_millisecond())));
    let found: Vec<[String; 2]> = held.map(|window| [text(window.start()), text(window.end())]).collect();
    // The local 30th of December was skipped: what would end where it begins, and where it ends, ends at the same instant.
    let expected = [
        ["12-23 10", "12-30 10"],
        ["12-24 10", "12-30 10"],
        ["12-25 10", "12-31 10"],
        ["12-26 10", "01-01 10"],
        ["12-27 10", "01-02 10"],
        ["12-28 10", "01-03 10"],
        ["12-29 10", "01-04 10"],
    ];
    assert_eq!(found, expected.map(|both| both.map(str::to_owned)));
}

#[test]
fn names_are_those_of_the_database_to_the_letter() {
    assert!(time_zone("Europe/Berlin").is_some());
    for name in ["europe/berlin", "Berlin", "+02:00", "UTC+2", ""] {
        assert_eq!(time_zone(name), None::<Arc<_>>, "{name}");
    }
}
