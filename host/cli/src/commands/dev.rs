//! `reel dev`: build, test and play the sample, and again whenever something is saved.

use std::path::Path;

use reelflow_config::Partitions;

use crate::{
    args::{Build, dev::Dev},
    commands::{
        build::build,
        run::warn,
        test::{
            compare,
            play::{Part, Player, Verdict},
            report,
            row::Row,
        },
    },
    failure::{Exit, Failure},
    manifest::Manifest,
    output::print,
};

mod sample;
mod watched;

/// More rows of one place are not shown the first time.
const ROWS_MAX: usize = 20;

pub(crate) fn dev(args: &Dev) -> Result<(), Failure> {
    let path = &args.file.manifest;
    if !path.is_file() {
        return Manifest::load(path).map(drop);
    }
    let mut shown: Option<Vec<Part>> = None;
    loop {
        // Looked at before the round: what is saved meanwhile begins the next one.
        let seen = watched::look(path);
        match round(path, &args.profile, shown.as_deref()) {
            Ok(parts) => shown = Some(parts),
            Err(Failure::Closed) => return Err(Failure::Closed),
            Err(failure) => failure.say(),
        }
        anstream::eprintln!("watching {} files · stop with ctrl-c", seen.len());
        watched::wait(path, &seen);
    }
}

/// One round; gives what came of the sample. `shown`: what came of it before.
fn round(path: &Path, profile: &str, shown: Option<&[Part]>) -> Result<Vec<Part>, Failure> {
    let manifest = Manifest::load(path)?;
    warn(&manifest, &manifest.warnings);
    for (dir, component) in manifest.crates() {
        build(&Build { dir, out: Some(component), profile: profile.to_owned() })?;
    }
    let planned = manifest.plan(Partitions::all(1))?;
    warn(&manifest, &planned.warnings);
    let refuse = |problems| manifest.failure(problems);
    let tests = manifest.config.rehearsals(&planned.plan).map_err(refuse)?;
    let sample = sample::config(&manifest, &planned.plan)?.rehearsals(&planned.plan).map_err(refuse)?;
    let player = Player::new(planned);
    if !tests.is_empty() {
        let verdicts: Vec<Verdict> = tests.iter().map(|test| player.play(test)).collect();
        print(&report::text(&verdicts))?;
    }
    let sample = &sample[0];
    if sample.rehearsal.arrivals.is_empty() {
        anstream::eprintln!("there is no sample: write records into TOPIC.ndjson beside the manifest, a JSON object a line");
    }
    let parts = player.parts(sample).map_err(|why| Failure::new(Exit::Runtime, format!("the sample: {why}")))?;
    print(&match shown {
        None => whole(&parts),
        Some(before) => change(before, &parts),
    })?;
    Ok(parts)
}

fn whole(parts: &[Part]) -> String {
    let mut lines = vec!["sample:".to_owned()];
    for Part { name, rows, texts } in parts.iter().filter(|part| !part.rows.is_empty()) {
        lines.push(format!("  {name}"));
        lines.extend(texts.iter().take(ROWS_MAX).map(|row| format!("      {row}")));
        if rows.len() > ROWS_MAX {
            lines.push(format!("      … and {} more", rows.len() - ROWS_MAX));
        }
    }
    lines.join("\n")
}

/// `-` stands before rows that came before and do not come any more, `+` before new ones.
fn change(before: &[Part], now: &[Part]) -> String {
    let mut lines = Vec::new();
    let gone = before.iter().filter(|part| !now.iter().any(|other| other.name == part.name));
    let names: Vec<&str> = now.iter().chain(gone).map(|part| part.name.as_str()).collect();
    for name in names {
        let of = |parts: &[Part]| parts.iter().find(|part| part.name == name).cloned().unwrap_or_default();
        let (one, other) = (of(before), of(now));
        let (rows, other_rows): (Vec<&Row>, Vec<&Row>) = (one.rows.iter().collect(), other.rows.iter().collect());
        let difference = compare::lists(&rows, &other_rows);
        if !difference.is_none() {
            lines.push(format!("  {name}"));
            lines.extend(difference.missing.iter().map(|idx| format!("    - {}", one.texts[*idx])));
            lines.extend(difference.unexpected.iter().map(|idx| format!("    + {}", other.texts[*idx])));
        }
    }
    match lines.is_empty() {
        true => "sample: as before".to_owned(),
        false => format!("sample: changed\n{}", lines.join("\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, values: &[i64]) -> Part {
        let rows = values.iter().map(|value| Row { fields: vec![("a".to_owned(), (*value).into())], when: String::new() });
        let texts = values.iter().map(|value| format!("{{ a = {value} }}"));
        Part { name: name.to_owned(), rows: rows.collect(), texts: texts.collect() }
    }

    #[test]
    fn what_is_gone_and_what_is_new_is_shown() {
        let before = [part("sink x", &[1, 2]), part("sink gone", &[3])];
        assert_eq!(change(&before, &before), "sample: as before");
        let now = [part("sink x", &[2, 4]), part("sink new", &[5])];
        let expected = "sample: changed\n  sink x\n    - { a = 1 }\n    + { a = 4 }\n  sink new\n    + { a = 5 }\n  sink gone\n    - { a = 3 }";
        assert_eq!(change(&before, &now), expected);
    }

    #[test]
    fn a_long_sample_is_cut() {
        let shown = whole(&[part("sink x", &(0..25).collect::<Vec<_>>()), part("sink silent", &[])]);
        assert_eq!(shown.lines().count(), 1 + 1 + ROWS_MAX + 1);
        assert!(shown.ends_with("… and 5 more") && !shown.contains("silent"), "{shown}");
    }
}
