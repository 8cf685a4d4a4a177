//! `reel state export`: all that is kept, a JSON object a line.

use super::{Committed, shown, unreadable};
use crate::{args::state::StateExport, failure::Failure, target::Target};

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
