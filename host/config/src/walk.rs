//! Reading a table of the manifest key by key, with the place of everything.
//!
//! Why not serde: it stops at the first error, and spans are lost inside flattened and tagged types.

use std::fmt::Display;

use toml::de::{DeTable, DeValue};

use crate::{
    code::Code,
    problem::{At, Problem, Problems, Span},
    value::{self, Wrong},
};

type Value<'t> = toml::Spanned<DeValue<'t>>;

/// A table whose keys are taken one by one; what is left at the end is unknown.
pub(crate) struct Table<'t> {
    /// How messages call it: `source "plays"`, `[pipeline]`.
    pub what: String,
    /// Its header, or the whole of an inline table.
    pub span: Span,
    /// In the order of the text.
    entries: Vec<Entry<'t>>,
    /// Every key that was asked for, so that a misspelt one can be told.
    asked: Vec<&'static str>,
}

pub(crate) struct Entry<'t> {
    pub key: &'t str,
    pub key_span: Span,
    pub value: &'t Value<'t>,
}

/// A value of the wrong type.
pub(crate) fn wrong_type(key: &str, what: &str, wanted: &str, value: &Value<'_>) -> Problem {
    let found = value.get_ref().type_str();
    let article = if found.starts_with(['a', 'i']) { "an" } else { "a" };
    Problem::at(
        Code::WrongType,
        value.span(),
        format!("\"{key}\" of {what} must be {wanted}"),
        format!("this is {article} {found}"),
    )
}

