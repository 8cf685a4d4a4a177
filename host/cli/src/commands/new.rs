//! `reel new`: a plugin crate, its manifest, sample records and a test, ready to build and run.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    args::{Kind, New},
    failure::{Exit, Failure},
    output::print,
};

/// The texts of one kind of plugin.
struct Template {
    code: &'static str,
    manifest: &'static str,
    test: &'static str,
    /// Further topics that the sample fills, each with its lines.
    topics: &'static [&'static str],
}

const AGGREGATE: Template = Template {
    code: include_str!("../../templates/aggregate.rs"),
    manifest: include_str!("../../templates/aggregate.toml.in"),
    test: include_str!("../../templates/aggregate.test.rs"),
    topics: &["plays"],
};
const TRANSFORM: Template = Template {
    code: include_str!("../../templates/transform.rs"),
    manifest: include_str!("../../templates/transform.toml.in"),
    test: include_str!("../../templates/transform.test.rs"),
    topics: &["plays"],
};
const JOIN: Template = Template {
    code: include_str!("../../templates/join.rs"),
    manifest: include_str!("../../templates/join.toml.in"),
    test: include_str!("../../templates/join.test.rs"),
    topics: &["plays", "impressions"],
};
const PROCESS: Template = Template {
    code: include_str!("../../templates/process.rs"),
    manifest: include_str!("../../templates/process.toml.in"),
    test: include_str!("../../templates/process.test.rs"),
    topics: &["plays"],
};
const CARGO: &str = include_str!("../../templates/Cargo.toml.in");
const HEAD: &str = include_str!("../../templates/head.toml.in");

pub(crate) fn new(args: &New) -> Result<(), Failure> {
    let name = args.name.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let well_formed = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !well_formed || name.len() > 64 {
        return Err(Failure::new(Exit::User, format!("\"{name}\" is no name for a plugin"))
            .help("Use lower-case letters, digits and hyphens, starting with a letter: reel new trending"));
    }
    if args.name.exists() {
        return Err(Failure::new(Exit::User, format!("\"{}\" exists already", args.name.display())).help("Choose another name."));
    }
    let template = match args.kind {
        Kind::Aggregate => AGGREGATE,
        Kind::Transform => TRANSFORM,
        Kind::Join => JOIN,
        Kind::Process => PROCESS,
    };
    let crate_name = name.replace('-', "_");
    let fill = |text: &str| text.replace("@NAME@", name).replace("@CRATE@", &crate_name);
    let code = format!("{}\n{}", template.code, template.test);
    let manifest = fill(&format!("{HEAD}{}", template.manifest));
    let mut files = vec![
        ("Cargo.toml".to_owned(), fill(CARGO).replace("@SDK@", &sdk(args)?)),
        ("src/lib.rs".to_owned(), code),
        ("reel.toml".to_owned(), manifest),
        (".reel/reel.schema.json".to_owned(), reelflow_config::manifest_schema()),
        (".gitignore".to_owned(), "/target/\n/.reel/log/\n*.wasm\n".to_owned()),
    ];
    files.extend(template.topics.iter().map(|topic| (format!("{topic}.ndjson"), sample(topic))));
    for (file, text) in files {
        write(&args.name.join(file), &text)?;
    }
    let writes: String = template
        .topics
        .iter()
        .map(|topic| {
            format!("  reel topic write {topic} {topic}.ndjson --key profile_id --timestamp event_ts --partitions 1 --end\n")
        })
        .collect();
    print(&format!(
        "created {}\n\nNext:\n  cd {}\n  cargo test\n  reel build\n  reel test\n{writes}  reel run --until-end\n  reel topic read {name}",
        args.name.display(),
        args.name.display()
    ))
}

/// Where cargo finds the SDK: as told, or beside the sources that this program was built from, or as a published crate.
fn sdk(args: &New) -> Result<String, Failure> {
    let built_from = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../sdk/reelflow"));
    match (&args.sdk, built_from.canonicalize()) {
        (Some(given), _) => {
            let whole = given.canonicalize().ok().filter(|dir| dir.join("Cargo.toml").is_file());
            let dir = whole.ok_or_else(|| Failure::new(Exit::User, format!("--sdk \"{}\" holds no crate", given.display())))?;
            Ok(format!("{{ path = \"{}\" }}", dir.display()))
        }
        (None, Ok(dir)) => Ok(format!("{{ path = \"{}\" }}", dir.display())),
        (None, Err(_)) => Ok("\"0.1\"".to_owned()),
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let folder = path.parent().expect("every file is in the new folder");
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, text))
        .map_err(|why| Failure::new(Exit::Environment, format!("\"{}\" cannot be written: {why}", path.display())))
}

/// Twenty records; one of them comes late, one is broken.
fn sample(topic: &str) -> String {
    const START: i64 = 1_767_225_600_000;
    let mut lines = String::new();
    for idx in 0..20_i64 {
        let late_ms = if idx == 15 { 90_000 } else { 0 };
        let event_ts = START + idx * 7_000 - late_ms - if topic == "impressions" { 3_000 } else { 0 };
        let (profile_id, title_id) = (if idx == 9 { -1 } else { 1 + idx % 5 }, 70 + idx % 3);
        let device = ["tv", "mobile", "web"][idx as usize % 3];
        let row_type = ["genre", "top10", "trending_now"][idx as usize % 3];
        lines.push_str(&format!(
            "{{\"event_ts\":{event_ts},\"profile_id\":{profile_id},\"title_id\":{title_id},\"device\":\"{device}\",\"row_type\":\"{row_type}\"}}\n"
        ));
    }
    lines
}
