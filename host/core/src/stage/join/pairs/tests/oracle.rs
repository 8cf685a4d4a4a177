//! A join of all pairs, all that it was given and gave away, and what it should have given.

use super::{super::super::testing::*, super::*};
use crate::{
    plan::{Emission, JoinKind},
    stage::testing::{self, Written, windows::TestWindows},
};

#[derive(Clone, Debug)]
pub(super) enum TestSpan {
    Interval { within_ms: i64, after_ms: i64 },
    Windows(TestWindows),
}

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) span: TestSpan,
    pub(super) join: JoinKind,
    pub(super) lateness_ms: i64,
}

impl Settings {
    fn stage(&self) -> PairJoin {
        let matching = match &self.span {
            TestSpan::Interval { within_ms, after_ms } => Matching::All { within_ms: *within_ms, after_ms: *after_ms },
            TestSpan::Windows(windows) => Matching::Window(windows.spec()),
        };
        PairJoin::new(&stage_plan(matching, self.join, self.lateness_ms, None, Emission::Final))
    }

    /// How long after its time a row is done: no partner can come once the watermark is past that and the lateness, strictly.
    pub(super) fn waits_ms(&self, side: usize) -> i64 {
        match (&self.span, side) {
            (TestSpan::Interval { after_ms, .. }, 0) => *after_ms,
            (TestSpan::Interval { within_ms, .. }, _) => *within_ms,
            (TestSpan::Windows(windows), _) => windows.spec().size_ms(),
        }
    }

    /// The windows that hold `at`, as (start, end).
    fn windows(&self, at: i64) -> Vec<(i64, i64)> {
        match &self.span {
            TestSpan::Interval { .. } => Vec::new(),
            TestSpan::Windows(windows) => windows.holding(at),
        }
    }

    fn has_closed(&self, end: i64, watermark: i64) -> bool {
        watermark == END || end + self.lateness_ms <= watermark
    }
}

/// A row that was not late, and the watermark that it met.
#[derive(Clone, Debug)]
struct Taken {
    row: Row,
    mark: i64,
}

pub(super) struct Harness {
    pub(super) settings: Settings,
    pub(super) stage: PairJoin,
    written: Written,
    watermark: i64,
    pub(super) out: Outbox,
    pub(super) emitted: Vec<Emitted>,
    taken: [Vec<Taken>; 2],
    n_late: u64,
    n_late_panes: u64,
}

impl Harness {
    pub(super) fn new(settings: Settings) -> Harness {
        Harness {
            stage: settings.stage(),
            settings,
            written: Written::default(),
            watermark: i64::MIN,
            out: Outbox::default(),
            emitted: Vec::new(),
            taken: Default::default(),
            n_late: 0,
            n_late_panes: 0,
        }
    }

    /// Gives the rows to the stage and returns what it emitted.
    pub(super) fn accept(&mut self, port: usize, rows: &[Row]) -> Vec<Emitted> {
        self.note(port, rows, &vec![self.watermark; rows.len()]);
        testing::accept(&mut self.stage, port, batch_of(port, rows), self.watermark, &mut pair, &mut self.out);
        self.take_emitted()
    }

    /// Gives the rows as a task does, to `ports` one after the other: each is judged by its mark, and the watermark follows.
    pub(super) fn accept_marked(&mut self, ports: &[usize], rows: &[Row], marks: &[i64]) {
        for port in ports {
            self.note(*port, rows, marks);
            let (batch, marks) = (batch_of(*port, rows), marks.iter().map(|mark| Watermark(*mark)).collect::<Vec<_>>());
            assert_eq!(self.stage.n_acceptable(&batch, &marks, 0), rows.len(), "nothing needs to wait");
            self.stage.accept(*port, batch, &marks, &mut self.out);
            testing::answer(&mut self.stage, &mut pair, &mut self.out);
        }
        if let Some(last) = marks.last() {
            self.advance(*last);
        }
    }

    fn note(&mut self, port: usize, rows: &[Row], marks: &[i64]) {
        for (row, mark) in rows.iter().zip(marks.iter().copied()) {
            let windows = self.settings.windows(row.at);
            let n_missed = windows.iter().filter(|(_, end)| self.settings.has_closed(*end, mark)).count();
            let is_late = match self.settings.span {
                TestSpan::Interval { .. } => mark == END || row.at + self.settings.lateness_ms < mark,
                TestSpan::Windows(_) => n_missed == windows.len(),
            };
            match is_late {
                true => self.n_late += 1,
                false => {
                    self.n_late_panes += n_missed as u64;
                    self.taken[port].push(Taken { row: row.clone(), mark });
                }
            }
        }
    }

    pub(super) fn advance(&mut self, watermark: i64) -> Vec<Emitted> {
        self.watermark = self.watermark.max(watermark);
        testing::advance(&mut self.stage, self.watermark, &mut pair, &mut self.out);
        self.take_emitted()
    }

    fn take_emitted(&mut self) -> Vec<Emitted> {
        let taken = take_emitted(&mut self.out);
        self.emitted.extend(taken.iter().cloned());
        taken
    }

    /// Goes to where no row waits any more, and sees that nothing is left; then to the end.
    pub(super) fn end(&mut self) {
        let done = |side: usize| {
            let times = self.taken[side].iter().map(|taken| taken.row.at);
            times.max().map_or(0, |at| at + self.settings.waits_ms(side) + self.settings.lateness_ms + 1)
        };
        self.advance(done(0).max(done(1)));
        self.check();
        check_forgotten(&mut self.stage, &mut self.settings.stage(), self.watermark);
        self.advance(END);
        self.check();
    }

