//! One test, played in every manner, and what is wrong with what came of it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use reelflow_config::{Expected, Place, TestPlan};
use reelflow_core::plan::Plan;
use reelflow_ports::engine::Plugin;
use reelflow_runtime::rehearsal::{Manner, Rehearsed, rehearse};
use serde_json::Value;

use super::{
    compare::{self, Difference, Speaks},
    found,
    row::{self, Row},
};
use crate::manifest::Planned;

/// What came of a test.
pub(in crate::commands) struct Verdict {
    pub(in crate::commands) name: String,
    pub(in crate::commands) took: Duration,
    /// Nothing: it is as it should be.
    pub(in crate::commands) findings: Vec<Finding>,
}

/// Something that is wrong.
pub(in crate::commands) struct Finding {
    /// What it is about, in a few words.
    pub(in crate::commands) what: String,
    /// Rows that should be there.
    pub(in crate::commands) missing: Vec<String>,
    /// Rows that should not, and when each came.
    pub(in crate::commands) unexpected: Vec<(String, String)>,
}

impl Verdict {
    pub(in crate::commands) fn is_good(&self) -> bool {
        self.findings.is_empty()
    }
}

/// What is in one place.
#[derive(Clone, Default)]
pub(in crate::commands) struct Part {
    pub(in crate::commands) name: String,
    pub(in crate::commands) rows: Vec<Row>,
    /// Of each row.
    pub(in crate::commands) texts: Vec<String>,
}

/// Plays tests of one manifest. Rows are compared as JSON, whatever a sink's format is.
pub(in crate::commands) struct Player {
    plan: Arc<Plan>,
    plugins: Vec<Arc<dyn Plugin>>,
}

impl Player {
    pub(in crate::commands) fn new(planned: Planned) -> Player {
        Player { plan: Arc::new(planned.plan.of_rehearsal()), plugins: planned.plugins }
    }

    pub(in crate::commands) fn play(&self, test: &TestPlan) -> Verdict {
        let began = Instant::now();
        let findings = self.findings(test).unwrap_or_else(|why| vec![words(why)]);
        Verdict { name: test.rehearsal.name.to_string(), took: began.elapsed(), findings }
    }

    /// All that comes of a test's records, in batches.
    pub(in crate::commands) fn parts(&self, test: &TestPlan) -> Result<Vec<Part>, String> {
        let found = self.found(test, &self.rehearse(test, Manner::InBatches)?)?;
        let part = |(expected, rows): (&Expected, Vec<Row>)| {
            let texts = rows.iter().map(|row| row::text(&row.fields, &expected.times, &test.calendar)).collect();
            Part { name: self.name(expected.place), rows, texts }
        };
        Ok(test.expected.iter().zip(found).map(part).collect())
    }

    /// Everything that is wrong; or in words, why the test cannot be played.
    fn findings(&self, test: &TestPlan) -> Result<Vec<Finding>, String> {
        let played = self.rehearse(test, Manner::OneByOne)?;
        let mut findings = Vec::new();
        for name in &played.unaccounted {
            findings.push(words(format!("what came to \"{name}\" and what became of it do not add up: a bug of Reelflow")));
        }
        let found = self.found(test, &played)?;
        for (expected, found) in test.expected.iter().zip(&found) {
            findings.extend(self.against(test, expected, found));
        }
        let others = [
            (Manner::InBatches, "comes out otherwise when records come in batches"),
            (Manner::Crashing, "comes out otherwise with a crash between every two records"),
        ];
        for (manner, words) in others.into_iter().filter(|_| !test.once) {
            let other = self.found(test, &self.rehearse(test, manner)?)?;
            for ((expected, one), other) in test.expected.iter().zip(&found).zip(&other) {
                findings.extend(self.otherwise(test, expected, (one, other), manner, words));
            }
        }
        Ok(findings)
    }

    fn rehearse(&self, test: &TestPlan, manner: Manner) -> Result<Rehearsed, String> {
        rehearse(&self.plan, &self.plugins, &test.rehearsal, manner).map_err(|error| format!("it cannot be played: {error}"))
    }

