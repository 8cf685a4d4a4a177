//! Protobuf on the wire: tags, scalars, and fields that nobody asked for.

use super::Kind;
use crate::format::{
    bytes::{Cursor, Fault, NESTING_MAX, zigzag},
    layout::Found,
};

/// How a field lies in the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Varint,
    Eight,
    Long,
    GroupStart,
    GroupEnd,
    Four,
}

impl Wire {
    pub fn of(kind: Kind) -> Wire {
        match kind {
            Kind::Int32
            | Kind::Int64
            | Kind::Uint32
            | Kind::Uint64
            | Kind::Sint32
            | Kind::Sint64
            | Kind::Bool
            | Kind::Enum(_) => Wire::Varint,
            Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => Wire::Eight,
            Kind::Fixed32 | Kind::Sfixed32 | Kind::Float => Wire::Four,
            Kind::String | Kind::Bytes | Kind::Message(_) => Wire::Long,
            Kind::Group(_) => Wire::GroupStart,
        }
    }
}

/// The number of a field, and how it lies there.
#[inline]
pub(super) fn tag(cursor: &mut Cursor<'_>) -> Result<(u32, Wire), Fault> {
    let at = *cursor;
    let Ok(tag) = u32::try_from(cursor.varint()?) else { return at.fault("the number of a field is too great") };
    let wire = match tag & 7 {
        0 => Wire::Varint,
        1 => Wire::Eight,
        2 => Wire::Long,
        3 => Wire::GroupStart,
        4 => Wire::GroupEnd,
        5 => Wire::Four,
        _ => return at.fault("no such kind of field"),
    };
    match tag >> 3 {
        0 => at.fault("a field with the number 0"),
        number => Ok((number, wire)),
    }
}

/// A scalar of `kind`, which is neither an enum nor a message.
#[inline]
pub(super) fn scalar(kind: Kind, cursor: &mut Cursor<'_>) -> Result<Found, Fault> {
    // Smaller kinds are written as if they were greater, and cut when they are read.
    Ok(match kind {
        Kind::Int32 | Kind::Enum(_) => Found::Int((cursor.varint()? as i32).into()),
        Kind::Int64 => Found::Int(cursor.varint()? as i64),
        Kind::Uint32 => Found::Int((cursor.varint()? as u32).into()),
        Kind::Uint64 => unsigned(cursor.varint()?),
        Kind::Sint32 => Found::Int(zigzag((cursor.varint()? as u32).into())),
        Kind::Sint64 => Found::Int(zigzag(cursor.varint()?)),
        Kind::Fixed32 => Found::Int(u32::from_le_bytes(cursor.array()?).into()),
        Kind::Fixed64 => unsigned(u64::from_le_bytes(cursor.array()?)),
        Kind::Sfixed32 => Found::Int(i32::from_le_bytes(cursor.array()?).into()),
        Kind::Sfixed64 => Found::Int(i64::from_le_bytes(cursor.array()?)),
        Kind::Float => Found::Float(f32::from_le_bytes(cursor.array()?).into()),
        Kind::Double => Found::Float(f64::from_le_bytes(cursor.array()?)),
        Kind::Bool => Found::Bool(cursor.varint()? != 0),
        Kind::String | Kind::Bytes => {
            let len = cursor.varint()?;
            Found::Bytes(cursor.span(len)?)
        }
        Kind::Message(_) | Kind::Group(_) => unreachable!("messages are not scalars"),
    })
}

fn unsigned(value: u64) -> Found {
    i64::try_from(value).map_or(Found::Large(value), Found::Int)
}

/// What follows a tag, inside `depth` groups: forgotten.
pub(super) fn skip(number: u32, wire: Wire, cursor: &mut Cursor<'_>, depth: u32) -> Result<(), Fault> {
    match wire {
        Wire::Varint => cursor.varint().map(drop),
        Wire::Eight => cursor.take(8).map(drop),
        Wire::Four => cursor.take(4).map(drop),
        Wire::Long => {
            let len = cursor.varint()?;
            cursor.take(len).map(drop)
        }
        Wire::GroupEnd => cursor.fault("the end of a group that was not begun"),
        Wire::GroupStart if depth > NESTING_MAX => cursor.fault("nested too deeply"),
        Wire::GroupStart => loop {
            match tag(cursor)? {
                (end, Wire::GroupEnd) if end == number => return Ok(()),
                (number, wire) => skip(number, wire, cursor, depth + 1)?,
            }
        },
    }
}
