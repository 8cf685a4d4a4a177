//! What a stage keeps, one thing at a time, for people who look at it. No stored form: that is each stage's own `store`.

use std::collections::BTreeSet;

use crate::{
    column::{Column, Rows},
    key::{decode_key_bytes, empty_columns, encode_key_bytes},
    packed_row::decode_row,
    plan::{StageKind, StagePlan},
    plugin::Timer,
    schema::Schema,
    stage::{dedup, join::kept_columns},
    state::StateError,
    time::{EventTime, Window},
};

/// One thing that a stage keeps. Keys are key bytes ([`crate::key`]), rows packed ones ([`crate::packed_row`]), states what the plugin wrote.
#[derive(Clone, Copy, Debug, PartialEq, Hash)]
pub enum Kept<'a> {
    /// The rows of a key in one pane: of a tumbling window all of it, of a hopping one a slide.
    Pane {
        key: &'a [u8],
        pane: Window,
        state: &'a [u8],
    },
    /// The result of a key in a window was emitted again, the last time as `rev`.
    Revision {
        key: &'a [u8],
        window: Window,
        rev: u32,
    },
    /// An open session: the times of its earliest and latest rows.
    Session {
        key: &'a [u8],
        first: EventTime,
        last: EventTime,
        state: &'a [u8],
    },
    /// A key of a global window: its earliest and latest rows, how many came since it was told last, and how often that was. The state is
    /// empty where the stage began anew.
    Global {
        key: &'a [u8],
        first: EventTime,
        last: EventTime,
        n_new: u64,
        n_told: u32,
        state: &'a [u8],
    },
    /// A left row of a join, and how often it was emitted; of a join of all pairs, 1 if it had a partner.
    Left {
        key: &'a [u8],
        time: EventTime,
        n_emitted: u32,
        row: &'a [u8],
    },
    Right {
        key: &'a [u8],
        time: EventTime,
        row: &'a [u8],
    },
    /// A row of a lookup that waits for the table. No key: there is null in it, and nothing will match.
    Waiting {
        key: &'a [u8],
        time: EventTime,
        row: &'a [u8],
    },
    /// What a lookup's table says of a key from some time on; no row: that it was deleted.
    Version {
        key: &'a [u8],
        time: EventTime,
        row: Option<&'a [u8]>,
    },
    /// A key of a process with the time of its latest row. The state is empty where there are timers only.
    Key {
        key: &'a [u8],
        last: EventTime,
        state: &'a [u8],
        timers: &'a BTreeSet<Timer>,
    },
    /// An id that a dedup knows. Of the id itself only its hash is kept; forgotten once the job's watermark is there.
    Id {
        hash: u128,
        until: i64,
    },
}

/// What to look for among the things that a stage keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    Key(Vec<u8>),
    Id(u128),
}

impl Wanted {
    /// What `stage` keeps of the one row of `key`, which has the columns of [`StagePlan::key_schema`]. `None`: nothing, of a null id.
    pub fn of(stage: &StagePlan, key: &Rows) -> Option<Wanted> {
        if let StageKind::Dedup { .. } = stage.kind {
            return dedup::id_hash(key.column(0), 0).map(Wanted::Id);
        }
        let mut bytes = Vec::new();
        encode_key_bytes(key, &(0..key.columns().len()).collect::<Vec<_>>(), 0, &mut bytes);
        Some(Wanted::Key(bytes))
    }

    pub fn is(&self, kept: &Kept<'_>) -> bool {
        match (self, kept) {
            (Wanted::Id(wanted), Kept::Id { hash, .. }) => wanted == hash,
            (Wanted::Key(wanted), kept) => kept.key() == Some(wanted),
            (Wanted::Id(_), _) => false,
        }
    }
}

impl<'a> Kept<'a> {
    /// The key bytes; an id has none, nor has a row that waits with null in its key.
    pub fn key(&self) -> Option<&'a [u8]> {
        match *self {
            Kept::Pane { key, .. }
            | Kept::Revision { key, .. }
            | Kept::Session { key, .. }
            | Kept::Global { key, .. }
            | Kept::Left { key, .. }
            | Kept::Right { key, .. }
            | Kept::Version { key, .. }
            | Kept::Key { key, .. } => Some(key),
            Kept::Waiting { key, .. } => (!key.is_empty()).then_some(key),
            Kept::Id { .. } => None,
        }
    }
}

impl StagePlan {
    /// The columns that name what the stage keeps: its key, or a dedup's id. `None`: it keeps nothing.
    pub fn key_schema(&self) -> Option<Schema> {
        match &self.kind {
            StageKind::Transform { .. } => None,
            StageKind::Dedup { id, .. } => Some(self.inputs[0].pick(&[*id])),
            StageKind::Aggregate { key, .. } | StageKind::Process { key, .. } => Some(self.inputs[0].pick(key)),
            StageKind::Join { left_key, .. } | StageKind::Lookup { left_key, .. } => Some(self.inputs[0].pick(left_key)),
        }
    }

    /// The columns of the left and the right rows that a join keeps, or of the rows and the versions of a lookup. Panics for stages of other kinds.
    pub fn kept_rows(&self) -> [Schema; 2] {
        let (right_columns, right_alone) = match &self.kind {
            StageKind::Join { right_columns, join, .. } => (right_columns, join.keeps_right()),
            StageKind::Lookup { right_columns, .. } => (right_columns, false),
            _ => unreachable!("stage \"{}\" is no join and no lookup", self.name),
        };
        let [left, right] = kept_columns(&self.inputs, right_columns, right_alone);
        [self.inputs[0].pick(&left), self.inputs[1].pick(&right)]
    }
}

impl Schema {
    /// The fields at `columns`, in that order.
    pub fn pick(&self, columns: &[usize]) -> Schema {
        Schema { fields: columns.iter().map(|column| self.fields[*column].clone()).collect() }
    }

    /// The values in key bytes of these columns, as one row.
    pub fn decode_key(&self, key: &[u8]) -> Result<Rows, StateError> {
        let mut columns = self.empty_columns();
        decode_key_bytes(key, &mut columns)?;
        Ok(Rows::new(1, columns).expect("each column was given one value"))
    }

    /// The values of a packed row of these columns.
    pub fn decode_packed(&self, row: &[u8]) -> Result<Rows, StateError> {
        let mut columns = self.empty_columns();
        decode_row(row, &mut columns)?;
        Ok(Rows::new(1, columns).expect("each column was given one value"))
    }

    fn empty_columns(&self) -> Vec<Column> {
        empty_columns(&self.fields.iter().map(|field| field.field_type.kind()).collect::<Vec<_>>())
    }
}
