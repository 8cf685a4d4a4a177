//! The text of an Avro schema to what the core reads by.

use std::{collections::BTreeMap, error::Error};

use apache_avro::{
    Schema,
    schema::{InnerDecimalSchema, UuidSchema},
};
use reelflow_core::format::{
    WriterSchema,
    avro::{self, Type},
};

/// Parses `text`, which may use types that `references` define. An error says in words what is wrong.
pub fn parse(text: &str, references: &[String]) -> Result<WriterSchema, String> {
    let (root, others) = Schema::parse_str_with_list(text, references).map_err(|error| in_words(&error))?;
    let mut types = Types::default();
    for schema in others.iter().chain([&root]) {
        types.define(schema);
    }
    let root = types.place(&root)?;
    let types = types.types.into_iter().collect::<Option<Vec<Type>>>().ok_or("a type refers to itself only")?;
    avro::Schema::new(types, root).map(WriterSchema::Avro).ok_or_else(|| "a type is not defined".to_owned())
}

/// An error and what is behind it.
fn in_words(error: &dyn Error) -> String {
    match error.source() {
        Some(behind) => format!("{error}: {}", in_words(behind)),
        None => error.to_string(),
    }
}

/// Types by their place; named ones are converted once.
#[derive(Default)]
struct Types<'s> {
    defined: BTreeMap<String, &'s Schema>,
    places: BTreeMap<String, usize>,
    /// `None`: about to be converted.
    types: Vec<Option<Type>>,
}

impl<'s> Types<'s> {
    /// Remembers each named type inside `schema`.
    fn define(&mut self, schema: &'s Schema) {
        match schema {
            Schema::Record(record) => {
                self.defined.insert(record.name.fullname(None), schema);
                record.fields.iter().for_each(|field| self.define(&field.schema));
            }
            Schema::Enum(one) => drop(self.defined.insert(one.name.fullname(None), schema)),
            Schema::Fixed(one) | Schema::Duration(one) | Schema::Uuid(UuidSchema::Fixed(one)) => {
                self.defined.insert(one.name.fullname(None), schema);
            }
            Schema::Decimal(decimal) => {
                if let InnerDecimalSchema::Fixed(one) = &decimal.inner {
                    self.defined.insert(one.name.fullname(None), schema);
                }
            }
            Schema::Array(array) => self.define(&array.items),
            Schema::Map(map) => self.define(&map.types),
            Schema::Union(union) => union.variants().iter().for_each(|branch| self.define(branch)),
            _ => {}
        }
    }

    fn place(&mut self, schema: &'s Schema) -> Result<usize, String> {
        let name = match schema {
            Schema::Ref { name } => Some(name.fullname(None)),
            Schema::Record(record) => Some(record.name.fullname(None)),
            _ => None,
        };
        if let Some(place) = name.as_ref().and_then(|name| self.places.get(name)) {
            return Ok(*place);
        }
        let schema = match (schema, &name) {
            (Schema::Ref { .. }, Some(name)) => {
                *self.defined.get(name).ok_or_else(|| format!("the type \"{name}\" is not defined"))?
            }
            _ => schema,
        };
        let place = self.types.len();
        self.types.push(None);
        if let Some(name) = name {
            self.places.insert(name, place);
        }
        let converted = self.convert(schema)?;
        self.types[place] = Some(converted);
        Ok(place)
    }

    fn convert(&mut self, schema: &'s Schema) -> Result<Type, String> {
        let fixed = |name: &apache_avro::schema::Name, len| Type::Fixed { name: name.fullname(None), len };
        Ok(match schema {
            Schema::Null => Type::Null,
            Schema::Boolean => Type::Boolean,
            Schema::Int | Schema::Date | Schema::TimeMillis => Type::Int,
            Schema::Long | Schema::TimeMicros | Schema::TimestampMillis | Schema::LocalTimestampMillis => Type::Long,
            Schema::TimestampMicros | Schema::LocalTimestampMicros => Type::LongPerMs(1_000),
            Schema::TimestampNanos | Schema::LocalTimestampNanos => Type::LongPerMs(1_000_000),
            Schema::Float => Type::Float,
            Schema::Double => Type::Double,
            Schema::Bytes | Schema::BigDecimal | Schema::Uuid(UuidSchema::Bytes) => Type::Bytes,
            Schema::String | Schema::Uuid(UuidSchema::String) => Type::String,
            Schema::Decimal(decimal) => match &decimal.inner {
                InnerDecimalSchema::Bytes => Type::Bytes,
                InnerDecimalSchema::Fixed(one) => fixed(&one.name, one.size),
            },
            Schema::Fixed(one) | Schema::Duration(one) | Schema::Uuid(UuidSchema::Fixed(one)) => fixed(&one.name, one.size),
            Schema::Enum(one) => Type::Enum { name: one.name.fullname(None), symbols: one.symbols.clone() },
            Schema::Array(array) => Type::Array(self.place(&array.items)?),
            Schema::Map(map) => Type::Map(self.place(&map.types)?),
            Schema::Union(union) => {
                Type::Union(union.variants().iter().map(|branch| self.place(branch)).collect::<Result<_, _>>()?)
            }
            Schema::Record(record) => {
                let fields = record.fields.iter().map(|field| Ok((field.name.clone(), self.place(&field.schema)?)));
                Type::Record { name: record.name.fullname(None), fields: fields.collect::<Result<_, String>>()? }
            }
            Schema::Ref { name } => return Err(format!("the type \"{}\" is not defined", name.fullname(None))),
        })
    }
}
