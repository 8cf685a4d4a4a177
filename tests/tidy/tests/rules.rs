//! The rules of the tree. A remark that would be made twice in review becomes a rule here.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use cargo_metadata::{DependencyKind, MetadataCommand};
use reelflow_tidy::{before_tests, files, root, sources};

/// Fails with every offence, not the first one.
fn check(rule: &str, offences: Vec<String>) {
    assert!(offences.is_empty(), "{rule}:\n  {}", offences.join("\n  "));
}

/// Which crates each crate of the host may depend on: the arrows of ARCHITECTURE.md (I-1).
const ARROWS: &[(&str, &[&str])] = &[
    ("reelflow-core", &[]),
    ("reelflow-config", &["reelflow-core"]),
    ("reelflow-ports", &["reelflow-core"]),
    ("reelflow-kafka", &["reelflow-core", "reelflow-ports"]),
    ("reelflow-embedded", &["reelflow-core", "reelflow-ports"]),
    ("reelflow-wasm", &["reelflow-core", "reelflow-ports"]),
    ("reelflow-files", &["reelflow-core", "reelflow-ports"]),
    ("reelflow-registry", &["reelflow-core", "reelflow-ports"]),
    ("reelflow-bases", &["reelflow-core", "reelflow-ports"]),
    ("reelflow-runtime", &["reelflow-core", "reelflow-ports"]),
    (
        "reelflow-cli",
        &[
            "reelflow-core",
            "reelflow-config",
            "reelflow-ports",
            "reelflow-kafka",
            "reelflow-embedded",
            "reelflow-files",
            "reelflow-registry",
            "reelflow-bases",
            "reelflow-wasm",
            "reelflow-runtime",
        ],
    ),
];

/// Who alone may depend on what (I-3). Tests may use more.
const NAMED_ONCE: &[(&str, &str)] = &[
    ("rdkafka", "reelflow-kafka"),
    ("wasmtime", "reelflow-wasm"),
    ("wasmparser", "reelflow-wasm"),
    ("wit-parser", "reelflow-wasm"),
    ("fjall", "reelflow-embedded"),
    ("parquet", "reelflow-files"),
    ("arrow-array", "reelflow-files"),
    ("arrow-schema", "reelflow-files"),
    ("apache-avro", "reelflow-registry"),
    ("prost-reflect", "reelflow-registry"),
    ("protox", "reelflow-registry"),
    ("ureq", "reelflow-registry"),
    ("ureq", "reelflow-bases"),
    ("rusty-s3", "reelflow-bases"),
    ("anyhow", "reelflow-cli"),
    ("clap", "reelflow-cli"),
    ("hyper", "reelflow-cli"),
    ("tokio", "reelflow-cli"),
];

/// What the pure crates never depend on (I-1).
const IMPURE: &[&str] = &["tokio", "rdkafka", "wasmtime", "fjall", "object_store", "ureq", "rand", "tracing", "anyhow"];

fn dependencies() -> Result<BTreeMap<String, Vec<String>>> {
    let metadata = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec()?;
    let of = |package: &cargo_metadata::Package| {
        package.dependencies.iter().filter(|one| one.kind == DependencyKind::Normal).map(|one| one.name.clone()).collect()
    };
    Ok(metadata.packages.iter().map(|package| (package.name.to_string(), of(package))).collect())
}

/// I-1: arrows never turn back or sideways.
#[test]
fn i_1_arrows() -> Result<()> {
    let dependencies = dependencies()?;
    let mut offences = Vec::new();
    for (package, allowed) in ARROWS {
        for dependency in dependencies[*package].iter().filter(|name| name.starts_with("reelflow")) {
            if !allowed.contains(&dependency.as_str()) {
                offences.push(format!("{package} -> {dependency}"));
            }
        }
    }
    for pure in ["reelflow-core", "reelflow-config"] {
        offences.extend(
            dependencies[pure].iter().filter(|name| IMPURE.contains(&name.as_str())).map(|name| format!("{pure} -> {name}")),
        );
    }
    check("a crate depends on what it must not know", offences);
    Ok(())
}

/// I-3: no second crate of the host names a library that is wrapped.
#[test]
fn i_3_named_once() -> Result<()> {
    let mut offences = Vec::new();
    for (package, dependencies) in dependencies()? {
        let of_host = ARROWS.iter().any(|(name, _)| *name == package);
        for (library, _) in NAMED_ONCE.iter().filter(|(library, _)| of_host && dependencies.iter().any(|name| name == library)) {
            let owners: Vec<&str> = NAMED_ONCE.iter().filter(|(of, _)| of == library).map(|(_, owner)| *owner).collect();
            if !owners.contains(&package.as_str()) {
                offences.push(format!("{package} -> {library}, which is of {}", owners.join(" and ")));
            }
        }
    }
    check("a wrapped library is named twice", offences);
    Ok(())
}

