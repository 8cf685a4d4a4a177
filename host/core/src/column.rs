//! Columns: the one shape in which rows are decoded, cross the Wasm boundary, are shuffled and are kept.
//!
//! Four physical kinds, closed for ever within plugin ABI 0.1; dates, decimals and the like are logical types over one of them.

/// A bitmap, least significant bit first; bits past the end are zero.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bitmap {
    bytes: Vec<u8>,
    len: usize,
}

impl Bitmap {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn push(&mut self, bit: bool) {
        if self.len.is_multiple_of(8) {
            self.bytes.push(0);
        }
        if bit {
            self.bytes[self.len / 8] |= 1 << (self.len % 8);
        }
        self.len += 1;
    }

    /// The bit at `idx`. Panics outside of `0..len()`.
    pub fn at(&self, idx: usize) -> bool {
        assert!(idx < self.len, "bit {idx} of {}", self.len);
        self.bytes[idx / 8] & (1 << (idx % 8)) != 0
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A bitmap of `len` bits from its packed bytes, or `None` when the byte count does not fit. Bits past the end are cleared.
    pub fn from_bytes(mut bytes: Vec<u8>, len: usize) -> Option<Bitmap> {
        if bytes.len() != len.div_ceil(8) {
            return None;
        }
        if !len.is_multiple_of(8)
            && let Some(last) = bytes.last_mut()
        {
            *last &= (1 << (len % 8)) - 1;
        }
        Some(Bitmap { bytes, len })
    }

    /// `len` times `bit`.
    pub fn filled(bit: bool, len: usize) -> Bitmap {
        let bytes = vec![if bit { 0xff } else { 0 }; len.div_ceil(8)];
        Bitmap::from_bytes(bytes, len).expect("the byte count was just computed")
    }
}

/// Byte strings one after the other: the value at `i` is `data[ends[i-1]..ends[i]]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Packed {
    data: Vec<u8>,
    ends: Vec<u32>,
}

impl Packed {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Appends a copy of `bytes`. Panics past 4 GiB: batches are bounded far below.
    pub fn push(&mut self, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
        self.ends.push(u32::try_from(self.data.len()).expect("a packed column holds less than 4 GiB"));
    }

    /// The bytes at `idx`. Panics outside of `0..len()`.
    pub fn at(&self, idx: usize) -> &[u8] {
        let start = if idx == 0 { 0 } else { self.ends[idx - 1] as usize };
        &self.data[start..self.ends[idx] as usize]
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.len()).map(|idx| self.at(idx))
    }

    pub fn data(&self) -> &[u8] {
        &self.data
    }

    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    pub fn clear(&mut self) {
        self.data.clear();
        self.ends.clear();
    }

    /// Packed bytes from their parts, or `None` unless the ends rise and the last one is the length of `data`.
    pub fn from_parts(data: Vec<u8>, ends: Vec<u32>) -> Option<Packed> {
        let rising = ends.is_sorted();
        let whole = ends.last().map_or(0, |end| *end as usize) == data.len();
        (rising && whole).then_some(Packed { data, ends })
    }
}

/// The values of one column; a slot that is null holds `false`, `0`, `0.0` or no bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    Bool(Bitmap),
    Int(Vec<i64>),
    Float(Vec<f64>),
    Bytes(Packed),
}

/// One value, borrowed from a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Bytes(&'a [u8]),
}

/// The physical kind of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Int,
    Float,
    Bytes,
}

/// A column: values and which of them are not null.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    values: Values,
    /// `None`: no value is null.
    validity: Option<Bitmap>,
}

impl Column {
    pub fn empty(kind: Kind) -> Column {
        let values = match kind {
            Kind::Bool => Values::Bool(Bitmap::default()),
            Kind::Int => Values::Int(Vec::new()),
            Kind::Float => Values::Float(Vec::new()),
            Kind::Bytes => Values::Bytes(Packed::default()),
        };
        Column { values, validity: None }
    }

