//! The dedup stage: the first row of each id passes, the others are counted and dropped.
//!
//! **Forgetting follows the job-wide watermark** ([`Operator::advance_job`]), never the stage's own: while a join downstream runs
//! on a slower watermark, it still accepts what the topic's own watermark has long passed, and an id forgotten by the latter would
//! let a duplicate through. An id is kept until that watermark is greater than the first row's event time plus the horizon. It
//! may be kept up to a 64th of the horizon longer, never shorter.
//!
//! **Ids are kept as 128 bits of XXH3.** Two different ids would be taken for one with a probability of about n²/2¹²⁹ among n ids
//! kept at a time: 10⁻²¹ for a billion. That is far below the error rate of the memory they stand in, and 33 bytes an id, however
//! long it is, are what makes horizons of days affordable.

use std::collections::BTreeMap;

use hashbrown::HashTable;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::{
    column::{Column, Value},
    packed_row,
    plugin::{PluginFault, Request, Response},
    stage::{Batch, DeadReason, DeadRows, Operator, Outbox, RowsOf, kept::Kept},
    state::{ChangeReader, ChangeWriter, StateError},
    time::{EventTime, Watermark},
};

/// About how many bytes one id takes in an image.
const ENTRY_BYTES: usize = 33;
/// Ids that expire within the same 64th of the horizon are forgotten together.
const EXPIRY_BUCKETS: i64 = 64;

/// A dedup stage.
#[derive(Debug)]
pub struct Dedup {
    id: usize,
    horizon_ms: i64,
    bucket_ms: i64,
    seen: HashTable<Seen>,
    /// Bucket number → what expires in it: `event time + horizon` divided by `bucket_ms`, rounded down. Holds each of `seen` once.
    expiry: BTreeMap<i64, Vec<Seen>>,
    /// What happened since the last `changes`, in order.
    unwritten: Vec<Change>,
}

/// The first row of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    id: u128,
    /// XXH3 of the row's canonical bytes, to tell a repeated row from a conflicting one.
    content: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    First {
        seen: Seen,
        bucket: i64,
    },
    /// All buckets before this one were forgotten.
    Forgotten {
        before: i64,
    },
}

const FIRST: u8 = 1;
const FORGOTTEN: u8 = 2;

impl Dedup {
    /// `id`: the input column that identifies a row. `horizon_ms >= 0`: how long an id is kept after its event time.
    pub fn new(id: usize, horizon_ms: i64) -> Dedup {
        let bucket_ms = (horizon_ms / EXPIRY_BUCKETS).max(1);
        Dedup { id, horizon_ms, bucket_ms, seen: HashTable::new(), expiry: BTreeMap::new(), unwritten: Vec::new() }
    }

    /// How many ids are kept.
    pub fn n_ids(&self) -> usize {
        self.seen.len()
    }

    /// Of a row of that time.
    fn bucket(&self, time: EventTime) -> i64 {
        (time.0 + self.horizon_ms).div_euclid(self.bucket_ms)
    }

    fn remember(&mut self, seen: Seen, bucket: i64) {
        self.seen.insert_unique(slot_hash(seen.id), seen, |seen| slot_hash(seen.id));
        self.expiry.entry(bucket).or_default().push(seen);
    }

    /// Forgets the buckets before `before`; whether there were any.
    fn forget(&mut self, before: i64) -> bool {
        let mut any = false;
        while let Some(bucket) = self.expiry.first_entry()
            && *bucket.key() < before
        {
            any = true;
            for expired in bucket.remove() {
                let found = self.seen.find_entry(slot_hash(expired.id), |seen| seen.id == expired.id);
                found.expect("each id of the expiry index is in the table").remove();
            }
        }
        if any && self.seen.len() * 4 < self.seen.capacity() {
            self.seen.shrink_to(self.seen.len() * 2, |seen| slot_hash(seen.id));
        }
        any
    }
}

impl Operator for Dedup {
    fn accept(&mut self, _port: usize, batch: Batch, _marks: &[Watermark], out: &mut Outbox) {
        out.counts.rows_in += batch.len() as u64;
        let columns: Vec<usize> = (0..batch.rows.columns().len()).collect();
        let (mut first, mut nameless) = (Vec::with_capacity(batch.len()), Vec::new());
        let mut packed = Vec::new();
        for row in 0..batch.len() {
            let Some(id) = id_hash(batch.rows.column(self.id), row) else {
                nameless.push(row as u32);
                continue;
            };
            packed.clear();
            packed_row::encode_row(&batch.rows, &columns, row, &mut packed);
            let content = xxh3_64(&packed);
            match self.seen.find(slot_hash(id), |seen| seen.id == id) {
                Some(seen) => {
                    out.counts.duplicate += 1;
                    out.counts.conflicting += u64::from(seen.content != content);
                }
                None => {
                    let bucket = self.bucket(batch.times[row]);
                    let seen = Seen { id, content };
                    self.remember(seen, bucket);
                    self.unwritten.push(Change::First { seen, bucket });
                    first.push(row as u32);
                }
            }
        }
        out.counts.accepted += first.len() as u64;
        out.counts.rows_out += first.len() as u64;
        out.counts.dead += nameless.len() as u64;
        if !nameless.is_empty() {
            let reason = DeadReason::Rejected { code: 0, message: "no id".to_owned() };
            let (reasons, calls) = (vec![reason; nameless.len()], Vec::new());
            out.dead.push(DeadRows { batch: batch.take(&nameless), of: RowsOf::Input(0), reasons, calls });
        }
        if first.len() == batch.len() {
            out.emitted.push((0, batch));
        } else if !first.is_empty() {
            out.emitted.push((0, batch.take(&first)));
        }
    }