impl<'t> Table<'t> {
    pub fn new(what: impl Into<String>, table: &'t DeTable<'t>, span: Span) -> Table<'t> {
        let mut entries: Vec<Entry<'t>> =
            table.iter().map(|(key, value)| Entry { key: key.get_ref().as_ref(), key_span: key.span(), value }).collect();
        entries.sort_by_key(|entry| entry.key_span.start);
        Table { what: what.into(), span, entries, asked: Vec::new() }
    }

    /// The value of `key`, which then counts as known.
    pub fn take(&mut self, key: &'static str) -> Option<Entry<'t>> {
        self.asked.push(key);
        let idx = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(idx))
    }

    /// Where `key` is, if it is there; does not take it.
    pub fn peek(&self, key: &str) -> Option<&Entry<'t>> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// All that is left, for tables whose keys are free.
    pub fn take_rest(&mut self) -> Vec<Entry<'t>> {
        std::mem::take(&mut self.entries)
    }

    /// Reports each key that nobody asked for. `elsewhere`: keys that would be right in a table of another kind, with that kind.
    pub fn finish(self, elsewhere: &[(&str, &str)], problems: &mut Problems) {
        for entry in &self.entries {
            if let Some((_, kinds)) = elsewhere.iter().find(|(key, _)| *key == entry.key) {
                let message = format!("{} has no key \"{}\"", self.what, entry.key);
                problems.push(Problem::at(Code::KeyOfAnotherKind, entry.key_span.clone(), message, format!("a key of {kinds}")));
                continue;
            }
            let message = format!("unknown key \"{}\" in {}", entry.key, self.what);
            let mut problem = Problem::at(Code::UnknownKey, entry.key_span.clone(), message, "nothing reads this key");
            if let Some(meant) = value::closest(entry.key, self.asked.iter().copied()) {
                problem = problem.patch("a key with a similar name exists", entry.key_span.clone(), meant);
            } else {
                problem = problem.note(format!("keys: {}", self.asked.join(", ")));
            }
            problems.push(problem);
        }
    }

    /// Reports that `key` must be there, with an example of a value.
    pub fn missing(&self, key: &str, example: &str, problems: &mut Problems) {
        problems.push(
            Problem::at(
                Code::MissingKey,
                self.span.clone(),
                format!("{} lacks \"{key}\"", self.what),
                format!("\"{key}\" is missing"),
            )
            .help(format!("add `{key} = {example}`")),
        );
    }

    /// Takes `key` and reads it by `read`, which gets the text of a string.
    pub fn text_by<T>(
        &mut self,
        key: &'static str,
        wanted: &str,
        code: Code,
        read: impl Fn(&str) -> Result<T, Wrong>,
        problems: &mut Problems,
    ) -> Option<At<T>> {
        let entry = self.take(key)?;
        let Some(text) = entry.value.get_ref().as_str() else {
            problems.push(number_as_text(wrong_type(key, &self.what, wanted, entry.value), entry.value, code));
            return None;
        };
        read_text(text, entry.value.span(), &format!("\"{key}\" of {}", self.what), code, read, problems)
    }

    pub fn string(&mut self, key: &'static str, problems: &mut Problems) -> Option<At<String>> {
        self.text_by(key, "a string", Code::BadName, not_empty, problems)
    }

    pub fn required_string(&mut self, key: &'static str, example: &str, problems: &mut Problems) -> Option<At<String>> {
        if self.peek(key).is_none() {
            self.missing(key, example, problems);
        }
        self.string(key, problems)
    }

    pub fn topic(&mut self, key: &'static str, problems: &mut Problems) -> Option<At<String>> {
        let topic = |text: &str| value::topic(text).map(|()| text.to_owned());
        self.text_by(key, "a topic's name", Code::BadTopic, topic, problems)
    }

    /// A duration in ms that may be 0.
    pub fn duration(&mut self, key: &'static str, problems: &mut Problems) -> Option<At<i64>> {
        self.text_by(key, "a duration such as \"2m\"", Code::BadDuration, value::duration, problems)
    }

    /// A duration in ms above 0.
    pub fn positive_duration(&mut self, key: &'static str, problems: &mut Problems) -> Option<At<i64>> {
        let duration = self.duration(key, problems)?;
        if *duration > 0 {
            return Some(duration);
        }
        let message = format!("\"{key}\" of {} must be above zero", self.what);
        problems.push(Problem::at(Code::NotPositive, duration.span, message, "this is no time at all"));
        None
    }

    /// A size in bytes within `range`.
    pub fn size(&mut self, key: &'static str, range: std::ops::RangeInclusive<u64>, problems: &mut Problems) -> Option<At<u64>> {
        let size = self.text_by(key, "a size such as \"64MiB\"", Code::BadSize, value::size, problems)?;
        let text = |bytes: &u64| value::size_text(*bytes);
        self.in_range(key, size, range, text, problems)
    }

    /// A whole number within `range`.
    pub fn integer(
        &mut self,
        key: &'static str,
        range: std::ops::RangeInclusive<u64>,
        problems: &mut Problems,
    ) -> Option<At<u64>> {
        let entry = self.take(key)?;
        let Some(integer) = entry.value.get_ref().as_integer() else {
            problems.push(wrong_type(key, &self.what, "a whole number", entry.value));
            return None;
        };
        // Too large or negative for u64 is out of any range.
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(u64::MAX);
        self.in_range(key, At::new(number, entry.value.span()), range, u64::to_string, problems)
    }

    pub fn flag(&mut self, key: &'static str, problems: &mut Problems) -> Option<At<bool>> {
        let entry = self.take(key)?;
        let flag = entry.value.get_ref().as_bool();
        if flag.is_none() {
            problems.push(wrong_type(key, &self.what, "true or false", entry.value));
        }
        Some(At::new(flag?, entry.value.span()))
    }

    fn in_range(
        &self,
        key: &str,
        number: At<u64>,
        range: std::ops::RangeInclusive<u64>,
        text: impl Fn(&u64) -> String,
        problems: &mut Problems,
    ) -> Option<At<u64>> {
        if range.contains(&number.value) {
            return Some(number);
        }
        let message = format!("\"{key}\" of {} is out of range", self.what);
        let label = format!("must be {} to {}", text(range.start()), text(range.end()));
        problems.push(Problem::at(Code::OutOfRange, number.span, message, label));
        None
    }

    /// One of some words.
    pub fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&str, T)], problems: &mut Problems) -> Option<At<T>> {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let wanted = one_of(&words);
        let read = |text: &str| {
            let found = choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
            let meant = || value::closest(text, words.iter().copied()).map(str::to_owned);
            found.ok_or_else(|| Wrong { why: format!("must be {wanted}"), instead: meant() })
        };
        self.text_by(key, &wanted, Code::UnknownValue, read, problems)
    }

    /// A list of different strings.
    pub fn strings(&mut self, key: &'static str, problems: &mut Problems) -> Option<At<Vec<At<String>>>> {
        let entry = self.take(key)?;
        let Some(array) = entry.value.get_ref().as_array() else {
            let mut problem = wrong_type(key, &self.what, "a list of strings", entry.value);
            if let Some(text) = entry.value.get_ref().as_str() {
                problem = problem.patch("make it a list", entry.value.span(), format!("[\"{text}\"]"));
            }
            problems.push(problem);
            return None;
        };
        let mut list: Vec<At<String>> = Vec::new();
        for item in array.iter() {
            let Some(text) = item.get_ref().as_str() else {
                problems.push(wrong_type(key, &self.what, "a list of strings", item));
                continue;
            };
            let item = At::new(text.to_owned(), item.span());
            match list.iter().find(|other| other.value == item.value) {
                Some(other) => {
                    let message = format!("\"{key}\" of {} names \"{text}\" twice", self.what);
                    problems.push(
                        Problem::at(Code::BadList, item.span, message, "again here").also(other.span.clone(), "first here"),
                    );
                }
                None => list.push(item),
            }
        }
        if array.is_empty() {
            let message = format!("\"{key}\" of {} is empty", self.what);
            problems.push(Problem::at(Code::BadList, entry.value.span(), message, "names nothing"));
            return None;
        }
        Some(At::new(list, entry.value.span()))
    }

    /// A table inside of this one.
    pub fn table(&mut self, key: &'static str, what: impl Display, problems: &mut Problems) -> Option<Table<'t>> {
        let entry = self.take(key)?;
        entry.table(what, &self.what, problems)
    }
}

