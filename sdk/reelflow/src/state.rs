//! State as bytes: what `#[derive(State)]` stands on.
//!
//! ```text
//! struct with version v      varint v | fields in order               (nested structs too)
//! bool                       1 byte, 0 or 1
//! unsigned integer           LEB128 varint
//! signed integer             zigzag, then varint
//! f64, f32                   8 or 4 bytes, little endian
//! String, Vec, set, map      varint length | items in order; maps: key, value, …
//! Option                     0, or 1 and the value
//! tuple, array               items in order
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::Reject;

/// What an aggregate keeps for one group, a process for one key; derive it with `#[derive(State)]` and `#[state(version = 1)]`.
///
/// State is a value: it is written to bytes after each call and read before the next one, on this machine or another. Give the
/// struct a new version whenever its fields change; `#[state(version = 2, migrate(1 => from_v1))]` reads the old one with
/// `fn from_v1(old: ViewsV1) -> Views`, where `ViewsV1` is the old struct under another name, with its old version. A migration that may
/// fail gives a `Result<Views, Reject>`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a state",
    label = "cannot be kept between calls",
    note = "put `#[derive(State, Default)]` and `#[state(version = 1)]` on the struct"
)]
pub trait State: Stored {
    /// For messages and the document of `describe`.
    #[doc(hidden)]
    const NAME: &'static str;
    #[doc(hidden)]
    const VERSION: u32;
    /// The older versions that are migrated.
    #[doc(hidden)]
    const READS: &'static [u32];
    /// Reads the fields, after the version.
    #[doc(hidden)]
    fn read_fields(bytes: &mut Bytes<'_>) -> Result<Self, StateError>;
}

/// A type that a field of a state can have.
#[diagnostic::on_unimplemented(
    message = "a state cannot have a field of type `{Self}`",
    label = "not a type of a field of a state",
    note = "fields of states are bool, integers, f64, f32, String, Option, Vec, BTreeMap, BTreeSet, tuples, arrays, or structs with `#[derive(State)]`",
    note = "usize has another size in Wasm: use u64",
    note = "a HashMap has no order of its own, so equal states would have different bytes: use a BTreeMap (a HashSet: a BTreeSet)"
)]
pub trait Stored: Sized {
    #[doc(hidden)]
    fn write(&self, to: &mut Vec<u8>);
    #[doc(hidden)]
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, StateError>;
}

/// Stored bytes that are not what this plugin wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateError {
    Version {
        name: &'static str,
        found: u64,
        wanted: u32,
    },
    /// The plugin's migration refused it.
    Refused {
        name: &'static str,
        found: u64,
        why: Reject,
    },
    Damaged(&'static str),
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateError::Version { name, found, wanted } => {
                write!(f, "state \"{name}\" has version {found}, this plugin reads version {wanted}")
            }
            StateError::Refused { name, found, why } => {
                write!(f, "state \"{name}\" of version {found} cannot be migrated: {}", why.message())
            }
            StateError::Damaged(what) => write!(f, "state bytes are damaged: {what}"),
        }
    }
}

/// The bytes of `state`, appended to `to`.
pub fn encode<S: State>(state: &S, to: &mut Vec<u8>) {
    state.write(to);
}

/// The state in `bytes`, all of which must be used.
pub fn decode<S: State>(bytes: &[u8]) -> Result<S, StateError> {
    let mut bytes = Bytes { rest: bytes };
    let state = S::read(&mut bytes)?;
    if bytes.rest.is_empty() { Ok(state) } else { Err(StateError::Damaged("bytes after the end")) }
}

/// The version that stands in front of the bytes of a state.
pub(crate) fn version_of(bytes: &[u8]) -> Result<u64, StateError> {
    Bytes { rest: bytes }.varint()
}

/// What is still to be read.
#[derive(Debug)]
pub struct Bytes<'a> {
    rest: &'a [u8],
}

