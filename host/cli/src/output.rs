//! The one door to standard output: a closed pipe ends the command quietly, everything else that fails is said.

use std::io::{self, BufWriter, ErrorKind, Write};

use crate::failure::{Exit, Failure};

/// Buffered standard output. Call [`Output::finish`] at the end: dropping it loses errors.
pub(crate) struct Output {
    to: BufWriter<anstream::AutoStream<io::Stdout>>,
}

impl Output {
    pub(crate) fn new() -> Output {
        Output { to: BufWriter::with_capacity(64 * 1024, anstream::AutoStream::auto(io::stdout())) }
    }

    /// Writes one line.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())?;
        self.bytes(b"\n")
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.to.write_all(bytes).map_err(failure)
    }

    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        self.to.flush().map_err(failure)
    }
}

/// Writes `text` and a line break to standard output.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut output = Output::new();
    output.line(text)?;
    output.finish()
}

/// `text` from somewhere else, in one line that cannot steer a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.replace(char::is_control, " ")
}

fn failure(why: io::Error) -> Failure {
    if why.kind() == ErrorKind::BrokenPipe {
        Failure::Closed
    } else {
        Failure::new(Exit::Environment, format!("standard output cannot be written: {why}"))
    }
}
