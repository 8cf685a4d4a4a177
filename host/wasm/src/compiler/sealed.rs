//! Native code on its way from one process to another, on a pipe or in a file.
//!
//! ```text
//! magic     16 bytes
//! key       32 bytes: BLAKE3 of the build of Reelflow, of what wasmtime says that code depends on, and of the component
//! checksum  32 bytes: BLAKE3 of the code
//! length     8 bytes, little-endian
//! code      so many bytes, and nothing behind them
//! ```

use std::hash::{Hash, Hasher};

use wasmtime::Engine;

const MAGIC: &[u8; 16] = b"reelflow native\x01";
const HEAD_BYTES: usize = 16 + 32 + 32 + 8;
/// Code of a component, at most. The largest that the counts of `shape` let through is a tenth of it.
const CODE_BYTES_MAX: usize = 256 << 20;

/// Which code: of which component, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key([u8; 32]);

impl Key {
    /// `digest`: of the component.
    pub(crate) fn new(engine: &Engine, digest: &str) -> Key {
        let mut hasher = KeyHasher(blake3::Hasher::new());
        (env!("CARGO_PKG_VERSION"), digest).hash(&mut hasher);
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Key(*hasher.0.finalize().as_bytes())
    }

    pub(crate) fn to_hex(self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }
}

/// The standard library's own hashes have 64 bits, and may be others in its next version.
struct KeyHasher(blake3::Hasher);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        unreachable!("the key is all of the hash")
    }
}

/// Bytes that claim to be code. Whether they are is only known once they are opened.
pub(crate) struct Sealed(Vec<u8>);

impl Sealed {
    /// The most bytes that there can be.
    pub(crate) const BYTES_MAX: usize = HEAD_BYTES + CODE_BYTES_MAX;

    pub(crate) fn new(key: &Key, code: &[u8]) -> Sealed {
        let checksum = blake3::hash(code);
        Sealed([MAGIC, &key.0[..], checksum.as_bytes(), &(code.len() as u64).to_le_bytes(), code].concat())
    }

    /// Takes in whatever came.
    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Sealed {
        Sealed(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The code, if it is whole and what `key` names.
    pub(crate) fn open(&self, key: &Key) -> Option<&[u8]> {
        let (magic, rest) = self.0.split_first_chunk::<16>()?;
        let (of, rest) = rest.split_first_chunk::<32>()?;
        let (checksum, rest) = rest.split_first_chunk::<32>()?;
        let (len, code) = rest.split_first_chunk::<8>()?;
        let is_right = magic == MAGIC
            && *of == key.0
            && u64::from_le_bytes(*len) == code.len() as u64
            && code.len() <= CODE_BYTES_MAX
            && blake3::hash(code) == *checksum;
        is_right.then_some(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key([7; 32]);

    fn open(bytes: &[u8], key: &Key) -> Option<Vec<u8>> {
        Sealed::from_bytes(bytes.to_vec()).open(key).map(<[u8]>::to_vec)
    }

    #[test]
    fn what_is_sealed_is_opened_with_its_key_alone() {
        for code in [&b""[..], b"code"] {
            let sealed = Sealed::new(&KEY, code);
            assert_eq!(open(sealed.as_bytes(), &KEY).as_deref(), Some(code));
            assert_eq!(open(sealed.as_bytes(), &Key([8; 32])), None);
        }
    }

    #[test]
    fn each_byte_counts() {
        let sealed = Sealed::new(&KEY, b"code");
        let bytes = sealed.as_bytes();
        for at in 0..bytes.len() {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1;
            assert_eq!(open(&damaged, &KEY), None, "byte {at}");
            assert_eq!(open(&bytes[..at], &KEY), None, "{at} bytes");
        }
        assert_eq!(open(&[bytes, b"x"].concat(), &KEY), None);
    }

    #[test]
    fn a_key_names_the_component() {
        let engine = crate::engine::engine();
        assert_eq!(Key::new(&engine, "a"), Key::new(&crate::engine::engine(), "a"));
        assert_ne!(Key::new(&engine, "a"), Key::new(&engine, "b"));
        let mut other = wasmtime::Config::new();
        other.epoch_interruption(false);
        assert_ne!(Key::new(&engine, "a"), Key::new(&Engine::new(&other).unwrap(), "a"));
    }
}
