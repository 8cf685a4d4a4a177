//! When a worker goes over to other code, and what it says of it: decisions alone.
//!
//! What the worker sees is an [`Input`], what it is to do an [`Effect`]; it does the effects in their order, before anything else happens, and gives
//! back what those ask for. A trial is an epoch that stays open: from [`Effect::Begin`] on the worker commits nothing but by [`Effect::Commit`], and
//! only the verdict of the ledger leads to that. Whatever else ends a trial has it dropped.

use crate::{
    record::Offset,
    time::WallTime,
    upgrade::tally::{OnTrial, Tally},
};

/// How new code is tried. All of it is bounded (I-9).
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// For how long a trial lasts.
    pub trial_ms: i64,
    /// For how long rows gather in front of it; 0: they do not.
    pub gathering_ms: i64,
    /// For how long the others are awaited once it has passed here.
    pub verdict_ms_max: i64,
    /// The share of rows that new code may refuse, or break by, beyond that of the code before.
    pub bad_share_max: f64,
}

/// Everything that can happen. What makes no sense where it comes is ignored.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// No trial is under way, and the worker has looked at what its process posts.
    Looked { now: WallTime, posted: Posted },
    /// [`Effect::Gather`] is done: rows gather from now on.
    Gathering { now: WallTime },
    /// [`Effect::Gather`] has found nothing behind a change of key that a new plugin reads.
    NothingGathers,
    /// [`Effect::Adopt`] is done: nothing is open, and the tasks have the new code.
    Adopted { now: WallTime, plugins: Vec<OnTrial> },
    /// A step of the trial is done. `was` and `is`: how plugins did before it, and since. `is_full`: an epoch has no more.
    Stepped { now: WallTime, was: &'a Tally, is: &'a Tally, is_full: bool, decided: Option<Decided> },
    /// The tasks cannot be brought under the code that is tried, or cannot go on with it.
    Failed { why: String },
    /// The tasks are gone, and with them the open epoch and all that waits.
    Ended,
}

/// What a process posts for its workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posted {
    /// Another one with every posting.
    pub version: u64,
    /// Whether the tasks have the code that is the pipeline's.
    pub is_current: bool,
    /// The proposal that is tried.
    pub trial: Option<Offset>,
}

/// How a trial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided {
    pub proposal: Offset,
    pub is_accepted: bool,
}

/// What the worker is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Seal, and go on with the code that is the pipeline's.
    Switch,
    /// Do not read what new plugins of the proposal read behind a change of key. Asks for [`Input::Gathering`] or [`Input::NothingGathers`].
    Gather(Offset),
    /// Read it again.
    EndGathering,
    /// Seal, and put the tasks under the code of the proposal. Asks for [`Input::Adopted`] or [`Input::Failed`].
    Adopt(Offset),
    /// The trial has begun: tell the tasks what only the code before was told, and migrate their states if all are to be.
    Begin(Offset),
    /// Read nothing more of anything.
    Hold,
    /// Read everything again.
    Release,
    /// Tell the others that it went well here.
    Passed(Offset),
    /// Tell the others that it must not be used.
    Failed { proposal: Offset, why: String },
    /// Seal the trial: it is an epoch like any other.
    Commit,
    /// Drop the trial, and go on with the code before from the last commit.
    GoBack,
}

/// One worker's.
#[derive(Clone, Debug)]
pub struct Follower {
    rules: Rules,
    phase: Phase,
    /// The posting that was followed to its end.
    seen: Option<u64>,
    /// The trial that has failed here, until nobody posts it any more.
    given_up: Option<Offset>,
}

#[derive(Clone, Debug)]
enum Phase {
    /// Epochs end by their time.
    Settled,
    /// [`Effect::Gather`] waits for its answer.
    Asking(Offset),
    Gathering {
        proposal: Offset,
        since: WallTime,
    },
    /// [`Effect::Adopt`] waits for its answer.
    Adopting(Offset),
    Trying(Trial),
}

#[derive(Clone, Debug)]
struct Trial {
    proposal: Offset,
    since: WallTime,
    /// Since when everybody knows that it went well here.
    passed: Option<WallTime>,
    plugins: Vec<OnTrial>,
    is_held: bool,
}

/// What is known of a trial after a step.
enum Standing {
    GoesOn,
    Passes,
    Fails(String),
    Ends { is_accepted: bool },
}

impl Follower {
    pub fn new(rules: Rules) -> Follower {
        Follower { rules, phase: Phase::Settled, seen: None, given_up: None }
    }

    /// Whether the open epoch is a trial, which [`Effect::Commit`] alone may commit.
    pub fn is_trying(&self) -> bool {
        matches!(self.phase, Phase::Trying(_))
    }

    /// Whether a posting of this version is worth a look. O(1), for each poll.
    pub fn is_news(&self, version: u64) -> bool {
        self.seen != Some(version)
    }

