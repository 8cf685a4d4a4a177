//! The declared fields of one JSON object per record, as columns.
//!
//! A [`Projector`] is made once for a schema. It checks the UTF-8 of the whole value, walks over it once, keeps what the schema asks
//! for, and checks the syntax of everything else. Keys come in the same order in nearly all records of a topic, so it remembers
//! the order, compares the expected key first, and rarely has to look one up. A row is written only when the whole value is good.
//!
//! | the value | result |
//! | --- | --- |
//! | no bytes | `empty` |
//! | not UTF-8, anywhere | `utf8` |
//! | not one JSON object and whitespace; control character, unknown escape or half of a surrogate pair in a string; 128 levels deep | `json` |
//! | field absent or `null`, or an object on its path is | required: `missing`; optional: null |
//! | `string` | a JSON string, unescaped; anything else: `type` |
//! | `bool` | `true` or `false`; anything else: `type` |
//! | `i64` | digits with an optional minus (`-0` is 0); a fraction or exponent (`1.0`, `1e3`), and what does not fit 64 bits: `type` |
//! | `f64` | any number, the nearest float; one beyond the greatest float: `type` |
//! | `bytes` | a string of base64 with padding (RFC 4648, section 4); anything else: `type` |
//! | path `a.b`, and `a` is neither an object nor null | `type`, also if optional |
//! | the same key twice | the last one counts, whole: of `{"a":{"b":1},"a":{}}` the field `a.b` is absent |
//! | unknown fields | skipped, of any kind, but their syntax is checked |
//!
//! Errors are found in this order: `empty`, `utf8`, `json`, and then the fields in the schema's order. So a value has the same error
//! whatever its key order, and what is wrong in an overwritten duplicate is no error.

use crate::{
    column::{RowBuilder, Value},
    json::{
        base64,
        scan::{Cursor, Fault, Quoted, unescape},
    },
    schema::{FieldType, Schema},
};

/// Why a value has no row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("value is empty")]
    Empty,
    #[error("value is not UTF-8 at byte {at}")]
    Utf8 { at: usize },
    #[error("value is not a JSON object at byte {at}: {what}")]
    Json { at: usize, what: &'static str },
    #[error("field \"{field}\" at byte {at} must be {expected}, not {found}")]
    Type { field: String, at: usize, expected: &'static str, found: &'static str },
    #[error("required field \"{field}\" is missing")]
    Missing { field: String },
    #[error("required field \"{field}\" at byte {at} is null")]
    Null { field: String, at: usize },
}

impl DecodeError {
    /// The short code for the dead letter's `reel-reason`.
    pub fn code(&self) -> &'static str {
        match self {
            DecodeError::Empty => "empty",
            DecodeError::Utf8 { .. } => "utf8",
            DecodeError::Json { .. } => "json",
            DecodeError::Type { .. } => "type",
            DecodeError::Missing { .. } | DecodeError::Null { .. } => "missing",
        }
    }
}

