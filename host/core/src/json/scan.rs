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

    #[cold]
    pub fn fault<T>(&self, what: &'static str) -> Result<T, Fault> {
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
    #[inline]
    pub fn word(&mut self, word: &'static str) -> Result<(), Fault> {
        if !self.rest().starts_with(word.as_bytes()) {
            return self.fault("expected a value");
        }
        self.at += word.len();
        Ok(())
    }

    /// A string, from its opening quote on. Checks its escapes and that it holds no control characters.
    #[inline]
    pub fn string(&mut self) -> Result<Quoted, Fault> {
        if self.peek() != b'"' {
            return self.fault("expected a string");
        }
        self.at += 1;
        let start = self.at;
        let mut is_escaped = false;
        loop {
            self.at += plain_len(self.rest());
            match self.peek() {
                b'"' => break,
                b'\\' => {
                    is_escaped = true;
                    self.escape()?;
                }
                _ => return self.fault("control character in a string"),
            }
        }
        let end = self.at;
        self.at += 1;
        Ok(Quoted { start, end, is_escaped })
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
    #[inline]
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

    #[inline]
    fn digits(&mut self) -> Result<(), Fault> {
        if !self.peek().is_ascii_digit() {
            return self.fault("expected a digit");
        }
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        Ok(())
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
    ///
    /// Does not recurse: what is open is a bit each, since the depth is bounded.
    pub fn skip(&mut self, depth: u32) -> Result<(), Fault> {
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
                    return Ok(());
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

/// How many bytes come before the first quote, backslash or control character, or before the end.
#[inline(always)]
fn plain_len(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let (words, rest) = bytes.as_chunks::<8>();
    for (word_idx, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The high bit of each byte that is zero, or less than 0x20; exact up to and including the first one.
        let zero = |word: u64| word.wrapping_sub(ONES) & !word;
        let special = (zero(word ^ ONES * 0x22) | zero(word ^ ONES * 0x5c) | (word.wrapping_sub(ONES * 0x20) & !word)) & HIGHS;
        if special != 0 {
            return word_idx * 8 + special.trailing_zeros() as usize / 8;
        }
    }
    let in_rest = rest.iter().position(|byte| *byte < 0x20 || *byte == b'"' || *byte == b'\\').unwrap_or(rest.len());
    words.len() * 8 + in_rest
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
