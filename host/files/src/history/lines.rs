//! The lines of an NDJSON file, each a record's value. No line is longer in memory than a record may be.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use reelflow_ports::history::HistoryError;

use super::listing::failed;

pub(super) struct Lines {
    input: BufReader<File>,
    /// Of what a line holds beyond this nothing is kept: the source refuses it by its length.
    n_bytes_max: usize,
    is_at_end: bool,
}

/// What is known of a line beside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Of the file, with the line break.
    pub n_bytes: u64,
    pub has_break: bool,
}

impl Lines {
    pub fn open(path: &Path, value_bytes_max: usize) -> Result<Lines, HistoryError> {
        let file = File::open(path).map_err(|why| failed(path, &why))?;
        Ok(Lines { input: BufReader::with_capacity(1 << 18, file), n_bytes_max: value_bytes_max + 1, is_at_end: false })
    }

    /// Puts the next line into `value`, without its break; `None` at the end.
    pub fn next(&mut self, path: &Path, value: &mut Vec<u8>) -> Result<Option<Line>, HistoryError> {
        let unreadable = |why: std::io::Error| failed(path, &why);
        value.clear();
        if self.is_at_end {
            return Ok(None);
        }
        let mut n_bytes =
            (&mut self.input).take(self.n_bytes_max as u64 + 1).read_until(b'\n', value).map_err(unreadable)? as u64;
        let mut has_break = value.last() == Some(&b'\n');
        if has_break {
            value.pop();
            if value.last() == Some(&b'\r') {
                value.pop();
            }
        }
        while !has_break && value.len() > self.n_bytes_max {
            // The rest of a line that is too long.
            let buffer = self.input.fill_buf().map_err(unreadable)?;
            if buffer.is_empty() {
                break;
            }
            let at = buffer.iter().position(|byte| *byte == b'\n');
            let n_skipped = at.map_or(buffer.len(), |at| at + 1);
            has_break = at.is_some();
            self.input.consume(n_skipped);
            n_bytes += n_skipped as u64;
        }
        value.truncate(self.n_bytes_max);
        self.is_at_end = !has_break;
        Ok((n_bytes > 0).then_some(Line { n_bytes, has_break }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str], ends_well: bool) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let mut lines = Lines::open(file.path(), 3).unwrap();
        let (mut value, mut found, mut n_bytes, mut has_break) = (Vec::new(), Vec::new(), 0, true);
        while let Some(line) = lines.next(file.path(), &mut value).unwrap() {
            found.push(String::from_utf8(value.clone()).unwrap());
            n_bytes += line.n_bytes;
            has_break = line.has_break;
        }
        assert_eq!(
            (found, n_bytes, has_break),
            (expected.iter().map(ToString::to_string).collect(), text.len() as u64, ends_well),
            "{text:?}"
        );
    }

    #[test]
    fn lines_end_with_a_break_and_are_never_longer_than_one_too_many() {
        check("", &[], true);
        check("\n", &[""], true);
        check("a\n\nb\n", &["a", "", "b"], true);
        check("abc\r\nabcd\n", &["abc", "abcd"], true);
        check("abcde\nabcdefghij\nab\n", &["abcd", "abcd", "ab"], true);
        check("a\nbc", &["a", "bc"], false);
        check("abcdefgh", &["abcd"], false);
    }
}