    fn advance(&mut self, _watermark: Watermark, _out: &mut Outbox) {}

    fn advance_job(&mut self, watermark: Watermark) {
        // Bucket b holds what is kept until the watermark is greater than some time before (b + 1) * bucket_ms.
        let before = watermark.0.div_euclid(self.bucket_ms);
        if self.forget(before) {
            self.unwritten.push(Change::Forgotten { before });
        }
    }

    fn next_call(&mut self) -> Option<Request> {
        None
    }

    fn returned(&mut self, _result: Result<Response, PluginFault>, _out: &mut Outbox) {
        unreachable!("a dedup calls no plugin");
    }

    fn changes(&mut self, to: &mut ChangeWriter) {
        for change in std::mem::take(&mut self.unwritten) {
            write(to, change);
        }
    }

    fn image(&mut self, to: &mut ChangeWriter) {
        self.unwritten.clear();
        for (bucket, all) in &self.expiry {
            all.iter().for_each(|seen| write(to, Change::First { seen: *seen, bucket: *bucket }));
        }
    }

    fn restore(&mut self, from: &mut ChangeReader<'_>) -> Result<(), StateError> {
        while !from.is_empty() {
            match from.u8()? {
                FIRST => {
                    let bucket = from.signed()?;
                    if !(self.bucket(EventTime::MIN)..=self.bucket(EventTime::MAX)).contains(&bucket) {
                        return Err(StateError::Damaged("when an id is forgotten"));
                    }
                    let (id, content) = from.bytes()?.split_first_chunk::<16>().ok_or(StateError::Damaged("an id"))?;
                    let id = u128::from_le_bytes(*id);
                    let content = content.try_into().map_err(|_| StateError::Damaged("an id's content"))?;
                    if self.seen.find(slot_hash(id), |seen| seen.id == id).is_some() {
                        return Err(StateError::Damaged("an id twice"));
                    }
                    self.remember(Seen { id, content: u64::from_le_bytes(content) }, bucket);
                }
                FORGOTTEN => {
                    self.forget(from.signed()?);
                }
                _ => return Err(StateError::Damaged("a dedup change")),
            }
        }
        Ok(())
    }

    fn kept(&self, each: &mut dyn FnMut(Kept<'_>)) {
        for (bucket, all) in &self.expiry {
            all.iter().for_each(|seen| each(Kept::Id { hash: seen.id, until: (bucket + 1) * self.bucket_ms }));
        }
    }

    fn state_bytes(&self) -> usize {
        self.seen.len() * ENTRY_BYTES
    }
}

fn write(to: &mut ChangeWriter, change: Change) {
    match change {
        Change::First { seen, bucket } => {
            let mut bytes = [0; 24];
            bytes[..16].copy_from_slice(&seen.id.to_le_bytes());
            bytes[16..].copy_from_slice(&seen.content.to_le_bytes());
            to.body().u8(FIRST);
            to.body().signed(bucket);
            to.body().bytes(&bytes);
        }
        Change::Forgotten { before } => {
            to.body().u8(FORGOTTEN);
            to.body().signed(before);
        }
    }
    to.end_change();
}

/// The id in row `row`, hashed; `None` for null. A column has one kind, so the bytes of different kinds never meet.
pub(super) fn id_hash(ids: &Column, row: usize) -> Option<u128> {
    match ids.at(row) {
        Value::Null => None,
        Value::Bytes(bytes) => Some(xxh3_128(bytes)),
        Value::Int(value) => Some(xxh3_128(&value.to_le_bytes())),
        Value::Float(value) => Some(xxh3_128(&value.to_le_bytes())),
        Value::Bool(value) => Some(xxh3_128(&[u8::from(value)])),
    }
}

/// The id is a good hash already.
fn slot_hash(id: u128) -> u64 {
    id as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        column::{Kind, Rows},
        state::sections,
        time::EventTime,
    };

    /// Rows of (id, payload, event time).
    fn batch(rows: &[(&str, i64, i64)]) -> Batch {
        let (mut ids, mut payloads) = (Column::empty(Kind::Bytes), Column::empty(Kind::Int));
        for (id, payload, _) in rows {
            ids.push(if id.is_empty() { Value::Null } else { Value::Bytes(id.as_bytes()) });
            payloads.push(Value::Int(*payload));
        }
        let times = rows.iter().map(|(_, _, time)| EventTime(*time)).collect();
        Batch::made(Rows::new(rows.len(), vec![ids, payloads]).unwrap(), times, None)
    }

