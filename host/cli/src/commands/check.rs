//! `reel check`.

use reelflow_config::{Partitions, Problems};
use serde_json::json;

use crate::{
    args::{Check, Format},
    failure::{Exit, Failure},
    manifest::Manifest,
    output::print,
    outside,
};

/// How many partitions a pipeline is planned for when nobody asks the log.
const OFFLINE_PARTITIONS: u32 = 1;

pub(crate) fn check(args: &Check) -> Result<(), Failure> {
    match (find(args), args.format) {
        (Err(Failure::Manifest { file, text, problems }), Format::Json) => {
            print_json(&problems, &file, &text)?;
            Err(Failure::Said(Failure::Manifest { file, text, problems }.exit_code()))
        }
        (Err(failure), _) => Err(failure),
        (Ok((manifest, warnings)), format) => {
            if format == Format::Json {
                print_json(&warnings, &manifest.file(), manifest.text())?;
            } else {
                if !warnings.is_empty() {
                    anstream::eprintln!("{}", reelflow_config::render(&warnings, &manifest.file(), manifest.text(), false));
                }
                let n_warnings = if warnings.is_empty() { String::new() } else { format!(", {} warnings", warnings.len()) };
                print(&format!("{}: no errors{n_warnings}", manifest.file()))?;
            }
            if args.deny_warnings && !warnings.is_empty() {
                return Err(Failure::new(Exit::User, "there are warnings, and --deny-warnings is given"));
            }
            Ok(())
        }
    }
}

/// All warnings, or all errors.
fn find(args: &Check) -> Result<(Manifest, Problems), Failure> {
    let manifest = Manifest::load(&args.file.manifest)?;
    let sources = if args.online { online(&manifest)? } else { OFFLINE_PARTITIONS };
    let planned = manifest.plan(Partitions::all(sources))?;
    manifest.config.rehearsals(&planned.plan).map_err(|problems| manifest.failure(problems))?;
    let mut warnings = manifest.warnings.clone();
    warnings.append(planned.warnings);
    Ok((manifest, warnings))
}

/// Asks the log for the source topics; gives the partition count that they share.
fn online(manifest: &Manifest) -> Result<u32, Failure> {
    let log = manifest.open_log()?;
    let found = outside::source_partitions(&manifest.config, &*log).map_err(|error| manifest.log_failure(error))?;
    found.map_err(|problems| manifest.failure(problems))
}

fn print_json(problems: &Problems, file: &str, text: &str) -> Result<(), Failure> {
    print(&json!({ "format": 1, "problems": reelflow_config::report(problems, file, text) }).to_string())
}
