//! Avro: what a schema says, as far as reading and writing need it. Source: Apache Avro 1.12, "Specification".
//!
//! The text of a schema is parsed outside of the core, and so are names and aliases resolved there.

use std::sync::Arc;

pub(super) mod program;
pub(super) mod writing;

/// A schema: its types, which refer to each other by their place.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    types: Arc<[Type]>,
    root: usize,
}

/// A type of Avro, its logical type included where that changes what a field holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    Null,
    Boolean,
    /// Also days and times of day: what they count stays the reader's to know.
    Int,
    /// Also ms since 1970.
    Long,
    /// A `long` of finer units, of which so many are one ms.
    LongPerMs(i64),
    Float,
    Double,
    Bytes,
    String,
    Fixed {
        name: String,
        len: usize,
    },
    Enum {
        name: String,
        symbols: Vec<String>,
    },
    Array(usize),
    Map(usize),
    Union(Vec<usize>),
    Record {
        name: String,
        /// Names and types, in the order in which they are written.
        fields: Vec<(String, usize)>,
    },
}

impl Schema {
    /// A schema whose values are of the type at `root`. `None` if a place is outside of `types`.
    pub fn new(types: Vec<Type>, root: usize) -> Option<Schema> {
        let is_inside = |place: &usize| *place < types.len();
        let all_inside = types.iter().all(|one| match one {
            Type::Array(item) | Type::Map(item) => is_inside(item),
            Type::Union(branches) => branches.iter().all(is_inside),
            Type::Record { fields, .. } => fields.iter().all(|(_, place)| is_inside(place)),
            _ => true,
        });
        (all_inside && is_inside(&root)).then(|| Schema { types: types.into(), root })
    }

    fn at(&self, place: usize) -> &Type {
        &self.types[place]
    }
}

impl Type {
    /// As a message says it.
    fn in_words(&self) -> String {
        match self {
            Type::Null => "null".to_owned(),
            Type::Boolean => "a boolean".to_owned(),
            Type::Int => "an int".to_owned(),
            Type::Long | Type::LongPerMs(_) => "a long".to_owned(),
            Type::Float => "a float".to_owned(),
            Type::Double => "a double".to_owned(),
            Type::Bytes => "bytes".to_owned(),
            Type::String => "a string".to_owned(),
            Type::Fixed { name, .. } => format!("the fixed \"{name}\""),
            Type::Enum { name, .. } => format!("the enum \"{name}\""),
            Type::Array(_) => "an array".to_owned(),
            Type::Map(_) => "a map".to_owned(),
            Type::Union(_) => "a union".to_owned(),
            Type::Record { name, .. } => format!("the record \"{name}\""),
        }
    }
}