    /// `len` nulls.
    pub fn nulls(kind: Kind, len: usize) -> Column {
        let mut column = Column::empty(kind);
        (0..len).for_each(|_| column.push_null());
        column
    }

    /// A column from its parts, or `None` when the validity has another length.
    pub fn from_parts(values: Values, validity: Option<Bitmap>) -> Option<Column> {
        let column = Column { values, validity };
        match &column.validity {
            Some(bits) if bits.len() != column.len() => None,
            _ => Some(column),
        }
    }

    pub fn kind(&self) -> Kind {
        match self.values {
            Values::Bool(_) => Kind::Bool,
            Values::Int(_) => Kind::Int,
            Values::Float(_) => Kind::Float,
            Values::Bytes(_) => Kind::Bytes,
        }
    }

    pub fn len(&self) -> usize {
        match &self.values {
            Values::Bool(bits) => bits.len(),
            Values::Int(values) => values.len(),
            Values::Float(values) => values.len(),
            Values::Bytes(packed) => packed.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn values(&self) -> &Values {
        &self.values
    }

    pub fn validity(&self) -> Option<&Bitmap> {
        self.validity.as_ref()
    }

    pub fn is_valid(&self, idx: usize) -> bool {
        self.validity.as_ref().is_none_or(|bits| bits.at(idx))
    }

    /// The value at `idx`. Panics outside of `0..len()`.
    pub fn at(&self, idx: usize) -> Value<'_> {
        if !self.is_valid(idx) {
            return Value::Null;
        }
        match &self.values {
            Values::Bool(bits) => Value::Bool(bits.at(idx)),
            Values::Int(values) => Value::Int(values[idx]),
            Values::Float(values) => Value::Float(values[idx]),
            Values::Bytes(packed) => Value::Bytes(packed.at(idx)),
        }
    }

    /// Appends `value`. Panics if it is of another kind: kinds are fixed by the schema before any row exists.
    #[inline]
    pub fn push(&mut self, value: Value<'_>) {
        match (&mut self.values, value) {
            (_, Value::Null) => return self.push_null(),
            (Values::Bool(bits), Value::Bool(bit)) => bits.push(bit),
            (Values::Int(values), Value::Int(value)) => values.push(value),
            (Values::Float(values), Value::Float(value)) => values.push(value),
            (Values::Bytes(packed), Value::Bytes(bytes)) => packed.push(bytes),
            (values, value) => unreachable!("pushed {value:?} on a column of {values:?}"),
        }
        if let Some(validity) = &mut self.validity {
            validity.push(true);
        }
    }

    fn push_null(&mut self) {
        let len = self.len();
        match &mut self.values {
            Values::Bool(bits) => bits.push(false),
            Values::Int(values) => values.push(0),
            Values::Float(values) => values.push(0.0),
            Values::Bytes(packed) => packed.push(b""),
        }
        self.validity.get_or_insert_with(|| Bitmap::filled(true, len)).push(false);
    }

    /// An empty column of the same kind, with room for as much as this one holds.
    fn successor(&self) -> Column {
        let values = match &self.values {
            Values::Bool(_) => Values::Bool(Bitmap::default()),
            Values::Int(values) => Values::Int(Vec::with_capacity(values.len())),
            Values::Float(values) => Values::Float(Vec::with_capacity(values.len())),
            Values::Bytes(packed) => {
                Values::Bytes(Packed { data: Vec::with_capacity(packed.data.len()), ends: Vec::with_capacity(packed.ends.len()) })
            }
        };
        Column { values, validity: None }
    }

    /// The rows at `rows`, in that order, as a new column.
    pub fn take(&self, rows: &[u32]) -> Column {
        let values = match &self.values {
            Values::Bool(bits) => {
                let mut taken = Bitmap::default();
                rows.iter().for_each(|row| taken.push(bits.at(*row as usize)));
                Values::Bool(taken)
            }
            Values::Int(values) => Values::Int(rows.iter().map(|row| values[*row as usize]).collect()),
            Values::Float(values) => Values::Float(rows.iter().map(|row| values[*row as usize]).collect()),
            Values::Bytes(packed) => {
                let mut taken = Packed::default();
                rows.iter().for_each(|row| taken.push(packed.at(*row as usize)));
                Values::Bytes(taken)
            }
        };
        let validity = self.validity.as_ref().map(|bits| {
            let mut taken = Bitmap::default();
            rows.iter().for_each(|row| taken.push(bits.at(*row as usize)));
            taken
        });
        Column { values, validity }
    }

    /// Appends all rows of `other`. Panics if it is of another kind.
    pub fn extend(&mut self, other: &Column) {
        for idx in 0..other.len() {
            self.push(other.at(idx));
        }
    }
}

/// Rows as columns of equal length. Which column is which is said by a [`crate::schema::Schema`] kept beside it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    n_rows: usize,
    columns: Vec<Column>,
}

