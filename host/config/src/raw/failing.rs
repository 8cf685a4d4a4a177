//! `on_error`, `errors_max`, `retries` and `backoff` of a stage: what happens when its plugin fails.

use reelflow_core::plan::{DeadlineRetry, ErrorsMax, Failing, OnError};

use crate::{
    code::Code,
    config::failing::StageFailing,
    problem::{Problem, Problems},
    value::{self, Wrong},
    walk::Table,
};

/// A worker does nothing else while it waits, so all waits of one row together end long before a transaction does.
const RETRIES_MAX: u64 = 5;
const BACKOFF_MS_MAX: i64 = 200;
const ROWS_MAX: u64 = 1_000_000_000;

/// The keys that a stage without a plugin does not have, and which those are.
pub(super) const KEYS: [(&str, &str); 4] = [
    ("on_error", "stages with a plugin"),
    ("errors_max", "stages with a plugin"),
    ("retries", "stages with a plugin"),
    ("backoff", "stages with a plugin"),
];

/// What is wrong is reported; the stage is then as if it did not say it.
pub(super) fn failing(table: &mut Table<'_>, problems: &mut Problems) -> StageFailing {
    let standard = Failing::STANDARD;
    let words = [("dead-letter", OnError::DeadLetter), ("skip", OnError::Skip), ("fail", OnError::Fail)];
    let on_error = table.choice("on_error", &words, problems);
    let limit = table.peek("errors_max").map(|entry| (entry.key_span.clone(), entry.value.span()));
    let errors_max = errors_max(table, problems);
    if let (Some((key, _)), Some(on_error)) = (&limit, &on_error)
        && **on_error == OnError::Fail
    {
        let message = format!("{} has a limit that is never reached", table.what);
        let problem = Problem::at(Code::KeyOfAnotherKind, key.clone(), message, "the first error stops the pipeline already");
        problems.push(problem.also(on_error.span.clone(), "as this says"));
    }
    let retries = table.integer("retries", 0..=RETRIES_MAX, problems);
    let backoff = table.positive_duration("backoff", problems);
    if let Some(backoff) = backoff.as_ref().filter(|backoff| backoff.value > BACKOFF_MS_MAX) {
        let message = format!("\"backoff\" of {} is out of range", table.what);
        let label = format!("must be at most {BACKOFF_MS_MAX}ms");
        problems.push(Problem::at(Code::OutOfRange, backoff.span.clone(), message, label).note("it doubles with each retry"));
    }
    let retry = DeadlineRetry {
        retries_max: retries.map_or(standard.retry.retries_max, |retries| *retries as u32),
        backoff_ms: backoff.map_or(standard.retry.backoff_ms, |ms| ms.unsigned_abs()),
    };
    StageFailing {
        policy: Failing { on_error: on_error.as_ref().map_or(standard.on_error, |on_error| **on_error), errors_max, retry },
        on_error: on_error.map(|on_error| on_error.span),
        errors_max: limit.map(|(_, value)| value),
    }
}

/// `errors_max = { share = "5%", of = 1000 }`.
fn errors_max(table: &mut Table<'_>, problems: &mut Problems) -> Option<ErrorsMax> {
    let what = format!("\"errors_max\" of {}", table.what);
    let mut limit = table.table("errors_max", what, problems)?;
    for (key, example) in [("share", "\"5%\""), ("of", "1000")] {
        if limit.peek(key).is_none() {
            limit.missing(key, example, problems);
        }
    }
    let share = limit.text_by("share", "a share such as \"5%\"", Code::BadShare, share, problems);
    let of = limit.integer("of", 1..=ROWS_MAX, problems);
    limit.finish(&[], problems);
    Some(ErrorsMax { share: *share?, of: *of? })
}

/// Reads `5%` or `0.25%`, in hundredths of a percent.
pub(super) fn share(text: &str) -> Result<u32, Wrong> {
    let wrong =
        |instead: Option<String>| Wrong { why: "a share is above 0% and below 100%, such as 5% or 0.25%".to_owned(), instead };
    let number = text.strip_suffix('%').ok_or_else(|| wrong(value::plain_number(text).map(|number| format!("{number}%"))))?;
    let (whole, part) = number.split_once('.').unwrap_or((number, "00"));
    let is_number =
        |text: &str, len_max: usize| (1..=len_max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole, 2) || !is_number(part, 2) {
        return Err(wrong(None));
    }
    let hundredths: u32 = format!("{whole}{part:0<2}").parse().expect("four digits at most");
    if hundredths == 0 { Err(wrong(None)) } else { Ok(hundredths) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_at_their_edges() {
        for (text, hundredths) in [("5%", 500), ("0.25%", 25), ("0.5%", 50), ("99.99%", 9_999), ("0.01%", 1), ("05%", 500)] {
            assert_eq!(share(text), Ok(hundredths), "{text}");
            let max = ErrorsMax { share: hundredths, of: 1 };
            assert_eq!(share(&max.share_text()), Ok(hundredths));
        }
        for text in ["", "%", "0%", "0.00%", "100%", "5", "-5%", "5 %", "5.%", "1.234%", ".5%", "five%"] {
            assert!(share(text).is_err(), "{text}");
        }
        assert_eq!(share("5").unwrap_err().instead.as_deref(), Some("5%"));
        assert_eq!(share("five").unwrap_err().instead, None);
    }
}
