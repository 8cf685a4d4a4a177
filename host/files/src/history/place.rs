//! Where a record belongs: its event time, its partition, and what the log would have said of it.

use reelflow_core::{
    column::{RowBuilder, Rows, Value},
    history::HistoryPlan,
    json::{decode::Projector, encode},
    record::{Partition, partition_of},
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
    key: Vec<usize>,
    value_bytes_max: usize,
    n_partitions: u32,
    projector: Projector,
    rows: RowBuilder,
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
}

impl Places {
    pub fn new(plan: &HistoryPlan, n_partitions: u32) -> Places {
        let projector = Projector::new(&plan.schema);
        Places {
            schema: plan.schema.clone(),
            time: plan.time,
            timestamp: plan.timestamp,
            key: plan.key.clone(),
            value_bytes_max: plan.value_bytes_max,
            n_partitions,
            rows: projector.rows(),
            projector,
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
        for is_decoded in decoded {
            places.push(if is_decoded { self.of_row(&rows, row_idx) } else { self.of_nothing() });
            row_idx += usize::from(is_decoded);
        }
        places
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
        let timestamp_ms = match self.timestamp {
            Some(column) if column == self.time => int(column),
            // Kafka has no timestamps before 1970.
            Some(column) => Some(int(column).unwrap_or(self.before_ms).max(0)),
            None => Some(self.before_ms.max(0)),
        };
        Place { time_ms: self.before_ms, timestamp_ms, partition, key, is_refused: time.is_none() }
    }

    fn of_nothing(&mut self) -> Place {
        Place {
            time_ms: self.before_ms,
            timestamp_ms: Some(self.before_ms.max(0)),
            partition: self.next_turn(),
            key: None,
            is_refused: true,
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

    fn places(timestamp: Option<usize>, time: usize) -> Places {
        let schema = Schema {
            fields: vec![
                field("at", FieldType::Int, time == 0),
                field("sent", FieldType::Int, false),
                field("id", FieldType::Text, false),
            ],
        };
        let plan = HistoryPlan {
            source: 0,
            name: "plays".into(),
            path: "h".into(),
            format: FileFormat::Ndjson,
            schema,
            time,
            timestamp,
            key: vec![2],
            value_bytes_max: 40,
        };
        Places::new(&plan, 4)
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
