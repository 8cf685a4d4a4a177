//! A case file as steps: input lines, `----`, expected lines, an empty line.

/// One step of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Comments and empty lines that stand before it, kept when the file is rewritten.
    pub before: String,
    pub input: Vec<String>,
    pub expected: String,
    /// Of the first input line, from 1.
    pub line: usize,
}

const SEPARATOR: &str = "----";

/// The steps of a case, and what stands after the last one.
pub fn parse(text: &str) -> Result<(Vec<Step>, String), String> {
    let mut steps = Vec::new();
    let mut before = String::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((idx, line)) = lines.next() {
        if line.is_empty() || line.starts_with('#') {
            before += line;
            before.push('\n');
            continue;
        }
        let mut input = vec![line.to_owned()];
        loop {
            match lines.next() {
                Some((_, SEPARATOR)) => break,
                Some((_, line)) if !line.is_empty() => input.push(line.to_owned()),
                _ => return Err(format!("line {}: a step without \"{SEPARATOR}\"", idx + 1)),
            }
        }
        let mut expected = String::new();
        while let Some((_, line)) = lines.next_if(|(_, line)| !line.is_empty()) {
            expected += line;
            expected.push('\n');
        }
        steps.push(Step { before: std::mem::take(&mut before), input, expected, line: idx + 1 });
    }
    Ok((steps, before))
}

/// The text of a case with these steps.
pub fn render(steps: &[Step], after: &str) -> String {
    let mut text = String::new();
    for step in steps {
        text += &step.before;
        for line in &step.input {
            text += line;
            text.push('\n');
        }
        text += SEPARATOR;
        text.push('\n');
        text += &step.expected;
    }
    text + after
}

/// The bytes of a `raw` value: `\xff`, `\n`, and `(empty)`, `(900 bytes)`.
pub fn unescape(text: &str) -> Result<Vec<u8>, String> {
    if text == "(empty)" {
        return Ok(Vec::new());
    }
    if let Some(len) = text.strip_prefix('(').and_then(|text| text.strip_suffix(" bytes)")) {
        let len: usize = len.parse().map_err(|_| format!("\"{len}\" is no number"))?;
        return Ok("x".repeat(len).into_bytes());
    }
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("\\x") {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let digits = rest.get(at + 2..at + 4).ok_or("\\x without two digits")?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| format!("\\x{digits}"))?);
        rest = &rest[at + 4..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASE: &str = "# Why.\n\npipeline\n  source a\n----\n\nrecords p0 a@1s\n----\nwatermark 1s\nout a\n\n# after\n";

    #[test]
    fn a_case_survives_its_steps() {
        let (steps, after) = parse(CASE).unwrap();
        assert_eq!(steps.len(), 2);
        assert_eq!(steps[1].expected, "watermark 1s\nout a\n");
        assert_eq!(steps[1].line, 7);
        assert_eq!(render(&steps, &after), CASE);
    }

    #[test]
    fn a_step_without_an_expectation_is_an_error() {
        assert!(parse("records p0 a@1s\n\nx\n----\n").is_err());
        assert!(parse("records p0 a@1s").is_err());
    }
}
