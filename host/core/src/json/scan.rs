//! Walks over JSON text: strings, numbers, and whole values that nobody asked for.
//!
//! The text is known to be UTF-8, so only ASCII bytes matter here. Source of the grammar: RFC 8259.

/// How deep arrays and objects may stand in each other: the 128th level is refused, as `serde_json` does.
pub(super) const NESTING_MAX: u32 = 127;

/// Where the text is not JSON, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub at: usize,
    pub what: &'static str,
}

/// A string in the text: what stands between its quotes, which is `start..end`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quoted {
    pub start: usize,
    pub end: usize,
    /// Whether escapes stand for some of it.
    pub is_escaped: bool,
}

/// A number in the text: `start..end`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number {
    pub start: usize,
    pub end: usize,
    /// No fraction and no exponent.
    pub is_integer: bool,
}

/// A place in the text. Every method that succeeds leaves it behind what it read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    pub text: &'a str,
    pub at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str) -> Cursor<'a> {
        Cursor { text, at: 0 }
    }

    /// The byte here; 0, which starts nothing in JSON, at the end.
    #[inline(always)]
    pub fn peek(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    #[inline(always)]
    pub fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// By value, and so are the slow ways below: a cursor whose address is never taken stays in registers.
    #[cold]
    pub fn fault<T>(self, what: &'static str) -> Result<T, Fault> {
        let what = if self.at >= self.text.len() { "the text ends too early" } else { what };
        Err(Fault { at: self.at, what })
    }

    #[inline(always)]
    pub fn whitespace(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    /// The colon between a key and its value, with the whitespace around it.
    #[inline(always)]
    pub fn colon(&mut self) -> Result<(), Fault> {
        self.whitespace();
        if self.peek() != b':' {
            return self.fault("expected a colon");
        }
        self.at += 1;
        self.whitespace();
        Ok(())
    }

    /// One of `true`, `false` and `null`.
    #[inline(always)]
    pub fn word(&mut self, word: &'static str) -> Result<(), Fault> {
        if !self.rest().starts_with(word.as_bytes()) {
            return self.fault("expected a value");
        }
        self.at += word.len();
        Ok(())
    }

    /// A string, from its opening quote on. Checks its escapes and that it holds no control characters.
    #[inline(always)]
    pub fn string(&mut self) -> Result<Quoted, Fault> {
        if self.peek() != b'"' {
            return self.fault("expected a string");
        }
        self.at += 1;
        let start = self.at;
        self.at += plain_len(self.rest());
        let is_escaped = self.peek() != b'"';
        if is_escaped {
            *self = self.rest_of_string()?;
        }
        let end = self.at;
        self.at += 1;
        Ok(Quoted { start, end, is_escaped })
    }

    /// The closing quote of a string with escapes.
    #[cold]
    fn rest_of_string(mut self) -> Result<Cursor<'a>, Fault> {
        loop {
            match self.peek() {
                b'"' => return Ok(self),
                b'\\' => drop(self.escape()?),
                _ => return self.fault("control character in a string"),
            }
            self.at += plain_len(self.rest());
        }
    }

    /// A backslash and what belongs to it, both halves of a surrogate pair included. Returns the character.
    pub fn escape(&mut self) -> Result<char, Fault> {
        let begin = *self;
        self.at += 1;
        let letter = self.peek();
        let unescaped = match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\x08',
            b'f' => '\x0c',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode_escape(begin),
            _ => return self.fault("unknown escape"),
        };
        self.at += 1;
        Ok(unescaped)
    }

    fn unicode_escape(&mut self, begin: Cursor<'a>) -> Result<char, Fault> {
        self.at += 1;
        let first = self.four_digits()?;
        let code = match first {
            0xd800..=0xdbff => {
                if !self.rest().starts_with(b"\\u") {
                    return begin.fault("half of a surrogate pair");
                }
                self.at += 2;
                match self.four_digits()? {
                    second @ 0xdc00..=0xdfff => 0x10000 + ((first - 0xd800) << 10 | (second - 0xdc00)),
                    _ => return begin.fault("half of a surrogate pair"),
                }
            }
            _ => first,
        };
        // What is left out of `char` is the second half of a pair without its first.
        char::from_u32(code).map_or_else(|| begin.fault("half of a surrogate pair"), Ok)
    }

    fn four_digits(&mut self) -> Result<u32, Fault> {
        let mut code = 0;
        for _ in 0..4 {
            let Some(digit) = char::from(self.peek()).to_digit(16) else { return self.fault("expected four hexadecimal digits") };
            code = code << 4 | digit;
            self.at += 1;
        }
        Ok(code)
    }

    /// A number, from its sign or first digit on.
    #[inline(always)]
    pub fn number(&mut self) -> Result<Number, Fault> {
        let start = self.at;
        if self.peek() == b'-' {
            self.at += 1;
        }
        if self.peek() == b'0' {
            self.at += 1;
            if self.peek().is_ascii_digit() {
                return self.fault("number with a leading zero");
            }
        } else {
            self.digits()?;
        }
        let mut is_integer = true;
        if self.peek() == b'.' {
            is_integer = false;
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            is_integer = false;
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(Number { start, end: self.at, is_integer })
    }

    #[inline(always)]
    fn digits(&mut self) -> Result<(), Fault> {
        if !self.peek().is_ascii_digit() {
            return self.fault("expected a digit");
        }
        loop {
            let n_digits = leading_digits(u64::from_le_bytes(padded(self.rest()))).1;
            self.at += n_digits;
            if n_digits < 8 {
                return Ok(());
            }
        }
    }

    /// The value of up to 15 plain digits, and their number. `None`, without a move, for everything else that may still be a number:
    /// a fraction, an exponent, more digits, a leading zero.
    #[inline(always)]
    pub fn short_integer(&mut self) -> Option<i64> {
        let rest = self.rest();
        let is_negative = *rest.first()? == b'-';
        let digits = if is_negative { &rest[1..] } else { rest };
        let (first, n_first) = leading_digits(u64::from_le_bytes(padded(digits)));
        let (magnitude, n_digits) = if n_first < 8 {
            (first, n_first)
        } else {
            let (second, n_second) = leading_digits(u64::from_le_bytes(padded(&digits[8..])));
            (first * POWERS_OF_TEN[n_second] + second, 8 + n_second)
        };
        let ends_plainly = !matches!(digits.get(n_digits), Some(b'.' | b'e' | b'E'));
        let leads_plainly = digits.first() != Some(&b'0') || n_digits == 1;
        if !(1..16).contains(&n_digits) || !ends_plainly || !leads_plainly {
            return None;
        }
        self.at += usize::from(is_negative) + n_digits;
        Some(if is_negative { -(magnitude as i64) } else { magnitude as i64 })
    }

    /// Goes into an object or array that stands inside `depth` others.
    #[inline(always)]
    pub fn open(&mut self, depth: u32) -> Result<(), Fault> {
        if depth >= NESTING_MAX {
            return self.fault("nested too deeply");
        }
        self.at += 1;
        self.whitespace();
        Ok(())
    }

    /// A whole value of any kind inside `depth` objects and arrays: checked and forgotten.
    #[inline(always)]
    pub fn skip(&mut self, depth: u32) -> Result<(), Fault> {
        match self.peek() {
            b'"' => drop(self.string()?),
            b'-' | b'0'..=b'9' => {
                if self.short_integer().is_none() {
                    *self = self.after_number()?;
                }
            }
            _ => *self = self.after_any(depth)?,
        }
        Ok(())
    }

    #[cold]
    fn after_number(mut self) -> Result<Cursor<'a>, Fault> {
        self.number()?;
        Ok(self)
    }

    /// Does not recurse: what is open is a bit each, since the depth is bounded.
    fn after_any(mut self, depth: u32) -> Result<Cursor<'a>, Fault> {
        let mut is_object = 0_u128;
        let mut n_open = 0;
        loop {
            match self.peek() {
                b'"' => drop(self.string()?),
                b'-' | b'0'..=b'9' => drop(self.number()?),
                b't' => self.word("true")?,
                b'f' => self.word("false")?,
                b'n' => self.word("null")?,
                opening @ (b'{' | b'[') => {
                    self.open(depth + n_open)?;
                    if self.peek() == opening + 2 {
                        self.at += 1;
                    } else {
                        n_open += 1;
                        is_object = is_object << 1 | u128::from(opening == b'{');
                        if opening == b'{' {
                            self.string()?;
                            self.colon()?;
                        }
                        continue;
                    }
                }
                _ => return self.fault("expected a value"),
            }
            loop {
                if n_open == 0 {
                    return Ok(self);
                }
                self.whitespace();
                match (self.peek(), is_object & 1 == 1) {
                    (b',', in_object) => {
                        self.at += 1;
                        self.whitespace();
                        if in_object {
                            self.string()?;
                            self.colon()?;
                        }
                        break;
                    }
                    (b'}', true) | (b']', false) => {
                        self.at += 1;
                        n_open -= 1;
                        is_object >>= 1;
                    }
                    _ => return self.fault("expected a comma or the end of the list"),
                }
            }
        }
    }
}

