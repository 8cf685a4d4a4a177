//! Where a record belongs: its event time, its partition, and what the log would have said of it.

use reelflow_core::{
    column::{RowBuilder, Rows, Value},
    history::HistoryPlan,
    json::{decode::Projector, encode},
    record::{Offset, Partition, partition_of},
    schema::Schema,
    time::EventTime,
};

/// Before every record that has an event time.
const BEFORE_ALL_MS: i64 = EventTime::MIN.0;

/// Places the records of one source.
pub(super) struct Places {
    schema: Schema,
    time: usize,
    timestamp: Option<usize>,
    deleted: Option<usize>,
    /// The columns that a record must have unless it deletes its key.
    required: Vec<usize>,
    key: Vec<usize>,
    value_bytes_max: usize,
    n_partitions: u32,
    projector: Projector,
    rows: RowBuilder,
    /// Reads where records lay.
    positions: Option<Projector>,
    /// The event time of the record before.
    before_ms: i64,
    /// Where the next record without a key goes.
    turn: Partition,
}

/// The place of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Its event time, or that of the record before.
    pub time_ms: i64,
    /// `None`: the source takes its event time from here, and there is none.
    pub timestamp_ms: Option<i64>,
    pub partition: Partition,
    pub key: Option<Vec<u8>>,
    /// The source will refuse it.
    pub is_refused: bool,
    /// It says only that its key is deleted.
    pub is_deleted: bool,
    pub lay: Lay,
}

/// Where in its topic a record lay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lay {
    /// The plan does not ask.
    Unasked,
    /// At this offset of the partition in which it has its place.
    At(Offset),
    /// It should say so, and does not.
    Nowhere,
    /// It is no record of the source's format, so it cannot say.
    Broken,
}

impl Places {
    pub fn new(plan: &HistoryPlan, n_partitions: u32) -> Places {
        let mut schema = plan.schema.clone();
        let required = (0..schema.len()).filter(|column| schema.fields[*column].required).collect();
        // What else a row holds that deletes its key does not matter.
        schema.fields.iter_mut().for_each(|field| field.required &= plan.deleted.is_none());
        let projector = Projector::new(&schema);
        Places {
            schema,
            time: plan.time,
            timestamp: plan.timestamp,
            deleted: plan.deleted,
            required,
            key: plan.key.clone(),
            value_bytes_max: plan.value_bytes_max,
            n_partitions,
            rows: projector.rows(),
            projector,
            positions: plan.position.map(|(partition, offset)| {
                Projector::new(&Schema { fields: [partition, offset].map(|column| plan.schema.fields[column].clone()).to_vec() })
            }),
            before_ms: BEFORE_ALL_MS,
            turn: 0,
        }
    }

    /// Another file begins.
    pub fn begin(&mut self) {
        self.before_ms = BEFORE_ALL_MS;
    }

    /// The places of the records that follow.
    pub fn place(&mut self, values: &[&[u8]]) -> Vec<Place> {
        let decode = |value: &&[u8]| value.len() <= self.value_bytes_max && self.projector.decode(value, &mut self.rows).is_ok();
        let decoded: Vec<bool> = values.iter().map(decode).collect();
        let rows = self.rows.finish();
        let mut row_idx = 0;
        let mut places = Vec::with_capacity(values.len());
        for (is_decoded, value) in decoded.into_iter().zip(values) {
            let place = if is_decoded { self.of_row(&rows, row_idx) } else { self.of_nothing() };
            places.push(self.as_it_lay(place, value));
            row_idx += usize::from(is_decoded);
        }
        places
    }

