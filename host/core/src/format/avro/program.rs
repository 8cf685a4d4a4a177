//! The program of an Avro schema: what to read and what to skip, in the order in which it is written.

use super::{Schema, Type};
use crate::{
    format::{
        bytes::{Cursor, Fault, NESTING_MAX, zigzag},
        layout::{Convert, Found, Layout, Mark, Scalar, Set, scalar},
        wanted::{Leaf, Wanted},
    },
    schema::{self, FieldType},
};

#[derive(Clone, Debug)]
pub(in crate::format) struct Program {
    schema: Schema,
    /// Of each type: whether every value of it has no bytes. Such values are not counted through: a few records of records make very many.
    is_nothing: Vec<bool>,
    root: Step,
    pub layout: Layout,
}

/// One value of the writer.
#[derive(Clone, Debug)]
enum Step {
    /// Nothing of it is wanted.
    Skip(usize),
    /// A scalar or a list.
    Leaf {
        place: usize,
        marks: Vec<Mark>,
        sets: Vec<Set>,
    },
    Record {
        marks: Vec<Mark>,
        members: Vec<Step>,
    },
    Union(Vec<Step>),
}

impl Program {
    pub fn new(writer: &Schema, fields: &schema::Schema) -> Program {
        let mut layout = Layout::new(fields);
        let root = Builder { writer, layout: &mut layout }.step(writer.root, &Wanted::tree(fields));
        Program { is_nothing: nothings(writer), schema: writer.clone(), root, layout }
    }

    /// Reads all of `value` into `found`, which holds [`Found::Absent`] everywhere. O(bytes).
    pub fn read(&self, value: &[u8], start: usize, found: &mut [Found]) -> Result<(), Fault> {
        let mut cursor = Cursor::new(value, start);
        self.step(&self.root, &mut cursor, found)?;
        if cursor.is_at_end() { Ok(()) } else { cursor.fault("something after the value") }
    }

    /// Recurses as deep as the paths of fields.
    fn step(&self, step: &Step, cursor: &mut Cursor<'_>, found: &mut [Found]) -> Result<(), Fault> {
        match step {
            Step::Skip(place) => self.skip(*place, cursor, 0),
            Step::Leaf { place, marks, sets } => {
                marks.iter().for_each(|(slot, mark)| found[*slot] = *mark);
                if sets.is_empty() {
                    return self.skip(*place, cursor, 0);
                }
                let read = self.scalar(*place, cursor)?;
                sets.iter().for_each(|set| found[set.slot] = set.convert.apply(read, cursor.bytes));
                Ok(())
            }
            Step::Record { marks, members } => {
                marks.iter().for_each(|(slot, mark)| found[*slot] = *mark);
                members.iter().try_for_each(|member| self.step(member, cursor, found))
            }
            Step::Union(branches) => {
                let at = *cursor;
                match usize::try_from(long(cursor)?).ok().and_then(|branch| branches.get(branch)) {
                    Some(branch) => self.step(branch, cursor, found),
                    None => at.fault("no such branch of a union"),
                }
            }
        }
    }

    fn scalar(&self, place: usize, cursor: &mut Cursor<'_>) -> Result<Found, Fault> {
        Ok(match self.schema.at(place) {
            Type::Boolean => Found::Bool(boolean(cursor)?),
            Type::Int => Found::Int(int(cursor)?),
            Type::Long | Type::LongPerMs(_) => Found::Int(long(cursor)?),
            Type::Float => Found::Float(f32::from_le_bytes(cursor.array()?).into()),
            Type::Double => Found::Float(f64::from_le_bytes(cursor.array()?)),
            Type::Bytes | Type::String => {
                let len = length(cursor)?;
                Found::Bytes(cursor.span(len)?)
            }
            Type::Fixed { len, .. } => Found::Bytes(cursor.span(*len as u64)?),
            Type::Enum { symbols, .. } => Found::Int(symbol(symbols, cursor)?),
            Type::Null | Type::Array(_) | Type::Map(_) | Type::Union(_) | Type::Record { .. } => {
                unreachable!("only scalars are read")
            }
        })
    }

    /// A whole value inside `depth` others: checked and forgotten.
    fn skip(&self, place: usize, cursor: &mut Cursor<'_>, depth: u32) -> Result<(), Fault> {
        if self.is_nothing[place] {
            return Ok(());
        }
        if depth > NESTING_MAX {
            return cursor.fault("nested too deeply");
        }
        match self.schema.at(place) {
            Type::Array(item) => self.skip_list(*item, false, cursor, depth),
            Type::Map(item) => self.skip_list(*item, true, cursor, depth),
            Type::Union(branches) => {
                let at = *cursor;
                match usize::try_from(long(cursor)?).ok().and_then(|branch| branches.get(branch)) {
                    Some(branch) => self.skip(*branch, cursor, depth + 1),
                    None => at.fault("no such branch of a union"),
                }
            }
            Type::Record { fields, .. } => fields.iter().try_for_each(|(_, field)| self.skip(*field, cursor, depth + 1)),
            _ => self.scalar(place, cursor).map(drop),
        }
    }

