//! The token that a change needs.

use std::{fs, path::Path};

use crate::failure::{Exit, Failure};

pub(crate) const VARIABLE: &str = "REEL_ADMIN_TOKEN";
/// A token is made once and never typed, so it may be long; what is short can be tried out.
const CHARS_MIN: usize = 16;

/// What to compare with: its hash. So the comparison takes the same time whatever is wrong, and its length shows as little.
pub(super) struct Token(blake3::Hash);

impl Token {
    pub(super) fn new(text: &str) -> Result<Token, Failure> {
        match text.chars().count() >= CHARS_MIN {
            true => Ok(Token(blake3::hash(text.as_bytes()))),
            false => Err(Failure::new(Exit::User, format!("the admin token is shorter than {CHARS_MIN} characters"))
                .help("Make one at random: `openssl rand -hex 32`.")),
        }
    }

    /// `blake3::Hash` is compared in constant time.
    pub(super) fn is(&self, given: &str) -> bool {
        self.0 == blake3::hash(given.as_bytes())
    }
}

/// The token in `file`, or else in the environment, if there is one.
pub(crate) fn given(file: Option<&Path>) -> Result<Option<String>, Failure> {
    let Some(file) = file else { return Ok(std::env::var(VARIABLE).ok()) };
    let text = fs::read_to_string(file).map_err(|why| {
        Failure::new(Exit::User, format!("the admin token cannot be read from {}: {why}", file.display()))
            .help(format!("Write it into that file, or into the environment variable {VARIABLE}."))
    })?;
    Ok(Some(text.trim_end_matches(['\n', '\r']).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_itself_and_long_enough() {
        assert!(Token::new("0123456789abcde").is_err(), "one too short");
        let token = Token::new("0123456789abcdef").unwrap();
        for (given, is_it) in [("0123456789abcdef", true), ("0123456789abcdeF", false), ("0123456789abcdef0", false), ("", false)]
        {
            assert_eq!(token.is(given), is_it, "{given}");
        }
    }
}
