//! The small languages inside the manifest's strings: durations, sizes, names, topics, field types.

use reelflow_core::schema::FieldType;

/// No duration is longer, so that sums of them stay far from the bounds of event time: 3650 days, in ms.
pub(crate) const DURATION_MS_MAX: i64 = 3650 * 24 * 3_600_000;

/// Why a string is not the value it should be, and what it may have meant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub why: String,
    /// The whole value, mended.
    pub instead: Option<String>,
}

fn wrong(why: impl Into<String>, instead: Option<String>) -> Wrong {
    Wrong { why: why.into(), instead }
}

/// Reads `200ms`, `90s`, `2m`, `6h`, `1d`: one whole number and its unit. Returns ms.
pub(crate) fn duration(text: &str) -> Result<i64, Wrong> {
    let (number, unit) = split_number(text);
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 24 * 3_600_000,
        other => {
            let unit = match other.trim().to_lowercase().as_str() {
                "sec" | "secs" | "second" | "seconds" | "s" => Some("s"),
                "min" | "mins" | "minute" | "minutes" | "m" => Some("m"),
                "hour" | "hours" | "hr" | "hrs" | "h" => Some("h"),
                "day" | "days" | "d" => Some("d"),
                "millis" | "milliseconds" | "msec" | "ms" => Some("ms"),
                _ => None,
            };
            let instead = unit.filter(|_| !number.is_empty()).map(|unit| format!("{number}{unit}"));
            return Err(wrong("a duration is a whole number and one of ms, s, m, h, d", instead));
        }
    };
    let ms = number.parse::<i64>().ok().and_then(|number| number.checked_mul(factor));
    match ms {
        Some(ms) if ms <= DURATION_MS_MAX => Ok(ms),
        _ if number.is_empty() => Err(wrong("a duration is a whole number and one of ms, s, m, h, d", None)),
        _ => Err(wrong("no duration is longer than 3650d", None)),
    }
}

/// As [`duration`] does, for a command line: why not, in words.
pub fn duration_ms(text: &str) -> Result<i64, String> {
    duration(text).map_err(|wrong| match wrong.instead {
        Some(instead) => format!("{}: did you mean {instead}?", wrong.why),
        None => wrong.why,
    })
}

