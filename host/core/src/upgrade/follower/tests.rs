use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::{
    column::Rows,
    plugin::{PluginFault, Reject, Request, Response},
};

const RULES: Rules = Rules { trial_ms: 100, gathering_ms: 50, verdict_ms_max: 1_000, bad_share_max: 0.1 };

/// A worker and what it has to tell: the plugin on trial is plugin 0, before and after.
struct Worker {
    follower: Follower,
    was: Tally,
    is: Tally,
}

impl Worker {
    fn new(rules: Rules) -> Worker {
        Worker { follower: Follower::new(rules), was: Tally::default(), is: Tally::default() }
    }

    fn give(&mut self, input: Input<'_>) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.follower.handle(input, &mut effects);
        effects
    }

    fn looks(&mut self, ms: i64, version: u64, trial: Option<Offset>) -> Vec<Effect> {
        self.give(Input::Looked { now: WallTime(ms), posted: Posted { version, is_current: true, trial } })
    }

    /// A step at `ms`; `decided`: the verdict on a proposal, if one is posted.
    fn steps(&mut self, ms: i64, is_full: bool, decided: Option<(Offset, bool)>) -> Vec<Effect> {
        let decided = decided.map(|(proposal, is_accepted)| Decided { proposal, is_accepted });
        let (was, is) = (self.was.clone(), self.is.clone());
        self.give(Input::Stepped { now: WallTime(ms), was: &was, is: &is, is_full, decided })
    }

    /// What a step at `ms` would come to.
    fn would_step(&self, ms: i64) -> Vec<Effect> {
        Worker { follower: self.follower.clone(), was: self.was.clone(), is: self.is.clone() }.steps(ms, false, None)
    }

    /// The trial of 7, from 0 on.
    fn trying() -> Worker {
        let mut worker = Worker::new(Rules { gathering_ms: 0, ..RULES });
        assert_eq!(worker.looks(0, 1, Some(7)), [Effect::Adopt(7)]);
        assert_eq!(worker.give(adopted(0)), [Effect::Begin(7)]);
        worker
    }
}

fn adopted(ms: i64) -> Input<'static> {
    Input::Adopted { now: WallTime(ms), plugins: vec![OnTrial { plugin: 0, name: "p".into(), before: Some(0) }] }
}

/// Ten rows, of which so many are refused; or a fault.
fn rows(tally: &mut Tally, n_bad: Option<u32>) {
    let request = Request::Transform { rows: Rows::new(10, Vec::new()).expect("rows without columns") };
    let reject = |row| Reject { row, code: 0, message: String::new() };
    let result = match n_bad {
        Some(n_bad) => Ok(Response::Rows { outputs: Vec::new(), rejects: (0..n_bad).map(reject).collect() }),
        None => Err(PluginFault::Trap("seven".to_owned().into())),
    };
    tally.count(0, &request, &result);
}

fn failed(why: &str) -> Effect {
    Effect::Failed { proposal: 7, why: why.to_owned() }
}

#[test]
fn rows_gather_and_are_tried_and_the_verdict_counts() {
    let mut worker = Worker::new(RULES);
    assert_eq!(worker.looks(0, 1, None), []);
    assert!(!worker.follower.is_news(1) && worker.follower.is_news(2));
    assert_eq!(worker.looks(10, 2, Some(7)), [Effect::Gather(7)]);
    assert_eq!(worker.give(Input::Gathering { now: WallTime(20) }), []);
    assert_eq!(worker.looks(69, 2, Some(7)), []);
    assert!(worker.follower.is_news(2) && !worker.follower.is_trying());
    assert_eq!(worker.looks(70, 2, Some(7)), [Effect::EndGathering, Effect::Adopt(7)]);
    assert_eq!(worker.give(adopted(80)), [Effect::Begin(7)]);
    assert!(worker.follower.is_trying());
    assert_eq!(worker.steps(179, false, None), []);
    assert_eq!(worker.steps(180, false, None), [Effect::Passed(7)]);
    assert_eq!(worker.steps(200, false, Some((6, true))), [], "the verdict on another one");
    assert_eq!(worker.steps(200, false, Some((7, true))), [Effect::Commit]);
    assert!(!worker.follower.is_trying() && worker.follower.is_news(2));
}

