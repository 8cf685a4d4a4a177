//! `[[test]]`: what arrives, and what is to come of it. Which fields rows have is known with the plan: see `rehearsal`.

use serde_json::Value;

use crate::{
    moment::Calendar,
    problem::{At, Span},
};

#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    pub name: At<String>,
    /// How its times are read.
    pub calendar: Calendar,
    pub inputs: Vec<TestInput>,
    pub expected: Vec<TestOutput>,
    /// Whether anything may come of what `expected` does not name.
    pub others_may_speak: bool,
    /// Where the wall clock goes after the last record, in ms since 1970.
    pub until: Option<At<i64>>,
    /// Whether all sources end after the last record.
    pub ends: bool,
    /// Whether it is played one record at a time and in no other manner.
    pub once: bool,
}

/// The records of one source or table, in the order in which they arrive.
#[derive(Clone, Debug, PartialEq)]
pub struct TestInput {
    pub source: At<String>,
    pub records: Vec<TestRecord>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TestRecord {
    pub span: Span,
    pub given: Given,
    /// When it happened.
    pub at: Option<At<i64>>,
    /// What the wall clock reads when it arrives.
    pub arrives: Option<At<i64>>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    Fields(Vec<Leaf>),
    /// The value as it stands.
    Raw(String),
    /// The key of a table that is deleted.
    Deleted(Vec<Leaf>),
    /// The source's promise to hold nothing older, in ms since 1970.
    Promise(i64),
}

/// One value of a row, at its path: `a.b` is member `b` of the object `a`. No arrays and no objects.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaf {
    pub path: At<String>,
    pub value: At<Value>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TestOutput {
    pub of: OutputName,
    /// `None`: whatever comes is right.
    pub rows: Option<Vec<TestRow>>,
}

/// What a test looks at. The span of [`OutputName::Dead`] is that of its key.
#[derive(Clone, Debug, PartialEq)]
pub enum OutputName {
    Sink(At<String>),
    /// Of a stage.
    Late(At<String>),
    Dead(Span),
    /// Of a stage.
    State(At<String>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct TestRow {
    pub span: Span,
    pub fields: Vec<Leaf>,
}
