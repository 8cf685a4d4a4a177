//! Three kinds of plugin, and what their calls are given; the fourth is [`crate::process`].

use crate::{
    Config, Emit, Event, Out, Outputs, Reject, State,
    column::{Column, FieldSpec, FieldType, Rows, Values, bit},
};

/// Rows in, rows out, without state: filters, cleans, splits, enriches.
///
/// Or write a plain function with [`macro@crate::transform`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a transform",
    label = "does not implement `Transform`",
    note = "write `impl Transform for {Self} {{ … }}`, or export it as what it is: `as Aggregate`, `as Join` or `as Process`"
)]
pub trait Transform: Config {
    type Event<'a>: Event<'a>;
    /// A row (`#[derive(Emit)]`), or an enum of rows (`#[derive(Outputs)]`).
    type Output<'a>: Outputs;

    /// What becomes of one row. A refused row's output is taken back.
    ///
    /// Depends on nothing but the row and the config: there is no clock, and no row before this one.
    fn apply<'a>(&self, event: Self::Event<'a>, out: &mut Out<Self::Output<'a>>) -> Result<(), Reject>;
}

/// Rows into a state per key and window, and states into rows.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an aggregate",
    label = "does not implement `Aggregate`",
    note = "write `impl Aggregate for {Self} {{ … }}`, or export it as what it is: `as Transform`, `as Join` or `as Process`"
)]
pub trait Aggregate: Config {
    type Event<'a>: Event<'a>;
    type State: State + Default;
    type Output<'a>: Emit + Outputs;

    /// The types of the key that [`Aggregate::emit`] reads; empty (the default): any key. A manifest with another one is refused.
    const KEY: &'static [KeyField] = &[];

    /// Adds one row. May be called again with the same row on the same state; a refused row leaves the state as it was.
    fn add(&self, state: &mut Self::State, event: Self::Event<'_>) -> Result<(), Reject>;

    /// Adds `from` to `into`, as if its rows had been added there. The order of merging must not matter.
    fn merge(&self, into: &mut Self::State, from: Self::State);

    /// The rows of a window that fires. A window may fire again, when late rows have come.
    fn emit<'a>(&self, window: Window, key: Key<'a>, state: &'a Self::State, out: &mut Out<Self::Output<'a>>);
}

/// Pairs that the host matched, into rows.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a join",
    label = "does not implement `Join`",
    note = "write `impl Join for {Self} {{ … }}`, or export it as what it is: `as Transform`, `as Aggregate` or `as Process`"
)]
pub trait Join: Config {
    type Left<'a>: Event<'a>;
    type Right<'a>: Event<'a>;
    type Output<'a>: Emit + Outputs;

    /// What becomes of one pair; `right` is `None` when nothing matched (`join = "left"` in the manifest).
    fn pair<'a>(
        &self,
        left: Self::Left<'a>,
        right: Option<Self::Right<'a>>,
        out: &mut Out<Self::Output<'a>>,
    ) -> Result<(), Reject>;
}

/// A [`Join`] that also takes right rows alone, as `join = "right"` and `join = "full"` in the manifest give them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a join that takes right rows alone",
    label = "does not implement `FullJoin`",
    note = "write `impl FullJoin for {Self} {{ … }}`, or export it as what it is: `as Join`"
)]
pub trait FullJoin: Config {
    type Left<'a>: Event<'a>;
    type Right<'a>: Event<'a>;
    type Output<'a>: Emit + Outputs;

    /// What becomes of one pair, or of one row that has no partner. Which rows come alone is the manifest's choice (`join`).
    fn pair<'a>(&self, sides: Sides<Self::Left<'a>, Self::Right<'a>>, out: &mut Out<Self::Output<'a>>) -> Result<(), Reject>;
}

/// Which rows a [`FullJoin`] is given at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sides<L, R> {
    Both(L, R),
    /// No right row matched.
    Left(L),
    /// No left row matched.
    Right(R),
}

impl<L, R> Sides<L, R> {
    /// Each side, if it is there.
    pub fn options(self) -> (Option<L>, Option<R>) {
        match self {
            Sides::Both(left, right) => (Some(left), Some(right)),
            Sides::Left(left) => (Some(left), None),
            Sides::Right(right) => (None, Some(right)),
        }
    }
}

/// `[start, end)` of event time, in ms since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    pub start: i64,
    pub end: i64,
}

/// A declared column of the key of an [`Aggregate`] or a [`crate::Process`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyField(pub(crate) FieldSpec);

impl KeyField {
    /// A column of integers.
    pub const fn i64(name: &'static str) -> KeyField {
        KeyField::of(name, FieldType::Int)
    }

    /// A column of text.
    pub const fn str(name: &'static str) -> KeyField {
        KeyField::of(name, FieldType::Text)
    }

    /// A column of bools.
    pub const fn bool(name: &'static str) -> KeyField {
        KeyField::of(name, FieldType::Bool)
    }

    /// The same column, which may be null: all rows without a value form one group ([`Key::is_null`]), as in SQL. Without this, a
    /// manifest whose key may be null is refused.
    pub const fn optional(self) -> KeyField {
        KeyField(FieldSpec { required: false, ..self.0 })
    }

    const fn of(name: &'static str, field_type: FieldType) -> KeyField {
        KeyField(FieldSpec { name, path: name, field_type, required: true })
    }
}

/// The key of a group, of which a window or a timer fires or a row comes: one or more columns, in the order of the manifest.
///
/// Panics (a trap: the host reports it with the stage) when asked for a column or a type that the manifest's key does not have.
/// [`Aggregate::KEY`] and [`crate::Process::KEY`] make that a clear error when the pipeline starts.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    columns: &'a [Column],
    row: usize,
    column: usize,
}

impl<'a> Key<'a> {
    pub(crate) fn new(keys: &'a Rows, row: usize) -> Key<'a> {
        Key { columns: &keys.columns, row, column: 0 }
    }

    /// The same key, read from column `idx` on: `key.at(1).i64()`.
    pub fn at(self, idx: usize) -> Key<'a> {
        Key { column: idx, ..self }
    }

    /// The key as an integer.
    pub fn i64(self) -> i64 {
        match self.values() {
            Values::Ints(values) => values[self.row],
            _ => self.wrong("integers"),
        }
    }

    /// The key as text.
    pub fn str(self) -> &'a str {
        match self.values() {
            Values::Bytes(packed) => std::str::from_utf8(packed.at(self.row)).expect("the host sends UTF-8"),
            _ => self.wrong("text"),
        }
    }

    /// The key as a bool.
    pub fn bool(self) -> bool {
        match self.values() {
            Values::Bools(bits) => bit(bits, self.row),
            _ => self.wrong("bools"),
        }
    }

    /// Whether the key column is null, as it may be where it is declared [`KeyField::optional`].
    pub fn is_null(self) -> bool {
        let validity = &self.columns[self.column].validity;
        !validity.is_empty() && !bit(validity, self.row)
    }

    fn values(self) -> &'a Values {
        match self.columns.get(self.column) {
            Some(column) => &column.values,
            None => panic!("the key has {} columns, number {} was asked for", self.columns.len(), self.column),
        }
    }

    #[cold]
    fn wrong(self, wanted: &str) -> ! {
        panic!("column {} of the key does not hold {wanted}", self.column)
    }
}
