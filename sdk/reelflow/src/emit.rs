//! Rows out: what `#[derive(Emit)]` and `#[derive(Outputs)]` stand on.

use std::marker::PhantomData;

use crate::column::{Builder, FieldSpec, FieldType, Rows};

/// A row that a plugin emits; derive it with `#[derive(Emit)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a row that can be emitted",
    label = "cannot be written to a row",
    note = "put `#[derive(Emit)]` on the struct; its fields become the fields of the stream"
)]
pub trait Emit {
    #[doc(hidden)]
    const FIELDS: &'static [FieldSpec];
    #[doc(hidden)]
    fn push(self, columns: &mut [Builder]);
}

/// What a transform or a process emits: a row (`#[derive(Emit)]`, one output called `out`), or an enum of rows (`#[derive(Outputs)]`, one output
/// for each variant).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be emitted",
    label = "neither a row nor an enum of rows",
    note = "put `#[derive(Emit)]` on a struct for one output called `out`, or `#[derive(Outputs)]` on an enum of such structs for several"
)]
pub trait Outputs {
    #[doc(hidden)]
    const OUTPUTS: &'static [OutputSpec];
    /// Index of the output, and the columns take the row.
    #[doc(hidden)]
    fn route(self, sinks: &mut [Sink], origin: u32);
}

/// A declared output: its name and fields.
#[derive(Clone, Copy, Debug)]
pub struct OutputSpec {
    pub name: &'static str,
    pub fields: &'static [FieldSpec],
}

/// A type that a field of an emitted row can have: `bool`, integers, `f64`, `&str`, `String`, `&[u8]`, `Vec<u8>`, and `Option` of them.
#[diagnostic::on_unimplemented(
    message = "an emitted row cannot have a field of type `{Self}`",
    label = "not a type of a field of an emitted row",
    note = "fields of emitted rows are bool, i64, i32, i16, i8, u64, u32, u16, u8, f64, &str, String, &[u8], Vec<u8>, or an Option of one"
)]
pub trait EmitField {
    #[doc(hidden)]
    const TYPE: FieldType;
    #[doc(hidden)]
    const REQUIRED: bool = true;
    #[doc(hidden)]
    fn push(self, column: &mut Builder);
}

impl EmitField for bool {
    const TYPE: FieldType = FieldType::Bool;

    #[inline]
    fn push(self, column: &mut Builder) {
        column.push_bool(self);
    }
}

macro_rules! integers {
    ($($int:ty),*) => {$(
        impl EmitField for $int {
            const TYPE: FieldType = FieldType::Int;

            #[inline]
            fn push(self, column: &mut Builder) {
                column.push_int(i64::from(self));
            }
        }
    )*};
}
integers!(i8, i16, i32, i64, u8, u16, u32);

/// Counters are `u64` in most states, so they can be emitted as they are; one above `i64::MAX` is a trap, not a negative number.
impl EmitField for u64 {
    const TYPE: FieldType = FieldType::Int;

    #[inline]
    fn push(self, column: &mut Builder) {
        column.push_int(i64::try_from(self).expect("an emitted u64 is at most i64::MAX"));
    }
}

impl EmitField for f64 {
    const TYPE: FieldType = FieldType::Float;

    #[inline]
    fn push(self, column: &mut Builder) {
        column.push_float(self);
    }
}

macro_rules! bytes {
    ($($type:ty: $field_type:ident),*) => {$(
        impl EmitField for $type {
            const TYPE: FieldType = FieldType::$field_type;

            #[inline]
            fn push(self, column: &mut Builder) {
                column.push_bytes(self.as_ref());
            }
        }
    )*};
}
bytes!(&str: Text, String: Text, &[u8]: Bytes, Vec<u8>: Bytes);

impl<T: EmitField> EmitField for Option<T> {
    const TYPE: FieldType = T::TYPE;
    const REQUIRED: bool = false;

    #[inline]
    fn push(self, column: &mut Builder) {
        match self {
            Some(value) => value.push(column),
            None => column.push_null(),
        }
    }
}

/// The rows of one output, and the row of the call that each came from.
#[derive(Clone, Debug)]
pub struct Sink {
    columns: Vec<Builder>,
    origins: Vec<u32>,
}

impl Sink {
    fn new(spec: &OutputSpec, n_rows: usize) -> Sink {
        let columns = spec.fields.iter().map(|field| Builder::with_room(field.field_type, n_rows)).collect();
        Sink { columns, origins: Vec::with_capacity(n_rows) }
    }

    #[doc(hidden)]
    #[inline]
    pub fn push<T: Emit>(&mut self, row: T, origin: u32) {
        row.push(&mut self.columns);
        self.origins.push(origin);
    }

    /// Takes back the rows that came from `origin`, which is the last one.
    fn take_back(&mut self, origin: u32) {
        let n_kept = self.origins.len() - self.origins.iter().rev().take_while(|of| **of == origin).count();
        if n_kept < self.origins.len() {
            self.origins.truncate(n_kept);
            self.columns.iter_mut().for_each(|column| column.truncate(n_kept));
        }
    }

    fn finish(self) -> (Rows, Vec<u32>) {
        let columns = self.columns.into_iter().map(Builder::finish).collect();
        (Rows { len: self.origins.len(), columns }, self.origins)
    }
}

/// Where a plugin puts its rows. One call of the plugin may emit none, one or many; their order is kept.
#[derive(Debug)]
pub struct Out<T> {
    sinks: Vec<Sink>,
    origin: u32,
    rows: PhantomData<fn(T)>,
}

impl<T: Outputs> Out<T> {
    /// Emits one row.
    #[inline]
    pub fn emit(&mut self, row: T) {
        row.route(&mut self.sinks, self.origin);
    }

    /// `n_rows`: how many rows to expect, on the first output.
    pub(crate) fn new(n_rows: usize) -> Out<T> {
        let sinks = T::OUTPUTS.iter().enumerate().map(|(idx, spec)| Sink::new(spec, if idx == 0 { n_rows } else { 0 }));
        Out { sinks: sinks.collect(), origin: 0, rows: PhantomData }
    }

    /// What is emitted from here on comes from row `origin` of the call.
    #[inline]
    pub(crate) fn begin(&mut self, origin: u32) {
        self.origin = origin;
    }

    /// A refused row has one fate: what it had emitted before is taken back.
    #[cold]
    pub(crate) fn take_back(&mut self) {
        self.sinks.iter_mut().for_each(|sink| sink.take_back(self.origin));
    }

    /// The same sinks, for rows that borrow from elsewhere.
    #[inline]
    pub(crate) fn into<U: Outputs>(self) -> Out<U> {
        Out { sinks: self.sinks, origin: self.origin, rows: PhantomData }
    }

    /// (index of the output, rows, origins) of each output that got rows.
    pub(crate) fn finish(self) -> Vec<(u32, Rows, Vec<u32>)> {
        let all = self.sinks.into_iter().map(Sink::finish).zip(0..);
        all.filter(|((rows, _), _)| rows.len > 0).map(|((rows, origins), idx)| (idx, rows, origins)).collect()
    }
}
