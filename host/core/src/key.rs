//! Canonical key bytes: the values of some columns of a row as bytes that are equal when the values are, and sort as they do.
//!
//! Whatever is grouped, joined or sorted by key uses these bytes, so that equality, order and hash never depend on how a batch
//! was laid out. They are stored in the changelog (I-10): the form below belongs to chunk format 1 and never changes within it.
//!
//! ```text
//! key   = value*                                     one for each key column
//! value = 00                                         null: before every other value
//!       | 01 00|01                                   bool
//!       | 01 (8 bytes, big-endian, sign bit flipped) int
//!       | 01 (8 bytes, big-endian, IEEE total order) float; −0.0 is written as 0.0
//!       | 01 (bytes, 00 as 00 ff) 00 00              bytes and text, in byte order
//! ```
//!
//! The escape for bytes is that of FoundationDB's tuple layer: unlike a length in front, it keeps the order.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;

use crate::{
    column::{Column, Kind, Rows, Value},
    state::StateError,
};

const NULL: u8 = 0;
const SOME: u8 = 1;
/// Stands behind a zero byte that belongs to the value.
const ESCAPED: u8 = 0xff;
/// Stands behind the zero byte that ends a value.
const END: u8 = 0;
const SIGN: u64 = 1 << 63;

/// Appends the key bytes of `columns`, in that order, of row `row` to `to`.
pub fn encode_key_bytes(rows: &Rows, columns: &[usize], row: usize, to: &mut Vec<u8>) {
    for column_idx in columns {
        encode_value(rows.column(*column_idx).at(row), to);
    }
}

/// Whether any of `columns` is null in row `row`.
pub fn has_null(rows: &Rows, columns: &[usize], row: usize) -> bool {
    columns.iter().any(|column_idx| !rows.column(*column_idx).is_valid(row))
}

/// Appends the values in `key` to `columns`, one to each. The kinds must be those of the columns that were encoded.
///
/// Fails on bytes that no [`encode_key_bytes`] of such columns wrote; `columns` may then be ragged.
pub fn decode_key_bytes(key: &[u8], columns: &mut [Column]) -> Result<(), StateError> {
    let mut rest = key;
    let mut unescaped = Vec::new();
    for column in columns {
        let value = decode_value(&mut rest, column.kind(), &mut unescaped)?;
        column.push(value);
    }
    if rest.is_empty() { Ok(()) } else { Err(StateError::Damaged("a key that is too long")) }
}

/// Key bytes with their hash, to be looked up in hash tables without hashing them again.
///
/// The hash only says which bucket is looked at first. Its seed is fixed and no table is ever iterated (I-2), so it shows nowhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HashedKey<'a> {
    pub(crate) hash: KeyHash,
    pub(crate) bytes: &'a [u8],
}

/// 32 bits of a key's hash: what a hash table keeps beside an index, so that growing it reads no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyHash(u32);

impl<'a> HashedKey<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> HashedKey<'a> {
        const SEED: FixedState = FixedState::with_seed(0x7265_656c);
        let mut hasher = SEED.build_hasher();
        hasher.write(bytes);
        let hash = hasher.finish();
        HashedKey { hash: KeyHash((hash ^ (hash >> 32)) as u32), bytes }
    }
}

impl KeyHash {
    /// The hash as hash tables want it: they take the bucket from the low and a tag from the high bits. Both get the same 32,
    /// which only meet again in tables of more than 2^25 buckets.
    pub(crate) fn spread(self) -> u64 {
        (u64::from(self.0) << 32) | u64::from(self.0)
    }
}

/// One empty column for each of `kinds`: what [`decode_key_bytes`] fills.
pub fn empty_columns(kinds: &[Kind]) -> Vec<Column> {
    kinds.iter().map(|kind| Column::empty(*kind)).collect()
}

/// Appends the key bytes of an int.
pub(crate) fn encode_int(value: i64, to: &mut Vec<u8>) {
    encode_value(Value::Int(value), to);
}

/// The int that key bytes of one hold; `None` for other bytes.
pub(crate) fn decode_int(key: &[u8]) -> Option<i64> {
    let (SOME, bits) = key.split_first().map(|(first, rest)| (*first, rest))? else { return None };
    let bits: [u8; 8] = bits.try_into().ok()?;
    Some((u64::from_be_bytes(bits) ^ SIGN) as i64)
}

fn encode_value(value: Value<'_>, to: &mut Vec<u8>) {
    match value {
        Value::Null => to.push(NULL),
        Value::Bool(bit) => to.extend_from_slice(&[SOME, u8::from(bit)]),
        Value::Int(value) => encode_u64(value as u64 ^ SIGN, to),
        Value::Float(value) => {
            let bits = if value == 0.0 { 0 } else { value.to_bits() };
            encode_u64(if bits & SIGN == 0 { bits ^ SIGN } else { !bits }, to);
        }
        Value::Bytes(bytes) => encode_bytes(bytes, to),
    }
}

fn encode_u64(bits: u64, to: &mut Vec<u8>) {
    let mut encoded = [SOME; 9];
    encoded[1..].copy_from_slice(&bits.to_be_bytes());
    to.extend_from_slice(&encoded);
}

fn encode_bytes(bytes: &[u8], to: &mut Vec<u8>) {
    to.reserve(bytes.len() + 3);
    to.push(SOME);
    let mut rest = bytes;
    while let Some(zero_idx) = memchr::memchr(0, rest) {
        to.extend_from_slice(&rest[..=zero_idx]);
        to.push(ESCAPED);
        rest = &rest[zero_idx + 1..];
    }
    to.extend_from_slice(rest);
    to.extend_from_slice(&[0, END]);
}