#[test]
fn a_trial_begins_at_once_where_nothing_gathers() {
    let mut worker = Worker::new(RULES);
    assert_eq!(worker.looks(0, 1, Some(7)), [Effect::Gather(7)]);
    assert_eq!(worker.give(Input::NothingGathers), [Effect::Adopt(7)]);
    let mut worker = Worker::new(Rules { gathering_ms: 0, ..RULES });
    assert_eq!(worker.looks(0, 1, Some(7)), [Effect::Adopt(7)]);
}

#[test]
fn what_gathers_is_read_when_its_trial_is_over_before_it_began() {
    let gathering = || {
        let mut worker = Worker::new(RULES);
        assert_eq!(worker.looks(0, 1, Some(7)), [Effect::Gather(7)]);
        assert_eq!(worker.give(Input::Gathering { now: WallTime(0) }), []);
        worker
    };
    assert_eq!(gathering().looks(10, 2, None), [Effect::EndGathering]);
    assert_eq!(gathering().looks(10, 3, Some(9)), [Effect::EndGathering, Effect::Gather(9)], "as long again for another one");
    let mut ended = gathering();
    assert_eq!(ended.give(Input::Ended), []);
    assert_eq!(ended.looks(10, 1, Some(7)), [Effect::Gather(7)], "what was held back is forgotten");
}

#[test]
fn code_that_is_the_pipelines_comes_before_what_is_tried() {
    let mut worker = Worker::new(RULES);
    let posted = |trial| Posted { version: 1, is_current: false, trial };
    assert_eq!(worker.give(Input::Looked { now: WallTime(0), posted: posted(None) }), [Effect::Switch]);
    assert_eq!(worker.give(Input::Looked { now: WallTime(0), posted: posted(Some(7)) }), [Effect::Switch, Effect::Gather(7)]);
}

#[test]
fn a_new_fault_ends_a_trial_at_once() {
    let mut worker = Worker::trying();
    rows(&mut worker.is, None);
    let effects = worker.steps(1, false, Some((7, true)));
    assert!(
        matches!(&effects[..], [Effect::Failed { proposal: 7, why }, Effect::GoBack] if why.contains("seven")),
        "{effects:?}"
    );
    assert_eq!(worker.looks(2, 9, Some(7)), [], "it has failed here");
    assert_eq!(worker.looks(2, 9, Some(8)), [Effect::Adopt(8)]);
    // Code that broke before may break again.
    let mut worker = Worker::trying();
    rows(&mut worker.was, None);
    rows(&mut worker.is, None);
    assert_eq!(worker.steps(1, false, None), []);
}

#[test]
fn a_share_of_bad_rows_counts_at_the_end_and_while_others_are_awaited() {
    let mut worker = Worker::trying();
    rows(&mut worker.is, Some(6));
    assert_eq!(worker.steps(99, false, None), [], "a few rows say little");
    let why = "plugin \"p\" refused 60.0 % of its 10 rows, the one before 0.0 %";
    assert_eq!(worker.would_step(100), [failed(why), Effect::GoBack]);
    rows(&mut worker.is, Some(0));
    assert_eq!(worker.steps(100, false, None), [Effect::Passed(7)], "six of twenty may be chance where one of ten may be bad");
    rows(&mut worker.is, Some(9));
    assert!(matches!(&worker.steps(150, false, None)[..], [Effect::Failed { .. }, Effect::GoBack]));
}

#[test]
fn the_others_are_awaited_for_so_long_and_no_longer() {
    let mut worker = Worker::trying();
    assert_eq!(worker.steps(100, false, None), [Effect::Passed(7)]);
    assert_eq!(worker.steps(1_100, false, None), []);
    assert_eq!(worker.would_step(1_101), [failed("not all partitions have passed within 1 s"), Effect::GoBack]);
    worker.follower.rules.verdict_ms_max = 300;
    assert_eq!(worker.steps(1_100, false, None), [failed("not all partitions have passed within 300 ms"), Effect::GoBack]);
}

