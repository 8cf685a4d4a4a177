//! Where a command writes what it exports.

use std::{
    io::{self, BufWriter, Write},
    path::Path,
};

use crate::{
    failure::{Exit, Failure},
    output::Output,
};

/// Where the lines go. A file gets its name when all of them are in it.
pub(crate) enum Target {
    Stdout(Output),
    File(BufWriter<tempfile::NamedTempFile>),
}

impl Target {
    pub(crate) fn open(path: &Path) -> Result<Target, Failure> {
        if path == Path::new("-") {
            return Ok(Target::Stdout(Output::new()));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = tempfile::NamedTempFile::new_in(folder).map_err(|why| unwritable(path, &why))?;
        Ok(Target::File(BufWriter::new(file)))
    }

    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        match self {
            Target::Stdout(output) => output.line(text),
            Target::File(file) => writeln!(file, "{text}").map_err(|why| unwritable(file.get_ref().path(), &why)),
        }
    }

    pub(crate) fn finish(self, path: &Path) -> Result<(), Failure> {
        match self {
            Target::Stdout(output) => output.finish(),
            Target::File(file) => {
                let file = file.into_inner().map_err(|why| unwritable(path, why.error()))?;
                file.persist(path).map_err(|why| unwritable(path, &why.error))?;
                Ok(())
            }
        }
    }
}

pub(crate) fn unwritable(path: &Path, why: &io::Error) -> Failure {
    Failure::new(Exit::Environment, format!("{} cannot be written: {why}", path.display()))
}