/// Decodes JSON objects into rows of one schema. Keeps buffers and the order of keys from record to record.
#[derive(Clone, Debug)]
pub struct Projector {
    fields: Vec<Wanted>,
    /// The root object is the first; children come after their parents.
    objects: Vec<Object>,
    /// What the current value holds, one for each field.
    found: Vec<Found>,
    /// The texts and bytes of the current value that do not stand in it as such.
    scratch: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Wanted {
    name: String,
    field_type: FieldType,
    required: bool,
}

/// An object on the path of a field.
#[derive(Clone, Debug, Default)]
struct Object {
    members: Vec<Member>,
    /// The keys of the last records in the order in which they came, each with the member it means.
    order: Vec<Expected>,
    /// All fields inside, at any depth.
    fields: Vec<usize>,
}

/// A key that somebody wants: for fields, or as the object that holds some, or (if they disagree) both.
#[derive(Clone, Debug)]
struct Member {
    key: String,
    fields: Vec<usize>,
    object: Option<usize>,
}

/// A key as it stands in the text, quotes included. In place and not on the heap: an order that changes must not allocate.
#[derive(Clone, Copy, Debug)]
struct Expected {
    bytes: [u8; EXPECTED_BYTES_MAX],
    len: u8,
    member: Option<u16>,
}

/// Keeps positions in a value, and in what is unescaped from it, within 32 bits. Sources refuse values long before.
const VALUE_BYTES_MAX: usize = 1 << 30;
/// Longer keys are looked up each time.
const EXPECTED_BYTES_MAX: usize = 45;
/// So many keys of an object are remembered.
const EXPECTED_KEYS_MAX: usize = 64;
/// So many expected keys may be absent before the next one is looked up.
const EXPECTED_AHEAD_MAX: usize = 4;

/// What the value holds for a field. Positions fit 32 bits, which is checked first.
#[derive(Clone, Copy, Debug)]
enum Found {
    Absent,
    Null {
        at: u32,
    },
    Bool(bool),
    Int(i64),
    Float(f64),
    /// In the value.
    Text {
        start: u32,
        end: u32,
    },
    /// In the scratch.
    Scratch {
        start: u32,
        end: u32,
    },
    Other {
        at: u32,
        what: What,
    },
}

/// What stands where something else was wanted.
#[derive(Clone, Copy, Debug)]
enum What {
    Object,
    Array,
    Text,
    Number,
    Bool,
    NotInteger,
    LongInteger,
    LargeFloat,
    NotBase64,
}

impl What {
    fn name(self) -> &'static str {
        match self {
            What::Object => "an object",
            What::Array => "an array",
            What::Text => "a string",
            What::Number => "a number",
            What::Bool => "a boolean",
            What::NotInteger => "a number with a fraction or an exponent",
            What::LongInteger => "an integer beyond 64 bits",
            What::LargeFloat => "a number beyond the greatest float",
            What::NotBase64 => "a string that is not base64",
        }
    }
}

impl Projector {
    /// A projector for `schema`. Dots in a field's path separate the keys of nested objects; keys that hold dots cannot be reached.
    pub fn new(schema: &Schema) -> Projector {
        let wanted = |field: &crate::schema::Field| Wanted {
            name: field.name.clone(),
            field_type: field.field_type,
            required: field.required,
        };
        let mut objects = vec![Object::default()];
        for (field_idx, field) in schema.fields.iter().enumerate() {
            let (parents, key) =
                field.path.rsplit_once('.').map_or((None, field.path.as_str()), |(parents, key)| (Some(parents), key));
            let mut object_idx = 0;
            for parent in parents.into_iter().flat_map(|parents| parents.split('.')) {
                objects[object_idx].fields.push(field_idx);
                object_idx = child(&mut objects, object_idx, parent);
            }
            objects[object_idx].fields.push(field_idx);
            let member_idx = objects[object_idx].member(key);
            objects[object_idx].members[member_idx].fields.push(field_idx);
        }
        Projector {
            fields: schema.fields.iter().map(wanted).collect(),
            found: vec![Found::Absent; schema.len()],
            objects,
            scratch: Vec::new(),
        }
    }

    /// An empty builder for rows of the schema.
    pub fn rows(&self) -> RowBuilder {
        RowBuilder::new(self.fields.iter().map(|field| field.field_type.kind()))
    }