#[test]
fn the_verdict_that_it_failed_elsewhere_is_told_to_nobody() {
    let mut worker = Worker::trying();
    assert_eq!(worker.steps(10, false, Some((7, false))), [Effect::GoBack]);
    assert_eq!(worker.looks(11, 3, Some(7)), [], "until it is posted no more");
}

#[test]
fn what_cannot_begin_is_told_and_nothing_is_dropped() {
    let mut worker = Worker::new(Rules { gathering_ms: 0, ..RULES });
    assert_eq!(worker.looks(0, 1, Some(7)), [Effect::Adopt(7)]);
    assert_eq!(worker.give(Input::Failed { why: "unreadable".to_owned() }), [failed("unreadable")]);
    assert_eq!(worker.looks(0, 1, Some(7)), []);
    // A state that cannot be migrated is found once the trial has begun.
    let mut worker = Worker::trying();
    assert_eq!(worker.give(Input::Failed { why: "unreadable".to_owned() }), [failed("unreadable"), Effect::GoBack]);
}

#[test]
fn a_full_trial_reads_on_after_its_verdict() {
    let mut worker = Worker::trying();
    assert_eq!(worker.steps(1, true, None), [Effect::Hold]);
    assert_eq!(worker.steps(2, true, None), [], "once");
    assert_eq!(worker.steps(3, true, Some((7, true))), [Effect::Release, Effect::Commit]);
}

#[test]
fn a_trial_whose_tasks_are_gone_begins_anew() {
    let mut worker = Worker::trying();
    assert_eq!(worker.steps(100, false, None), [Effect::Passed(7)]);
    assert_eq!(worker.give(Input::Ended), []);
    assert_eq!(worker.steps(100, false, Some((7, true))), [], "nothing is open");
    assert_eq!(worker.looks(100, 1, Some(7)), [Effect::Adopt(7)]);
}

/// What may be given, at any time: also answers that nobody has asked for.
#[derive(Clone, Copy, Debug)]
enum Given {
    Proposed,
    Looked { is_current: bool, has_trial: bool },
    Gathering,
    NothingGathers,
    Adopted,
    Stepped { is_full: bool, n_bad: u32, decided: Option<(Offset, bool)> },
    Fault,
    Failed,
    Ended,
}

fn given() -> impl Strategy<Value = (i64, Given)> {
    let looked = (proptest::bool::weighted(0.8), proptest::bool::weighted(0.8))
        .prop_map(|(is_current, has_trial)| Given::Looked { is_current, has_trial });
    let decided = prop_oneof![3 => Just(None), 1 => (0..3_i64, any::<bool>()).prop_map(Some)];
    let n_bad = prop_oneof![5 => 0..2_u32, 1 => Just(9)];
    let stepped = (proptest::bool::weighted(0.2), n_bad, decided).prop_map(|(is_full, n_bad, decided)| Given::Stepped {
        is_full,
        n_bad,
        decided,
    });
    let given = prop_oneof![
        1 => Just(Given::Proposed),
        6 => looked,
        3 => Just(Given::Gathering),
        1 => Just(Given::NothingGathers),
        4 => Just(Given::Adopted),
        8 => stepped,
        1 => Just(Given::Fault),
        1 => Just(Given::Failed),
        1 => Just(Given::Ended),
    ];
    (prop_oneof![Just(0), Just(7), Just(60), Just(600)], given)
}

/// What must hold of the effects, whatever was given.
#[derive(Default)]
struct Rulebook {
    now: i64,
    /// The trial under way, and since when.
    trial: Option<(Offset, i64)>,
    adopting: Option<Offset>,
    gathering_since: Option<i64>,
    is_asked: bool,
    is_held: bool,
    passed: bool,
    failed: BTreeSet<Offset>,
}

impl Rulebook {
    fn check(&mut self, given: Given, effects: &[Effect]) {
        match given {
            Given::Gathering if self.is_asked => self.gathering_since = Some(self.now),
            Given::Adopted if self.adopting.is_some() => assert!(matches!(effects, [Effect::Begin(_)]), "{effects:?}"),
            Given::Ended => {
                assert_eq!(effects, []);
                *self = Rulebook { now: self.now, failed: std::mem::take(&mut self.failed), ..Rulebook::default() };
            }
            _ => {}
        }
        if matches!(given, Given::Gathering | Given::NothingGathers) {
            self.is_asked = false;
        }
        for (nth, effect) in effects.iter().enumerate() {
            self.check_one(given, effect);
            if let (Effect::Failed { .. }, true) = (effect, self.trial.is_some()) {
                assert_eq!(effects.get(nth + 1), Some(&Effect::GoBack), "a failed trial is dropped at once");
            }
        }
    }

