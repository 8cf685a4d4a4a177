//! What a program knows of the declared fields, and how what it found becomes a row.

use super::{
    FormatError, SourceFormat, WriterSchema, avro,
    bytes::Span,
    protobuf, raw,
    wanted::{Leaf, Slot},
};
use crate::{
    column::{RowBuilder, Value},
    schema::{Field, FieldType, Schema},
};

/// What a value holds for a slot.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found {
    Absent,
    Null,
    Bool(bool),
    Int(i64),
    /// Does not fit an `i64`.
    Large(u64),
    Float(f64),
    Bytes(Span),
    /// The name of an enum's value, by its place in [`Layout::symbols`].
    Symbol(u32),
    /// Of another type, by its place in [`Layout::others`].
    Other(u32),
    NotUtf8 {
        at: u32,
    },
    /// A number that the enum does not name.
    NoSymbol,
}

/// What is done to a value of a writer's type so that it is one of a field's.
#[derive(Clone, Copy, Debug)]
pub(super) enum Convert {
    Same,
    ToFloat,
    /// From a finer unit to ms, so many to one, towards the past.
    ToMs(i64),
    /// Bytes that must be UTF-8.
    ToText,
    /// The number of an enum's value, whose names are a stretch of [`Layout::symbols`].
    ToSymbol {
        first: u32,
        len: u32,
    },
}

/// A slot that takes a value, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Set {
    pub slot: Slot,
    pub convert: Convert,
}

/// A slot that is set whatever stands there.
pub(super) type Mark = (Slot, Found);

/// What all parts of a program refer to.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub fields: Vec<Field>,
    pub n_slots: usize,
    pub symbols: Vec<String>,
    others: Vec<String>,
    fates: Vec<Fate>,
}

/// What can become of a field by this schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Absent,
    Other(u32),
    Readable,
}

/// A field that no value of a schema can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmapped {
    pub field_idx: usize,
    /// What the schema has in its place, in words; `None`: nothing.
    pub found: Option<String>,
}

/// The fields of `fields` for which every value in `format` would be refused, as far as that is known before any value: of a registry,
/// nothing is. Of Protobuf: of the first message.
pub fn unmapped(format: &SourceFormat, fields: &Schema) -> Vec<Unmapped> {
    match format {
        SourceFormat::Json | SourceFormat::Registry(_) => Vec::new(),
        SourceFormat::Raw => raw::unmapped(fields),
        SourceFormat::Bare(writer) => match &**writer {
            WriterSchema::Avro(schema) => avro::program::Program::new(schema, fields).layout.unmapped(),
            WriterSchema::Protobuf(schema) => match schema.message_at(&[0]) {
                Some(message) => protobuf::program::Program::new(schema, message, fields).layout.unmapped(),
                None => Vec::new(),
            },
        },
    }
}

impl Layout {
    pub fn new(schema: &Schema) -> Layout {
        let (fields, n_slots) = (schema.fields.clone(), schema.len());
        Layout { fields, n_slots, symbols: Vec::new(), others: Vec::new(), fates: vec![Fate::Absent; n_slots] }
    }

    /// One more slot, behind those of fields.
    pub fn add_slot(&mut self) -> Slot {
        self.n_slots += 1;
        self.n_slots - 1
    }

    /// Says that `leaf` is read here.
    pub fn reads(&mut self, leaf: Leaf, convert: Convert) -> Set {
        if let Some(fate) = self.fates.get_mut(leaf.slot) {
            *fate = Fate::Readable;
        }
        Set { slot: leaf.slot, convert }
    }

    /// Says that `slots` find something else here, `what` in words.
    pub fn other(&mut self, slots: &[Slot], what: impl FnOnce() -> String) -> Vec<Mark> {
        if slots.is_empty() {
            return Vec::new();
        }
        let other = self.others.len() as u32;
        self.others.push(what());
        for slot in slots {
            match self.fates.get_mut(*slot) {
                Some(fate) if *fate == Fate::Absent => *fate = Fate::Other(other),
                _ => {}
            }
        }
        slots.iter().map(|slot| (*slot, Found::Other(other))).collect()
    }