/// Reads `512B`, `256KiB`, `64MiB`, `1GiB`. Returns bytes.
pub(crate) fn size(text: &str) -> Result<u64, Wrong> {
    let why = "a size is a whole number and one of B, KiB, MiB, GiB";
    let (number, unit) = split_number(text);
    let shift = match unit {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        other => {
            let unit = match other.trim().to_lowercase().as_str() {
                "" | "b" | "bytes" | "byte" => Some("B"),
                "k" | "kb" | "kib" => Some("KiB"),
                "m" | "mb" | "mib" => Some("MiB"),
                "g" | "gb" | "gib" => Some("GiB"),
                _ => None,
            };
            return Err(wrong(why, unit.filter(|_| !number.is_empty()).map(|unit| format!("{number}{unit}"))));
        }
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    bytes.ok_or_else(|| wrong(why, None))
}

/// `text`, if it is a number without a unit.
pub(crate) fn plain_number(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

/// Writes `bytes` the shortest way: `64MiB`.
pub(crate) fn size_text(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.into_iter().find(|(_, shift)| bytes != 0 && bytes.is_multiple_of(1u64 << shift)) {
        Some((unit, shift)) => format!("{}{unit}", bytes >> shift),
        None => format!("{bytes}B"),
    }
}

/// Checks a name of ours: 1 to 64 of `a-z`, `0-9`, `_` and `-`, as topics, metrics and URLs can hold it.
pub(crate) fn name(text: &str) -> Result<(), Wrong> {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if text.chars().all(legal) && (1..=64).contains(&text.len()) {
        return Ok(());
    }
    let mended: String = text.trim().to_lowercase().chars().map(|c| if legal(c) { c } else { '_' }).take(64).collect();
    Err(wrong("a name is 1 to 64 of a-z, 0-9, _ and -", Some(mended).filter(|mended| !mended.is_empty())))
}

/// Checks a topic's name by Kafka's rules: 1 to 249 of `a-z`, `A-Z`, `0-9`, `.`, `_` and `-`, but not `.` or `..`.
pub(crate) fn topic(text: &str) -> Result<(), Wrong> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.chars().all(legal) && (1..=249).contains(&text.len()) && text != "." && text != ".." {
        return Ok(());
    }
    Err(wrong("a topic's name is 1 to 249 of a-z, A-Z, 0-9, ., _ and -", None))
}

/// Reads `i64`, or `i64?` for a field that may be null. Returns the type and whether it is required.
pub(crate) fn field_type(text: &str) -> Result<(FieldType, bool), Wrong> {
    let (name, required) = text.strip_suffix('?').map_or((text, true), |name| (name, false));
    if let Some(field_type) = FieldType::of_name(name) {
        return Ok((field_type, required));
    }
    let meant = match name.to_lowercase().as_str() {
        "int" | "integer" | "long" | "i32" | "u32" | "u64" | "int64" | "bigint" | "number" => Some("i64"),
        "float" | "double" | "f32" | "float64" => Some("f64"),
        "str" | "text" | "varchar" | "utf8" => Some("string"),
        "boolean" => Some("bool"),
        "binary" | "blob" => Some("bytes"),
        _ => None,
    };
    let mark = if required { "" } else { "?" };
    Err(wrong("types are bool, i64, f64, string, bytes; ? makes it optional", meant.map(|meant| format!("{meant}{mark}"))))
}

/// The candidate that `text` may have been meant to be.
pub fn closest<'c>(text: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let lower = text.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| {
            let len = candidate.len().max(text.len());
            *distance <= len / 3 || (candidate.len() > 3 && lower.contains(candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use reelflow_core::time::duration_text;

    use super::*;

    #[test]
    fn durations_at_their_edges() {
        assert_eq!(duration("0s"), Ok(0));
        assert_eq!(duration("200ms"), Ok(200));
        assert_eq!(duration("2m"), Ok(120_000));
        assert_eq!(duration("3650d"), Ok(DURATION_MS_MAX));
        for bad in ["", "m", "2", "-2m", "2 m", "1.5h", "3651d", "99999999999999999999d", "106751991168d", "1h30m"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(duration("2 min").unwrap_err().instead.as_deref(), Some("2m"));
        for ms in [0, 1, 1_000, 90_000, 120_000, 3_600_000, 86_400_000, 86_400_001] {
            assert_eq!(duration(&duration_text(ms)), Ok(ms));
        }
    }

    #[test]
    fn sizes_at_their_edges() {
        assert_eq!(size("0B"), Ok(0));
        assert_eq!(size("64MiB"), Ok(64 << 20));
        for bad in ["", "64", "64MB", "-1B", "99999999999GiB", "18446744073709551616B"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert_eq!(size("64MB").unwrap_err().instead.as_deref(), Some("64MiB"));
        for bytes in [0, 1, 1024, 3 << 20, (1 << 30) + 1] {
            assert_eq!(size(&size_text(bytes)), Ok(bytes));
        }
    }

    #[test]
    fn names_and_topics() {
        assert!(name(&"a".repeat(64)).is_ok() && name(&"a".repeat(65)).is_err() && name("").is_err());
        assert_eq!(name("My Stage").unwrap_err().instead.as_deref(), Some("my_stage"));
        assert!(topic(&"a".repeat(249)).is_ok() && topic(&"a".repeat(250)).is_err());
        for bad in ["", ".", "..", "a b", "plays/1", "ä"] {
            assert!(topic(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn field_types_and_what_was_meant() {
        assert_eq!(field_type("i64"), Ok((FieldType::Int, true)));
        assert_eq!(field_type("string?"), Ok((FieldType::Text, false)));
        assert_eq!(field_type("int?").unwrap_err().instead.as_deref(), Some("i64?"));
        assert_eq!(closest("play", ["plays", "impressions"]), Some("plays"));
        assert_eq!(closest("zebra", ["plays", "impressions"]), None);
    }
}