    /// Appends the row of `value` to `into`, or nothing. See the module's text for what is an error. O(bytes).
    ///
    /// Panics if `into` has other columns than [`Projector::rows`] gives; never for any `value`.
    pub fn decode(&mut self, value: &[u8], into: &mut RowBuilder) -> Result<(), DecodeError> {
        let text = checked_text(value)?;
        self.found.fill(Found::Absent);
        self.scratch.clear();
        self.document(text).map_err(|Fault { at, what }| DecodeError::Json { at, what })?;
        for (field, found) in self.fields.iter().zip(&self.found) {
            match found {
                Found::Absent | Found::Null { .. } | Found::Other { .. } => field.judge(*found)?,
                _ => {}
            }
        }
        into.push(self.found.iter().map(|found| match *found {
            Found::Absent | Found::Null { .. } | Found::Other { .. } => Value::Null,
            Found::Bool(value) => Value::Bool(value),
            Found::Int(value) => Value::Int(value),
            Found::Float(value) => Value::Float(value),
            Found::Text { start, end } => Value::Bytes(&value[start as usize..end as usize]),
            Found::Scratch { start, end } => Value::Bytes(&self.scratch[start as usize..end as usize]),
        }));
        Ok(())
    }

    fn document(&mut self, text: &str) -> Result<(), Fault> {
        let mut cursor = Cursor::new(text);
        cursor.whitespace();
        if cursor.peek() != b'{' {
            return cursor.fault("expected an object");
        }
        self.object(&mut cursor, 0, 0)?;
        cursor.whitespace();
        if cursor.at < text.len() { cursor.fault("something after the object") } else { Ok(()) }
    }

    /// The object that starts here, inside `depth` others. Recurses as deep as the paths of the schema.
    fn object(&mut self, cursor: &mut Cursor<'_>, object_idx: usize, depth: u32) -> Result<(), Fault> {
        cursor.open(depth)?;
        if cursor.peek() == b'}' {
            cursor.at += 1;
            return Ok(());
        }
        let mut place = 0;
        loop {
            let member = self.objects[object_idx].key(cursor, &mut place, &mut self.scratch)?;
            cursor.colon()?;
            match member {
                None => cursor.skip(depth + 1)?,
                Some(member_idx) => self.member(cursor, object_idx, usize::from(member_idx), depth + 1)?,
            }
            cursor.whitespace();
            match cursor.peek() {
                b',' => {
                    cursor.at += 1;
                    cursor.whitespace();
                }
                b'}' => {
                    cursor.at += 1;
                    return Ok(());
                }
                _ => return cursor.fault("expected a comma or the end of the object"),
            }
        }
    }

    /// The value of a member that somebody wants.
    fn member(&mut self, cursor: &mut Cursor<'_>, object_idx: usize, member_idx: usize, depth: u32) -> Result<(), Fault> {
        let Projector { fields, objects, found, scratch } = self;
        let member = &objects[object_idx].members[member_idx];
        let begin = *cursor;
        for field_idx in &member.fields {
            // Nearly always one; the others are different types of the same field.
            *cursor = begin;
            found[*field_idx] = leaf(cursor, fields[*field_idx].field_type, depth, scratch)?;
        }
        let Some(child_idx) = member.object else { return Ok(()) };
        // A duplicate replaces all of the one before.
        let is_object = begin.peek() == b'{';
        let instead = match begin.peek() {
            b'{' => Found::Absent,
            b'n' => Found::Null { at: begin.at as u32 },
            first => Found::Other { at: begin.at as u32, what: what_starts_with(first) },
        };
        objects[child_idx].fields.iter().for_each(|field_idx| found[*field_idx] = instead);
        *cursor = begin;
        if is_object { self.object(cursor, child_idx, depth) } else { cursor.skip(depth) }
    }
}

impl Wanted {
    /// Whether a row may hold null where `found` is not a value of the field's type.
    #[cold]
    fn judge(&self, found: Found) -> Result<(), DecodeError> {
        let field = || self.name.clone();
        match found {
            Found::Other { at, what } => {
                Err(DecodeError::Type { field: field(), at: at as usize, expected: self.field_type.name(), found: what.name() })
            }
            Found::Absent if self.required => Err(DecodeError::Missing { field: field() }),
            Found::Null { at } if self.required => Err(DecodeError::Null { field: field(), at: at as usize }),
            _ => Ok(()),
        }
    }
}