impl<'a> Bytes<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], StateError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(StateError::Damaged("too short"))?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, StateError> {
        let (byte, rest) = self.rest.split_first().ok_or(StateError::Damaged("too short"))?;
        self.rest = rest;
        Ok(*byte)
    }

    #[doc(hidden)]
    #[inline]
    pub fn varint(&mut self) -> Result<u64, StateError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return if shift == 63 && byte > 1 { Err(StateError::Damaged("an integer")) } else { Ok(value) };
            }
        }
        Err(StateError::Damaged("an integer"))
    }

    /// A number of items. Never more than there are bytes: an item has at least one, so damaged bytes cannot ask for much memory.
    fn n_items(&mut self) -> Result<usize, StateError> {
        match usize::try_from(self.varint()?) {
            Ok(n) if n <= self.rest.len() => Ok(n),
            _ => Err(StateError::Damaged("a length")),
        }
    }
}

#[doc(hidden)]
#[inline]
pub fn write_varint(mut value: u64, to: &mut Vec<u8>) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

/// Reads a state of the older version `found`, which is an `O`, and makes an `S` called `name` of it.
#[doc(hidden)]
pub fn migrate<O: State, M: Migrated<S>, S>(
    bytes: &mut Bytes<'_>,
    name: &'static str,
    found: u64,
    migration: fn(O) -> M,
) -> Result<S, StateError> {
    let old = O::read_fields(bytes)?;
    migration(old).outcome().map_err(|why| StateError::Refused { name, found, why })
}

/// What a migration gives: the new state, or a `Result` of it.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "a migration to `{S}` cannot give `{Self}`",
    label = "the type of what the migration gives",
    note = "write `fn from_v1(old: Old) -> {S}`, or `-> Result<{S}, Reject>`"
)]
pub trait Migrated<S> {
    fn outcome(self) -> Result<S, Reject>;
}

impl<S> Migrated<S> for S {
    fn outcome(self) -> Result<S, Reject> {
        Ok(self)
    }
}

impl<S, E: Into<Reject>> Migrated<S> for Result<S, E> {
    fn outcome(self) -> Result<S, Reject> {
        self.map_err(Into::into)
    }
}

impl Stored for bool {
    fn write(&self, to: &mut Vec<u8>) {
        to.push(u8::from(*self));
    }

    fn read(bytes: &mut Bytes<'_>) -> Result<bool, StateError> {
        match bytes.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(StateError::Damaged("a bool")),
        }
    }
}

macro_rules! unsigned {
    ($($int:ty),*) => {$(
        impl Stored for $int {
            #[inline]
            fn write(&self, to: &mut Vec<u8>) {
                write_varint(u64::from(*self), to);
            }

            #[inline]
            fn read(bytes: &mut Bytes<'_>) -> Result<$int, StateError> {
                <$int>::try_from(bytes.varint()?).map_err(|_| StateError::Damaged("an integer"))
            }
        }
    )*};
}
unsigned!(u8, u16, u32, u64);

macro_rules! signed {
    ($($int:ty),*) => {$(
        impl Stored for $int {
            #[inline]
            fn write(&self, to: &mut Vec<u8>) {
                let value = i64::from(*self);
                write_varint(((value << 1) ^ (value >> 63)) as u64, to);
            }

            #[inline]
            fn read(bytes: &mut Bytes<'_>) -> Result<$int, StateError> {
                let value = bytes.varint()?;
                <$int>::try_from((value >> 1) as i64 ^ -((value & 1) as i64)).map_err(|_| StateError::Damaged("an integer"))
            }
        }
    )*};
}
signed!(i8, i16, i32, i64);

macro_rules! floats {
    ($($float:ty: $n_bytes:literal),*) => {$(
        impl Stored for $float {
            fn write(&self, to: &mut Vec<u8>) {
                to.extend_from_slice(&self.to_le_bytes());
            }

            fn read(bytes: &mut Bytes<'_>) -> Result<$float, StateError> {
                let taken = bytes.take($n_bytes)?.try_into().map_err(|_| StateError::Damaged("too short"))?;
                Ok(<$float>::from_le_bytes(taken))
            }
        }
    )*};
}
floats!(f64: 8, f32: 4);