    /// Blocks of items, or of keys and items, up to an empty one.
    fn skip_list(&self, item: usize, has_keys: bool, cursor: &mut Cursor<'_>, depth: u32) -> Result<(), Fault> {
        loop {
            let at = *cursor;
            let mut n_items = long(cursor)?;
            if n_items == 0 {
                return Ok(());
            }
            if n_items < 0 {
                let Some(positive) = n_items.checked_neg() else { return at.fault("a block of too many items") };
                n_items = positive;
                // How many bytes the block has; that is not believed.
                length(cursor)?;
            }
            if self.is_nothing[item] && !has_keys {
                continue;
            }
            // Each item has a byte at least, so the value ends before a great number does.
            for _ in 0..n_items {
                if has_keys {
                    let len = length(cursor)?;
                    cursor.take(len)?;
                }
                self.skip(item, cursor, depth + 1)?;
            }
        }
    }
}

fn long(cursor: &mut Cursor<'_>) -> Result<i64, Fault> {
    Ok(zigzag(cursor.varint()?))
}

fn int(cursor: &mut Cursor<'_>) -> Result<i64, Fault> {
    let at = *cursor;
    let value = long(cursor)?;
    if i32::try_from(value).is_ok() { Ok(value) } else { at.fault("an int beyond 32 bits") }
}

fn boolean(cursor: &mut Cursor<'_>) -> Result<bool, Fault> {
    let at = *cursor;
    match cursor.array()? {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => at.fault("a boolean that is neither 0 nor 1"),
    }
}

fn length(cursor: &mut Cursor<'_>) -> Result<u64, Fault> {
    let at = *cursor;
    u64::try_from(long(cursor)?).or_else(|_| at.fault("a negative length"))
}

fn symbol(symbols: &[String], cursor: &mut Cursor<'_>) -> Result<i64, Fault> {
    let at = *cursor;
    let value = int(cursor)?;
    if (0..symbols.len() as i64).contains(&value) { Ok(value) } else { at.fault("no such symbol of an enum") }
}

/// Which types have no bytes in any value: null, and records and fixed of nothing else.
fn nothings(schema: &Schema) -> Vec<bool> {
    let mut is_nothing = vec![false; schema.types.len()];
    // What a record holds may stand behind it: until nothing is news.
    loop {
        let mut is_news = false;
        for (place, one) in schema.types.iter().enumerate() {
            let now = match one {
                Type::Null | Type::Fixed { len: 0, .. } => true,
                Type::Record { fields, .. } => fields.iter().all(|(_, field)| is_nothing[*field]),
                _ => false,
            };
            is_news |= now != is_nothing[place];
            is_nothing[place] = now;
        }
        if !is_news {
            return is_nothing;
        }
    }
}

struct Builder<'a> {
    writer: &'a Schema,
    layout: &'a mut Layout,
}

impl Builder<'_> {
    /// Recurses as deep as the paths of fields, through one union at each level.
    fn step(&mut self, place: usize, wanted: &Wanted) -> Step {
        if wanted.slots().is_empty() {
            return Step::Skip(place);
        }
        match self.writer.at(place) {
            Type::Union(branches) => Step::Union(branches.iter().map(|branch| self.step(*branch, wanted)).collect()),
            Type::Record { fields, .. } => {
                let whole: Vec<usize> = wanted.leafs.iter().map(|leaf| leaf.slot).collect();
                let marks = self.other(&whole, place);
                let member = |(name, field): &(String, usize)| match wanted.member(name) {
                    Some(wanted) => self.step(*field, wanted),
                    None => Step::Skip(*field),
                };
                Step::Record { marks, members: fields.iter().map(member).collect() }
            }
            Type::Null => {
                let marks = wanted.slots().into_iter().map(|slot| (slot, Found::Null)).collect();
                Step::Leaf { place, marks, sets: Vec::new() }
            }
            _ => self.leaf(place, wanted),
        }
    }

    fn leaf(&mut self, place: usize, wanted: &Wanted) -> Step {
        let mut marks = self.other(&wanted.inner_slots(), place);
        let mut sets = Vec::new();
        for leaf in &wanted.leafs {
            match self.convert(place, *leaf) {
                Some(convert) => sets.push(self.layout.reads(*leaf, convert)),
                None => marks.extend(self.other(&[leaf.slot], place)),
            }
        }
        Step::Leaf { place, marks, sets }
    }

    fn convert(&mut self, place: usize, leaf: Leaf) -> Option<Convert> {
        let written = match self.writer.at(place) {
            Type::Boolean => Scalar::Bool,
            Type::Int | Type::Long => Scalar::Int,
            Type::LongPerMs(units) => {
                return (leaf.field_type == FieldType::Int).then_some(Convert::ToMs(*units));
            }
            Type::Float | Type::Double => Scalar::Float,
            Type::Bytes | Type::Fixed { .. } => Scalar::Bytes,
            Type::String => Scalar::Text,
            Type::Enum { symbols, .. } => {
                return (leaf.field_type == FieldType::Text).then(|| self.layout.symbols(symbols.iter()));
            }
            Type::Null | Type::Array(_) | Type::Map(_) | Type::Union(_) | Type::Record { .. } => return None,
        };
        scalar(written, leaf.field_type)
    }

    fn other(&mut self, slots: &[usize], place: usize) -> Vec<Mark> {
        self.layout.other(slots, || self.writer.at(place).in_words())
    }
}
