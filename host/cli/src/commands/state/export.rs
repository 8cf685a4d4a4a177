//! `reel state export`: all that is kept, a JSON object a line.

use std::{
    io::{self, BufWriter, Write},
    path::Path,
};

use super::{Committed, shown, unreadable};
use crate::{
    args::state::StateExport,
    failure::{Exit, Failure},
    output::Output,
};

pub(super) fn export(args: &StateExport) -> Result<(), Failure> {
    let committed = Committed::open(&args.file)?;
    let only = args.stage.as_deref().map(|name| committed.stage(name)).transpose()?;
    let mut to = Target::open(&args.to)?;
    let mut n_lines = 0_u64;
    for task in committed.tasks()? {
        let mut result = Ok(());
        task.kept(&mut |stage_idx, kept| {
            if result.is_err() || only.is_some_and(|only| only != stage_idx) {
                return;
            }
            let stage = &committed.plan.stages[stage_idx];
            result = shown::json_of(&task, stage, task.versions(stage_idx), &kept)
                .map_err(|why| unreadable(stage, &why))
                .and_then(|json| to.line(&json.to_string()));
            n_lines += 1;
        });
        result?;
    }
    to.finish(&args.to)?;
    anstream::eprintln!("wrote {n_lines} lines to {}", args.to.display());
    Ok(())
}

/// Where the lines go. A file gets its name when all of them are in it.
enum Target {
    Stdout(Output),
    File(BufWriter<tempfile::NamedTempFile>),
}

impl Target {
    fn open(path: &Path) -> Result<Target, Failure> {
        if path == Path::new("-") {
            return Ok(Target::Stdout(Output::new()));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = tempfile::NamedTempFile::new_in(folder).map_err(|why| unwritable(path, &why))?;
        Ok(Target::File(BufWriter::new(file)))
    }

    fn line(&mut self, text: &str) -> Result<(), Failure> {
        match self {
            Target::Stdout(output) => output.line(text),
            Target::File(file) => writeln!(file, "{text}").map_err(|why| unwritable(file.get_ref().path(), &why)),
        }
    }

    fn finish(self, path: &Path) -> Result<(), Failure> {
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

fn unwritable(path: &Path, why: &io::Error) -> Failure {
    Failure::new(Exit::Environment, format!("{} cannot be written: {why}", path.display()))
}
