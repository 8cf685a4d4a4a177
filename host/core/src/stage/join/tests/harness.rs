//! The join latest before, all that it gave away, and what it should have.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{testing::*, *};
use crate::stage::testing::{self, Written};

#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) within_ms: i64,
    pub(super) lateness_ms: i64,
    pub(super) outer: bool,
    pub(super) with_tie: bool,
    pub(super) emission: Emission,
}

impl Settings {
    fn plan(self) -> StagePlan {
        let matching = Matching::LatestBefore { within_ms: self.within_ms };
        let join = if self.outer { JoinKind::Left } else { JoinKind::Inner };
        stage_plan(matching, join, self.lateness_ms, self.with_tie.then_some(1), self.emission)
    }
}

/// A join, all that it gave away, and all rows that it accepted.
pub(super) struct Harness {
    pub(super) settings: Settings,
    pub(super) stage: Join,
    pub(super) written: Written,
    pub(super) watermark: i64,
    pub(super) out: Outbox,
    pub(super) emitted: Vec<Emitted>,
    pub(super) lefts: Vec<Row>,
    pub(super) rights: Vec<Row>,
    pub(super) late: BTreeSet<i64>,
}

impl Harness {
    pub(super) fn new(settings: Settings) -> Harness {
        Harness {
            settings,
            stage: Join::new(&settings.plan()),
            written: Written::default(),
            watermark: i64::MIN,
            out: Outbox::default(),
            emitted: Vec::new(),
            lefts: Vec::new(),
            rights: Vec::new(),
            late: BTreeSet::new(),
        }
    }

    /// Gives the rows to the stage and returns what it emitted.
    pub(super) fn accept(&mut self, port: usize, rows: &[Row]) -> Vec<Emitted> {
        for row in rows {
            match row.at.saturating_add(self.settings.lateness_ms) < self.watermark {
                true => assert!(self.late.insert(row.id)),
                false => [&mut self.lefts, &mut self.rights][port].push(row.clone()),
            }
        }
        testing::accept(&mut self.stage, port, batch_of(port, rows), self.watermark, &mut pair, &mut self.out);
        self.take_emitted()
    }

    pub(super) fn advance(&mut self, watermark: i64) -> Vec<Emitted> {
        self.watermark = self.watermark.max(watermark);
        testing::advance(&mut self.stage, self.watermark, &mut pair, &mut self.out);
        self.take_emitted()
    }

    /// Seals, and goes on with a stage that was restored from what is written.
    pub(super) fn restart(&mut self, with_image: bool) {
        let n_bytes = self.stage.state_bytes();
        match with_image {
            true => self.written.image(&mut self.stage),
            false => self.written.changes(&mut self.stage),
        }
        self.stage = Join::new(&self.settings.plan());
        self.written.restore(&mut self.stage);
        assert_eq!(self.stage.state_bytes(), n_bytes);
        let mut nothing = Written::default();
        nothing.changes(&mut self.stage);
        assert_eq!(nothing.n_bytes(), 0, "what was restored is written down");
    }

    fn take_emitted(&mut self) -> Vec<Emitted> {
        let taken = take_emitted(&mut self.out);
        assert!(taken.is_sorted_by_key(|one| one.at), "{taken:?}");
        self.emitted.extend(taken.iter().cloned());
        taken
    }

    /// The match of each accepted left row with `time <= until`, straight from the rules; unmatched ones only if outer.
    pub(super) fn brute_force(&self, until: i64) -> BTreeMap<i64, Option<i64>> {
        let is_match = |left: &Row, right: &&Row| {
            left.key.is_some() && left.key == right.key && right.at <= left.at && left.at - right.at <= self.settings.within_ms
        };
        let rank = |right: &&Row| {
            let mut packed = Vec::new();
            encode_row(&batch_of(1, &[(*right).clone()]).rows, &[2], 0, &mut packed);
            (right.at, if self.settings.with_tie { right.tie } else { 0 }, packed)
        };
        let lefts = self.lefts.iter().filter(|left| left.at <= until);
        let matched = lefts.map(|left| (left.id, self.rights.iter().filter(|right| is_match(left, right)).max_by_key(rank)));
        let matched = matched.filter(|(_, right)| right.is_some() || self.settings.outer);
        matched.map(|(left, right)| (left, right.map(|right| right.id))).collect()
    }

    /// The last row of each left id. Checks that revisions rise by one from 0 and that nothing follows a final row.
    pub(super) fn last_rows(&self) -> BTreeMap<i64, Emitted> {
        let mut last: BTreeMap<i64, Emitted> = BTreeMap::new();
        for one in &self.emitted {
            match (last.insert(one.left.expect("a left row"), one.clone()), one.revision) {
                (None, None | Some((0, _))) => {}
                (Some(Emitted { revision: Some((rev, false)), .. }), Some((next, _))) if next == rev + 1 => {}
                (before, _) => panic!("{one:?} after {before:?}"),
            }
        }
        last
    }

    /// Nothing is left.
    pub(super) fn check_forgotten(&mut self) {
        check_forgotten(&mut self.stage, &mut Join::new(&self.settings.plan()), self.watermark);
    }

    /// Checks what was emitted so far against all rows that were accepted so far, and that nothing is kept for too long.
    pub(super) fn check(&self) {
        let until = match self.settings.emission {
            Emission::Upsert => self.watermark,
            Emission::Final if self.watermark == END => END,
            Emission::Final => self.watermark.saturating_sub(self.settings.lateness_ms + 1),
        };
        let mut expected = self.brute_force(until);
        let n_dead = expected.keys().filter(|id| **id % 10 >= REFUSED).count();
        expected.retain(|id, _| id % 10 < REFUSED);
        let found: BTreeMap<i64, Option<i64>> = self.last_rows().into_iter().map(|(id, one)| (id, one.right)).collect();
        assert_eq!(found, expected, "at watermark {}", self.watermark);
        let final_before = if self.watermark == END { END } else { self.watermark.saturating_sub(self.settings.lateness_ms) };
        assert!(self.stage.sides.lefts().all(|((time, _), _)| time.0 >= final_before));
        assert!(self.stage.sides.rights().all(|(_, right)| right.time.0 + self.settings.within_ms >= final_before));
        if self.watermark == END {
            assert_eq!(self.out.dead.iter().map(|dead| dead.reasons.len()).sum::<usize>(), n_dead);
            assert_eq!(self.out.counts.dead_panes as usize, n_dead);
        }
    }
}

pub(super) fn emitted(at: i64, left: i64, right: Option<i64>, revision: Option<(u32, bool)>) -> Emitted {
    Emitted { at, left: Some(left), right, revision }
}

pub(super) const SETTINGS: Settings =
    Settings { within_ms: 10, lateness_ms: 5, outer: true, with_tie: true, emission: Emission::Upsert };
