//! A source's records to rows, whatever their format.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Binary, FormatError, SchemaAnswer, SourceFormat, WriterSchema, avro, framing,
    layout::{Found, Layout},
    protobuf,
    raw::Raw,
};
use crate::{
    column::RowBuilder,
    json::decode::Projector,
    record::{END_KEY, Record, RecordBatch, WATERMARK_KEY},
    schema::Schema,
};

/// Of more schemas than this none is kept longer than a batch: a topic has a few.
const SCHEMAS_MAX: usize = 1000;

/// Decodes the records of one source partition into rows of one schema.
#[derive(Debug)]
pub struct Decoder {
    schema: Schema,
    by: By,
}

#[derive(Debug)]
enum By {
    Json(Projector),
    Raw(Raw),
    Bare { format: Binary, reader: Reader },
    Registry(Registered),
}

/// What a program of either format reads.
#[derive(Debug)]
struct Reader {
    program: Program,
    found: Vec<Found>,
}

#[derive(Debug)]
enum Program {
    Avro(avro::program::Program),
    Protobuf(protobuf::program::Program),
}

/// Writer schemas by their ids, as far as they came up.
#[derive(Debug)]
struct Registered {
    format: Binary,
    known: BTreeMap<u32, Known>,
}

#[derive(Debug)]
enum Known {
    Usable {
        writer: Arc<WriterSchema>,
        /// By the message of a Protobuf file; of Avro there is one, with no path.
        readers: Vec<(Vec<usize>, Reader)>,
    },
    Unknown,
    Unusable(Arc<str>),
}

impl Decoder {
    /// A decoder of values in `format`, for the fields of `schema`.
    ///
    /// Panics if `format` is raw and `schema` has fields that raw records do not have, or if a bare Protobuf schema has no message.
    pub fn new(format: &SourceFormat, schema: &Schema) -> Decoder {
        let by = match format {
            SourceFormat::Json => By::Json(Projector::new(schema)),
            SourceFormat::Raw => By::Raw(Raw::new(schema)),
            SourceFormat::Bare(writer) => {
                let reader = Reader::new(writer, &[0], schema).expect("a bare schema has a message");
                By::Bare { format: writer.format(), reader }
            }
            SourceFormat::Registry(format) => By::Registry(Registered { format: *format, known: BTreeMap::new() }),
        };
        Decoder { schema: schema.clone(), by }
    }

    /// An empty builder for rows of the schema.
    pub fn rows(&self) -> RowBuilder {
        RowBuilder::new(self.schema.fields.iter().map(|field| field.field_type.kind()))
    }

    /// The ids in `batch` that nobody has said anything of, or only that they are unknown. O(records).
    pub fn lacks(&self, batch: &RecordBatch) -> BTreeSet<u32> {
        let By::Registry(registered) = &self.by else { return BTreeSet::new() };
        let records = batch.iter().filter(|record| !matches!(record.key, Some(END_KEY | WATERMARK_KEY)));
        let ids = records.filter_map(|record| framing::id(record.value?));
        ids.filter(|id| matches!(registered.known.get(id), None | Some(Known::Unknown))).collect()
    }

    /// What a registry says of `id`. Nothing where no registry is asked.
    pub fn learn(&mut self, id: u32, answer: SchemaAnswer) {
        let By::Registry(registered) = &mut self.by else { return };
        let known = match answer {
            SchemaAnswer::Known(writer) if writer.format() != registered.format => {
                Known::Unusable(format!("it is one of {}", writer.format()).into())
            }
            SchemaAnswer::Known(writer) => Known::Usable { writer, readers: Vec::new() },
            SchemaAnswer::Unknown => Known::Unknown,
            SchemaAnswer::Unusable(why) => Known::Unusable(why),
        };
        registered.known.insert(id, known);
    }

    /// A batch has been decoded: what is kept of schemas stays bounded (I-9).
    pub fn batch_ended(&mut self) {
        if let By::Registry(registered) = &mut self.by
            && registered.known.len() > SCHEMAS_MAX
        {
            registered.known.clear();
        }
    }

    /// Appends the row of `record` to `into`, or nothing. O(bytes).
    ///
    /// Panics if nobody has said what the schema of a framed value is; never for any bytes.
    pub fn decode(&mut self, record: &Record<'_>, into: &mut RowBuilder) -> Result<(), FormatError> {
        match &mut self.by {
            By::Json(projector) => Ok(projector.decode(record.value.unwrap_or_default(), into)?),
            By::Raw(raw) => raw.decode(record, into),
            By::Bare { format, reader } => {
                let value = record.value.ok_or(FormatError::Empty)?;
                reader.decode(*format, value, 0, into)
            }
            By::Registry(registered) => {
                let value = record.value.ok_or(FormatError::Empty)?;
                registered.decode(&self.schema, value, into)
            }
        }
    }
}

impl Registered {
    fn decode(&mut self, schema: &Schema, value: &[u8], into: &mut RowBuilder) -> Result<(), FormatError> {
        let framing::Framed { id, path, start } = framing::read(value, self.format)?;
        let known = self.known.get_mut(&id).expect("the driver says what a schema is before it gives a value of it");
        let (writer, readers) = match known {
            Known::Usable { writer, readers } => (writer, readers),
            Known::Unknown => return Err(FormatError::UnknownSchema { id }),
            Known::Unusable(why) => return Err(FormatError::UnusableSchema { id, why: why.to_string() }),
        };
        let at = match readers.iter().position(|(of, _)| *of == path) {
            Some(at) => at,
            None => {
                let reader = Reader::new(writer, &path, schema)
                    .ok_or_else(|| FormatError::Framing { why: format!("schema {id} has no message at {path:?}") })?;
                readers.push((path, reader));
                readers.len() - 1
            }
        };
        readers[at].1.decode(self.format, value, start, into)
    }
}

impl Reader {
    /// `None` if `writer` is of Protobuf and has no message at `path`.
    fn new(writer: &WriterSchema, path: &[usize], schema: &Schema) -> Option<Reader> {
        let program = match writer {
            WriterSchema::Avro(writer) => Program::Avro(avro::program::Program::new(writer, schema)),
            WriterSchema::Protobuf(writer) => {
                Program::Protobuf(protobuf::program::Program::new(writer, writer.message_at(path)?, schema))
            }
        };
        let found = vec![Found::Absent; program.layout().n_slots];
        Some(Reader { program, found })
    }

    fn decode(&mut self, format: Binary, value: &[u8], start: usize, into: &mut RowBuilder) -> Result<(), FormatError> {
        self.found.fill(Found::Absent);
        let read = match &self.program {
            Program::Avro(program) => program.read(value, start, &mut self.found),
            Program::Protobuf(program) => program.read(value, start, &mut self.found),
        };
        read.map_err(|fault| FormatError::Malformed { format, at: fault.at, what: fault.what })?;
        self.program.layout().push(value, &self.found, into)
    }
}

impl Program {
    fn layout(&self) -> &Layout {
        match self {
            Program::Avro(program) => &program.layout,
            Program::Protobuf(program) => &program.layout,
        }
    }
}
