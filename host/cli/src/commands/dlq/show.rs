//! `reel dlq show`: one dead letter in full.

use reelflow_core::{letter::Letter, time::Watermark};
use reelflow_runtime::retry::retried;
use serde_json::{Value, json};

use super::{
    Letters,
    shown::{self, backtrace},
};
use crate::{
    args::{
        Format,
        dlq::{Address, DlqShow},
    },
    failure::Failure,
    json_bytes,
    manifest::Manifest,
    output::{print, printable},
    summary,
};

/// Of a value with an error in it, so many bytes are shown on either side.
const AROUND: usize = 60;

pub(super) fn show(args: &DlqShow) -> Result<(), Failure> {
    let manifest = Manifest::load(&args.file.manifest)?;
    let log = manifest.open_log()?;
    let letters = Letters::open(&manifest, &*log)?;
    let pipeline = &manifest.config.pipeline.name;
    let retried = retried(&*log, pipeline, &letters.topic).map_err(|error| manifest.run_failure(error))?;
    let is_retried = retried.contains(args.at.partition, args.at.offset);
    let text = letters.one(args.at, |letter| match args.format {
        Format::Text => text(&letters.topic, args.at, letter, is_retried),
        Format::Json => {
            let mut members = shown::json_of(args.at, letter, is_retried);
            members.insert("format".to_owned(), json!(1));
            Value::Object(members).to_string()
        }
    })?;
    print(&text)
}

fn text(topic: &str, address: Address, letter: &Letter<'_>, is_retried: bool) -> String {
    let date = |ms: i64| summary::date(Watermark(ms));
    let mut lines = vec![format!("dead letter {address} of topic \"{topic}\"{}", if is_retried { ", put back" } else { "" })];
    let mut line = |name: &str, text: String| lines.push(printable(&format!("  {name:<10}{text}")));
    line("died", format!("in {} of pipeline {}, {}", letter.place, letter.pipeline, date(letter.record.timestamp_ms)));
    letter.plugin.into_iter().for_each(|plugin| line("plugin", plugin.to_owned()));
    line("reason", format!("{}{}", letter.reason, letter.code.map(|code| format!(" ({code})")).unwrap_or_default()));
    let frames = backtrace(letter);
    let error = if frames.is_empty() { letter.error } else { letter.error.rsplit_once(", in ").map_or("", |(what, _)| what) };
    line("error", error.to_owned());
    frames.iter().enumerate().for_each(|(idx, frame)| line(if idx == 0 { "in" } else { "" }, (*frame).to_owned()));
    match letter.origin {
        Some(from) => {
            line("from", format!("{}[{}] at {}, {}", from.topic, from.partition, from.offset, date(letter.timestamp_ms)))
        }
        None => line("from", format!("a row that a stage made or that was moved by its key, {}", date(letter.timestamp_ms))),
    }
    if letter.retries > 0 {
        line("retries", format!("was put back {} times before", letter.retries));
    }
    letter.call.into_iter().for_each(|call| line("call", shown::call(call)));
    line("key", letter.record.key.map_or("none".to_owned(), shown_bytes));
    letter.headers.iter().for_each(|(name, bytes)| line("header", format!("{name}: {}", shown_bytes(bytes))));
    let Some(value) = letter.record.value else {
        line("value", "none".to_owned());
        return lines.join("\n");
    };
    line("value", format!("{} bytes", value.len()));
    lines.extend(pointed(letter, value));
    // Line breaks are the value's own.
    lines.extend(shown_bytes(value).split('\n').map(printable));
    lines.join("\n")
}

fn shown_bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("(base64) {}", json_bytes::encoded(bytes)),
    }
}

/// The part of a JSON value that the error points at, and a caret below.
fn pointed(letter: &Letter<'_>, value: &[u8]) -> Option<String> {
    let is_of_json = ["json", "utf8", "type", "missing"].contains(&letter.reason);
    let at = letter.byte_position().filter(|at| is_of_json && *at <= value.len())?;
    let printable = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(char::is_control, " ");
    let (begin, end) = (at.saturating_sub(AROUND), (at + AROUND).min(value.len()));
    let before = printable(&value[begin..at]);
    let dots = if begin > 0 { "…" } else { "" };
    let behind = if end < value.len() { "…" } else { "" };
    let caret = " ".repeat(dots.chars().count() + before.chars().count());
    Some(format!("\n    {dots}{before}{}{behind}\n    {caret}^\n", printable(&value[at..end])))
}

#[cfg(test)]
mod tests {
    use reelflow_core::{letter::name, record::Record};

    use super::*;

    #[track_caller]
    fn check(reason: &str, error: &str, value: &[u8], expected: Option<&str>) {
        let header = |name: &str, text: &str| (name.into(), text.as_bytes().to_vec());
        let headers = [
            header(name::PIPELINE, "p"),
            header(name::SOURCE, "plays"),
            header(name::REASON, reason),
            header(name::ERROR, error),
        ];
        let letter = Letter::read(Record { offset: 0, timestamp_ms: 0, key: None, value: Some(value), headers: &headers });
        assert_eq!(pointed(&letter.expect("a letter"), value).as_deref(), expected);
    }

    #[test]
    fn a_caret_points_at_the_mistake() {
        check("type", "field \"a\" at byte 5 must be i64", b"{\"a\":\"x\"}", Some("\n    {\"a\":\"x\"}\n         ^\n"));
        check("json", "value is not a JSON object at byte 3: it ends", b"{\n\"", Some("\n    { \"\n       ^\n"));
        check("utf8", "value is not UTF-8 at byte 4", "\"ä\"\u{1}".as_bytes(), Some("\n    \"ä\" \n       ^\n"));
        let long = [&[b'x'; 100][..], &[b'y'; 100]].concat();
        let (xs, ys) = ("x".repeat(60), "y".repeat(60));
        check("type", "at byte", &long, None);
        check("type", "it is at byte 100", &long, Some(&format!("\n    …{xs}{ys}…\n     {}^\n", " ".repeat(60))));
    }

    #[test]
    fn what_has_no_position_has_no_caret() {
        check("trap", "panicked at byte 2", b"{}", None);
        check("type", "field \"a\" must be i64", b"{}", None);
        check("json", "value is not a JSON object at byte 3: ", b"{}", None);
    }
}
