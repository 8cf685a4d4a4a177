//! The manifests in the documents are good manifests, or parts of one.

use std::{fs, path::Path};

use reelflow_config::{Code, parse};

const DOCUMENTS: [&str; 3] = ["README.md", "docs/formats.md", "docs/operations.md"];
/// What a part of a manifest lacks.
const REST: &str = "\n[pipeline]\nname = \"p\"\n[source.s]\ntopic = \"s\"\nevent_time = \"at\"\nbound = \"0s\"\n[sink.t]\ninput = \"s\"\ntopic = \"t\"\n";

#[test]
fn manifests_in_the_documents_are_good() {
    let mut n_tried = 0;
    for document in DOCUMENTS {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(document);
        let text = fs::read_to_string(&path).expect("the document is there");
        for block in text.split("```toml\n").skip(1) {
            let block = block.split("```").next().expect("a block ends");
            let whole = if block.contains("[pipeline]") { block.to_owned() } else { format!("{block}{REST}") };
            if let Err(problems) = parse(&whole) {
                panic!("{document}:\n{}", reelflow_config::render(&problems, document, &whole, false));
            }
            n_tried += 1;
        }
    }
    assert!(n_tried >= 2, "the documents show manifests");
}

/// What the README shows of an error is what is said.
#[test]
fn the_error_in_the_readme_is_what_is_said() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let text = fs::read_to_string(&path).expect("the README is there");
    let manifest = text.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("it shows a manifest");
    let broken = manifest.replace("input = \"plays\"", "input = \"play\"");
    let problems = parse(&broken).expect_err("the input does not exist");
    assert!(problems.iter().all(|problem| problem.code == Code::UnknownInput));
    let said = reelflow_config::render(&problems, "reel.toml", &broken, false);
    let shown = text.split("```text\n").find(|block| block.starts_with("error[")).and_then(|block| block.split("```").next());
    assert_eq!(shown.map(str::trim_end), Some(said.trim_end()));
}