/// I-1 and I-2: the pure crates never open, wait, start threads, read clocks or use hash maps with random order.
#[test]
fn i_1_i_2_the_core_is_pure() -> Result<()> {
    const FORBIDDEN: &[&str] = &[
        "std::fs",
        "std::net",
        "std::env",
        "std::process",
        "std::thread",
        "Instant::now",
        "SystemTime",
        "HashMap",
        "HashSet",
        "thread_rng",
    ];
    let mut offences = Vec::new();
    for (name, text) in sources()? {
        if !(name.starts_with("host/core/src") || name.starts_with("host/config/src")) {
            continue;
        }
        for (number, line) in before_tests(&text).enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            offences.extend(
                FORBIDDEN.iter().filter(|word| code.contains(**word)).map(|word| format!("{name}:{}: {word}", number + 1)),
            );
        }
    }
    check("pure code reaches outside", offences);
    Ok(())
}

/// I-5: the six methods that make an epoch durable are called in `seal` and nowhere else in the host.
#[test]
fn i_5_durable_order_is_in_seal_alone() -> Result<()> {
    const METHODS: &[&str] = &[".append_deltas(", ".drain()", ".add_offsets(", ".commit()", ".abort()"];
    let mut offences = Vec::new();
    for (name, text) in sources()? {
        let of_driver = name.starts_with("host/runtime/src") || name.starts_with("host/cli/src");
        if !of_driver || name.ends_with("/seal.rs") {
            continue;
        }
        for (number, line) in before_tests(&text).enumerate() {
            offences.extend(
                METHODS.iter().filter(|method| line.contains(**method)).map(|method| format!("{name}:{}: {method}", number + 1)),
            );
        }
    }
    check("durable writes are ordered outside of seal", offences);
    Ok(())
}

/// I-15: a shadow calls nothing that leaves something in a log. What it would call refuses; this finds it before it runs.
#[test]
fn i_15_a_shadow_writes_nothing() -> Result<()> {
    const METHODS: &[&str] = &[".write(", ".join(", ".create_topic(", ".trim(", ".append(", "seal::"];
    let mut offences = Vec::new();
    let of_shadow = |name: &str| name.starts_with("host/runtime/src/shadow");
    let all: Vec<(String, String)> = sources()?.into_iter().filter(|(name, _)| of_shadow(name)).collect();
    for (name, text) in &all {
        for (number, line) in before_tests(text).enumerate() {
            let found = METHODS.iter().filter(|method| line.contains(**method));
            offences.extend(found.map(|method| format!("{name}:{}: {method}", number + 1)));
        }
    }
    check("a shadow writes", offences);
    let is_handed_on = all.iter().any(|(name, text)| name.ends_with("/shadow.rs") && text.contains("ReadOnly(reading.log"));
    assert!(is_handed_on, "a shadow has its log by `ReadOnly`");
    Ok(())
}

/// I-9: nothing is unbounded.
#[test]
fn i_9_no_unbounded_channel() -> Result<()> {
    let mut offences = Vec::new();
    for (name, text) in sources()? {
        let host = name.starts_with("host/") && name.contains("/src/");
        for (number, line) in text.lines().enumerate().filter(|_| host) {
            if line.contains("mpsc::channel(") || line.contains("unbounded_channel") {
                offences.push(format!("{name}:{}", number + 1));
            }
        }
    }
    check("a queue without a bound", offences);
    Ok(())
}

/// I-10: core types never derive `Serialize`; stored bytes have a form of their own.
#[test]
fn i_10_core_types_are_not_serialised() -> Result<()> {
    let offences = sources()?
        .into_iter()
        .filter(|(name, text)| name.starts_with("host/core/src") && before_tests(text).any(|line| line.contains("Serialize")))
        .map(|(name, _)| name)
        .collect();
    check("the core knows serde", offences);
    Ok(())
}

/// Every invariant of ARCHITECTURE.md is named by a test, and every id that a test names is in ARCHITECTURE.md.
#[test]
fn invariants_have_tests() -> Result<()> {
    let architecture = std::fs::read_to_string(root().join("ARCHITECTURE.md"))?;
    let listed: BTreeSet<String> = architecture
        .lines()
        .filter_map(|line| line.strip_prefix("| I-")?.split(' ').next().map(|number| format!("I-{number}")))
        .collect();
    let mut named = BTreeSet::new();
    for (name, text) in sources()? {
        let has_tests =
            name.contains("/tests/") || name.starts_with("tests/") || text.contains("#[test]") || text.contains("#[cfg(test)]");
        if has_tests {
            named.extend(listed.iter().filter(|id| mentions(&text, id)).cloned());
        }
    }
    check("an invariant that no test names", listed.difference(&named).cloned().collect());
    assert!(listed.len() >= 10, "ARCHITECTURE.md lists the invariants in rows `| I-n | …`");
    Ok(())
}

