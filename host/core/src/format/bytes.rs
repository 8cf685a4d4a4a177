//! A place in binary text, and what both formats have in it.

/// How deep records, lists and messages may stand in each other.
pub(super) const NESTING_MAX: u32 = 100;

/// Where the bytes are not what they should be, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub at: usize,
    pub what: &'static str,
}

/// A place in a value. Every method that succeeds leaves it behind what it read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
}

/// A stretch of the value. Sources refuse values beyond 64 MiB, so it fits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub start: u32,
    pub end: u32,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8], at: usize) -> Cursor<'a> {
        Cursor { bytes, at }
    }

    #[cold]
    pub fn fault<T>(&self, what: &'static str) -> Result<T, Fault> {
        Err(Fault { at: self.at, what })
    }

    pub fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// The next `len` bytes.
    #[inline]
    pub fn take(&mut self, len: u64) -> Result<&'a [u8], Fault> {
        let rest = &self.bytes[self.at..];
        if len > rest.len() as u64 {
            return self.fault("the value ends too early");
        }
        let (taken, _) = rest.split_at(len as usize);
        self.at += taken.len();
        Ok(taken)
    }

    /// As [`Cursor::take`]: where they stand.
    #[inline]
    pub fn span(&mut self, len: u64) -> Result<Span, Fault> {
        let start = self.at as u32;
        self.take(len)?;
        Ok(Span { start, end: self.at as u32 })
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        Ok(self.take(N as u64)?.try_into().expect("as many as were asked for"))
    }

    /// Seven bits a byte, the lowest first; at most 64.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, Fault> {
        let mut value = 0_u64;
        for (idx, byte) in self.bytes[self.at..].iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * idx);
            if *byte < 0x80 {
                if idx == 9 && *byte > 1 {
                    break;
                }
                self.at += idx + 1;
                return Ok(value);
            }
        }
        let is_cut = self.bytes.len() - self.at < 10;
        self.fault(if is_cut { "the value ends too early" } else { "a number beyond 64 bits" })
    }
}

/// Small numbers of both signs are small varints.
pub(super) fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// The inverse of [`zigzag`].
pub(super) fn zigzagged(value: i64) -> u64 {
    (value as u64) << 1 ^ (value >> 63) as u64
}

/// The inverse of [`Cursor::varint`].
pub(super) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_zigzag(value: i64, out: &mut Vec<u8>) {
    put_varint(zigzagged(value), out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_at_their_edges() {
        let read = |bytes: &[u8]| Cursor::new(bytes, 0).varint().map_err(|fault| fault.what);
        assert_eq!(read(&[0]), Ok(0));
        assert_eq!(read(&[0x7f]), Ok(127));
        assert_eq!(read(&[0x80, 1, 9]), Ok(128));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), Ok(u64::MAX));
        for cut in [&[][..], &[0x80], &[0xff; 9]] {
            assert_eq!(read(cut), Err("the value ends too early"));
        }
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]), Err("a number beyond 64 bits"));
        assert_eq!(read(&[0x80; 11]), Err("a number beyond 64 bits"));
        assert_eq!([0, 1, 2, u64::MAX - 1, u64::MAX].map(zigzag), [0, -1, 1, i64::MAX, i64::MIN]);
    }

    #[test]
    fn what_is_put_is_read_again() {
        for value in [0, 1, 127, 128, 16_383, 16_384, i64::MAX as u64, u64::MAX] {
            let mut bytes = Vec::new();
            put_varint(value, &mut bytes);
            let mut cursor = Cursor::new(&bytes, 0);
            assert_eq!((cursor.varint(), cursor.is_at_end()), (Ok(value), true));
            assert_eq!(zigzagged(zigzag(value)), value);
        }
    }
}
