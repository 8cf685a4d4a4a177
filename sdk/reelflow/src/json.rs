//! A small JSON reader, for configs in the guest and for rows in native tests. Not for records: the host decodes those.

use std::fmt;

/// A JSON value. Members of objects keep their order; of equal names the last one counts, as everywhere.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    /// A number without fraction and exponent that fits.
    Int(i64),
    /// Any other number, as it was written. Kept as text so that a plugin without float settings holds no float parser, which
    /// would be a fifth of its size.
    Float(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// Containers inside containers, at most: the stack of a guest is small.
const DEPTH_MAX: usize = 64;

impl Json {
    /// Reads one value that fills `text`. The error says what is wrong, and at which byte.
    pub fn parse(text: &str) -> Result<Json, String> {
        let (value, rest) = Json::parse_first(text)?;
        if rest.is_empty() { Ok(value) } else { Err(format!("more text after the value, at byte {}", text.len() - rest.len())) }
    }

    /// Reads the first value of `text`, and gives what follows it and the white space after it.
    pub fn parse_first(text: &str) -> Result<(Json, &str), String> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0).map_err(|why| format!("{why} at byte {}", reader.at))?;
        reader.skip_space();
        Ok((value, &text[reader.at..]))
    }

    /// The member called `name`, or `None`; also for what is not an object.
    pub fn member(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.iter().rev().find(|(of, _)| of == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "a bool",
            Json::Int(_) => "an integer",
            Json::Float(_) => "a float",
            Json::Text(_) => "a string",
            Json::List(_) => "a list",
            Json::Object(_) => "an object",
        }
    }
}

/// Compact JSON.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Null => f.write_str("null"),
            Json::Bool(value) => write!(f, "{value}"),
            Json::Int(value) => write!(f, "{value}"),
            Json::Float(text) => f.write_str(text),
            Json::Text(text) => f.write_str(&quoted(text)),
            Json::List(items) => {
                for (idx, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if idx == 0 { "[" } else { "," })?;
                }
                f.write_str(if items.is_empty() { "[]" } else { "]" })
            }
            Json::Object(members) => {
                for (idx, (name, value)) in members.iter().enumerate() {
                    write!(f, "{}{}:{value}", if idx == 0 { "{" } else { "," }, quoted(name))?;
                }
                f.write_str(if members.is_empty() { "{}" } else { "}" })
            }
        }
    }
}

/// `text` as a JSON string.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            control if u32::from(control) < 0x20 => {
                let digit = |value: u32| char::from_digit(value, 16).unwrap_or('0');
                out.push_str("\\u00");
                out.extend([digit(u32::from(control) / 16), digit(u32::from(control) % 16)]);
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

type Read<T> = Result<T, &'static str>;

