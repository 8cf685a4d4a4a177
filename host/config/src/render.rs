//! Problems for people, in rustc's look, and for programs.

use annotate_snippets::{AnnotationKind, Group, Level, Patch, Renderer, Snippet};
use serde::Serialize;

use crate::problem::{Problem, Problems, Severity, Span};

/// So many problems are drawn; the rest is a number.
const DRAWN_MAX: usize = 20;

/// Draws `problems` of the manifest `text`, which messages call `file`: errors first, then warnings, each with its lines, and at
/// most 20 of them.
///
/// Secrets that stand in the text are drawn as asterisks. With `color`, escape sequences colour the parts.
pub fn render(problems: &Problems, file: &str, text: &str, color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let text = masked(text);
    let (errors, warnings): (Vec<&Problem>, Vec<&Problem>) =
        problems.iter().partition(|problem| problem.severity() == Severity::Error);
    let mut drawn: Vec<String> = errors
        .into_iter()
        .chain(warnings)
        .take(DRAWN_MAX)
        .map(|problem| renderer.render(&groups(problem, file, &text)))
        .collect();
    if problems.len() > DRAWN_MAX {
        drawn.push(format!("… and {} more", problems.len() - DRAWN_MAX));
    }
    drawn.join("\n\n")
}

fn groups<'p>(problem: &'p Problem, file: &'p str, text: &'p str) -> Vec<Group<'p>> {
    let level = match problem.severity() {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(problem.message.as_str()).id(problem.code.to_string());
    let mut first = match &problem.span {
        None => Group::with_title(title),
        Some(span) => {
            let at = |kind: AnnotationKind, span: &Span, label: &'p str| {
                kind.span(span.clone()).label((!label.is_empty()).then_some(label))
            };
            let snippet = Snippet::source(text)
                .path(file)
                .annotation(at(AnnotationKind::Primary, span, &problem.label))
                .annotations(problem.others.iter().map(|(span, label)| at(AnnotationKind::Context, span, label)));
            title.element(snippet)
        }
    };
    for note in &problem.notes {
        first = first.element(Level::NOTE.message(note.as_str()));
    }
    let Some(help) = &problem.help else {
        return vec![first];
    };
    match &help.patch {
        None => vec![first.element(Level::HELP.message(help.text.as_str()))],
        Some((span, replacement)) => {
            let snippet = Snippet::source(text).path(file).patch(Patch::new(span.clone(), replacement.as_str()));
            vec![first, Level::HELP.secondary_title(help.text.as_str()).element(snippet)]
        }
    }
}

/// One problem as data. Its shape is a contract: members are added, never renamed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// `RF0210`
    pub code: String,
    /// `error` or `warning`
    pub severity: &'static str,
    pub file: String,
    /// From 1; `None` for what is wrong outside of the manifest.
    pub line: Option<usize>,
    /// In characters, from 1.
    pub column: Option<usize>,
    pub message: String,
    pub label: Option<String>,
    pub notes: Vec<String>,
    pub help: Option<String>,
    /// What to write at `line` and `column` instead, if the help is an edit.
    pub replacement: Option<String>,
}

/// All of `problems`, in the order of the text.
pub fn report(problems: &Problems, file: &str, text: &str) -> Vec<Report> {
    problems
        .iter()
        .map(|problem| {
            let place = problem.span.as_ref().map(|span| line_and_column(text, span.start));
            let help = problem.help.as_ref();
            Report {
                code: problem.code.to_string(),
                severity: match problem.severity() {
                    Severity::Error => "error",
                    Severity::Warning => "warning",
                },
                file: file.to_owned(),
                line: place.map(|(line, _)| line),
                column: place.map(|(_, column)| column),
                message: problem.message.clone(),
                label: Some(problem.label.clone()).filter(|label| !label.is_empty()),
                notes: problem.notes.clone(),
                help: help.map(|help| help.text.clone()),
                replacement: help.and_then(|help| help.patch.as_ref()).map(|(_, replacement)| replacement.clone()),
            }
        })
        .collect()
}

fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at.min(text.len())];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// `text` with as many bytes, where strings behind keys that sound like secrets are asterisks, and so are passwords in addresses. Works on
/// text that does not parse.
fn masked(text: &str) -> String {
    const WORDS: [&str; 4] = ["password", "secret", "token", "pem"];
    let lower = text.to_ascii_lowercase();
    let mut bytes = text.as_bytes().to_vec();
    for word in WORDS {
        for (at, _) in lower.match_indices(word) {
            // The rest of the key, then `=`, then a quote: anything else is not a value that stands here.
            let rest = &text[at + word.len()..];
            let key_end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "._- \t\"'".contains(c))).unwrap_or(rest.len());
            let Some(value) = rest[key_end..].strip_prefix('=') else { continue };
            let value = value.trim_start_matches([' ', '\t']);
            let start = text.len() - value.len();
            let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| value.starts_with(quote));
            let end = match quote {
                Some(quote) => {
                    let inner = &value[quote.len()..];
                    // An unfinished string ends with its line, or with the text.
                    let line_end = if quote.len() == 1 { inner.find('\n') } else { None }.unwrap_or(inner.len());
                    quote.len() + closing(&inner[..line_end], quote).unwrap_or(line_end)
                }
                None if value.starts_with(['{', '[']) => 0,
                None => value.find(['\n', ',', '}', '#']).unwrap_or(value.len()),
            };
            let from = start + quote.map_or(0, str::len).min(end);
            mask(&mut bytes[from..start + end]);
        }
    }
    for (at, scheme) in text.match_indices("://") {
        let start = at + scheme.len();
        let rest = &text[start..];
        let host_end = rest.find(|c: char| "/?#\"'".contains(c) || c.is_whitespace()).unwrap_or(rest.len());
        if let (Some(colon), Some(end)) = (rest[..host_end].find(':'), rest[..host_end].rfind('@'))
            && colon < end
        {
            mask(&mut bytes[start + colon + 1..start + end]);
        }
    }
    String::from_utf8(bytes).expect("whole characters became asterisks")
}

fn mask(bytes: &mut [u8]) {
    bytes.iter_mut().filter(|byte| !byte.is_ascii_whitespace()).for_each(|byte| *byte = b'*');
}

/// Where `quote` closes the string that `inner` starts in, past escaped characters.
fn closing(inner: &str, quote: &str) -> Option<usize> {
    let mut escaped = false;
    inner.char_indices().find_map(|(at, c)| {
        if escaped {
            escaped = false;
            return None;
        }
        escaped = c == '\\' && quote.starts_with('"');
        inner[at..].starts_with(quote).then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::Code;

    #[test]
    fn secrets_are_masked_even_where_the_text_is_broken() {
        let check = |text: &str, expected: &str| assert_eq!(masked(text), expected);
        check("\"sasl.password\" = \"hunter2\"\nx = 1", "\"sasl.password\" = \"*******\"\nx = 1");
        check("client = { ssl_key_password='a\\b', user = \"me\" }", "client = { ssl_key_password='***', user = \"me\" }");
        check("password = \"hun\\\"ter\" # x", "password = \"********\" # x");
        check("password = \"open\nx = \"y\"", "password = \"****\nx = \"y\"");
        check("token = \"\"\"a\nb\"\"\"\nx = 1", "token = \"\"\"*\n*\"\"\"\nx = 1");
        check("password = hunter2\nx = 1", "password = *******\nx = 1");
        check("password = \"pä\"", "password = \"***\"");
        check("password = { env = \"NAME\" }", "password = { env = \"NAME\" }");
        check("path = \"token\"", "path = \"token\"");
        check("url = \"http://reel:hun@ter2@host:80/a@b\"", "url = \"http://reel:********@host:80/a@b\"");
        check("url = \"http://host:80/\" # a@b", "url = \"http://host:80/\" # a@b");
    }

    #[test]
    fn at_most_twenty_are_drawn_and_errors_come_first() {
        let mut problems = Problems::default();
        problems.push(Problem::at(Code::UnusedSource, 0..1, "a warning", ""));
        for n in 0..24 {
            problems.push(Problem::at(Code::UnknownKey, 2..3, format!("problem {n}"), ""));
        }
        let drawn = render(&problems, "reel.toml", "a b\n", false);
        assert!(drawn.starts_with("error[RF0102]: problem 0\n --> reel.toml:1:3\n"), "{drawn}");
        assert!(drawn.contains("problem 19") && !drawn.contains("problem 20") && !drawn.contains("a warning"), "{drawn}");
        assert!(drawn.ends_with("\n\n… and 5 more"), "{drawn}");
        assert!(render(&problems, "reel.toml", "a b\n", true).contains("\u{1b}["));
    }

    #[test]
    fn places_count_lines_and_characters_from_one() {
        assert_eq!(line_and_column("ä = 1\nb", 0), (1, 1));
        assert_eq!(line_and_column("ä = 1\nb", 3), (1, 3));
        assert_eq!(line_and_column("ä = 1\nb", 7), (2, 1));
        assert_eq!(line_and_column("", 9), (1, 1));
    }
}
