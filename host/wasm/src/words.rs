//! What a plugin's own words look like in a message of ours.

/// Bytes of a plugin's words in one message, at most. A name alone may have 100,000.
pub(crate) const WORDS_BYTES_MAX: usize = 1024;

/// `text` on one line, cut to what a person reads. A plugin may have written anything: escape sequences of a terminal, a megabyte.
pub(crate) fn legible(text: &str) -> String {
    let cut = if text.len() <= WORDS_BYTES_MAX {
        text.to_owned()
    } else {
        let end = (0..=WORDS_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        format!("{}… ({} bytes)", &text[..end], text.len())
    };
    cut.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_and_printable() {
        assert_eq!(legible("threshold must be positive"), "threshold must be positive");
        assert_eq!(legible("a\x1b[2J\nb"), "a [2J b");
        assert_eq!(legible(&"x".repeat(1024)), "x".repeat(1024));
        assert_eq!(legible(&"x".repeat(1025)), format!("{}… (1025 bytes)", "x".repeat(1024)));
        let wide = legible(&"é".repeat(600));
        assert!(wide.starts_with(&"é".repeat(512)) && wide.ends_with("… (1200 bytes)"), "{wide}");
        let split = legible(&format!("x{}", "é".repeat(600)));
        assert!(split.ends_with("é… (1201 bytes)"), "{split}");
    }
}
