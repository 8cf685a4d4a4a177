//! Packed rows: the values of some columns of one row as bytes, for stages that must keep rows.
//!
//! They are stored in the changelog (I-10): the form below belongs to chunk format 1 and never changes within it. Which column is
//! which is known from the schema, so nothing but values is written.
//!
//! ```text
//! row   = nulls (a bitmap of one bit per column, least significant bit first, set = null) value*
//! value = (nothing)                     null
//!       | 00|01                         bool
//!       | zigzag LEB128                 int
//!       | 8 bytes, little-endian        float
//!       | length LEB128, bytes          bytes and text
//! ```

use crate::{
    column::{Column, Kind, Rows, Value},
    state::StateError,
};

/// Appends the packed values of `columns`, in that order, of row `row` to `to`.
pub fn encode_row(rows: &Rows, columns: &[usize], row: usize, to: &mut Vec<u8>) {
    let nulls_at = to.len();
    to.resize(nulls_at + columns.len().div_ceil(8), 0);
    for (bit, column_idx) in columns.iter().enumerate() {
        match rows.column(*column_idx).at(row) {
            Value::Null => to[nulls_at + bit / 8] |= 1 << (bit % 8),
            Value::Bool(value) => to.push(u8::from(value)),
            Value::Int(value) => varint(to, ((value << 1) ^ (value >> 63)) as u64),
            Value::Float(value) => to.extend_from_slice(&value.to_le_bytes()),
            Value::Bytes(bytes) => {
                varint(to, bytes.len() as u64);
                to.extend_from_slice(bytes);
            }
        }
    }
}

/// Appends the values of a packed row to `columns`, one to each. The kinds must be those of the columns that were encoded.
///
/// Fails on bytes that no [`encode_row`] of such columns wrote; `columns` may then be ragged.
pub fn decode_row(row: &[u8], columns: &mut [Column]) -> Result<(), StateError> {
    let mut reader = Reader::new(row, columns.len())?;
    for (bit, column) in columns.iter_mut().enumerate() {
        let value = reader.value(bit, column.kind())?;
        column.push(value);
    }
    reader.end()
}

/// Checks that `row` is a packed row of columns of `kinds`, without decoding it into anything.
pub fn check_row(row: &[u8], kinds: &[Kind]) -> Result<(), StateError> {
    let mut reader = Reader::new(row, kinds.len())?;
    for (bit, kind) in kinds.iter().enumerate() {
        reader.value(bit, *kind)?;
    }
    reader.end()
}

struct Reader<'a> {
    nulls: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(row: &'a [u8], n_columns: usize) -> Result<Reader<'a>, StateError> {
        let (nulls, rest) = row.split_at_checked(n_columns.div_ceil(8)).ok_or(StateError::Damaged("a packed row's nulls"))?;
        Ok(Reader { nulls, rest })
    }

    fn value(&mut self, bit: usize, kind: Kind) -> Result<Value<'a>, StateError> {
        if self.nulls[bit / 8] & (1 << (bit % 8)) != 0 {
            return Ok(Value::Null);
        }
        Ok(match kind {
            Kind::Bool => match self.take(1)?[0] {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                _ => return Err(StateError::Damaged("a packed row's bool")),
            },
            Kind::Int => {
                let zigzag = self.varint()?;
                Value::Int((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
            }
            Kind::Float => Value::Float(f64::from_le_bytes(self.take(8)?.try_into().expect("eight bytes were taken"))),
            Kind::Bytes => {
                let len = usize::try_from(self.varint()?).map_err(|_| StateError::Damaged("a packed row's length"))?;
                Value::Bytes(self.take(len)?)
            }
        })
    }

    fn varint(&mut self) -> Result<u64, StateError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(StateError::Damaged("a packed row's number"))
    }

    fn take(&mut self, n_bytes: usize) -> Result<&'a [u8], StateError> {
        let (taken, rest) = self.rest.split_at_checked(n_bytes).ok_or(StateError::Damaged("end of a packed row"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn end(&self) -> Result<(), StateError> {
        if self.rest.is_empty() { Ok(()) } else { Err(StateError::Damaged("a packed row that is too long")) }
    }
}

fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::empty_columns;
    use proptest::prelude::*;

    const KINDS: [Kind; 4] = [Kind::Bytes, Kind::Int, Kind::Bool, Kind::Float];

    fn one_row(text: Option<&[u8]>, int: Option<i64>, bit: Option<bool>, float: Option<f64>) -> Rows {
        let mut columns = empty_columns(&KINDS);
        columns[0].push(text.map_or(Value::Null, Value::Bytes));
        columns[1].push(int.map_or(Value::Null, Value::Int));
        columns[2].push(bit.map_or(Value::Null, Value::Bool));
        columns[3].push(float.map_or(Value::Null, Value::Float));
        Rows::new(1, columns).unwrap()
    }

    fn packed(rows: &Rows) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_row(rows, &[0, 1, 2, 3], 0, &mut bytes);
        bytes
    }

    /// A stored form: this fixture may only change with the chunk format (I-10).
    #[test]
    fn the_stored_form_stays() {
        assert_eq!(packed(&one_row(Some(b"ab"), Some(-65), None, Some(1.0))), b"\x04\x02ab\x81\x01\0\0\0\0\0\0\xf0\x3f");
    }

    #[test]
    fn rows_without_columns_are_no_bytes() {
        let mut bytes = Vec::new();
        encode_row(&one_row(None, None, None, None), &[], 0, &mut bytes);
        assert_eq!(bytes, b"");
        assert_eq!(decode_row(&bytes, &mut []), Ok(()));
    }

    #[test]
    fn damaged_rows_are_errors() {
        let whole = packed(&one_row(Some(b"ab"), Some(7), Some(true), Some(1.0)));
        for len in 0..whole.len() {
            assert!(check_row(&whole[..len], &KINDS).is_err(), "{len}");
            assert!(decode_row(&whole[..len], &mut empty_columns(&KINDS)).is_err(), "{len}");
        }
        assert!(check_row(&[&whole[..], b"x"].concat(), &KINDS).is_err());
        assert!(check_row(b"\x00\x02", &[Kind::Bool]).is_err());
        assert!(check_row(b"\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", &[Kind::Int]).is_err());
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(
            text in prop::option::of(prop::collection::vec(any::<u8>(), 0..300)),
            int in prop::option::of(any::<i64>()),
            bit in prop::option::of(any::<bool>()),
            float in prop::option::of(-1e9..1e9),
        ) {
            let rows = one_row(text.as_deref(), int, bit, float);
            let bytes = packed(&rows);
            prop_assert_eq!(check_row(&bytes, &KINDS), Ok(()));
            let mut columns = empty_columns(&KINDS);
            decode_row(&bytes, &mut columns).unwrap();
            prop_assert_eq!(&columns[..], rows.columns());
        }
    }
}
