//! What the columns of a stream are called and what they mean.

use crate::column::Kind;

/// The logical type of a field; each stands on one physical [`Kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// `true` or `false`.
    Bool,
    /// A signed 64-bit integer.
    Int,
    /// A finite 64-bit float.
    Float,
    /// UTF-8 text, checked once when decoded.
    Text,
    /// Bytes without meaning to the host.
    Bytes,
}

impl FieldType {
    pub fn kind(self) -> Kind {
        match self {
            FieldType::Bool => Kind::Bool,
            FieldType::Int => Kind::Int,
            FieldType::Float => Kind::Float,
            FieldType::Text | FieldType::Bytes => Kind::Bytes,
        }
    }

    /// The name that manifests, plugins and messages use.
    pub fn name(self) -> &'static str {
        match self {
            FieldType::Bool => "bool",
            FieldType::Int => "i64",
            FieldType::Float => "f64",
            FieldType::Text => "string",
            FieldType::Bytes => "bytes",
        }
    }

    /// The type that [`FieldType::name`] names, or `None`.
    pub fn of_name(name: &str) -> Option<FieldType> {
        [FieldType::Bool, FieldType::Int, FieldType::Float, FieldType::Text, FieldType::Bytes]
            .into_iter()
            .find(|t| t.name() == name)
    }
}

/// One field of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// What stages call it.
    pub name: String,
    /// Where a source finds it: `a.b` is field `b` of the object `a`. Equal to `name` unless the plugin says otherwise.
    pub path: String,
    pub field_type: FieldType,
    /// A row never lacks a required field; an optional one may be null.
    pub required: bool,
}

/// The fields of a stream, in the order of its columns. Names are unique.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    pub fields: Vec<Field>,
}

impl Schema {
    /// The column of the field called `name`, or `None`.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }

    pub fn len(&self) -> usize {
        self.fields.len()
    }

    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}