impl Reader<'_> {
    fn peek(&self) -> u8 {
        // 0 is not JSON, so it serves as the end of the text.
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
    }

    fn expect(&mut self, literal: &str) -> Read<()> {
        if !self.text[self.at..].starts_with(literal) {
            return Err("unexpected text");
        }
        self.at += literal.len();
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Read<Json> {
        if depth > DEPTH_MAX {
            return Err("nested too deeply");
        }
        self.skip_space();
        match self.peek() {
            b'{' => self.object(depth),
            b'[' => self.list(depth),
            b'"' => self.string().map(Json::Text),
            b't' => self.expect("true").map(|()| Json::Bool(true)),
            b'f' => self.expect("false").map(|()| Json::Bool(false)),
            b'n' => self.expect("null").map(|()| Json::Null),
            b'-' | b'0'..=b'9' => self.number(),
            0 => Err("end of text"),
            _ => Err("unexpected text"),
        }
    }

    fn object(&mut self, depth: usize) -> Read<Json> {
        let mut members = Vec::new();
        self.at += 1;
        self.skip_space();
        while self.peek() != b'}' {
            if !members.is_empty() {
                self.expect(",")?;
                self.skip_space();
            }
            let name = self.string()?;
            self.skip_space();
            self.expect(":")?;
            members.push((name, self.value(depth + 1)?));
            self.skip_space();
        }
        self.at += 1;
        Ok(Json::Object(members))
    }

    fn list(&mut self, depth: usize) -> Read<Json> {
        let mut items = Vec::new();
        self.at += 1;
        self.skip_space();
        while self.peek() != b']' {
            if !items.is_empty() {
                self.expect(",")?;
            }
            items.push(self.value(depth + 1)?);
            self.skip_space();
        }
        self.at += 1;
        Ok(Json::List(items))
    }

    fn number(&mut self) -> Read<Json> {
        let start = self.at;
        self.at += usize::from(self.peek() == b'-');
        let leading_zero = self.peek() == b'0';
        if self.digits()? > 1 && leading_zero {
            return Err("a number with a leading zero");
        }
        let mut whole = true;
        if self.peek() == b'.' {
            self.at += 1;
            self.digits()?;
            whole = false;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), b'-' | b'+'));
            self.digits()?;
            whole = false;
        }
        let text = &self.text[start..self.at];
        match text.parse() {
            Ok(value) if whole => Ok(Json::Int(value)),
            _ => Ok(Json::Float(text.to_owned())),
        }
    }

    /// Skips digits, of which there must be one, and says how many.
    fn digits(&mut self) -> Read<usize> {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        if self.at == start { Err("expected a digit") } else { Ok(self.at - start) }
    }

    fn string(&mut self) -> Read<String> {
        self.expect("\"").map_err(|_| "expected a string")?;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.find(['"', '\\']).ok_or("a string without end")?;
            out.push_str(&rest[..plain]);
            self.at += plain + 1;
            if rest.as_bytes()[plain] == b'"' {
                return Ok(out);
            }
            out.push(self.escape()?);
        }
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Read<char> {
        let escaped = self.peek();
        self.at += 1;
        Ok(match escaped {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => match self.hex()? {
                high @ 0xd800..0xdc00 => {
                    self.expect("\\u").map_err(|_| "half a surrogate pair")?;
                    let low = self.hex()?;
                    let low = low.checked_sub(0xdc00).filter(|low| *low < 0x400).ok_or("half a surrogate pair")?;
                    char::from_u32(0x10000 + ((high - 0xd800) << 10) + low).ok_or("not a character")?
                }
                code => char::from_u32(code).ok_or("half a surrogate pair")?,
            },
            _ => {
                self.at -= 1;
                return Err("an unknown escape");
            }
        })
    }

    fn hex(&mut self) -> Read<u32> {
        let digits = self.text.get(self.at..self.at + 4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        self.at += 4;
        u32::from_str_radix(digits.ok_or("not four hex digits")?, 16).map_err(|_| "not four hex digits")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, &str>) {
        let found = Json::parse(text).map(|value| value.to_string());
        assert_eq!(found.as_deref().map_err(|why| why.as_str()), expected, "{text}");
    }

    #[test]
    fn values_are_read() {
        check(r#" { "a" : [ 1 , -2.5 , true , null ] , "b" : { } , "c":[] } "#, Ok(r#"{"a":[1,-2.5,true,null],"b":{},"c":[]}"#));
        check(r#""\u00e9\ud83d\ude00\n\"\/""#, Ok("\"\u{e9}\u{1f600}\\n\\\"/\""));
        check("9223372036854775807", Ok("9223372036854775807"));
        check("9223372036854775808", Ok("9223372036854775808"));
        check("-0.5e-3", Ok("-0.5e-3"));
        assert_eq!(Json::parse("9223372036854775807"), Ok(Json::Int(i64::MAX)));
        assert_eq!(Json::parse("9223372036854775808"), Ok(Json::Float("9223372036854775808".to_owned())));
        assert_eq!(Json::parse("1e3"), Ok(Json::Float("1e3".to_owned())));
    }

    #[test]
    fn errors_say_where() {
        check("", Err("end of text at byte 0"));
        check("{\"a\" 1}", Err("unexpected text at byte 5"));
        check("[1 2]", Err("unexpected text at byte 3"));
        check("[1,]", Err("unexpected text at byte 3"));
        check("{\"a\":1,}", Err("expected a string at byte 7"));
        check("01", Err("a number with a leading zero at byte 2"));
        check("1-2", Err("more text after the value, at byte 1"));
        check("-", Err("expected a digit at byte 1"));
        check("1.", Err("expected a digit at byte 2"));
        check("1e+", Err("expected a digit at byte 3"));
        check("\"abc", Err("a string without end at byte 1"));
        check(r#""\x""#, Err("an unknown escape at byte 2"));
        check(r#""\ud800""#, Err("half a surrogate pair at byte 7"));
        check("{} {}", Err("more text after the value, at byte 3"));
        check(&"[".repeat(100), Err("nested too deeply at byte 65"));
    }
}