    /// Appends what follows from `input` to `effects`.
    pub fn handle(&mut self, input: Input<'_>, effects: &mut Vec<Effect>) {
        match (input, &mut self.phase) {
            (Input::Looked { now, posted }, Phase::Settled | Phase::Gathering { .. }) => self.looked(now, posted, effects),
            (Input::Gathering { now }, Phase::Asking(proposal)) => {
                self.phase = Phase::Gathering { proposal: *proposal, since: now };
            }
            (Input::NothingGathers, Phase::Asking(proposal)) => {
                let proposal = *proposal;
                self.adopt(proposal, effects);
            }
            (Input::Adopted { now, plugins }, Phase::Adopting(proposal)) => {
                let proposal = *proposal;
                self.phase = Phase::Trying(Trial { proposal, since: now, passed: None, plugins, is_held: false });
                effects.push(Effect::Begin(proposal));
            }
            (Input::Stepped { now, was, is, is_full, decided }, Phase::Trying(trial)) => {
                match trial.standing(&self.rules, now, [was, is], decided) {
                    Standing::GoesOn => trial.hold(is_full, effects),
                    Standing::Passes => {
                        trial.passed = Some(now);
                        effects.push(Effect::Passed(trial.proposal));
                        trial.hold(is_full, effects);
                    }
                    Standing::Fails(why) => self.fail(why, effects),
                    Standing::Ends { is_accepted: true } => {
                        effects.extend(trial.is_held.then_some(Effect::Release));
                        effects.push(Effect::Commit);
                        self.settle();
                    }
                    Standing::Ends { is_accepted: false } => {
                        self.given_up = Some(trial.proposal);
                        effects.push(Effect::GoBack);
                        self.settle();
                    }
                }
            }
            (Input::Failed { why }, Phase::Adopting(_) | Phase::Trying(_)) => self.fail(why, effects),
            (Input::Ended, _) => self.settle(),
            (
                Input::Looked { .. }
                | Input::Gathering { .. }
                | Input::NothingGathers
                | Input::Adopted { .. }
                | Input::Stepped { .. }
                | Input::Failed { .. },
                _,
            ) => {}
        }
    }

    fn looked(&mut self, now: WallTime, posted: Posted, effects: &mut Vec<Effect>) {
        if !posted.is_current {
            effects.push(Effect::Switch);
        }
        let trial = posted.trial.filter(|trial| self.given_up != Some(*trial));
        if let Phase::Gathering { proposal, since } = self.phase {
            let is_over = now.0 - since.0 >= self.rules.gathering_ms;
            if trial == Some(proposal) && !is_over {
                return;
            }
            effects.push(Effect::EndGathering);
            self.phase = Phase::Settled;
            if trial == Some(proposal) {
                return self.adopt(proposal, effects);
            }
        }
        match trial {
            None => self.seen = Some(posted.version),
            Some(proposal) if self.rules.gathering_ms == 0 => self.adopt(proposal, effects),
            Some(proposal) => {
                self.phase = Phase::Asking(proposal);
                effects.push(Effect::Gather(proposal));
            }
        }
    }

    fn adopt(&mut self, proposal: Offset, effects: &mut Vec<Effect>) {
        self.phase = Phase::Adopting(proposal);
        effects.push(Effect::Adopt(proposal));
    }

    /// The trial has failed here, or cannot even begin.
    fn fail(&mut self, why: String, effects: &mut Vec<Effect>) {
        let (proposal, has_begun) = match &self.phase {
            Phase::Adopting(proposal) => (*proposal, false),
            Phase::Trying(trial) => (trial.proposal, true),
            Phase::Settled | Phase::Asking(_) | Phase::Gathering { .. } => return,
        };
        self.given_up = Some(proposal);
        effects.push(Effect::Failed { proposal, why });
        effects.extend(has_begun.then_some(Effect::GoBack));
        self.settle();
    }

    /// Looks at what is posted again: a trial knows nothing of what came meanwhile.
    fn settle(&mut self) {
        (self.phase, self.seen) = (Phase::Settled, None);
    }
}

impl Trial {
    fn standing(&self, rules: &Rules, now: WallTime, [was, is]: [&Tally; 2], decided: Option<Decided>) -> Standing {
        // At the end of its time, and of what comes while the others are awaited: a few rows say little.
        let is_over = now.0 - self.since.0 >= rules.trial_ms;
        let new_fault = || self.plugins.iter().find_map(|plugin| plugin.new_fault(is, was));
        let too_many_bad = || self.plugins.iter().find_map(|plugin| plugin.too_many_bad(is, was, rules.bad_share_max));
        if let Some(why) = new_fault().or_else(|| too_many_bad().filter(|_| is_over)) {
            return Standing::Fails(why);
        }
        if let Some(decided) = decided.filter(|decided| decided.proposal == self.proposal) {
            return Standing::Ends { is_accepted: decided.is_accepted };
        }
        match self.passed {
            None if is_over => Standing::Passes,
            Some(passed) if now.0 - passed.0 > rules.verdict_ms_max => {
                let wait = match rules.verdict_ms_max {
                    ms if ms % 1_000 == 0 => format!("{} s", ms / 1_000),
                    ms => format!("{ms} ms"),
                };
                Standing::Fails(format!("not all partitions have passed within {wait}"))
            }
            _ => Standing::GoesOn,
        }
    }

    /// An epoch is bounded, a trial as well: what is beyond waits for the verdict.
    fn hold(&mut self, is_full: bool, effects: &mut Vec<Effect>) {
        if is_full && !self.is_held {
            self.is_held = true;
            effects.push(Effect::Hold);
        }
    }
}

#[cfg(test)]
mod tests;
