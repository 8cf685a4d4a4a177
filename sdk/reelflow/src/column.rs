//! Columns, as they cross the boundary. Authors never meet them: `#[derive(Event)]` reads them, `#[derive(Emit)]` writes them.

/// Byte strings one after the other: the value at `i` is `data[ends[i-1]..ends[i]]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Packed {
    pub data: Vec<u8>,
    pub ends: Vec<u32>,
}

impl Packed {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes at `idx`. Panics outside of `0..len()`.
    pub fn at(&self, idx: usize) -> &[u8] {
        let start = if idx == 0 { 0 } else { self.ends[idx - 1] as usize };
        &self.data[start..self.ends[idx] as usize]
    }

    /// Appends a copy of `bytes`.
    pub fn push(&mut self, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
        self.end();
    }

    /// Ends a value that was written into `data` in place.
    pub fn end(&mut self) {
        self.ends.push(u32::try_from(self.data.len()).expect("a packed column holds less than 4 GiB"));
    }

    fn truncate(&mut self, len: usize) {
        self.ends.truncate(len);
        self.data.truncate(self.ends.last().map_or(0, |end| *end as usize));
    }
}

/// The four physical kinds of column, closed for ever within 0.1. A slot that is null holds `false`, `0`, `0.0` or no bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// A bitmap, least significant bit first.
    Bools(Vec<u8>),
    Ints(Vec<i64>),
    Floats(Vec<f64>),
    Bytes(Packed),
}

/// One field of many rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub values: Values,
    /// A bitmap, a set bit means not null; empty: no value is null.
    pub validity: Vec<u8>,
}

/// Rows as columns of equal length.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    pub len: usize,
    pub columns: Vec<Column>,
}

/// Whether bit `idx` is set. Panics past the end of `bits`.
pub fn bit(bits: &[u8], idx: usize) -> bool {
    bits[idx / 8] & (1 << (idx % 8)) != 0
}

/// Appends bit number `idx` to a bitmap that holds the bits before it.
pub fn push_bit(bits: &mut Vec<u8>, idx: usize, bit: bool) {
    if idx.is_multiple_of(8) {
        bits.push(0);
    }
    if bit {
        bits[idx / 8] |= 1 << (idx % 8);
    }
}

/// The bits before `len`, all others cleared.
fn truncate_bits(bits: &mut Vec<u8>, len: usize) {
    bits.truncate(len.div_ceil(8));
    if !len.is_multiple_of(8) {
        bits[len / 8] &= (1 << (len % 8)) - 1;
    }
}

/// A column that grows. Which kind it is was settled by the field's type; pushing another one is a bug of the SDK.
#[derive(Clone, Debug)]
pub struct Builder {
    values: Values,
    validity: Vec<u8>,
    len: usize,
}

impl Builder {
    pub fn new(field_type: FieldType) -> Builder {
        Builder::with_room(field_type, 0)
    }

    /// An empty column that takes `n_values` without growing, but for the bytes of texts.
    pub fn with_room(field_type: FieldType, n_values: usize) -> Builder {
        let values = match field_type {
            FieldType::Bool => Values::Bools(Vec::with_capacity(n_values.div_ceil(8))),
            FieldType::Int => Values::Ints(Vec::with_capacity(n_values)),
            FieldType::Float => Values::Floats(Vec::with_capacity(n_values)),
            FieldType::Text | FieldType::Bytes => Values::Bytes(Packed { data: Vec::new(), ends: Vec::with_capacity(n_values) }),
        };
        Builder { values, validity: Vec::new(), len: 0 }
    }

    #[inline]
    pub fn push_bool(&mut self, value: bool) {
        let Values::Bools(bits) = &mut self.values else { unreachable!("a bool for another column") };
        push_bit(bits, self.len, value);
        self.end_value();
    }

    #[inline]
    pub fn push_int(&mut self, value: i64) {
        let Values::Ints(values) = &mut self.values else { unreachable!("an integer for another column") };
        values.push(value);
        self.end_value();
    }