impl Stored for String {
    fn write(&self, to: &mut Vec<u8>) {
        write_varint(self.len() as u64, to);
        to.extend_from_slice(self.as_bytes());
    }

    fn read(bytes: &mut Bytes<'_>) -> Result<String, StateError> {
        let len = bytes.n_items()?;
        let text = std::str::from_utf8(bytes.take(len)?).map_err(|_| StateError::Damaged("a text"))?;
        Ok(text.to_owned())
    }
}

impl<T: Stored> Stored for Option<T> {
    fn write(&self, to: &mut Vec<u8>) {
        self.is_some().write(to);
        if let Some(value) = self {
            value.write(to);
        }
    }

    fn read(bytes: &mut Bytes<'_>) -> Result<Option<T>, StateError> {
        bool::read(bytes)?.then(|| T::read(bytes)).transpose()
    }
}

impl<T: Stored> Stored for Vec<T> {
    fn write(&self, to: &mut Vec<u8>) {
        write_varint(self.len() as u64, to);
        self.iter().for_each(|item| item.write(to));
    }

    fn read(bytes: &mut Bytes<'_>) -> Result<Vec<T>, StateError> {
        let n_items = bytes.n_items()?;
        let mut items = Vec::with_capacity(n_items);
        for _ in 0..n_items {
            items.push(T::read(bytes)?);
        }
        Ok(items)
    }
}

/// The sorted items are read into a list first: a tree is built from a sorted list in one go.
impl<T: Stored + Ord> Stored for BTreeSet<T> {
    fn write(&self, to: &mut Vec<u8>) {
        write_varint(self.len() as u64, to);
        self.iter().for_each(|item| item.write(to));
    }

    fn read(bytes: &mut Bytes<'_>) -> Result<BTreeSet<T>, StateError> {
        let items = Vec::<T>::read(bytes)?;
        if items.is_sorted_by(|a, b| a < b) { Ok(items.into_iter().collect()) } else { Err(StateError::Damaged("a set")) }
    }
}

impl<K: Stored + Ord, V: Stored> Stored for BTreeMap<K, V> {
    fn write(&self, to: &mut Vec<u8>) {
        write_varint(self.len() as u64, to);
        for (key, value) in self {
            key.write(to);
            value.write(to);
        }
    }

    fn read(bytes: &mut Bytes<'_>) -> Result<BTreeMap<K, V>, StateError> {
        let entries = Vec::<(K, V)>::read(bytes)?;
        if entries.is_sorted_by(|a, b| a.0 < b.0) { Ok(entries.into_iter().collect()) } else { Err(StateError::Damaged("a map")) }
    }
}

impl<T: Stored, const N: usize> Stored for [T; N] {
    fn write(&self, to: &mut Vec<u8>) {
        self.iter().for_each(|item| item.write(to));
    }

    fn read(bytes: &mut Bytes<'_>) -> Result<[T; N], StateError> {
        let items = (0..N).map(|_| T::read(bytes)).collect::<Result<Vec<T>, _>>()?;
        items.try_into().map_err(|_| StateError::Damaged("an array"))
    }
}

macro_rules! tuples {
    ($(($($name:ident),*)),*) => {$(
        impl<$($name: Stored),*> Stored for ($($name,)*) {
            fn write(&self, to: &mut Vec<u8>) {
                #[allow(non_snake_case, reason = "a tuple's items are called like their types")]
                let ($($name,)*) = self;
                $($name.write(to);)*
            }

            fn read(bytes: &mut Bytes<'_>) -> Result<Self, StateError> {
                Ok(($($name::read(bytes)?,)*))
            }
        }
    )*};
}
tuples!((A, B), (A, B, C), (A, B, C, D));