    /// Puts a record into the partition in which it lay.
    fn as_it_lay(&mut self, place: Place, value: &[u8]) -> Place {
        let Some(positions) = &mut self.positions else { return place };
        let mut row = positions.rows();
        let lay = match positions.decode(value, &mut row) {
            Ok(()) => row.finish(),
            Err(error) if error.code() == "type" => return Place { lay: Lay::Nowhere, ..place },
            Err(_) => return Place { lay: Lay::Broken, ..place },
        };
        match [lay.column(0).at(0), lay.column(1).at(0)] {
            [Value::Int(partition), Value::Int(offset)]
                if (0..i64::from(self.n_partitions)).contains(&partition) && (0..i64::MAX).contains(&offset) =>
            {
                Place { partition: partition as Partition, lay: Lay::At(offset), ..place }
            }
            _ => Place { lay: Lay::Nowhere, ..place },
        }
    }

    fn of_row(&mut self, rows: &Rows, row_idx: usize) -> Place {
        let int = |column: usize| if let Value::Int(ms) = rows.column(column).at(row_idx) { Some(ms) } else { None };
        let time = int(self.time).and_then(EventTime::checked);
        let key = encode::key(&self.schema, rows, &self.key, row_idx);
        let partition = match &key {
            Some(key) => partition_of(key, self.n_partitions),
            None => self.next_turn(),
        };
        self.before_ms = time.map_or(self.before_ms, |time| time.0);
        let is_deleted =
            time.is_some() && self.deleted.is_some_and(|column| rows.column(column).at(row_idx) == Value::Bool(true));
        let lacks = |column: &usize| rows.column(*column).at(row_idx) == Value::Null;
        let is_refused = time.is_none() || (!is_deleted && self.required.iter().any(lacks));
        let timestamp_ms = match self.timestamp {
            // A record without a value has no other event time.
            _ if is_deleted => Some(self.before_ms.max(0)),
            Some(column) if column == self.time => int(column),
            // Kafka has no timestamps before 1970.
            Some(column) => Some(int(column).unwrap_or(self.before_ms).max(0)),
            None => Some(self.before_ms.max(0)),
        };
        Place { time_ms: self.before_ms, timestamp_ms, partition, key, is_refused, is_deleted, lay: Lay::Unasked }
    }

    fn of_nothing(&mut self) -> Place {
        Place {
            time_ms: self.before_ms,
            timestamp_ms: Some(self.before_ms.max(0)),
            partition: self.next_turn(),
            key: None,
            is_refused: true,
            is_deleted: false,
            lay: Lay::Unasked,
        }
    }

