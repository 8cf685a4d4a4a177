//! What the core reads and writes by a schema is what the libraries of Avro and Protobuf read and write by it.

mod avro;
mod protobuf;
mod written;

use std::sync::Arc;

use reelflow_core::{
    column::Value,
    format::{SourceFormat, WriterSchema, decoder::Decoder},
    record::Record,
    schema::{Field, FieldType, Schema},
};

/// What a field holds, in a form that both sides have.
#[derive(Clone, Debug, PartialEq)]
enum Plain {
    Null,
    Bool(bool),
    Int(i64),
    /// Its bits: a NaN is equal to itself.
    Float(u64),
    Bytes(Vec<u8>),
}

/// A stream of numbers that is the same for the same seed.
struct Dice(u64);

impl Dice {
    /// Source: Steele and Lea, "Fast splittable pseudorandom number generators", OOPSLA 2014: SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// Small and great numbers of both signs.
    fn long(&mut self) -> i64 {
        let shift = self.below(64);
        (self.next() >> shift) as i64 * if self.below(2) == 0 { 1 } else { -1 }
    }

    fn double(&mut self) -> f64 {
        self.long() as f64 / 64.0
    }

    fn text(&mut self) -> String {
        (0..self.below(6)).map(|_| ['a', 'é', '\u{0}', '漢', '\u{1f600}'][self.below(5) as usize]).collect()
    }

    fn bytes(&mut self) -> Vec<u8> {
        (0..self.below(6)).map(|_| self.next() as u8).collect()
    }
}

/// The fields at `paths`, none of them required.
fn schema(paths: &[(String, FieldType)]) -> Schema {
    let field = |(idx, (path, field_type)): (usize, &(String, FieldType))| Field {
        name: format!("f{idx}"),
        path: path.clone(),
        field_type: *field_type,
        required: false,
    };
    Schema { fields: paths.iter().enumerate().map(field).collect() }
}

/// The row that the core reads out of `value`; or the code of its refusal.
fn read(writer: &WriterSchema, paths: &[(String, FieldType)], value: &[u8]) -> Result<Vec<Plain>, &'static str> {
    let mut decoder = Decoder::new(&SourceFormat::Bare(Arc::new(writer.clone())), &schema(paths));
    let mut rows = decoder.rows();
    let record = Record { offset: 0, timestamp_ms: 0, key: None, value: Some(value), headers: &[] };
    decoder.decode(&record, &mut rows).map_err(|error| error.code())?;
    let plain = |value: Value<'_>| match value {
        Value::Null => Plain::Null,
        Value::Bool(value) => Plain::Bool(value),
        Value::Int(value) => Plain::Int(value),
        Value::Float(value) => Plain::Float(value.to_bits()),
        Value::Bytes(bytes) => Plain::Bytes(bytes.to_vec()),
    };
    Ok(rows.finish().columns().iter().map(|column| plain(column.at(0))).collect())
}

/// `value` with a byte changed or its end cut off.
fn damaged(value: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut damaged = value.to_vec();
    let at = dice.below(value.len().max(1) as u64) as usize;
    match dice.below(3) {
        0 => damaged.truncate(at),
        _ if value.is_empty() => damaged.push(dice.next() as u8),
        _ => damaged[at] = dice.next() as u8,
    }
    damaged
}
