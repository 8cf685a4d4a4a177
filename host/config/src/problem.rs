//! What is wrong with a manifest, where, and what would be right.

use std::ops::{Deref, Range};

use crate::code::Code;

/// Bytes of the manifest's text.
pub type Span = Range<usize>;

/// A value and where the manifest says it. Where the manifest says nothing (a default), the span is that of the table's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At<T> {
    pub value: T,
    pub span: Span,
}

impl<T> At<T> {
    pub fn new(value: T, span: Span) -> At<T> {
        At { value, span }
    }
}

impl<T> Deref for At<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing starts before this is mended.
    Error,
    /// The pipeline runs, though hardly as meant.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub code: Code,
    /// What is wrong: lower case, no full stop, names quoted.
    pub message: String,
    /// Where; `None` for what is wrong outside of the manifest.
    pub span: Option<Span>,
    /// What to say under the carets.
    pub label: String,
    /// Other places that belong to it, each with its own words.
    pub others: Vec<(Span, String)>,
    pub notes: Vec<String>,
    pub help: Option<Help>,
}

/// What to do about a problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Help {
    pub text: String,
    /// Replace these bytes of the manifest by that text.
    pub patch: Option<(Span, String)>,
}

impl Problem {
    /// A problem at `span` of the manifest.
    pub fn at(code: Code, span: Span, message: impl Into<String>, label: impl Into<String>) -> Problem {
        Problem { span: Some(span), label: label.into(), ..Problem::nowhere(code, message) }
    }

    /// A problem outside of the manifest.
    pub fn nowhere(code: Code, message: impl Into<String>) -> Problem {
        Problem {
            code,
            message: message.into(),
            span: None,
            label: String::new(),
            others: Vec::new(),
            notes: Vec::new(),
            help: None,
        }
    }

    /// Adds another place that belongs to it.
    pub fn also(mut self, span: Span, label: impl Into<String>) -> Problem {
        self.others.push((span, label.into()));
        self
    }

    pub fn note(mut self, note: impl Into<String>) -> Problem {
        self.notes.push(note.into());
        self
    }

    /// Says what to do, in words.
    pub fn help(mut self, text: impl Into<String>) -> Problem {
        self.help = Some(Help { text: text.into(), patch: None });
        self
    }

    /// Says what to do, as an edit of the manifest.
    pub fn patch(mut self, text: impl Into<String>, span: Span, replacement: impl Into<String>) -> Problem {
        self.help = Some(Help { text: text.into(), patch: Some((span, replacement.into())) });
        self
    }

    pub fn severity(&self) -> Severity {
        self.code.severity()
    }
}

/// Everything that was found, in the order of the manifest's text; what has no place comes first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    problems: Vec<Problem>,
}

impl Problems {
    pub fn push(&mut self, problem: Problem) {
        let place = |problem: &Problem| problem.span.as_ref().map(|span| span.start);
        let idx = self.problems.partition_point(|other| place(other) <= place(&problem));
        self.problems.insert(idx, problem);
    }

    pub fn append(&mut self, others: Problems) {
        for problem in others.problems {
            self.push(problem);
        }
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.problems.iter()
    }

    pub fn len(&self) -> usize {
        self.problems.len()
    }

    /// Whether nothing at all was found, not even a warning.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    pub fn has_errors(&self) -> bool {
        self.n_errors() > 0
    }

    pub fn n_errors(&self) -> usize {
        self.problems.iter().filter(|problem| problem.severity() == Severity::Error).count()
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Problems {
        Problems { problems: vec![problem] }
    }
}

/// A value without errors, and the warnings that were found on the way to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Valid<T> {
    pub value: T,
    pub warnings: Problems,
}