    /// The payloads that pass.
    fn passed(dedup: &mut Dedup, rows: &[(&str, i64, i64)]) -> Vec<i64> {
        let mut out = Outbox::default();
        dedup.accept(0, batch(rows), &[], &mut out);
        let values = |batch: &Batch| match batch.rows.column(1).values() {
            crate::column::Values::Int(values) => values.clone(),
            other => panic!("{other:?}"),
        };
        out.emitted.iter().flat_map(|(_, batch)| values(batch)).collect()
    }

    fn restored(from: &[Vec<u8>]) -> Dedup {
        let mut dedup = Dedup::new(0, 6400);
        for chunk in from {
            sections(chunk).unwrap().into_iter().for_each(|(_, mut reader)| dedup.restore(&mut reader).unwrap());
        }
        dedup
    }

    fn written(dedup: &mut Dedup, how: fn(&mut Dedup, &mut ChangeWriter)) -> Vec<Vec<u8>> {
        let mut writer = ChangeWriter::default();
        writer.stage("unique");
        how(dedup, &mut writer);
        writer.finish()
    }

    #[test]
    fn the_first_row_wins() {
        let mut out = Outbox::default();
        let mut dedup = Dedup::new(0, 1000);
        dedup.accept(0, batch(&[("a", 1, 5), ("b", 1, 5), ("a", 1, 5), ("a", 2, 5), ("", 9, 5)]), &[], &mut out);
        let counts = out.counts;
        assert_eq!((counts.rows_in, counts.accepted, counts.duplicate, counts.conflicting, counts.dead), (5, 2, 2, 1, 1));
        assert_eq!(out.emitted[0].1.len(), 2);
        assert_eq!(out.dead[0].reasons, [DeadReason::Rejected { code: 0, message: "no id".into() }]);
    }

    #[test]
    fn an_id_is_kept_at_least_for_the_horizon_and_at_most_a_64th_longer() {
        for (time, horizon_ms) in [(-1_000_000_007, 6400), (7, 6400), (99, 6400), (100, 6400), (5, 0), (5, 63)] {
            let mut dedup = Dedup::new(0, horizon_ms);
            assert_eq!(passed(&mut dedup, &[("a", 1, time)]), [1]);
            dedup.advance_job(Watermark(time + horizon_ms));
            assert_eq!(dedup.n_ids(), 1, "{time} {horizon_ms}: the watermark is not greater yet");
            assert_eq!(passed(&mut dedup, &[("a", 2, time)]), [0; 0]);
            dedup.advance_job(Watermark(time + horizon_ms + (horizon_ms / 64).max(1)));
            assert_eq!(dedup.n_ids(), 0, "{time} {horizon_ms}");
            assert_eq!(passed(&mut dedup, &[("a", 3, time)]), [3]);
        }
    }

    #[test]
    fn nothing_is_forgotten_at_an_unknown_watermark_and_all_at_the_end() {
        let mut dedup = Dedup::new(0, 1000);
        passed(&mut dedup, &[("a", 1, EventTime::MIN.0), ("b", 1, EventTime::MAX.0)]);
        dedup.advance_job(Watermark::UNKNOWN);
        assert_eq!(dedup.n_ids(), 2);
        dedup.advance_job(Watermark::END);
        assert_eq!((dedup.n_ids(), dedup.state_bytes()), (0, 0));
    }

    #[test]
    fn a_restored_stage_knows_what_the_crashed_one_knew() {
        let mut dedup = Dedup::new(0, 6400);
        passed(&mut dedup, &[("a", 1, 0), ("b", 1, 10_000)]);
        let mut deltas = written(&mut dedup, Dedup::changes);
        dedup.advance_job(Watermark(9000));
        passed(&mut dedup, &[("a", 7, 20_000)]);
        deltas.extend(written(&mut dedup, Dedup::changes));
        assert_eq!(written(&mut dedup, Dedup::changes), [[0; 0]; 0], "nothing is written twice");
        let image = written(&mut dedup, Dedup::image);
        for mut again in [restored(&deltas), restored(&image)] {
            assert_eq!((again.n_ids(), &again.expiry), (2, &dedup.expiry));
            assert_eq!(passed(&mut again, &[("a", 7, 20_000), ("b", 1, 10_000), ("c", 3, 0)]), [3]);
            again.advance_job(Watermark(30_000));
            assert_eq!(again.n_ids(), 0);
        }
    }

    #[test]
    fn damaged_state_is_an_error() {
        for bytes in [&b"\x07"[..], b"\x01\x02\x03abc", b"\x02"] {
            assert!(Dedup::new(0, 1).restore(&mut ChangeReader::new(bytes)).is_err(), "{bytes:?}");
        }
    }
}
