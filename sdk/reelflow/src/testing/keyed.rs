//! One key of a process plugin, played through by hand.

use std::collections::BTreeSet;

use super::{Run, check_same, parse_all, rows_of, run};
use crate::{
    Event, Outputs, Process,
    column::{Packed, Rows},
    driver::process::{Processed, fire, take},
    process::{Change, Time, Timer},
};

/// The state and the timers of one key, as the host keeps them. Made by [`super::process`].
pub struct Keyed<'p, P> {
    plugin: &'p P,
    key: Rows,
    state: Vec<u8>,
    timers: BTreeSet<Timer>,
    time: Time,
}

/// More firings without a change of time are a plugin that never stops.
const FIRINGS_MAX: usize = 10_000;

impl<'p, P: Process> Keyed<'p, P> {
    pub(super) fn new(plugin: &'p P, key: Rows) -> Keyed<'p, P> {
        Keyed { plugin, key, state: Vec::new(), timers: BTreeSet::new(), time: Time { watermark: i64::MIN, now: 0 } }
    }

    /// Gives the plugin `rows` (JSON objects) with the event times `times`, as one batch; what is due after it fires.
    ///
    /// The rows are also given one by one: the plugin must answer the same.
    #[track_caller]
    pub fn rows(&mut self, times: &[i64], rows: &str) -> Run {
        let rows = parse_all(rows);
        assert_eq!(times.len(), rows.len(), "one event time for each row");
        let call = |range: std::ops::Range<usize>, state: &[u8]| {
            let (input, mut states) = (rows_of(&rows[range.clone()], P::Event::FIELDS), Packed::default());
            states.push(state);
            take(self.plugin, &input, &times[range.clone()], &[range.len() as u32], &self.key, &states, self.time)
        };
        let whole = call(0..rows.len(), &self.state);
        let (mut alone, mut one_by_one) = (run_of::<P>(Vec::new()), self.state.clone());
        let (mut changes, mut rejects) = (Vec::new(), Vec::new());
        for row in 0..rows.len() {
            let Processed { states, emitted, timers } = call(row..row + 1, &one_by_one);
            one_by_one = states.at(0).to_vec();
            changes.extend(timers.into_iter().map(|change| Change { origin: row as u32, ..change }));
            rejects.extend(emitted.rejects.iter().map(|(_, why)| (row as u32, why.clone())));
            alone.append(run(emitted, P::Output::OUTPUTS));
        }
        let same =
            whole.timers == changes && whole.emitted.rejects == rejects && (rows.is_empty() || whole.states.at(0) == one_by_one);
        let (state, timers) = (whole.states.at(0).to_vec(), whole.timers);
        let mut answer = run(whole.emitted, P::Output::OUTPUTS);
        check_same(&answer, &alone, "its rows came one by one");
        assert!(same, "the plugin set other timers, refused other rows or kept another state when its rows came one by one");
        self.keep(state, &timers);
        answer.append(self.fire());
        answer
    }

    /// Raises the watermark; what is due fires. `i64::MAX` is the end of everything.
    #[track_caller]
    pub fn watermark(&mut self, watermark: i64) -> Run {
        self.time.watermark = self.time.watermark.max(watermark);
        self.fire()
    }

    /// The host's clock reads `now`; what is due fires.
    #[track_caller]
    pub fn clock(&mut self, now: i64) -> Run {
        self.time.now = now;
        self.fire()
    }

    /// The timers that are set, those of event time first.
    pub fn timers(&self) -> Vec<Timer> {
        self.timers.iter().copied().collect()
    }

    /// Whether the key keeps a state.
    pub fn has_state(&self) -> bool {
        !self.state.is_empty()
    }

    #[track_caller]
    fn fire(&mut self) -> Run {
        let mut all = run_of::<P>(Vec::new());
        for _ in 0..FIRINGS_MAX {
            let is_due = |timer: &Timer| match *timer {
                Timer::EventTime(at) => at <= self.time.watermark,
                Timer::WallTime(at) => at <= self.time.now,
            };
            let Some(timer) = self.timers.iter().copied().find(is_due) else { return all };
            self.timers.remove(&timer);
            let mut states = Packed::default();
            states.push(&self.state);
            let Processed { states, emitted, timers } = fire(self.plugin, &[timer], &self.key, &states, self.time);
            self.keep(states.at(0).to_vec(), &timers);
            all.append(run(emitted, P::Output::OUTPUTS));
        }
        panic!(
            "{FIRINGS_MAX} timers fired at one time: the plugin sets one after the other; at the end, `Context::is_end` is true"
        );
    }

    fn keep(&mut self, state: Vec<u8>, timers: &[Change]) {
        self.state = state;
        for Change { is_set, timer, .. } in timers {
            if *is_set {
                self.timers.insert(*timer)
            } else {
                self.timers.remove(timer)
            };
        }
    }
}

/// A run in which nothing came out.
fn run_of<P: Process>(rejects: Vec<(u32, crate::Reject)>) -> Run {
    run(crate::driver::Emitted { outputs: Vec::new(), rejects }, P::Output::OUTPUTS)
}

impl Run {
    fn append(&mut self, more: Run) {
        for (all, (_, rows)) in self.outputs.iter_mut().zip(more.outputs) {
            all.1.extend(rows);
        }
        self.rejects.extend(more.rejects);
    }
}