    #[inline]
    pub fn push_float(&mut self, value: f64) {
        let Values::Floats(values) = &mut self.values else { unreachable!("a float for another column") };
        values.push(value);
        self.end_value();
    }

    #[inline]
    pub fn push_bytes(&mut self, value: &[u8]) {
        let Values::Bytes(packed) = &mut self.values else { unreachable!("bytes for another column") };
        packed.push(value);
        self.end_value();
    }

    pub fn push_null(&mut self) {
        match &mut self.values {
            Values::Bools(bits) => push_bit(bits, self.len, false),
            Values::Ints(values) => values.push(0),
            Values::Floats(values) => values.push(0.0),
            Values::Bytes(packed) => packed.push(b""),
        }
        if self.validity.is_empty() {
            self.validity = vec![0xff; self.len.div_ceil(8)];
            truncate_bits(&mut self.validity, self.len);
        }
        push_bit(&mut self.validity, self.len, false);
        self.len += 1;
    }

    /// Forgets the values from `len` on.
    pub fn truncate(&mut self, len: usize) {
        match &mut self.values {
            Values::Bools(bits) => truncate_bits(bits, len),
            Values::Ints(values) => values.truncate(len),
            Values::Floats(values) => values.truncate(len),
            Values::Bytes(packed) => packed.truncate(len),
        }
        if !self.validity.is_empty() {
            truncate_bits(&mut self.validity, len);
        }
        self.len = len;
    }

    pub fn finish(self) -> Column {
        Column { values: self.values, validity: self.validity }
    }

    #[inline]
    fn end_value(&mut self) {
        if !self.validity.is_empty() {
            push_bit(&mut self.validity, self.len, true);
        }
        self.len += 1;
    }
}

/// The logical type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    Bool,
    Int,
    Float,
    /// UTF-8.
    Text,
    Bytes,
}

impl FieldType {
    /// The name in the document of `describe`.
    pub const fn name(self) -> &'static str {
        match self {
            FieldType::Bool => "bool",
            FieldType::Int => "i64",
            FieldType::Float => "f64",
            FieldType::Text => "string",
            FieldType::Bytes => "bytes",
        }
    }
}

/// One field of an event, an output or a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldSpec {
    pub name: &'static str,
    /// Where a source finds it: `a.b` is field `b` of the object `a`.
    pub path: &'static str,
    pub field_type: FieldType,
    /// `false`: the value may be null.
    pub required: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_null_makes_the_bitmap() {
        let mut builder = Builder::new(FieldType::Int);
        (0..9).for_each(|value| builder.push_int(value));
        builder.push_null();
        builder.push_int(10);
        let column = builder.finish();
        assert_eq!(column.validity, [0xff, 0b101]);
        assert_eq!(column.values, Values::Ints(vec![0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 10]));
    }

    #[test]
    fn a_truncated_column_grows_as_if_nothing_had_been_there() {
        for n_kept in [0, 1, 7, 8, 9] {
            let mut builder = Builder::new(FieldType::Bool);
            (0..12).for_each(|_| builder.push_bool(true));
            builder.push_null();
            builder.truncate(n_kept);
            builder.push_bool(false);
            builder.push_null();
            let column = builder.finish();
            let Values::Bools(bits) = &column.values else { panic!("not bools") };
            assert!((0..n_kept).all(|idx| bit(bits, idx)));
            assert!(!bit(bits, n_kept));
            assert_eq!(bits.len(), (n_kept + 2).div_ceil(8));
            assert!((0..=n_kept).all(|idx| bit(&column.validity, idx)));
            assert!(!bit(&column.validity, n_kept + 1));
        }
    }

    #[test]
    fn text_is_truncated_with_its_bytes() {
        let mut builder = Builder::new(FieldType::Text);
        ["a", "bc", "def"].iter().for_each(|text| builder.push_bytes(text.as_bytes()));
        builder.truncate(1);
        builder.push_bytes(b"z");
        assert_eq!(builder.finish().values, Values::Bytes(Packed { data: b"az".to_vec(), ends: vec![1, 2] }));
    }
}