impl Rows {
    /// Rows from columns, or `None` unless each holds `n_rows` values. Rows without columns are allowed.
    pub fn new(n_rows: usize, columns: Vec<Column>) -> Option<Rows> {
        columns.iter().all(|column| column.len() == n_rows).then_some(Rows { n_rows, columns })
    }

    pub fn len(&self) -> usize {
        self.n_rows
    }

    pub fn is_empty(&self) -> bool {
        self.n_rows == 0
    }

    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    pub fn column(&self, column_idx: usize) -> &Column {
        &self.columns[column_idx]
    }

    /// The rows at `rows`, in that order.
    pub fn take(&self, rows: &[u32]) -> Rows {
        Rows { n_rows: rows.len(), columns: self.columns.iter().map(|column| column.take(rows)).collect() }
    }

    /// The columns at `columns`, in that order, of the same rows; where there is none, a column of nulls of that kind.
    pub fn arrange(&self, columns: impl Iterator<Item = (Option<usize>, Kind)>) -> Rows {
        let arranged = columns.map(|(column_idx, kind)| match column_idx {
            Some(idx) => self.columns[idx].clone(),
            None => Column::nulls(kind, self.n_rows),
        });
        Rows { n_rows: self.n_rows, columns: arranged.collect() }
    }

    /// The columns at `columns`, in that order, of the same rows.
    pub fn project(&self, columns: &[usize]) -> Rows {
        Rows { n_rows: self.n_rows, columns: columns.iter().map(|idx| self.columns[*idx].clone()).collect() }
    }
}

/// Rows that are being made, a whole row at a time.
#[derive(Clone, Debug, Default)]
pub struct RowBuilder {
    n_rows: usize,
    columns: Vec<Column>,
}

impl RowBuilder {
    /// No rows yet, of columns of these kinds.
    pub fn new(kinds: impl IntoIterator<Item = Kind>) -> RowBuilder {
        RowBuilder { n_rows: 0, columns: kinds.into_iter().map(Column::empty).collect() }
    }

    pub fn len(&self) -> usize {
        self.n_rows
    }

    pub fn is_empty(&self) -> bool {
        self.n_rows == 0
    }

    /// Appends one row. Panics unless there is one value for each column, of its kind or null.
    pub fn push<'a>(&mut self, row: impl IntoIterator<Item = Value<'a>>) {
        let mut row = row.into_iter();
        for column in &mut self.columns {
            column.push(row.next().expect("a row has a value for each column"));
        }
        debug_assert!(row.next().is_none(), "a row has no more values than columns");
        self.n_rows += 1;
    }

    /// The rows so far. What stays is empty, and expects as many rows again.
    pub fn finish(&mut self) -> Rows {
        let successors = self.columns.iter().map(Column::successor).collect();
        let columns = std::mem::replace(&mut self.columns, successors);
        Rows { n_rows: std::mem::take(&mut self.n_rows), columns }
    }
}