fn decode_value<'a>(rest: &mut &[u8], kind: Kind, unescaped: &'a mut Vec<u8>) -> Result<Value<'a>, StateError> {
    match take(rest, 1)?[0] {
        NULL => return Ok(Value::Null),
        SOME => {}
        _ => return Err(StateError::Damaged("a key's null mark")),
    }
    Ok(match kind {
        Kind::Bool => match take(rest, 1)?[0] {
            0 => Value::Bool(false),
            1 => Value::Bool(true),
            _ => return Err(StateError::Damaged("a key's bool")),
        },
        Kind::Int => Value::Int((decode_u64(rest)? ^ SIGN) as i64),
        Kind::Float => {
            let bits = decode_u64(rest)?;
            Value::Float(f64::from_bits(if bits & SIGN == 0 { !bits } else { bits ^ SIGN }))
        }
        Kind::Bytes => {
            decode_bytes(rest, unescaped)?;
            Value::Bytes(unescaped)
        }
    })
}

fn decode_bytes(rest: &mut &[u8], unescaped: &mut Vec<u8>) -> Result<(), StateError> {
    unescaped.clear();
    loop {
        let zero_idx = memchr::memchr(0, rest).ok_or(StateError::Damaged("a key's end"))?;
        unescaped.extend_from_slice(take(rest, zero_idx)?);
        match take(rest, 2)?[1] {
            END => return Ok(()),
            ESCAPED => unescaped.push(0),
            _ => return Err(StateError::Damaged("a key's escape")),
        }
    }
}

fn decode_u64(rest: &mut &[u8]) -> Result<u64, StateError> {
    Ok(u64::from_be_bytes(take(rest, 8)?.try_into().expect("eight bytes were taken")))
}

fn take<'a>(rest: &mut &'a [u8], n_bytes: usize) -> Result<&'a [u8], StateError> {
    let (taken, left) = rest.split_at_checked(n_bytes).ok_or(StateError::Damaged("end of a key"))?;
    *rest = left;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(value: Value<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_value(value, &mut bytes);
        bytes
    }

    fn check_rising(values: &[Value<'_>]) {
        for pair in values.windows(2) {
            assert!(encoded(pair[0]) < encoded(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn keys_sort_as_their_values() {
        check_rising(&[Value::Null, Value::Int(i64::MIN), Value::Int(-1), Value::Int(0), Value::Int(1), Value::Int(i64::MAX)]);
        check_rising(&[Value::Null, Value::Float(-1e300), Value::Float(-1.0), Value::Float(0.0), Value::Float(1e-300)]);
        check_rising(&[
            Value::Null,
            Value::Bytes(b""),
            Value::Bytes(b"\0"),
            Value::Bytes(b"\0\0"),
            Value::Bytes(b"\0a"),
            Value::Bytes(b"a"),
        ]);
        check_rising(&[Value::Null, Value::Bool(false), Value::Bool(true)]);
    }

    #[test]
    fn an_int_comes_back() {
        for value in [i64::MIN, -1, 0, 1, i64::MAX] {
            let mut bytes = Vec::new();
            encode_int(value, &mut bytes);
            assert_eq!((decode_int(&bytes), &bytes), (Some(value), &encoded(Value::Int(value))));
            assert_eq!(decode_int(&bytes[..8]), None);
        }
        assert_eq!(decode_int(&encoded(Value::Null)), None);
    }

    #[test]
    fn the_two_zeros_are_one_key() {
        assert_eq!(encoded(Value::Float(-0.0)), encoded(Value::Float(0.0)));
    }

    /// A stored form: this fixture may only change with the chunk format (I-10).
    #[test]
    fn the_stored_form_stays() {
        let mut text = Column::empty(Kind::Bytes);
        text.push(Value::Bytes(b"a\0b"));
        let mut int = Column::empty(Kind::Int);
        int.push(Value::Int(-2));
        let rows = Rows::new(1, vec![text, int]).unwrap();
        let mut key = Vec::new();
        encode_key_bytes(&rows, &[1, 0], 0, &mut key);
        assert_eq!(key, b"\x01\x7f\xff\xff\xff\xff\xff\xff\xfe\x01a\x00\xffb\x00\x00");
    }

    #[test]
    fn damaged_keys_are_errors() {
        for (key, kind) in [
            (&b""[..], Kind::Int),
            (b"\x02", Kind::Int),
            (b"\x01\x01", Kind::Int),
            (b"\x01\x02", Kind::Bool),
            (b"\x01a\x00", Kind::Bytes),
            (b"\x01a\x00\x07", Kind::Bytes),
            (b"\x00\x00", Kind::Bytes),
        ] {
            assert!(decode_key_bytes(key, &mut empty_columns(&[kind])).is_err(), "{key:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            text in prop::option::of(prop::collection::vec(0_u8..3, 0..6)),
            int in prop::option::of(any::<i64>()),
            bit in any::<bool>(),
            float in -1e9..1e9,
        ) {
            let mut columns = empty_columns(&[Kind::Bytes, Kind::Int, Kind::Bool, Kind::Float]);
            columns[0].push(text.as_deref().map_or(Value::Null, Value::Bytes));
            columns[1].push(int.map_or(Value::Null, Value::Int));
            columns[2].push(Value::Bool(bit));
            columns[3].push(Value::Float(float));
            let rows = Rows::new(1, columns.clone()).unwrap();
            let mut key = Vec::new();
            encode_key_bytes(&rows, &[0, 1, 2, 3], 0, &mut key);
            let mut decoded = empty_columns(&[Kind::Bytes, Kind::Int, Kind::Bool, Kind::Float]);
            decode_key_bytes(&key, &mut decoded).unwrap();
            prop_assert_eq!(&decoded[..], rows.columns());
            prop_assert_eq!(has_null(&rows, &[0, 1], 0), text.is_none() || int.is_none());
        }
    }
}
