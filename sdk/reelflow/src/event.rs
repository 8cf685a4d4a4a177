//! Rows in: what `#[derive(Event)]` stands on.

use crate::{
    Reject,
    column::{self, Column, FieldSpec, FieldType, Rows, Values},
};

/// A row that a plugin reads; derive it with `#[derive(Event)]`.
///
/// Texts and bytes are borrowed from the batch: nothing is copied.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    label = "cannot be read from a row",
    note = "put `#[derive(Event)]` on the struct; its fields are what the plugin wants to read"
)]
pub trait Event<'a>: Sized {
    /// The fields, in the order of the columns.
    #[doc(hidden)]
    const FIELDS: &'static [FieldSpec];
    #[doc(hidden)]
    type Columns;
    #[doc(hidden)]
    fn bind(rows: &'a Rows) -> Self::Columns;
    #[doc(hidden)]
    fn row(columns: &Self::Columns, idx: usize) -> Result<Self, Reject>;
}

/// A type that a field of an event can have: `bool`, integers, `f64`, `&'a str`, `&'a [u8]`, and `Option` of them.
#[diagnostic::on_unimplemented(
    message = "an event cannot have a field of type `{Self}`",
    label = "not a type of a field of an event",
    note = "fields of events are bool, i64, i32, i16, i8, u64, u32, u16, u8, f64, &'a str, &'a [u8], or an Option of one of these",
    note = "text is borrowed from the batch: write `&'a str`, not `String`, and give the struct the lifetime `'a`"
)]
pub trait Field<'a>: Sized {
    #[doc(hidden)]
    const TYPE: FieldType;
    #[doc(hidden)]
    const REQUIRED: bool = true;
    #[doc(hidden)]
    type Column;
    #[doc(hidden)]
    fn bind(column: &'a Column) -> Self::Column;
    #[doc(hidden)]
    fn at(column: &Self::Column, idx: usize, name: &'static str) -> Result<Self, Reject>;
}

/// The host checks kinds when it loads a plugin, so another one is a bug on its side: a trap.
#[cold]
fn wrong_kind(wanted: &str) -> ! {
    panic!("the host sent another column than the plugin declared: wanted {wanted}")
}

fn ints(column: &Column) -> &[i64] {
    match &column.values {
        Values::Ints(values) => values,
        _ => wrong_kind("integers"),
    }
}

impl<'a> Field<'a> for bool {
    const TYPE: FieldType = FieldType::Bool;
    type Column = &'a [u8];

    fn bind(column: &'a Column) -> &'a [u8] {
        match &column.values {
            Values::Bools(bits) => bits,
            _ => wrong_kind("bools"),
        }
    }

    #[inline]
    fn at(column: &&'a [u8], idx: usize, _: &'static str) -> Result<bool, Reject> {
        Ok(column::bit(column, idx))
    }
}

impl<'a> Field<'a> for i64 {
    const TYPE: FieldType = FieldType::Int;
    type Column = &'a [i64];

    fn bind(column: &'a Column) -> &'a [i64] {
        ints(column)
    }

    #[inline]
    fn at(column: &&'a [i64], idx: usize, _: &'static str) -> Result<i64, Reject> {
        Ok(column[idx])
    }
}

#[cold]
fn out_of_range(name: &str, value: i64, type_name: &str) -> Reject {
    Reject::from(format!("field \"{name}\": {value} is out of the range of {type_name}"))
}

macro_rules! checked_integers {
    ($($int:ty),*) => {$(
        impl<'a> Field<'a> for $int {
            const TYPE: FieldType = FieldType::Int;
            type Column = &'a [i64];

            fn bind(column: &'a Column) -> &'a [i64] {
                ints(column)
            }

            #[inline]
            fn at(column: &&'a [i64], idx: usize, name: &'static str) -> Result<$int, Reject> {
                let value = column[idx];
                <$int>::try_from(value).map_err(|_| out_of_range(name, value, stringify!($int)))
            }
        }
    )*};
}
checked_integers!(i8, i16, i32, u8, u16, u32, u64);

impl<'a> Field<'a> for f64 {
    const TYPE: FieldType = FieldType::Float;
    type Column = &'a [f64];

    fn bind(column: &'a Column) -> &'a [f64] {
        match &column.values {
            Values::Floats(values) => values,
            _ => wrong_kind("floats"),
        }
    }

    #[inline]
    fn at(column: &&'a [f64], idx: usize, _: &'static str) -> Result<f64, Reject> {
        Ok(column[idx])
    }
}

/// A bound column of texts or bytes: all bytes, and where each value ends.
pub struct Slices<'a, T: ?Sized> {
    all: &'a T,
    ends: &'a [u32],
}

impl<'a, T: ?Sized> Slices<'a, T> {
    #[inline]
    fn range(&self, idx: usize) -> std::ops::Range<usize> {
        let start = if idx == 0 { 0 } else { self.ends[idx - 1] as usize };
        start..self.ends[idx] as usize
    }
}

fn packed(column: &Column) -> &column::Packed {
    match &column.values {
        Values::Bytes(packed) => packed,
        _ => wrong_kind("text or bytes"),
    }
}

impl<'a> Field<'a> for &'a str {
    const TYPE: FieldType = FieldType::Text;
    type Column = Slices<'a, str>;

    /// One pass over the column's bytes; cutting a value out of it then costs two comparisons.
    fn bind(column: &'a Column) -> Slices<'a, str> {
        let packed = packed(column);
        let all = std::str::from_utf8(&packed.data).unwrap_or_else(|_| wrong_kind("UTF-8"));
        Slices { all, ends: &packed.ends }
    }

    #[inline]
    fn at(column: &Slices<'a, str>, idx: usize, _: &'static str) -> Result<&'a str, Reject> {
        Ok(&column.all[column.range(idx)])
    }
}

impl<'a> Field<'a> for &'a [u8] {
    const TYPE: FieldType = FieldType::Bytes;
    type Column = Slices<'a, [u8]>;

    fn bind(column: &'a Column) -> Slices<'a, [u8]> {
        let packed = packed(column);
        Slices { all: &packed.data, ends: &packed.ends }
    }

    #[inline]
    fn at(column: &Slices<'a, [u8]>, idx: usize, _: &'static str) -> Result<&'a [u8], Reject> {
        Ok(&column.all[column.range(idx)])
    }
}

impl<'a, T: Field<'a>> Field<'a> for Option<T> {
    const TYPE: FieldType = T::TYPE;
    const REQUIRED: bool = false;
    type Column = (T::Column, &'a [u8]);

    fn bind(column: &'a Column) -> (T::Column, &'a [u8]) {
        (T::bind(column), &column.validity)
    }

    #[inline]
    fn at((values, validity): &(T::Column, &'a [u8]), idx: usize, name: &'static str) -> Result<Option<T>, Reject> {
        if validity.is_empty() || column::bit(validity, idx) { T::at(values, idx, name).map(Some) } else { Ok(None) }
    }
}

/// The columns of a batch, of which there must be as many as the event has fields.
#[doc(hidden)]
pub fn columns<const N: usize>(rows: &Rows) -> &[Column; N] {
    match rows.columns.as_slice().try_into() {
        Ok(columns) => columns,
        Err(_) => panic!("the host sent {} columns, the plugin declared {N}", rows.columns.len()),
    }
}
