//! How a plugin refuses a row.

use std::borrow::Cow;

/// A row that the plugin refuses: the host sends it to the dead-letter topic with this reason, its neighbours go on.
///
/// ```
/// use reelflow::Reject;
///
/// fn positive(n: i64) -> Result<i64, Reject> {
///     if n > 0 { Ok(n) } else { Err(Reject::from("not positive").with_code(7)) }
/// }
/// fn first(text: &str) -> Result<char, Reject> {
///     Ok(text.chars().next().ok_or("empty text")?)
/// }
/// assert_eq!(positive(0).unwrap_err().code(), 7);
/// assert_eq!(first("").unwrap_err().message(), "empty text");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    message: Cow<'static, str>,
    code: u32,
}

impl Reject {
    /// The reason, as text for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// A number for programs that read the dead-letter topic; 0 unless set.
    pub fn code(&self) -> u32 {
        self.code
    }

    /// The same refusal with a code of the plugin's own.
    pub fn with_code(self, code: u32) -> Reject {
        Reject { code, ..self }
    }
}

impl From<&'static str> for Reject {
    fn from(message: &'static str) -> Reject {
        Reject { message: Cow::Borrowed(message), code: 0 }
    }
}

impl From<String> for Reject {
    fn from(message: String) -> Reject {
        Reject { message: Cow::Owned(message), code: 0 }
    }
}