/// The first `N` bytes; zeros, which nothing in JSON looks for, where there are fewer.
#[inline(always)]
pub(super) fn padded<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.first_chunk().copied().unwrap_or_else(|| {
        let mut padded = [0; N];
        padded[..bytes.len()].copy_from_slice(bytes);
        padded
    })
}

const POWERS_OF_TEN: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// The value of the decimal digits with which eight bytes of text begin, and how many they are.
///
/// Source: D. Lemire, "Quickly parsing eight digits", 2018; here the digits are first moved to the end.
#[inline(always)]
fn leading_digits(word: u64) -> (u64, usize) {
    // Digits become 0 to 9. The high bit of each other byte is set in `others`; exact up to and including the first one.
    let values = word ^ 0x3030_3030_3030_3030;
    let others = (values.wrapping_add(0x7676_7676_7676_7676) | values) & 0x8080_8080_8080_8080;
    let n_digits = others.trailing_zeros() as usize / 8;
    if n_digits == 0 {
        return (0, 0);
    }
    let values = values << (64 - 8 * n_digits);
    let pairs = (values.wrapping_mul(10) + (values >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100) + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    let value = (fours.wrapping_mul(10_000) + (fours >> 32)) & 0xffff_ffff;
    (value, n_digits)
}

/// How many bytes come before the first quote, backslash or control character, or before the end.
#[inline(always)]
pub(super) fn plain_len(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let mut len = 0;
    loop {
        // The zeros past the end are control characters.
        let word = u64::from_le_bytes(padded(bytes.get(len..).unwrap_or_default()));
        // The high bit of each byte that is zero, or less than 0x20; exact up to and including the first one.
        let zero = |word: u64| word.wrapping_sub(ONES) & !word;
        let special =
            (zero(word ^ (ONES * 0x22)) | zero(word ^ (ONES * 0x5c)) | (word.wrapping_sub(ONES * 0x20) & !word)) & HIGHS;
        if special != 0 {
            return len + special.trailing_zeros() as usize / 8;
        }
        len += 8;
    }
}

/// Appends the characters that `quoted` in `text` stands for. Its escapes have been checked by [`Cursor::string`].
pub(super) fn unescape(text: &str, quoted: Quoted, out: &mut Vec<u8>) {
    let mut cursor = Cursor { text: &text[..quoted.end], at: quoted.start };
    loop {
        let plain = plain_len(cursor.rest());
        out.extend_from_slice(&cursor.rest()[..plain]);
        cursor.at += plain;
        if cursor.at >= quoted.end {
            return;
        }
        let unescaped = cursor.escape().expect("the string was checked when it was scanned");
        out.extend_from_slice(unescaped.encode_utf8(&mut [0; 4]).as_bytes());
    }
}
