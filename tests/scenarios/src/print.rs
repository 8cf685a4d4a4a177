//! Times and records as words.

use reelflow_core::{
    plan::Plan,
    record::Record,
    task::{RowPlace, StageFailure},
    time::Watermark,
};
use serde_json::{Map, Value};

/// `1h`, `90s`, `-0.001s`: in the greatest unit that divides it, down to seconds with a fraction.
pub fn time(ms: i64) -> String {
    match ms {
        0 => "0s".to_owned(),
        _ if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        _ if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
        _ if ms % 1000 == 0 => format!("{}s", ms / 1000),
        _ => {
            let fraction = format!("{:03}", ms.unsigned_abs() % 1000);
            let sign = if ms < 0 { "-" } else { "" };
            format!("{sign}{}.{}s", ms.unsigned_abs() / 1000, fraction.trim_end_matches('0'))
        }
    }
}

/// The ms of a time as [`time`] writes it.
pub fn parse_time(text: &str) -> Result<i64, String> {
    let wrong = || format!("\"{text}\" is no time; write 3s, 0.5s, -1m, 6h");
    let (number, unit_ms) = match text.as_bytes().last() {
        Some(b's') => (&text[..text.len() - 1], 1000.0),
        Some(b'm') => (&text[..text.len() - 1], 60_000.0),
        Some(b'h') => (&text[..text.len() - 1], 3_600_000.0),
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    Ok((number * unit_ms).round() as i64)
}

pub fn watermark(watermark: Watermark) -> String {
    match watermark {
        Watermark::UNKNOWN | Watermark::END => watermark.to_string(),
        Watermark(ms) => time(ms),
    }
}

/// A row of a sink: `sink [start,end) key field=value … rev=0 final`.
pub fn sink_row(sink: &str, value: &[u8]) -> String {
    let mut fields = object(value);
    let mut words = vec![sink.to_owned()];
    if let (Some(start), Some(end)) = (fields.remove("start"), fields.remove("end")) {
        words.push(format!("[{},{})", word("start", &start), word("end", &end)));
    }
    words.extend(fields.remove("key").map(|key| word("key", &key)));
    let is_final = fields.remove("final");
    let rev = fields.remove("rev");
    let is_said = |name: &str, value: &Value| !(value.is_null() || name == "sum" && *value == 0);
    words.extend(
        fields.iter().filter(|(name, value)| is_said(name, value)).map(|(name, value)| format!("{name}={}", word(name, value))),
    );
    words.extend(rev.map(|rev| format!("rev={rev}")));
    words.extend(is_final.filter(|is_final| *is_final == true).map(|_| "final".to_owned()));
    words.join(" ")
}

/// A late record: `late.stage key@time window=[start,end) watermark=…`.
pub fn late(topic: &str, value: &[u8]) -> String {
    let fields = object(value);
    let record = fields["record"].as_object().expect("a late record holds its row");
    let key = word("key", &record["key"]);
    let time_of = record.get("ts").map(|ts| format!("@{}", word("ts", ts))).unwrap_or_default();
    let window = match (&fields["window_start"], &fields["window_end"]) {
        (Value::Null, Value::Null) => String::new(),
        (start, end) => format!(" window=[{},{})", word("start", start), word("end", end)),
    };
    let at = Watermark(fields["watermark"].as_i64().expect("a watermark is ms"));
    format!("{topic} {key}{time_of}{window} watermark={}", watermark(at))
}

/// A dead letter: `dead reason at=place offset=… value: error`.
pub fn dead(record: &Record<'_>) -> String {
    let header = |name: &str| {
        let found = record.headers.iter().find(|(key, _)| **key == *name);
        found.map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned())
    };
    let required = |name: &str| header(name).unwrap_or_else(|| panic!("a dead letter without the header {name}"));
    let place = header("reel-source").or_else(|| header("reel-stage")).expect("a dead letter says where it died");
    let from = match header("reel-offset") {
        Some(offset) => format!(" from={}/{}@{offset}", required("reel-topic"), required("reel-partition")),
        None => String::new(),
    };
    let code = header("reel-code").map(|code| format!("({code})")).unwrap_or_default();
    let value = match record.value {
        None => "(tombstone)".to_owned(),
        Some(b"") => "(empty)".to_owned(),
        Some(value) if value.len() > 100 => format!("({} bytes)", value.len()),
        Some(value) => value.escape_ascii().to_string().replace("\\\"", "\""),
    };
    format!("dead {}{code} at={place}{from} {value}: {}", required("reel-reason"), required("reel-error"))
}

/// What stops the pipeline: `failed at=stage from=place reason: error`, and how much went wrong where that is why.
pub fn failed(plan: &Plan, failure: &StageFailure) -> String {
    let from = match &failure.row.at {
        RowPlace::Record { topic, partition, offset } => format!("{topic}/{partition}@{offset}"),
        RowPlace::Row(text) => text.clone(),
    };
    let much = failure.exceeded.map(|much| format!(" wrong={}/{}", much.n_wrong, much.n_rows)).unwrap_or_default();
    let name = &plan.stages[failure.stage].name;
    format!("failed at={name} from={from}{much} {}: {}", failure.row.reason, failure.row.error)
}

fn object(value: &[u8]) -> Map<String, Value> {
    serde_json::from_slice(value).unwrap_or_else(|error| panic!("an output is no JSON object: {error}"))
}

/// A value as a word; of fields that hold times, the time.
fn word(field: &str, value: &Value) -> String {
    match value {
        Value::Number(ms) if matches!(field, "start" | "end" | "ts") || field.ends_with("_ts") => {
            time(ms.as_i64().expect("times are whole ms"))
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_their_words() {
        for (ms, text) in
            [(0, "0s"), (1, "0.001s"), (-1, "-0.001s"), (1500, "1.5s"), (90_000, "90s"), (-60_000, "-1m"), (7_200_000, "2h")]
        {
            assert_eq!((time(ms).as_str(), parse_time(text)), (text, Ok(ms)));
        }
        assert!(parse_time("5").is_err() && parse_time("").is_err() && parse_time("xs").is_err());
    }
}