    /// Keeps the names of an enum's values. Gives how its numbers become them.
    pub fn symbols<'s>(&mut self, names: impl Iterator<Item = &'s String>) -> Convert {
        let first = self.symbols.len();
        self.symbols.extend(names.cloned());
        Convert::ToSymbol { first: first as u32, len: (self.symbols.len() - first) as u32 }
    }

    fn unmapped(&self) -> Vec<Unmapped> {
        let of = |(field_idx, fate): (usize, &Fate)| match *fate {
            Fate::Readable => None,
            Fate::Absent if !self.fields[field_idx].required => None,
            Fate::Absent => Some(Unmapped { field_idx, found: None }),
            Fate::Other(other) => Some(Unmapped { field_idx, found: Some(self.others[other as usize].clone()) }),
        };
        self.fates.iter().enumerate().filter_map(of).collect()
    }

    /// Appends what was `found` in `value` as a row of `into`, or nothing if a field refuses it.
    pub fn push(&self, value: &[u8], found: &[Found], into: &mut RowBuilder) -> Result<(), FormatError> {
        for (field, found) in self.fields.iter().zip(found) {
            self.check(field, *found)?;
        }
        into.push(found[..self.fields.len()].iter().map(|found| match *found {
            Found::Bool(value) => Value::Bool(value),
            Found::Int(value) => Value::Int(value),
            Found::Float(value) => Value::Float(value),
            Found::Bytes(Span { start, end }) => Value::Bytes(&value[start as usize..end as usize]),
            Found::Symbol(symbol) => Value::Bytes(self.symbols[symbol as usize].as_bytes()),
            Found::Absent | Found::Null => Value::Null,
            Found::Large(_) | Found::Other(_) | Found::NotUtf8 { .. } | Found::NoSymbol => {
                unreachable!("fields were checked")
            }
        }));
        Ok(())
    }

    fn check(&self, field: &Field, found: Found) -> Result<(), FormatError> {
        let name = || field.name.clone();
        let other =
            |found: &str| Err(FormatError::Type { field: name(), expected: field.field_type.name(), found: found.to_owned() });
        match found {
            Found::Absent if field.required => Err(FormatError::Missing { field: name() }),
            Found::Null if field.required => Err(FormatError::Null { field: name() }),
            Found::Float(value) if !value.is_finite() => other("a number that is not finite"),
            Found::Large(_) => other("an integer beyond 64 bits"),
            Found::Other(what) => other(&self.others[what as usize]),
            Found::NotUtf8 { at } => Err(FormatError::Utf8 { what: format!("field \"{}\"", field.name), at: at as usize }),
            Found::NoSymbol => other("a number that the enum does not name"),
            Found::Absent
            | Found::Null
            | Found::Bool(_)
            | Found::Int(_)
            | Found::Float(_)
            | Found::Bytes(_)
            | Found::Symbol(_) => Ok(()),
        }
    }
}

impl Convert {
    /// Turns what a writer's type gave in `value` into what the field takes.
    #[inline]
    pub fn apply(self, found: Found, value: &[u8]) -> Found {
        match (self, found) {
            (Convert::ToFloat, Found::Int(value)) => Found::Float(value as f64),
            (Convert::ToFloat, Found::Large(value)) => Found::Float(value as f64),
            (Convert::ToMs(units), Found::Int(value)) => Found::Int(value.div_euclid(units)),
            (Convert::ToText, Found::Bytes(span)) => {
                let text = &value[span.start as usize..span.end as usize];
                match simdutf8::compat::from_utf8(text) {
                    Ok(_) => found,
                    Err(error) => Found::NotUtf8 { at: span.start + error.valid_up_to() as u32 },
                }
            }
            (Convert::ToSymbol { first, len }, Found::Int(number)) if (0..i64::from(len)).contains(&number) => {
                Found::Symbol(first + number as u32)
            }
            (Convert::ToSymbol { .. }, _) => Found::NoSymbol,
            (Convert::Same | Convert::ToFloat | Convert::ToMs(_) | Convert::ToText, found) => found,
        }
    }
}

/// How a plain scalar, as both formats have it, is read as `field_type`. `None`: it cannot be.
pub(super) fn scalar(written: Scalar, field_type: FieldType) -> Option<Convert> {
    Some(match (written, field_type) {
        (Scalar::Bool, FieldType::Bool)
        | (Scalar::Int, FieldType::Int)
        | (Scalar::Float, FieldType::Float)
        | (Scalar::Bytes, FieldType::Bytes)
        | (Scalar::Text, FieldType::Bytes) => Convert::Same,
        (Scalar::Text, FieldType::Text) => Convert::ToText,
        (Scalar::Int, FieldType::Float) => Convert::ToFloat,
        _ => return None,
    })
}

/// What the scalars of both formats come down to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    Bool,
    Int,
    Float,
    Bytes,
    Text,
}
