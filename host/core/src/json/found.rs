//! What a value holds for a field, read as one of its type.

use crate::{
    column::Value,
    json::{
        base64,
        scan::{Cursor, Fault, Quoted, unescape},
    },
    schema::FieldType,
};

/// What the value holds for a field. Positions fit 32 bits, which is checked first.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found {
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
pub(super) enum What {
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

impl Found {
    /// Whether this is a value of the field's type.
    pub fn is_value(&self) -> bool {
        !matches!(self, Found::Absent | Found::Null { .. } | Found::Other { .. })
    }

    /// What a column holds for it; null for what is no value.
    #[inline(always)]
    pub fn value<'a>(&self, value: &'a [u8], scratch: &'a [u8]) -> Value<'a> {
        match *self {
            Found::Absent | Found::Null { .. } | Found::Other { .. } => Value::Null,
            Found::Bool(value) => Value::Bool(value),
            Found::Int(value) => Value::Int(value),
            Found::Float(value) => Value::Float(value),
            Found::Text { start, end } => Value::Bytes(&value[start as usize..end as usize]),
            Found::Scratch { start, end } => Value::Bytes(&scratch[start as usize..end as usize]),
        }
    }

    /// What the fields inside an object have before it is read, or instead of it, if something else stands at `cursor`.
    pub fn instead_of_object(cursor: Cursor<'_>) -> Found {
        let at = cursor.at as u32;
        match cursor.peek() {
            b'{' => Found::Absent,
            b'n' => Found::Null { at },
            first => Found::Other { at, what: What::starting_with(first) },
        }
    }
}

impl What {
    fn starting_with(first: u8) -> What {
        match first {
            b'{' => What::Object,
            b'[' => What::Array,
            b'"' => What::Text,
            b't' | b'f' => What::Bool,
            _ => What::Number,
        }
    }

    pub fn name(self) -> &'static str {
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

/// Puts the value here, as one of `field_type`, into `found`.
///
/// Into, since a `Found` that is returned and then stored is written in parts and read at once, which stalls the processor: a
/// third of the time of a whole record.
#[inline(always)]
pub(super) fn leaf(
    cursor: &mut Cursor<'_>,
    field_type: FieldType,
    depth: u32,
    scratch: &mut Vec<u8>,
    found: &mut Found,
) -> Result<(), Fault> {
    let at = cursor.at as u32;
    match (cursor.peek(), field_type) {
        (b'"', FieldType::Text) => {
            let quoted = cursor.string()?;
            if quoted.is_escaped {
                *found = unescaped(cursor.text, quoted, scratch);
            } else {
                *found = Found::Text { start: quoted.start as u32, end: quoted.end as u32 };
            }
        }
        (b'"', FieldType::Bytes) => *found = base64_bytes(cursor.text, cursor.string()?, scratch),
        (b'-' | b'0'..=b'9', FieldType::Int) => match cursor.short_integer() {
            Some(value) => *found = Found::Int(value),
            None => {
                let (after, integer) = long_integer(*cursor)?;
                *cursor = after;
                *found = integer;
            }
        },
        (b'-' | b'0'..=b'9', FieldType::Float) => {
            let number = cursor.number()?;
            let float: f64 = cursor.text[number.start..number.end].parse().expect("every JSON number is one of Rust");
            if float.is_finite() {
                *found = Found::Float(float);
            } else {
                *found = Found::Other { at, what: What::LargeFloat };
            }
        }
        (b't', FieldType::Bool) => {
            cursor.word("true")?;
            *found = Found::Bool(true);
        }
        (b'f', FieldType::Bool) => {
            cursor.word("false")?;
            *found = Found::Bool(false);
        }
        (b'n', _) => {
            cursor.word("null")?;
            *found = Found::Null { at };
        }
        (first, _) => {
            cursor.skip(depth)?;
            *found = Found::Other { at, what: What::starting_with(first) };
        }
    }
    Ok(())
}

#[cold]
fn long_integer(mut cursor: Cursor<'_>) -> Result<(Cursor<'_>, Found), Fault> {
    let at = cursor.at as u32;
    let number = cursor.number()?;
    let found = if number.is_integer {
        cursor.text[number.start..number.end].parse().map_or(Found::Other { at, what: What::LongInteger }, Found::Int)
    } else {
        Found::Other { at, what: What::NotInteger }
    };
    Ok((cursor, found))
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