impl Object {
    /// Reads the key here and gives the member it means. `place` is how far in the order of keys this object has come.
    #[inline]
    fn key(&mut self, cursor: &mut Cursor<'_>, place: &mut usize, scratch: &mut Vec<u8>) -> Result<Option<u16>, Fault> {
        let rest = cursor.rest();
        let ahead = self.order.iter().skip(*place).take(EXPECTED_AHEAD_MAX);
        for (n_absent, expected) in ahead.enumerate() {
            if rest.starts_with(&expected.bytes[..usize::from(expected.len)]) {
                *place += n_absent + 1;
                cursor.at += usize::from(expected.len);
                return Ok(expected.member);
            }
        }
        self.unexpected_key(cursor, place, scratch)
    }

    #[cold]
    fn unexpected_key(
        &mut self,
        cursor: &mut Cursor<'_>,
        place: &mut usize,
        scratch: &mut Vec<u8>,
    ) -> Result<Option<u16>, Fault> {
        let begin = cursor.at;
        let key = cursor.string()?;
        let member = if key.is_escaped {
            let start = scratch.len();
            unescape(cursor.text, key, scratch);
            let member = self.position(&scratch[start..]);
            scratch.truncate(start);
            member
        } else {
            self.position(&cursor.text.as_bytes()[key.start..key.end])
        };
        self.expect(*place, &cursor.text.as_bytes()[begin..cursor.at], member);
        *place += 1;
        Ok(member)
    }

    /// Remembers that the key `raw` came at `place`.
    fn expect(&mut self, place: usize, raw: &[u8], member: Option<u16>) {
        let mut bytes = [0; EXPECTED_BYTES_MAX];
        let Some(room) = bytes.get_mut(..raw.len()) else { return };
        room.copy_from_slice(raw);
        if self.order.len() >= EXPECTED_KEYS_MAX {
            // Too many orders at once: start over with the one at hand.
            self.order.truncate(place.min(EXPECTED_KEYS_MAX / 2));
        }
        self.order.insert(place.min(self.order.len()), Expected { bytes, len: raw.len() as u8, member });
    }

    fn position(&self, key: &[u8]) -> Option<u16> {
        self.members.iter().position(|member| member.key.as_bytes() == key).map(|member_idx| member_idx as u16)
    }

    /// The member called `key`, made if it is not there.
    fn member(&mut self, key: &str) -> usize {
        self.members.iter().position(|member| member.key == key).unwrap_or_else(|| {
            self.members.push(Member { key: key.to_owned(), fields: Vec::new(), object: None });
            self.members.len() - 1
        })
    }
}

/// The object at `key` of the object `parent_idx`, made if it is not there.
fn child(objects: &mut Vec<Object>, parent_idx: usize, key: &str) -> usize {
    let member_idx = objects[parent_idx].member(key);
    let next = objects.len();
    let child_idx = *objects[parent_idx].members[member_idx].object.get_or_insert(next);
    if child_idx == next {
        objects.push(Object::default());
    }
    child_idx
}

fn checked_text(value: &[u8]) -> Result<&str, DecodeError> {
    if value.is_empty() {
        return Err(DecodeError::Empty);
    }
    if value.len() > VALUE_BYTES_MAX {
        return Err(DecodeError::Json { at: VALUE_BYTES_MAX, what: "longer than 1 GiB" });
    }
    simdutf8::basic::from_utf8(value).map_err(|_| {
        // The fast check does not say where; the slow one is for dead letters only.
        DecodeError::Utf8 { at: std::str::from_utf8(value).map_or_else(|error| error.valid_up_to(), str::len) }
    })
}

