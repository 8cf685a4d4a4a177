//! How state changes are written down: a small, versioned, checksummed binary form of the core's own (I-10).
//!
//! A *chunk* is one record of the changelog. It holds the changes of some stages of one task in one epoch:
//!
//! ```text
//! chunk   = version u8 (1) | crc32 of the rest, u32 LE | section*
//! section = name length varint | stage name | body length varint | body        (a stage may have several sections)
//! ```
//!
//! A body is written and read by its stage alone, with the primitives of [`ByteWriter`] and [`ChangeReader`].

use crate::task::may_change_with_a_reset;

/// The format that this build writes.
pub const CHUNK_VERSION: u8 = 1;
/// A body is cut into a new section, and sections into a new chunk, once it is longer than this: brokers refuse records over 1 MB.
pub const CHUNK_BYTES_MAX: usize = 256 * 1024;

/// Stored bytes that are not what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    #[error("state of format version {found}, this build reads version {reads}")]
    Version { found: u8, reads: u8 },
    #[error("state bytes are damaged: {0}")]
    Damaged(&'static str),
    #[error("state of a stage \"{0}\" that the pipeline does not have")]
    UnknownStage(String),
    /// Inputs that tasks of different fragments read, and one task is to read now: it could go on from the state of one of them only.
    #[error("\"{0}\" and \"{1}\" were read apart, with states of their own, and are now read as one")]
    ReadApart(String, String),
    /// The inputs of a task were read by a task of another name.
    #[error("what task \"{was}\" read is now read by task \"{is}\": the first source names a task")]
    Renamed { was: String, is: String },
    /// What decides the results of a stage is not what it was when its state was written.
    #[error("stage \"{stage}\" had {term} = {was}, now it is {is}")]
    OtherTerms { stage: String, term: &'static str, was: String, is: String },
    /// The plugin of a stage was replaced by one that cannot read what is kept.
    #[error("stage \"{stage}\" keeps state {keeps}, its plugin reads {plugin}")]
    OtherState { stage: String, keeps: String, plugin: String },
    /// Somebody had the stage begin anew, and whoever reads its state does not know of that.
    #[error("stage \"{0}\" began anew, by a record of the control topic that was not read")]
    Ahead(String),
}

impl StateError {
    /// Whether the bytes are sound, and the manifest or a plugin is what changed.
    pub fn is_of_another_plan(&self) -> bool {
        match self {
            StateError::UnknownStage(_)
            | StateError::ReadApart(..)
            | StateError::Renamed { .. }
            | StateError::OtherTerms { .. }
            | StateError::OtherState { .. }
            | StateError::Ahead(_) => true,
            StateError::Version { .. } | StateError::Damaged(_) => false,
        }
    }

    /// The stage that could go on if it began anew ([`crate::plan::Plan::resets`]).
    pub fn can_be_reset(&self) -> Option<&str> {
        match self {
            StateError::OtherTerms { stage, term, .. } => may_change_with_a_reset(term).then_some(stage),
            StateError::OtherState { stage, .. } => Some(stage),
            StateError::UnknownStage(_)
            | StateError::ReadApart(..)
            | StateError::Renamed { .. }
            | StateError::Ahead(_)
            | StateError::Version { .. }
            | StateError::Damaged(_) => None,
        }
    }
}

/// Collects the changes of a task in one epoch, as chunks of bounded size.
#[derive(Debug, Default)]
pub struct ChangeWriter {
    chunks: Vec<Vec<u8>>,
    stage: String,
    body: ByteWriter,
    n_bytes: usize,
}

/// Appends primitives to bytes; [`ChangeReader`] reads them back.
#[derive(Debug, Default)]
pub struct ByteWriter {
    bytes: Vec<u8>,
}

impl ByteWriter {
    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub fn bool(&mut self, value: bool) {
        self.bytes.push(u8::from(value));
    }

    /// An unsigned integer in LEB128: 1 to 10 bytes.
    pub fn varint(&mut self, value: u64) {
        varint(&mut self.bytes, value);
    }

    /// A signed integer, zigzag in LEB128: small magnitudes are short.
    pub fn signed(&mut self, value: i64) {
        varint(&mut self.bytes, ((value << 1) ^ (value >> 63)) as u64);
    }

    /// A length and then the bytes.
    pub fn bytes(&mut self, value: &[u8]) {
        varint(&mut self.bytes, value.len() as u64);
        self.bytes.extend_from_slice(value);
    }

    /// Bytes whose number the reader knows.
    pub fn fixed(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl ChangeWriter {
    /// What follows is of the stage called `name`.
    pub fn stage(&mut self, name: &str) {
        self.end_section();
        self.stage.clear();
        self.stage.push_str(name);
    }

    /// Must be called between two changes that can be read apart: here a long body may be cut.
    pub fn end_change(&mut self) {
        if self.body.bytes.len() >= CHUNK_BYTES_MAX {
            self.end_section();
        }
    }

    /// Where the body of the current stage is written.
    pub fn body(&mut self) -> &mut ByteWriter {
        &mut self.body
    }

    /// The chunks, in order. Empty when nothing was written.
    pub fn finish(mut self) -> Vec<Vec<u8>> {
        self.end_section();
        self.chunks.iter_mut().for_each(|chunk| {
            let crc = crc32fast::hash(&chunk[5..]);
            chunk[1..5].copy_from_slice(&crc.to_le_bytes());
        });
        self.chunks
    }

    /// How many bytes were written so far.
    pub fn n_bytes(&self) -> usize {
        self.n_bytes + self.body.bytes.len()
    }

    fn end_section(&mut self) {
        if self.body.bytes.is_empty() {
            return;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() >= CHUNK_BYTES_MAX) {
            self.chunks.push(vec![CHUNK_VERSION, 0, 0, 0, 0]);
        }
        let chunk = self.chunks.last_mut().expect("one was just pushed");
        varint(chunk, self.stage.len() as u64);
        chunk.extend_from_slice(self.stage.as_bytes());
        varint(chunk, self.body.bytes.len() as u64);
        chunk.extend_from_slice(&self.body.bytes);
        self.n_bytes += self.body.bytes.len();
        self.body.bytes.clear();
    }
}

fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

/// Checks a chunk and gives its sections: (stage name, body).
pub fn sections(chunk: &[u8]) -> Result<Vec<(&str, ChangeReader<'_>)>, StateError> {
    let (&version, rest) = chunk.split_first().ok_or(StateError::Damaged("no version"))?;
    if version != CHUNK_VERSION {
        return Err(StateError::Version { found: version, reads: CHUNK_VERSION });
    }
    let (crc, rest) = rest.split_first_chunk::<4>().ok_or(StateError::Damaged("no checksum"))?;
    if crc32fast::hash(rest) != u32::from_le_bytes(*crc) {
        return Err(StateError::Damaged("checksum"));
    }
    let mut reader = ChangeReader::new(rest);
    let mut sections = Vec::new();
    while !reader.is_empty() {
        let name = std::str::from_utf8(reader.bytes()?).map_err(|_| StateError::Damaged("stage name"))?;
        sections.push((name, ChangeReader::new(reader.bytes()?)));
    }
    Ok(sections)
}

/// Reads what a [`ChangeWriter`] wrote; every method fails on bytes that end too early.
#[derive(Clone, Debug)]
pub struct ChangeReader<'a> {
    rest: &'a [u8],
}

impl<'a> ChangeReader<'a> {
    pub fn new(bytes: &'a [u8]) -> ChangeReader<'a> {
        ChangeReader { rest: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is left to read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn u8(&mut self) -> Result<u8, StateError> {
        let (&value, rest) = self.rest.split_first().ok_or(StateError::Damaged("end of bytes"))?;
        self.rest = rest;
        Ok(value)
    }

    pub fn bool(&mut self) -> Result<bool, StateError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(StateError::Damaged("a bool")),
        }
    }

    pub fn varint(&mut self) -> Result<u64, StateError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(StateError::Damaged("a long varint"))
    }

    pub fn signed(&mut self) -> Result<i64, StateError> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    pub fn bytes(&mut self) -> Result<&'a [u8], StateError> {
        let len = usize::try_from(self.varint()?).map_err(|_| StateError::Damaged("a length"))?;
        self.fixed(len)
    }

    /// The next `len` bytes.
    pub fn fixed(&mut self, len: usize) -> Result<&'a [u8], StateError> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(StateError::Damaged("end of bytes"))?;
        self.rest = rest;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut writer = ChangeWriter::default();
        writer.stage("a");
        for value in [0, 1, -1, 63, -64, i64::MAX, i64::MIN] {
            writer.body().signed(value);
        }
        writer.body().bytes(b"xyz");
        writer.stage("b");
        writer.body().varint(u64::MAX);
        let chunks = writer.finish();
        let mut sections = sections(&chunks[0]).unwrap();
        let (name, a) = &mut sections[0];
        assert_eq!(*name, "a");
        for value in [0, 1, -1, 63, -64, i64::MAX, i64::MIN] {
            assert_eq!(a.signed(), Ok(value));
        }
        assert_eq!(a.bytes(), Ok(&b"xyz"[..]));
        assert!(a.is_empty());
        assert_eq!(sections[1].1.varint(), Ok(u64::MAX));
    }

    /// The stored form: changelogs outlive a build, so the bytes of each version must be read for ever (I-10).
    #[test]
    fn the_bytes_of_every_version() {
        let mut writer = ChangeWriter::default();
        writer.stage("a");
        writer.body().varint(300);
        writer.body().signed(-3);
        writer.stage("bc");
        writer.body().bytes(b"xyz");
        let version_1 = b"\x01\x79\xb9\xdc\x7e\x01a\x03\xac\x02\x05\x02bc\x04\x03xyz";
        assert_eq!(writer.finish(), [version_1]);
        let mut sections = sections(version_1).unwrap();
        assert_eq!((sections.len(), sections[0].0, sections[1].0), (2, "a", "bc"));
        assert_eq!((sections[0].1.varint(), sections[0].1.signed()), (Ok(300), Ok(-3)));
        assert_eq!(sections[1].1.bytes(), Ok(&b"xyz"[..]));
    }

    #[test]
    fn damage_is_found() {
        let mut writer = ChangeWriter::default();
        writer.stage("a");
        writer.body().bytes(b"xyz");
        let mut chunk = writer.finish().remove(0);
        let last = chunk.len() - 1;
        chunk[last] ^= 1;
        assert_eq!(sections(&chunk).unwrap_err(), StateError::Damaged("checksum"));
        chunk[0] = 9;
        assert_eq!(sections(&chunk).unwrap_err(), StateError::Version { found: 9, reads: CHUNK_VERSION });
        assert_eq!(sections(&[]).unwrap_err(), StateError::Damaged("no version"));
    }
}