    fn check_one(&mut self, given: Given, effect: &Effect) {
        let in_trial = self.trial.map(|(proposal, _)| proposal);
        match effect {
            Effect::Switch => assert_eq!(in_trial, None, "it would commit a trial"),
            Effect::Gather(_) => {
                assert!(in_trial.is_none() && self.gathering_since.is_none() && !self.is_asked);
                self.is_asked = true;
            }
            Effect::EndGathering => assert!(self.gathering_since.take().is_some(), "nothing gathers"),
            Effect::Adopt(proposal) => {
                assert!(in_trial.is_none() && self.gathering_since.is_none(), "it would commit a trial, or leave rows unread");
                assert!(!self.failed.contains(proposal), "{proposal} has failed here");
                self.adopting = Some(*proposal);
            }
            Effect::Begin(proposal) => {
                assert_eq!(self.adopting.take(), Some(*proposal));
                (self.trial, self.passed, self.is_held) = (Some((*proposal, self.now)), false, false);
            }
            Effect::Hold => assert!(in_trial.is_some() && !std::mem::replace(&mut self.is_held, true)),
            Effect::Release => assert!(std::mem::replace(&mut self.is_held, false)),
            Effect::Passed(proposal) => {
                let (of_trial, since) = self.trial.expect("a trial that is said to have passed is under way");
                assert!(*proposal == of_trial && self.now - since >= RULES.trial_ms && !self.failed.contains(proposal));
                assert!(!std::mem::replace(&mut self.passed, true), "it has said so already");
            }
            Effect::Failed { proposal, .. } => {
                assert!(in_trial.or(self.adopting) == Some(*proposal) && self.failed.insert(*proposal), "it has said so already");
                self.adopting = None;
            }
            Effect::Commit => {
                let Given::Stepped { decided: Some((proposal, true)), .. } = given else { panic!("no verdict: {given:?}") };
                assert!(in_trial == Some(proposal) && !self.is_held);
                self.trial = None;
            }
            Effect::GoBack => {
                self.failed.insert(in_trial.expect("a trial that is dropped is under way"));
                self.trial = None;
            }
        }
    }
}

proptest! {
    /// I-14: nothing but the verdict commits a trial, what has passed or failed is told once, and what is paused is read again.
    #[test]
    fn whatever_comes_a_trial_is_committed_by_its_verdict_alone(all in proptest::collection::vec(given(), 0..80)) {
        let (mut worker, mut rules, mut newest) = (Worker::new(RULES), Rulebook::default(), 0);
        for (version, (wait_ms, given)) in (0..).zip(all) {
            rules.now += wait_ms;
            let now = WallTime(rules.now);
            let effects = match given {
                Given::Proposed => {
                    newest += 1;
                    continue;
                }
                Given::Looked { is_current, has_trial } => {
                    let posted = Posted { version, is_current, trial: has_trial.then_some(newest) };
                    worker.give(Input::Looked { now, posted })
                }
                Given::Gathering => worker.give(Input::Gathering { now }),
                Given::NothingGathers => worker.give(Input::NothingGathers),
                Given::Adopted => {
                    worker.is = Tally::default();
                    worker.give(adopted(rules.now))
                }
                Given::Stepped { is_full, n_bad, decided } => {
                    rows(&mut worker.is, Some(n_bad));
                    worker.steps(rules.now, is_full, decided)
                }
                Given::Fault => {
                    rows(&mut worker.is, None);
                    continue;
                }
                Given::Failed => worker.give(Input::Failed { why: "unreadable".to_owned() }),
                Given::Ended => worker.give(Input::Ended),
            };
            rules.check(given, &effects);
            prop_assert_eq!(worker.follower.is_trying(), rules.trial.is_some());
        }
    }
}