/// The value here, as one of `field_type`.
#[inline]
fn leaf(cursor: &mut Cursor<'_>, field_type: FieldType, depth: u32, scratch: &mut Vec<u8>) -> Result<Found, Fault> {
    let at = cursor.at as u32;
    match (cursor.peek(), field_type) {
        (b'"', FieldType::Text) => {
            let quoted = cursor.string()?;
            Ok(if quoted.is_escaped { unescaped(cursor.text, quoted, scratch) } else { in_text(quoted) })
        }
        (b'"', FieldType::Bytes) => {
            let quoted = cursor.string()?;
            Ok(base64_bytes(cursor.text, quoted, scratch))
        }
        (b'-' | b'0'..=b'9', FieldType::Int) => integer(cursor),
        (b'-' | b'0'..=b'9', FieldType::Float) => {
            let number = cursor.number()?;
            let float: f64 = cursor.text[number.start..number.end].parse().expect("every JSON number is one of Rust");
            Ok(if float.is_finite() { Found::Float(float) } else { Found::Other { at, what: What::LargeFloat } })
        }
        (b't', FieldType::Bool) => cursor.word("true").map(|()| Found::Bool(true)),
        (b'f', FieldType::Bool) => cursor.word("false").map(|()| Found::Bool(false)),
        (b'n', _) => cursor.word("null").map(|()| Found::Null { at }),
        (first, _) => cursor.skip(depth).map(|()| Found::Other { at, what: what_starts_with(first) }),
    }
}

#[inline]
fn integer(cursor: &mut Cursor<'_>) -> Result<Found, Fault> {
    let begin = *cursor;
    let is_negative = cursor.peek() == b'-';
    let digits = &cursor.rest()[usize::from(is_negative)..];
    let mut magnitude = 0_i64;
    let mut n_digits = 0;
    // 18 digits fit any 64 bits; longer ones, and all that is not plain digits, take the slow way.
    while n_digits < 19
        && let Some(byte) = digits.get(n_digits)
        && byte.is_ascii_digit()
    {
        magnitude = magnitude.wrapping_mul(10).wrapping_add(i64::from(byte - b'0'));
        n_digits += 1;
    }
    let ends_plainly = !matches!(digits.get(n_digits), Some(b'.' | b'e' | b'E'));
    let leads_plainly = digits.first() != Some(&b'0') || n_digits == 1;
    if (1..=18).contains(&n_digits) && ends_plainly && leads_plainly {
        cursor.at += usize::from(is_negative) + n_digits;
        return Ok(Found::Int(if is_negative { -magnitude } else { magnitude }));
    }
    let number = cursor.number()?;
    let at = begin.at as u32;
    if !number.is_integer {
        return Ok(Found::Other { at, what: What::NotInteger });
    }
    Ok(cursor.text[number.start..number.end].parse().map_or(Found::Other { at, what: What::LongInteger }, Found::Int))
}

fn in_text(quoted: Quoted) -> Found {
    Found::Text { start: quoted.start as u32, end: quoted.end as u32 }
}

#[cold]
fn unescaped(text: &str, quoted: Quoted, scratch: &mut Vec<u8>) -> Found {
    let start = scratch.len() as u32;
    unescape(text, quoted, scratch);
    Found::Scratch { start, end: scratch.len() as u32 }
}

fn base64_bytes(text: &str, quoted: Quoted, scratch: &mut Vec<u8>) -> Found {
    let mut unescaped = Vec::new();
    let digits = if quoted.is_escaped {
        unescape(text, quoted, &mut unescaped);
        &unescaped
    } else {
        &text.as_bytes()[quoted.start..quoted.end]
    };
    let start = scratch.len();
    if base64::decode(digits, scratch).is_none() {
        scratch.truncate(start);
        return Found::Other { at: quoted.start as u32 - 1, what: What::NotBase64 };
    }
    Found::Scratch { start: start as u32, end: scratch.len() as u32 }
}

fn what_starts_with(first: u8) -> What {
    match first {
        b'{' => What::Object,
        b'[' => What::Array,
        b'"' => What::Text,
        b't' | b'f' => What::Bool,
        _ => What::Number,
    }
}
