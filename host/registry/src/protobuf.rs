//! The text of a Protobuf file to what the core reads by.

use std::collections::BTreeMap;

use prost_reflect::{DescriptorPool, EnumDescriptor, FieldDescriptor, Kind as Described, MessageDescriptor};
use protox::{
    Compiler, Error,
    file::{File, FileResolver, GoogleFileResolver},
};
use reelflow_core::format::{
    WriterSchema,
    protobuf::{self, Enum, Field, Kind, Message},
};

/// What a file is called when nobody gives it a name.
const NAME: &str = "schema.proto";
/// The parser calls itself for what stands in brackets: a text with very many must not overflow the stack.
const NESTING_MAX: usize = 64;

/// Parses `text`, which may import the files of `references` by their names, and those that come with Protobuf. An error says in words
/// what is wrong.
pub fn parse(text: &str, references: &[(String, String)]) -> Result<WriterSchema, String> {
    for text in references.iter().map(|(_, text)| text.as_str()).chain([text]) {
        if nesting(text) > NESTING_MAX {
            return Err(format!("more than {NESTING_MAX} brackets stand in each other"));
        }
    }
    let mut files: BTreeMap<String, String> = references.iter().cloned().collect();
    files.insert(NAME.to_owned(), text.to_owned());
    let mut compiler = Compiler::with_file_resolver(Files { files, standard: GoogleFileResolver::new() });
    compiler.include_imports(true);
    compiler.open_file(NAME).map_err(|error| error.to_string())?;
    Ok(WriterSchema::Protobuf(convert(&compiler.descriptor_pool())?))
}

/// As [`parse`], for bare values: all of them are the message called `message`.
pub fn parse_message(text: &str, message: &str) -> Result<WriterSchema, String> {
    let schema = parse_file(text)?;
    schema.of_message(message).map(WriterSchema::Protobuf).ok_or_else(|| no_message(&schema, message))
}

/// As [`parse`], with the place of the message called `message`, which must stand in the file itself: a value says by it what it is.
pub fn parse_to_write(text: &str, message: &str) -> Result<(WriterSchema, Vec<usize>), String> {
    let schema = parse_file(text)?;
    let path = schema.path_of(message).ok_or_else(|| no_message(&schema, message))?;
    Ok((WriterSchema::Protobuf(schema), path))
}

fn parse_file(text: &str) -> Result<protobuf::Schema, String> {
    match parse(text, &[])? {
        WriterSchema::Protobuf(schema) => Ok(schema),
        WriterSchema::Avro(_) => unreachable!("it was parsed as Protobuf"),
    }
}

fn no_message(schema: &protobuf::Schema, message: &str) -> String {
    let names: Vec<String> = schema.message_names().map(|name| format!("\"{name}\"")).collect();
    format!("it has no message \"{message}\", but {}", names.join(", "))
}

/// How deep brackets stand in each other, those in comments and strings included.
fn nesting(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'{' | b'[' | b'(' | b'<' => depth += 1,
            b'}' | b']' | b')' | b'>' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Files by their names in imports. Nothing is read from disk.
struct Files {
    files: BTreeMap<String, String>,
    standard: GoogleFileResolver,
}

impl FileResolver for Files {
    fn open_file(&self, name: &str) -> Result<File, Error> {
        match self.files.get(name) {
            Some(text) => File::from_source(name, text),
            None => self.standard.open_file(name),
        }
    }
}

fn convert(pool: &DescriptorPool) -> Result<protobuf::Schema, String> {
    let messages: Vec<MessageDescriptor> = pool.all_messages().collect();
    let enums: Vec<EnumDescriptor> = pool.all_enums().collect();
    let places = Places {
        messages: messages.iter().enumerate().map(|(at, one)| (one.full_name().to_owned(), at)).collect(),
        enums: enums.iter().enumerate().map(|(at, one)| (one.full_name().to_owned(), at)).collect(),
    };
    let converted = messages.iter().map(|message| Message {
        name: message.full_name().to_owned(),
        fields: message.fields().map(|field| places.field(&field)).collect(),
        // Whether the entries of maps count depends on who wrote the value; Confluent's serializer for Java does not count them.
        nested: message.child_messages().filter(|one| !one.is_map_entry()).map(|one| places.message(&one)).collect(),
    });
    let file = pool.get_file_by_name(NAME).expect("it was just compiled");
    let top = file.messages().map(|message| places.message(&message)).collect();
    let enums = enums.iter().map(|one| {
        // The library has them in the order of their numbers, but the zero is the first of the file.
        let zero = one.default_value();
        let others = one.values().filter(|value| value.name() != zero.name());
        let values = std::iter::once(zero.clone()).chain(others).map(|value| (value.number(), value.name().to_owned()));
        Enum { name: one.full_name().to_owned(), values: values.collect() }
    });
    protobuf::Schema::new(converted.collect(), enums.collect(), top).ok_or_else(|| "an enum has no value".to_owned())
}

/// Where each message and enum stands, by its name.
struct Places {
    messages: BTreeMap<String, usize>,
    enums: BTreeMap<String, usize>,
}

impl Places {
    fn message(&self, message: &MessageDescriptor) -> usize {
        self.messages[message.full_name()]
    }

    fn field(&self, field: &FieldDescriptor) -> Field {
        let kind = match field.kind() {
            Described::Double => Kind::Double,
            Described::Float => Kind::Float,
            Described::Int32 => Kind::Int32,
            Described::Int64 => Kind::Int64,
            Described::Uint32 => Kind::Uint32,
            Described::Uint64 => Kind::Uint64,
            Described::Sint32 => Kind::Sint32,
            Described::Sint64 => Kind::Sint64,
            Described::Fixed32 => Kind::Fixed32,
            Described::Fixed64 => Kind::Fixed64,
            Described::Sfixed32 => Kind::Sfixed32,
            Described::Sfixed64 => Kind::Sfixed64,
            Described::Bool => Kind::Bool,
            Described::String => Kind::String,
            Described::Bytes => Kind::Bytes,
            Described::Message(message) if field.is_group() => Kind::Group(self.message(&message)),
            Described::Message(message) => Kind::Message(self.message(&message)),
            Described::Enum(one) => Kind::Enum(self.enums[one.full_name()]),
        };
        Field {
            name: field.name().to_owned(),
            number: field.number(),
            kind,
            is_repeated: field.is_list() || field.is_map(),
            has_presence: field.supports_presence(),
            // The place of the first of its fields, which no other one has.
            oneof: field.containing_oneof().and_then(|oneof| oneof.fields().next().map(|first| first.number() as usize)),
        }
    }
}
