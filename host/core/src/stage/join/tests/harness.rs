//! The join with a plugin that shows what it was given, and all that it gave away.

use std::collections::{BTreeMap, BTreeSet};

use super::super::*;
use crate::{
    column::{Rows, Value},
    key::empty_columns,
    plugin::{Reject, Routed},
    schema::FieldType,
    stage::testing::{self, Written, batch, field},
};

pub(super) const END: i64 = i64::MAX;
/// Left ids with this remainder (mod 10) are refused, or break the plugin.
pub(super) const REFUSED: i64 = 8;
pub(super) const POISON: i64 = 9;

#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) within_ms: i64,
    pub(super) matching: Matching,
    pub(super) lateness_ms: i64,
    pub(super) outer: bool,
    pub(super) with_tie: bool,
    pub(super) emission: Emission,
}

pub(super) fn stage_plan(settings: Settings) -> StagePlan {
    let left = Schema { fields: vec![field("id", FieldType::Int, true), field("key", FieldType::Text, false)] };
    let right_fields = [("key", FieldType::Text), ("tie", FieldType::Int), ("id", FieldType::Int)];
    let right = Schema { fields: right_fields.map(|(name, field_type)| field(name, field_type, false)).into() };
    let kind = StageKind::Join {
        plugin: 0,
        left_columns: vec![0],
        right_columns: vec![2],
        left_key: vec![1],
        right_key: vec![0],
        within_ms: settings.within_ms,
        matching: settings.matching,
        tie: settings.with_tie.then_some(1),
        outer: settings.outer,
        lateness_ms: settings.lateness_ms,
        emission: settings.emission,
    };
    StagePlan {
        name: "tested".into(),
        fragment: 0,
        inputs: vec![left, right],
        kind,
        state: None,
        retime: None,
        outputs: Vec::new(),
        late_topic: None,
        union: Vec::new(),
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) at: i64,
    pub(super) key: Option<&'static str>,
    /// Right rows only.
    pub(super) tie: i64,
    pub(super) id: i64,
}

pub(super) fn batch_of(port: usize, rows: &[Row]) -> Batch {
    let key = |row: &Row| row.key.map_or(Value::Null, |key| Value::Bytes(key.as_bytes()));
    let mut columns = empty_columns(if port == 0 { &[Kind::Int, Kind::Bytes] } else { &[Kind::Bytes, Kind::Int, Kind::Int] });
    for row in rows {
        match &mut columns[..] {
            [id, key_column] => {
                id.push(Value::Int(row.id));
                key_column.push(key(row));
            }
            [key_column, tie, id] => {
                key_column.push(key(row));
                tie.push(Value::Int(row.tie));
                id.push(Value::Int(row.id));
            }
            _ => panic!("two ports"),
        }
    }
    let times: Vec<i64> = rows.iter().map(|row| row.at).collect();
    batch(Rows::new(rows.len(), columns).unwrap(), &times)
}

pub(super) fn int(rows: &Rows, column: usize, row: usize) -> Option<i64> {
    match rows.column(column).at(row) {
        Value::Int(value) => Some(value),
        Value::Null => None,
        value => panic!("{value:?} is no int"),
    }
}

