//! `reel dlq export`: dead letters in full, a JSON object a line.

use std::path::Path;

use reelflow_runtime::retry::retried;
use serde_json::Value;

use super::{Letters, bundle::bundle, shown};
use crate::{
    args::dlq::DlqExport,
    failure::{Exit, Failure},
    manifest::Manifest,
    target::Target,
};

pub(super) fn export(args: &DlqExport) -> Result<(), Failure> {
    match (&args.bundle, &args.filters.at[..]) {
        (Some(to), [address]) => bundle(&args.file, *address, to),
        (Some(_), _) => Err(Failure::new(Exit::User, "--bundle takes one dead letter, and --at was given more than once")),
        (None, _) => lines(args, args.to.as_deref().expect("one of both is required")),
    }
}

fn lines(args: &DlqExport, path: &Path) -> Result<(), Failure> {
    let manifest = Manifest::load(&args.file.manifest)?;
    let log = manifest.open_log()?;
    let letters = Letters::open(&manifest, &*log)?;
    let pipeline = &manifest.config.pipeline.name;
    let retried = retried(&*log, pipeline, &letters.topic).map_err(|error| manifest.run_failure(error))?;
    let mut to = Target::open(path)?;
    let mut n_lines = 0_u64;
    letters.each(&args.filters, &mut |address, letter| {
        n_lines += 1;
        let is_retried = retried.contains(address.partition, address.offset);
        to.line(&Value::Object(shown::json_of(address, letter, is_retried)).to_string())
    })?;
    to.finish(path)?;
    anstream::eprintln!("wrote {n_lines} lines to {}", path.display());
    Ok(())
}