impl<'t> Entry<'t> {
    /// This entry as a table that messages call `what`; it stands in `parent`.
    pub fn table(&self, what: impl Display, parent: &str, problems: &mut Problems) -> Option<Table<'t>> {
        match self.value.get_ref().as_table() {
            Some(table) => Some(Table::new(what.to_string(), table, self.value.span())),
            None => {
                problems.push(wrong_type(self.key, parent, "a table", self.value));
                None
            }
        }
    }
}

/// Reads `text` at `span`; what is wrong with it is a problem of `code` with a mended text, if one is known.
pub(crate) fn read_text<T>(
    text: &str,
    span: Span,
    what: &str,
    code: Code,
    read: impl Fn(&str) -> Result<T, Wrong>,
    problems: &mut Problems,
) -> Option<At<T>> {
    match read(text) {
        Ok(value) => Some(At::new(value, span)),
        Err(Wrong { why, instead }) => {
            let kind = match code {
                Code::BadDuration => "not a duration",
                Code::BadSize => "not a size",
                Code::BadShare => "not a share",
                Code::BadTopic => "not a topic's name",
                Code::BadTime => "not a time",
                Code::BadFieldType => "of no known type",
                Code::UnknownValue | Code::UnknownTimeZone => "unknown",
                _ => "not a name",
            };
            let mut problem = Problem::at(code, span.clone(), format!("{what} is {kind}"), why);
            if let Some(instead) = instead {
                problem = problem.patch("write", span, format!("\"{instead}\""));
            }
            problems.push(problem);
            None
        }
    }
}

fn not_empty(text: &str) -> Result<String, Wrong> {
    match text {
        "" => Err(Wrong { why: "this is empty".to_owned(), instead: None }),
        text => Ok(text.to_owned()),
    }
}

/// A bare number where a duration or a size belongs: quote it with the unit that it most likely has.
fn number_as_text(problem: Problem, value: &Value<'_>, code: Code) -> Problem {
    let unit = match code {
        Code::BadDuration => "ms",
        Code::BadSize => "B",
        _ => return problem,
    };
    match value.get_ref().as_integer() {
        Some(number) => problem.patch("say the unit", value.span(), format!("\"{}{unit}\"", number.as_str())),
        None => problem,
    }
}

fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    quoted.join(" or ")
}
