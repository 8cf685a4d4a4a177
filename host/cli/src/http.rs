//! HTTP between a running pipeline and those who look at it or change it: [`server`] and [`client`], and what both say.
//!
//! The protocol is hyper's, on a tokio that lives on one thread and that nobody outside of this module sees. axum would bring twelve more crates for the routing of
//! eight pages, and its own server has no limit for a head that never ends; tiny_http has no limits of time at all.

use std::{fmt, time::Duration};

use hyper::Method;

pub(crate) mod client;
pub(crate) mod server;

/// What a request says before its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub method: Method,
    pub path: String,
    /// Decoded, in the order in which they came.
    pub parameters: Vec<(String, String)>,
    /// What stands behind `Authorization: Bearer`.
    pub token: Option<String>,
}

/// What a page answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub status: u16,
    pub content_type: &'static str,
    pub body: String,
    /// One more header: its name and value.
    pub header: Option<(&'static str, &'static str)>,
}

impl Answer {
    pub fn text(status: u16, body: impl Into<String>) -> Answer {
        Answer { status, content_type: "text/plain; charset=utf-8", body: body.into(), header: None }
    }

    pub fn json(status: u16, body: &impl fmt::Display) -> Answer {
        Answer { status, content_type: "application/json", body: format!("{body}\n"), header: None }
    }

    /// The page is there, for these methods only: `GET, HEAD`.
    pub fn only(methods: &'static str) -> Answer {
        Answer { header: Some(("Allow", methods)), ..Answer::text(405, format!("only {methods}\n")) }
    }
}

/// What a request gets.
pub(crate) enum Reply {
    /// At once.
    Now(Answer),
    /// After some work, in which the log may be asked.
    Later(Work),
}

pub(crate) struct Work {
    pub body_bytes_max: usize,
    /// For all that follows: the body, the work, and reading the answer.
    pub time_max: Duration,
    pub run: Box<Run>,
}

/// Makes an answer of a body, on a thread on which it may wait.
pub(crate) type Run = dyn FnOnce(&[u8]) -> Answer + Send;

/// Answers requests. Must return at once.
pub(crate) type Pages = dyn Fn(&Head) -> Reply + Send + Sync;

impl Head {
    /// Whether somebody only wants to read.
    pub fn is_reading(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }
}