    /// One list of rows for each place that the test looks at.
    fn found(&self, test: &TestPlan, played: &Rehearsed) -> Result<Vec<Vec<Row>>, String> {
        test.expected.iter().map(|one| found::rows(one.place, &self.plan, played, &test.calendar)).collect()
    }

    /// What was found against what the test says.
    fn against(&self, test: &TestPlan, expected: &Expected, found: &[Row]) -> Option<Finding> {
        let rows = expected.rows.as_ref()?;
        let speaks = if matches!(expected.place, Place::Sink(_)) { Speaks::OfAll } else { Speaks::OfSome };
        let difference = compare::against(rows, found, speaks);
        if difference.is_none() {
            return None;
        }
        let n_right = rows.len() - difference.missing.len();
        let what = match rows.is_empty() {
            true => format!("{}: nothing was expected", self.name(expected.place)),
            false => format!("{}: {n_right} of {} rows as expected", self.name(expected.place), rows.len()),
        };
        let missing = difference.missing.iter().map(|idx| row::text(&rows[*idx], &expected.times, &test.calendar));
        let missing = missing.collect();
        let found: Vec<&Row> = found.iter().collect();
        Some(Finding { what, missing, unexpected: unexpected(test, expected, &found, &difference) })
    }

    /// What was found when the same records came in another manner.
    fn otherwise(
        &self,
        test: &TestPlan,
        expected: &Expected,
        (one, other): (&[Row], &[Row]),
        manner: Manner,
        words: &str,
    ) -> Option<Finding> {
        let is_upsert = match expected.place {
            Place::Sink(idx) => self.plan.sinks[idx].upsert,
            // How often something was emitted depends on how records come.
            Place::State(_) if manner == Manner::InBatches => return None,
            Place::Late(_) | Place::DeadLetters | Place::State(_) => false,
        };
        let (one, other) = (settled(one, is_upsert), settled(other, is_upsert));
        let (one, other): (Vec<&Row>, Vec<&Row>) = (one.iter().collect(), other.iter().collect());
        let difference = compare::lists(&one, &other);
        if difference.is_none() {
            return None;
        }
        let missing = difference.missing.iter().map(|idx| row::text(&one[*idx].fields, &expected.times, &test.calendar));
        let missing = missing.collect();
        let what = format!("{} {words}", self.name(expected.place));
        Some(Finding { what, missing, unexpected: unexpected(test, expected, &other, &difference) })
    }

    fn name(&self, place: Place) -> String {
        match place {
            Place::Sink(idx) => format!("sink {}", self.plan.sinks[idx].name),
            Place::Late(idx) => format!("late {}", self.plan.stages[idx].name),
            Place::DeadLetters => "dead letters".to_owned(),
            Place::State(idx) => format!("state {}", self.plan.stages[idx].name),
        }
    }
}

fn unexpected(test: &TestPlan, expected: &Expected, found: &[&Row], difference: &Difference) -> Vec<(String, String)> {
    let text = |idx: &usize| (row::text(&found[*idx].fields, &expected.times, &test.calendar), found[*idx].when.clone());
    difference.unexpected.iter().map(text).collect()
}

fn words(what: String) -> Finding {
    Finding { what, missing: Vec::new(), unexpected: Vec::new() }
}

/// The rows that no manner may change. How often a result is revised before it is final depends on how records come.
fn settled(rows: &[Row], is_upsert: bool) -> Vec<Row> {
    if !is_upsert {
        return rows.to_vec();
    }
    let is_final = |row: &&Row| row.fields.iter().any(|(path, value)| path == "final" && *value == Value::Bool(true));
    let without_rev = |row: &Row| {
        let fields = row.fields.iter().filter(|(path, _)| path != "rev").cloned().collect();
        Row { fields, when: row.when.clone() }
    };
    rows.iter().filter(is_final).map(without_rev).collect()
}