    fn next_turn(&mut self) -> Partition {
        self.turn = (self.turn + 1) % self.n_partitions;
        self.turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reelflow_core::{
        plan::FileFormat,
        schema::{Field, FieldType},
    };

    fn field(name: &str, field_type: FieldType, required: bool) -> Field {
        Field { name: name.to_owned(), path: name.to_owned(), field_type, required }
    }

    fn plan(timestamp: Option<usize>, time: usize) -> HistoryPlan {
        let schema = Schema {
            fields: vec![
                field("at", FieldType::Int, time == 0),
                field("sent", FieldType::Int, false),
                field("id", FieldType::Text, false),
            ],
        };
        HistoryPlan {
            source: 0,
            name: "plays".into(),
            path: "h".into(),
            format: FileFormat::Ndjson,
            schema,
            time,
            timestamp,
            deleted: None,
            position: None,
            key: vec![2],
            value_bytes_max: 40,
        }
    }

    fn places(timestamp: Option<usize>, time: usize) -> Places {
        Places::new(&plan(timestamp, time), 4)
    }

    fn check(places: &mut Places, values: &[&str], expected: &[(i64, Option<i64>, bool)]) {
        let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
        let found: Vec<_> = places.place(&values).iter().map(|one| (one.time_ms, one.timestamp_ms, one.is_refused)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_has_no_event_time_stays_with_its_neighbour() {
        let first = BEFORE_ALL_MS;
        let mut all = places(Some(1), 0);
        check(
            &mut all,
            &["nothing", r#"{"at":7,"sent":9}"#, "", r#"{"at":5}"#, r#"{"at":"x"}"#],
            &[(first, Some(0), true), (7, Some(9), false), (7, Some(7), true), (5, Some(5), false), (5, Some(5), true)],
        );
        check(&mut all, &[r#"{"at":9000000000000000}"#], &[(5, Some(5), true)]);
        check(&mut all, &[r#"{"at":6,"id":"longer than it may be by a few"}"#], &[(5, Some(5), true)]);
        all.begin();
        check(&mut all, &["[]"], &[(first, Some(0), true)]);
        check(&mut places(None, 0), &[r#"{"at":-7,"sent":9}"#], &[(-7, Some(0), false)]);
    }

    #[test]
    fn a_source_that_goes_by_timestamps_needs_them() {
        check(&mut places(Some(1), 1), &[r#"{"sent":3}"#, r#"{"id":"a"}"#], &[(3, Some(3), false), (3, None, true)]);
    }

    #[test]
    fn a_row_that_deletes_its_key_needs_nothing_else_than_its_time() {
        let schema = Schema {
            fields: vec![
                field("from", FieldType::Int, true),
                field("id", FieldType::Text, true),
                field("name", FieldType::Text, true),
                field("gone", FieldType::Bool, false),
            ],
        };
        let mut all =
            Places::new(&HistoryPlan { schema, deleted: Some(3), key: vec![1], value_bytes_max: 100, ..plan(None, 0) }, 4);
        let mut check = |value: &str, is_deleted: bool, is_refused: bool| {
            let place = all.place(&[value.as_bytes()]).remove(0);
            assert_eq!((place.is_deleted, place.is_refused), (is_deleted, is_refused), "{value}");
            place
        };
        check(r#"{"from":1,"id":"a","name":"A"}"#, false, false);
        check(r#"{"from":2,"id":"a","name":"A","gone":false}"#, false, false);
        check(r#"{"from":3,"id":"a","name":null,"gone":null}"#, false, true);
        check(r#"{"id":"a","gone":true}"#, false, true);
        check(r#"{"from":3,"id":"a","name":"A","gone":"yes"}"#, false, true);
        let gone = check(r#"{"from":4,"id":"a","gone":true}"#, true, false);
        assert_eq!((gone.time_ms, gone.timestamp_ms, gone.key.as_deref()), (4, Some(4), Some(&b"a"[..])));
    }

    #[test]
    fn a_record_goes_where_it_lay() {
        let mut fields = plan(None, 0).schema.fields;
        fields.extend(["p", "o"].map(|name| field(name, FieldType::Int, false)));
        let asking = HistoryPlan { schema: Schema { fields }, position: Some((3, 4)), value_bytes_max: 100, ..plan(None, 0) };
        let mut all = Places::new(&asking, 4);
        let mut check = |value: &str, lay: Lay| {
            let place = all.place(&[value.as_bytes()]).remove(0);
            assert_eq!(place.lay, lay, "{value}");
            place.partition
        };
        assert_eq!(check(r#"{"at":1,"id":"21","p":3,"o":17}"#, Lay::At(17)), 3);
        assert_eq!(check(r#"{"id":"no time","p":0,"o":0}"#, Lay::At(0)), 0);
        for nowhere in [r#"{"at":1}"#, r#"{"at":1,"p":4,"o":1}"#, r#"{"at":1,"p":1,"o":-1}"#, r#"{"at":1,"p":"1","o":1}"#] {
            check(nowhere, Lay::Nowhere);
        }
        check("no object", Lay::Broken);
    }

    #[test]
    fn keys_choose_partitions_as_producers_do() {
        let mut all = places(None, 0);
        let of = |all: &mut Places, value: &str| {
            let place = all.place(&[value.as_bytes()]).remove(0);
            (place.key.map(|key| String::from_utf8(key).unwrap()), place.partition)
        };
        assert_eq!(of(&mut all, r#"{"at":1,"id":"21"}"#), (Some("21".to_owned()), partition_of(b"21", 4)));
        let turns: Vec<_> = (0..5).map(|_| of(&mut all, r#"{"at":1}"#)).collect();
        assert_eq!(turns, [1, 2, 3, 0, 1].map(|partition| (None, partition)));
    }
}