    /// Seals, and goes on with a stage that was restored from what is written.
    pub(super) fn restart(&mut self, with_image: bool) {
        let n_bytes = self.stage.state_bytes();
        match with_image {
            true => self.written.image(&mut self.stage),
            false => self.written.changes(&mut self.stage),
        }
        self.stage = self.settings.stage();
        self.written.restore(&mut self.stage);
        assert_eq!(self.stage.state_bytes(), n_bytes);
        let mut nothing = Written::default();
        nothing.changes(&mut self.stage);
        assert_eq!(nothing.n_bytes(), 0, "what was restored is written down");
    }

    /// All that a batch job gives for the rows so far, as far as the watermark lets rows be alone; sorted.
    fn brute_force(&self) -> Vec<Emitted> {
        let (mut all, mut pairs) = (Vec::new(), Vec::new());
        let emitted = |at, left, right| Emitted { at, left, right, revision: None };
        let are_equal = |left: &Taken, right: &Taken| left.row.key.is_some() && left.row.key == right.row.key;
        let is_open = |taken: &Taken, end: i64| !self.settings.has_closed(end, taken.mark);
        // What both rows are in: from the earlier to the later one if an interval holds both, or windows.
        let shared = |left: &Taken, right: &Taken| -> Vec<(i64, i64)> {
            let (l, r) = (left.row.at, right.row.at);
            match self.settings.span {
                _ if !are_equal(left, right) => Vec::new(),
                TestSpan::Interval { within_ms, after_ms } => {
                    if (l - within_ms..=l + after_ms).contains(&r) {
                        vec![(l.min(r), l.max(r) + 1)]
                    } else {
                        Vec::new()
                    }
                }
                TestSpan::Windows(_) => {
                    let windows = self.settings.windows(l).into_iter();
                    let both = windows.filter(|(start, end)| (*start..*end).contains(&r));
                    both.filter(|(_, end)| is_open(left, *end) && is_open(right, *end)).collect()
                }
            }
        };
        for left in &self.taken[0] {
            for right in &self.taken[1] {
                let ids = (Some(left.row.id), Some(right.row.id));
                pairs.extend(shared(left, right).into_iter().map(|within| (within, ids)));
            }
        }
        all.extend(pairs.iter().map(|((_, end), (left, right))| emitted(end - 1, *left, *right)));
        for (side, keeps) in [self.settings.join.keeps_left(), self.settings.join.keeps_right()].into_iter().enumerate() {
            for taken in self.taken[side].iter().filter(|_| keeps) {
                let id = taken.row.id;
                let is_mine = |(left, right): (Option<i64>, Option<i64>)| [left, right][side] == Some(id);
                let mine: Vec<(i64, i64)> = pairs.iter().filter(|(_, ids)| is_mine(*ids)).map(|(within, _)| *within).collect();
                let alone = match self.settings.span {
                    TestSpan::Interval { .. } => {
                        let final_at = taken.row.at + self.settings.waits_ms(side) + self.settings.lateness_ms;
                        let is_alone = mine.is_empty() && (self.watermark == END || final_at < self.watermark);
                        if is_alone { vec![taken.row.at] } else { Vec::new() }
                    }
                    TestSpan::Windows(_) => {
                        let has_closed = |end: i64| is_open(taken, end) && self.settings.has_closed(end, self.watermark);
                        let closed = self.settings.windows(taken.row.at).into_iter().filter(|(_, end)| has_closed(*end));
                        closed.filter(|window| !mine.contains(window)).map(|(_, end)| end - 1).collect()
                    }
                };
                let of_side = |at| if side == 0 { emitted(at, Some(id), None) } else { emitted(at, None, Some(id)) };
                all.extend(alone.into_iter().map(of_side));
            }
        }
        all.sort_unstable();
        all
    }

    /// What was emitted so far is what the rows so far give; what the plugin refuses, or breaks on, is dead, pair by pair; and no row is
    /// kept that can have no partner any more.
    pub(super) fn check(&self) {
        let is_dead = |one: &Emitted| one.left.or(one.right).is_some_and(|id| id % 10 >= REFUSED);
        let (dead, expected): (Vec<_>, Vec<_>) = self.brute_force().into_iter().partition(is_dead);
        let mut found = self.emitted.clone();
        found.sort_unstable();
        assert_eq!(found, expected, "at watermark {}", self.watermark);
        let counts = self.out.counts;
        assert_eq!(counts.dead_panes as usize, dead.len());
        assert_eq!((counts.late, counts.late_panes), (self.n_late, self.n_late_panes));
        assert_eq!(counts.rows_in, counts.accepted + counts.late);
        let n_told: usize = self.out.late.iter().map(|late| late.batch.len()).sum();
        assert!(n_told as u64 >= self.n_late + self.n_late_panes);
        for side in [LEFT, RIGHT] {
            let is_done = |at: i64| match self.settings.span {
                TestSpan::Interval { .. } => {
                    self.watermark == END || at + self.settings.waits_ms(side) + self.settings.lateness_ms < self.watermark
                }
                TestSpan::Windows(_) => {
                    self.settings.windows(at).iter().all(|(_, end)| self.settings.has_closed(*end, self.watermark))
                }
            };
            assert!(self.stage.sides.rows(side).all(|row| !is_done(row.id.0.0)), "a row is kept for nothing");
        }
    }
}
