//! What is said of code that changes, for programs and for people: the same whether the log was asked or the process that runs the pipeline.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use reelflow_core::{
    plan::Difference,
    time::Watermark,
    upgrade::{self, CodeSet, How},
};
use serde::{Deserialize, Serialize};

use crate::{
    args::Format,
    failure::{Exit, Failure},
    output::{Output, print},
    summary,
};

/// How code came that a running pipeline was asked to take.
pub(crate) const RELOADED: &str = "reloaded";

/// What other code would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub plugins: Vec<Replaced>,
    pub differences: Vec<Changed>,
    /// Why the pipeline's own code cannot be compared.
    pub incomparable: Option<String>,
    /// What the stages keep that begin anew.
    pub resets: Vec<Reset>,
}

/// A stage whose state is forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reset {
    pub stage: String,
    /// For people.
    pub text: String,
    /// How much of each sort is kept. `None`: the code that runs cannot be used here, so nobody can count it.
    pub forgotten: Option<Kept>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub keys: u64,
    pub windows: u64,
    /// What belongs to no window, by what it is called.
    pub others: BTreeMap<String, u64>,
}

/// A plugin with another component; the first digits of both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Replaced {
    pub plugin: String,
    pub was: String,
    pub is: String,
}

/// A difference of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Changed {
    pub text: String,
    pub breaking: bool,
    /// What to do instead, where a running pipeline cannot take it.
    pub blocks: Option<String>,
}

/// A proposal and what became of it. Members are added, never renamed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub proposal: i64,
    pub at_ms: i64,
    pub decided_at_ms: i64,
    /// The digest of each plugin's component.
    pub plugins: BTreeMap<String, String>,
    pub how: String,
    /// The stages whose state it forgets.
    #[serde(default)]
    pub resets: Vec<String>,
    pub by: String,
    pub verdict: Verdict,
    pub why: Option<String>,
    pub failed_at: Option<String>,
    /// Whether the pipeline runs it now.
    pub current: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Verdict {
    #[serde(rename = "on trial")]
    OnTrial,
    #[serde(rename = "accepted")]
    Accepted,
    #[serde(rename = "rolled back")]
    RolledBack,
    #[serde(rename = "refused")]
    Refused,
}

impl Changed {
    /// `resets`: the stages that begin anew.
    pub(crate) fn of(difference: &Difference, resets: &BTreeSet<Arc<str>>) -> Changed {
        let blocks = difference.blocks(resets).map(|instead| instead.to_string());
        Changed { text: difference.to_string(), breaking: difference.is_breaking(resets), blocks }
    }
}

impl Plan {
    pub(crate) fn print(&self, format: Format) -> Result<(), Failure> {
        if format == Format::Json {
            return print(&json_of(self));
        }
        let mut output = Output::new();
        if self.plugins.is_empty() {
            output.line("the pipeline runs this code already")?;
        }
        for Replaced { plugin, was, is } in &self.plugins {
            output.line(&format!("plugin \"{plugin}\" {was} → {is}"))?;
        }
        for Changed { text, breaking, blocks } in &self.differences {
            let mark = match (blocks, breaking) {
                (Some(_), _) => "✗ ",
                (None, true) => "! ",
                (None, false) => "",
            };
            output.line(&format!("{mark}{text}"))?;
            if let Some(instead) = blocks {
                output.line(&format!("  a running pipeline cannot take this: {instead}"))?;
            }
        }
        if let Some(why) = &self.incomparable {
            output.line(&format!("the code that runs cannot be compared: {why}"))?;
        }
        self.resets.iter().try_for_each(|reset| output.line(&reset.text))?;
        if !self.plugins.is_empty() && self.differences.is_empty() && self.incomparable.is_none() {
            output.line("nothing else changes: fields, outputs and state are the same")?;
        }
        output.finish()
    }
}

impl Entry {
    pub(crate) fn of(entry: &upgrade::Entry, is_current: bool) -> Entry {
        let (verdict, why, failed_at) = match &entry.verdict {
            upgrade::Verdict::Open { .. } => (Verdict::OnTrial, None, None),
            upgrade::Verdict::Accepted => (Verdict::Accepted, None, None),
            upgrade::Verdict::RolledBack { why, by } => (Verdict::RolledBack, Some(why.to_string()), Some(by.to_string())),
            upgrade::Verdict::Refused { why } => (Verdict::Refused, Some(why.to_string()), None),
        };
        let how = match entry.how {
            How::Started => "started",
            How::Reloaded { .. } => RELOADED,
        };
        Entry {
            proposal: entry.proposal,
            at_ms: entry.at.0,
            decided_at_ms: entry.decided_at.0,
            plugins: entry.code.0.iter().map(|(name, digest)| (name.to_string(), digest.to_string())).collect(),
            how: how.to_owned(),
            resets: entry.resets.iter().map(|stage| stage.to_string()).collect(),
            by: entry.by.to_string(),
            verdict,
            why,
            failed_at,
            current: is_current,
        }
    }

    /// Its plugins with the first digits of their digests.
    pub(crate) fn code(&self) -> CodeSet {
        CodeSet(self.plugins.iter().map(|(name, digest)| (name.as_str().into(), digest.as_str().into())).collect())
    }

    /// One line of a history, and one more that says why.
    pub(crate) fn line(&self) -> String {
        let mark = if self.current { "*" } else { " " };
        let what = if self.how == RELOADED { self.verdict.name() } else { &self.how };
        let why = self.why.as_ref().map_or_else(String::new, |why| format!("\n    {why}"));
        let forgets = self.resets.iter().map(|stage| format!("\n    the state of stage \"{stage}\" is forgotten"));
        format!("{mark} {}  {what:<12} {}  by {}{why}{}", self.at(), self.code(), self.by, forgets.collect::<String>())
    }

    /// When it was proposed.
    pub(crate) fn at(&self) -> String {
        summary::date(Watermark(self.at_ms))
    }
}

impl Verdict {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Verdict::OnTrial => "on trial",
            Verdict::Accepted => "accepted",
            Verdict::RolledBack => "rolled back",
            Verdict::Refused => "refused",
        }
    }
}

/// Says what came of a proposal: `None` within `wait_s` seconds. Code that was not taken is an error.
pub(crate) fn say_verdict(entry: Option<&Entry>, format: Format, wait_s: u64) -> Result<(), Failure> {
    let Some(entry) = entry else {
        return Err(Failure::new(Exit::Environment, format!("no verdict within {wait_s} s"))
            .help("Does the pipeline run? The proposal stays: it is tried when the pipeline runs; `reel history` shows what came of it."));
    };
    match format {
        Format::Text => print(&format!("{}: {}", entry.verdict.name(), entry.code()))?,
        Format::Json => print(&json_of(entry))?,
    }
    match (entry.verdict, &entry.why) {
        (Verdict::RolledBack | Verdict::Refused, why) => {
            let why = why.as_deref().unwrap_or("nobody said why");
            Err(Failure::new(Exit::Runtime, format!("the new code was not taken: {why}"))
                .help("The pipeline goes on with the code that it had; nothing of the trial was committed."))
        }
        (Verdict::Accepted | Verdict::OnTrial, _) => Ok(()),
    }
}

pub(crate) fn say_history(entries: &[Entry], format: Format) -> Result<(), Failure> {
    if format == Format::Json {
        return print(&json_of(&entries));
    }
    let mut output = Output::new();
    entries.iter().try_for_each(|entry| output.line(&entry.line()))?;
    output.finish()
}

pub(crate) fn json_of(said: &impl Serialize) -> String {
    serde_json::to_string(said).expect("texts and numbers have a form in JSON")
}