/// Whether `text` names exactly `id`: I-1 is not I-10.
fn mentions(text: &str, id: &str) -> bool {
    text.match_indices(id).any(|(at, _)| !text[at + id.len()..].starts_with(|next: char| next.is_ascii_digit()))
}

/// Files fit in the head: 400 lines before the tests. The list of exceptions may only shrink.
#[test]
fn files_fit_in_the_head() -> Result<()> {
    const LINES_MAX: usize = 400;
    const EXCEPTIONS: &[&str] = &[];
    let mut offences = Vec::new();
    for (name, text) in sources()? {
        let n_lines = before_tests(&text).count();
        if n_lines > LINES_MAX && !EXCEPTIONS.contains(&name.as_str()) {
            offences.push(format!("{name}: {n_lines} lines"));
        }
    }
    check("a file that no longer fits in the head", offences);
    Ok(())
}

/// Functions fit on a screen: 70 lines. The list of exceptions may only shrink.
#[test]
fn functions_fit_on_a_screen() -> Result<()> {
    const LINES_MAX: usize = 70;
    const EXCEPTIONS: &[&str] = &[];
    let mut offences = Vec::new();
    for (name, text) in sources()? {
        let mut open: Option<(String, usize, usize)> = None;
        for (number, line) in text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let code = line.trim_start();
            let begins = ["fn ", "pub fn ", "pub(crate) fn ", "pub(super) fn "].iter().any(|word| code.starts_with(word));
            match &open {
                None if begins && !line.ends_with(';') => open = Some((code.to_owned(), number, indent)),
                Some((signature, start, depth)) if indent == *depth && (code == "}" || code.ends_with(" }")) => {
                    let n_lines = number - start + 1;
                    let short = signature.split('(').next().unwrap_or_default();
                    if n_lines > LINES_MAX && !EXCEPTIONS.contains(&short) {
                        offences.push(format!("{name}:{}: {short}: {n_lines} lines", start + 1));
                    }
                    open = None;
                }
                _ => {}
            }
        }
    }
    check("a function that no longer fits on a screen", offences);
    Ok(())
}

/// Nothing is half-done, and no test is switched off.
#[test]
fn no_stubs() -> Result<()> {
    // Written apart, so that this file does not find itself.
    let words = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("#[", "ignore"),
        concat!("FIX", "ME"),
        concat!("should_", "panic"),
    ];
    let mut offences = Vec::new();
    for (name, text) in sources()? {
        for (number, line) in text.lines().enumerate() {
            offences
                .extend(words.iter().filter(|word| line.contains(**word)).map(|word| format!("{name}:{}: {word}", number + 1)));
        }
    }
    check("something is left for later", offences);
    Ok(())
}

/// No path of a machine and no way out of the checkout stands in the project.
#[test]
fn no_paths_of_a_machine() -> Result<()> {
    let words = [concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("../sha", "red"), concat!("/ho", "me/")];
    let mut offences = Vec::new();
    for (name, text) in files()? {
        for (number, line) in text.lines().enumerate() {
            offences
                .extend(words.iter().filter(|word| line.contains(**word)).map(|word| format!("{name}:{}: {word}", number + 1)));
        }
    }
    check("a path of one machine", offences);
    Ok(())
}

/// Unsafe code stands only where it was argued: librdkafka's batch interface, and native code that was compiled elsewhere.
#[test]
fn unsafe_is_argued() -> Result<()> {
    const PLACES: &[&str] = &["host/kafka/src/native/", "host/wasm/src/native/mod.rs"];
    let mut offences = Vec::new();
    for (name, text) in sources()? {
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let is_unsafe = code.contains("unsafe {") || code.contains("unsafe impl") || code.contains("unsafe fn");
            if name.starts_with("host/") && is_unsafe {
                let argued = lines[number.saturating_sub(12)..=number]
                    .iter()
                    .any(|line| line.contains("SAFETY") || line.contains("# Safety"));
                if !PLACES.iter().any(|place| name.starts_with(place)) || !argued {
                    offences.push(format!("{name}:{}", number + 1));
                }
            }
        }
    }
    check("unsafe code without an argument", offences);
    Ok(())
}
