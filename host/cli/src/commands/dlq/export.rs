//! `reel dlq export`: dead letters in full, a JSON object a line.

use reelflow_runtime::retry::retried;
use serde_json::Value;

use super::{Letters, shown};
use crate::{args::dlq::DlqExport, failure::Failure, manifest::Manifest, target::Target};

pub(super) fn export(args: &DlqExport) -> Result<(), Failure> {
    let manifest = Manifest::load(&args.file.manifest)?;
    let log = manifest.open_log()?;
    let letters = Letters::open(&manifest, &*log)?;
    let pipeline = &manifest.config.pipeline.name;
    let retried = retried(&*log, pipeline, &letters.topic).map_err(|error| manifest.run_failure(error))?;
    let mut to = Target::open(&args.to)?;
    let mut n_lines = 0_u64;
    letters.each(&args.filters, &mut |address, letter| {
        n_lines += 1;
        let is_retried = retried.contains(address.partition, address.offset);
        to.line(&Value::Object(shown::json_of(address, letter, is_retried)).to_string())
    })?;
    to.finish(&args.to)?;
    anstream::eprintln!("wrote {n_lines} lines to {}", args.to.display());
    Ok(())
}