/// Emits (left id, right id or null).
pub(super) fn pair(request: &Request) -> Result<Response, PluginFault> {
    let Request::Pair { left, right, matched } = request else { panic!("a join asked {request:?}") };
    let mut columns = empty_columns(&[Kind::Int, Kind::Int]);
    let (mut origins, mut rejects) = (Vec::new(), Vec::new());
    for row in 0..left.len() {
        let id = int(left, 0, row).unwrap();
        assert_eq!(matched.at(row), right.column(0).is_valid(row));
        match id % 10 {
            POISON => return Err(PluginFault::Trap("poison".to_owned())),
            REFUSED => rejects.push(Reject { row: row as u32, code: 0, message: "refused".to_owned() }),
            _ => {
                columns[0].push(Value::Int(id));
                columns[1].push(right.column(0).at(row));
                origins.push(row as u32);
            }
        }
    }
    let rows = Rows::new(origins.len(), columns).unwrap();
    Ok(Response::Rows { outputs: vec![Routed { output: 0, rows, origins }], rejects })
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Emitted {
    pub(super) at: i64,
    pub(super) left: i64,
    pub(super) right: Option<i64>,
    pub(super) revision: Option<(u32, bool)>,
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
            stage: Join::new(&stage_plan(settings)),
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

    /// All pairs of an interval join so far, and the left rows that can have no partner any more, if outer; sorted.
    pub(super) fn all_pairs(&self) -> Vec<(i64, Option<i64>)> {
        let Settings { within_ms, lateness_ms, .. } = self.settings;
        let after_ms = self.settings.matching.after_ms();
        let mut pairs = Vec::new();
        for left in &self.lefts {
            let is_partner = |right: &&Row| {
                left.key.is_some() && left.key == right.key && (left.at - within_ms..=left.at + after_ms).contains(&right.at)
            };
            let of_left: Vec<_> = self.rights.iter().filter(is_partner).map(|right| (left.id, Some(right.id))).collect();
            let is_final = self.watermark == END || left.at + after_ms + lateness_ms < self.watermark;
            if of_left.is_empty() && self.settings.outer && is_final {
                pairs.push((left.id, None));
            }
            pairs.extend(of_left);
        }
        pairs.sort_unstable();
        pairs
    }

    /// Seals, and goes on with a stage that was restored from what is written.
    pub(super) fn restart(&mut self, with_image: bool) {
        let n_bytes = self.stage.state_bytes();
        match with_image {
            true => self.written.image(&mut self.stage),
            false => self.written.changes(&mut self.stage),
        }
        self.stage = Join::new(&stage_plan(self.settings));
        self.written.restore(&mut self.stage);
        assert_eq!(self.stage.state_bytes(), n_bytes);
        let mut nothing = Written::default();
        nothing.changes(&mut self.stage);
        assert_eq!(nothing.n_bytes(), 0, "what was restored is written down");
    }

    pub(super) fn take_emitted(&mut self) -> Vec<Emitted> {
        let mut taken = Vec::new();
        for (output, batch) in self.out.emitted.drain(..) {
            assert_eq!(output, 0);
            for row in 0..batch.len() {
                let revision = batch.revisions.as_ref().map(|revisions| (revisions[row].rev, revisions[row].is_final));
                let (left, right) = (int(&batch.rows, 0, row).unwrap(), int(&batch.rows, 1, row));
                taken.push(Emitted { at: batch.times[row].0, left, right, revision });
            }
        }
        let is_ordered = self.settings.matching != Matching::LatestBefore || taken.is_sorted_by_key(|one| one.at);
        assert!(is_ordered, "{taken:?}");
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
            match (last.insert(one.left, one.clone()), one.revision) {
                (None, None | Some((0, _))) => {}
                (Some(Emitted { revision: Some((rev, false)), .. }), Some((next, _))) if next == rev + 1 => {}
                (before, _) => panic!("{one:?} after {before:?}"),
            }
        }
        last
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
            assert_eq!(self.stage.state_bytes(), 0);
            assert_eq!(self.out.dead.iter().map(|dead| dead.reasons.len()).sum::<usize>(), n_dead);
            assert_eq!(self.out.counts.dead_panes as usize, n_dead);
        }
    }
}

pub(super) fn row(at: i64, key: &'static str, tie: i64, id: i64) -> Row {
    Row { at, key: Some(key), tie, id }
}

pub(super) fn emitted(at: i64, left: i64, right: Option<i64>, revision: Option<(u32, bool)>) -> Emitted {
    Emitted { at, left, right, revision }
}

pub(super) const SETTINGS: Settings = Settings {
    within_ms: 10,
    matching: Matching::LatestBefore,
    lateness_ms: 5,
    outer: true,
    with_tie: true,
    emission: Emission::Upsert,
};
