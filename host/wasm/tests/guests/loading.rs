//! What may be loaded and what may not.

use std::collections::BTreeSet;

use reelflow_core::plugin::{PluginFault, World};
use reelflow_ports::engine::{Limits, LoadError, PluginEngine};
use reelflow_wasm::{WasmEngine, encode_component};

use crate::support::{LIMITS, component, engine, guests_dir, listed, load, load_error, module, orders, wat};

/// How each guest in `tests/guests/wat` must be refused: the start of the message.
const REFUSALS: [(&str, &str); 15] = [
    ("imports_wasi", "plugin imports wasi:clocks/wall-clock@0.2.0; plugins get no imports"),
    ("imports_function", "plugin imports send-home; plugins get no imports"),
    ("imports_resource", "plugin imports acme:store/bucket@1.0.0; plugins get no imports"),
    ("imports_nothing_exports_nothing", "plugin exports no world of reelflow:plugin@0.1: it exports nothing"),
    ("start_traps", "plugin broke while describing itself: plugin trapped: wasm trap: wasm `unreachable` instruction executed"),
    ("start_loops", "plugin broke while describing itself: plugin ran longer than 50 ms in one call"),
    ("memory_too_large", "plugin broke while describing itself: plugin wanted more than 67108864 bytes of memory"),
    ("memories_too_large", "plugin broke while describing itself: plugin wanted more than 67108864 bytes of memory"),
    ("table_too_large", "plugin broke while describing itself: "),
    ("shared_memory", "not a WebAssembly component: "),
    ("wrong_types", "plugin exports no world of reelflow:plugin@0.1: "),
    (
        "function_missing",
        "plugin exports no world of reelflow:plugin@0.1: instance export `reelflow:plugin/transform@0.1.0` does not have",
    ),
    ("describe_missing", "plugin exports no world of reelflow:plugin@0.1: reelflow:plugin/describe@0.1.0 is missing"),
    ("next_version", "plugin exports no world of reelflow:plugin@0.1: it exports reelflow:plugin/transform@0.2.0"),
    ("two_worlds", "plugin exports no world of reelflow:plugin@0.1: it exports transform and join at once"),
];

/// Guests in `tests/guests/wat` that load, and break (or not) when they are called; see `faults`.
const LOADED: [&str; 4] = ["answer_out_of_bounds", "answers_nothing", "flood_by_alias", "realloc_out_of_bounds"];

#[test]
fn each_guest_without_a_right_is_refused_with_its_reason() {
    let limits = Limits { call_ms_max: 50, ..Limits::STANDARD };
    let mut wrong = Vec::new();
    for (name, expected) in REFUSALS {
        let found = load_error(&wat(name), "{}", limits).to_string();
        if !found.starts_with(expected) {
            wrong.push(format!("{name}: {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_guest_is_without_a_test() {
    let wats = listed(&guests_dir().join("wat"), |path| Some(path.file_stem()?.to_str()?.to_owned()));
    let tested: BTreeSet<String> = REFUSALS.iter().map(|(name, _)| *name).chain(LOADED).map(str::to_owned).collect();
    assert_eq!(wats, tested);
    let crates = listed(&guests_dir(), |path| {
        let is_guest = path.join("Cargo.toml").exists() && !path.ends_with("shared");
        is_guest.then(|| path.file_name().unwrap().to_str().unwrap().to_owned())
    });
    assert_eq!(crates, ["aggregate", "join", "process", "transform"].map(str::to_owned).into());
}

#[test]
fn what_no_plugin_needs_is_off() {
    let features = [
        ("threads", "(memory 1 1 shared)"),
        ("64-bit memory", "(memory i64 1)"),
        ("several memories", "(memory 1) (memory 1)"),
        ("relaxed SIMD", "(func (param v128 v128) (result v128) (i8x16.relaxed_swizzle (local.get 0) (local.get 1)))"),
        ("tail calls", "(func $f (return_call $f))"),
        ("exceptions", "(tag)"),
        ("garbage collection", "(type (struct))"),
    ];
    for (feature, text) in features {
        let component = wat::parse_str(format!("(component (core module {text}))")).unwrap();
        let error = load_error(&component, "{}", LIMITS);
        assert!(matches!(error, LoadError::NotAComponent(_)), "{feature}: {error}");
    }
    let control = wat::parse_str("(component (core module (memory 1) (func (param v128))))").unwrap();
    assert!(matches!(load_error(&control, "{}", LIMITS), LoadError::WrongWorld(_)));
}

#[test]
fn a_later_patch_version_with_more_interfaces_loads() {
    let text = std::fs::read_to_string(guests_dir().join("wat/answers_nothing.wat")).unwrap();
    let text = text.replace("@0.1.0", "@0.1.9");
    let text = text.strip_suffix(")\n").unwrap();
    let later = wat::parse_str(format!("{text}(export \"reelflow:plugin/migrate@0.1.9\" (instance $transform)))")).unwrap();
    let plugin = engine().load(&later, "{}", &LIMITS).unwrap();
    assert_eq!(plugin.declaration().world, World::Transform);
}

/// An optional interface is looked at where it is: a half of it is refused, before anybody counts on it.
#[test]
fn who_offers_to_migrate_must_be_able_to() {
    let functions = ["add", "merge", "emit"].map(|name| format!("(export \"{name}\" (func $f))")).concat();
    let text = format!(
        r#"(component
            (core module $m (func (export "f")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "f")))
            (instance $aggregate {functions})
            (export "reelflow:plugin/aggregate@0.1.0" (instance $aggregate))
            (instance $describe (export "describe" (func $f)))
            (export "reelflow:plugin/describe@0.1.0" (instance $describe))
            (instance $migrate (export "emigrate" (func $f)))
            (export "reelflow:plugin/migrate@0.1.3" (instance $migrate)))"#
    );
    let error = load_error(&wat::parse_str(text).unwrap(), "{}", LIMITS).to_string();
    let expected =
        "plugin exports no world of reelflow:plugin@0.1: instance export `reelflow:plugin/migrate@0.1.0` does not have";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn the_cache_forgets_the_oldest() {
    let engine = WasmEngine::new();
    let component = |n: usize| wat::parse_str(format!("(component (core module (func (export \"f{n}\"))))")).unwrap();
    let load = |n: usize| engine.load(&component(n), "{}", &LIMITS).map(drop).unwrap_err();
    (0..17).for_each(|n| drop(load(n)));
    assert_eq!(engine.n_compiled(), 17);
    load(1);
    assert_eq!(engine.n_compiled(), 17, "one of the last 16");
    load(0);
    assert_eq!(engine.n_compiled(), 18, "compiled again");
}

#[test]
fn what_is_no_component_is_named() {
    let check = |bytes: &[u8], expected: &str| {
        let found = load_error(bytes, "{}", LIMITS);
        assert!(matches!(&found, LoadError::NotAComponent(why) if why.starts_with(expected)), "{expected}: {found}");
    };
    check(b"", "the file is empty");
    check(&module("transform"), "this is a core module. Run `reel build`");
    check(b"\0asm\x07\0\x01\0", "its WebAssembly version is unknown");
    check(b"(component)", "this looks like WebAssembly text");
    check(b"#!/bin/sh", "it does not start with WebAssembly's magic bytes");
    check(b"\0as", "it does not start with WebAssembly's magic bytes");
    check(b"\0asm\x0d\0\x01\0\xff\xff\xff", "");
    // Noise behind a right header, and a component that was cut off or damaged: an error, never a panic.
    let mut noise = b"\0asm\x0d\0\x01\0".to_vec();
    let mut seed = 1_u32;
    noise.extend((0..5_000).map(|_| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    }));
    check(&noise, "");
    let whole = component("join");
    check(&whole[..whole.len() / 2], "");
}

#[test]
fn a_component_may_have_the_limit_and_not_a_byte_more() {
    let bytes = component("join");
    let n_bytes = bytes.len() as u64;
    load("join", "{}", Limits { component_bytes_max: n_bytes, ..LIMITS });
    let error = load_error(&bytes, "{}", Limits { component_bytes_max: n_bytes - 1, ..LIMITS });
    assert_eq!(error, LoadError::TooLarge { n_bytes, limit_bytes: n_bytes - 1 });
}

#[test]
fn a_plugin_refuses_its_config_in_its_own_words() {
    let error = load_error(&component("transform"), &orders("error", ""), LIMITS);
    assert_eq!(error, LoadError::Config("threshold must be positive".to_owned()));
}

#[test]
fn a_plugin_that_lies_about_itself_is_refused() {
    let check = |guest: &str, answer: &str, expected: &str| {
        let hex: String = answer.bytes().map(|byte| format!("{byte:02x}")).collect();
        let error = load_error(&component(guest), &format!(r#"{{"answer_hex":"{hex}"}}"#), LIMITS);
        assert!(matches!(&error, LoadError::Description(why) if why.starts_with(expected)), "{answer}: {error}");
    };
    check("transform", "", "not a describe document: EOF while parsing");
    check("transform", "I am a transform", "not a describe document: expected value");
    check("transform", r#"{"format":2}"#, "format 2; this host reads format 1");
    check("transform", r#"{"format":1}"#, "not a describe document: missing field `kind`");
    check("transform", r#"{"format":1,"kind":"join","inputs":[],"outputs":[]}"#, "kind \"join\", but it exports transform");
    check("transform", r#"{"format":1,"kind":"transform","inputs":[{"fields":[]}],"outputs":[]}"#, "no output");
    check("join", r#"{"format":1,"kind":"join","inputs":[{"fields":[]}],"outputs":[]}"#, "1 inputs instead of 2");
}

#[test]
fn a_plugin_that_breaks_in_describe_does_not_load() {
    let check = |mode: &str, limits: Limits, expected: PluginFault| {
        assert_eq!(load_error(&component("join"), &orders(mode, "describe"), limits), LoadError::Fault(expected), "{mode}");
    };
    check("loop", Limits { call_ms_max: 50, ..LIMITS }, PluginFault::Deadline { limit_ms: 50 });
    check("hoard", LIMITS, PluginFault::Memory { limit_bytes: LIMITS.memory_bytes_max });
    for mode in ["recurse", "panic", "trap"] {
        let error = load_error(&component("join"), &orders(mode, "describe"), LIMITS);
        assert!(matches!(error, LoadError::Fault(PluginFault::Trap(_))), "{mode}: {error}");
    }
    let long = "20".repeat(2 << 20);
    let error = load_error(&component("join"), &format!(r#"{{"answer_hex":"{long}"}}"#), LIMITS);
    assert_eq!(error, LoadError::Fault(PluginFault::Output { limit_bytes: 1 << 20 }));
}

#[test]
fn a_component_is_compiled_once_whoever_loads_it() {
    let engine = WasmEngine::new();
    let bytes = component("join");
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (engine, bytes) = (&engine, &bytes);
            scope.spawn(move || engine.load(bytes, &format!(r#"{{"worker":"{worker}"}}"#), &LIMITS).map(drop).unwrap());
        }
    });
    assert_eq!(engine.n_compiled(), 1);
    engine.load(&component("aggregate"), "{}", &LIMITS).unwrap();
    assert_eq!(engine.n_compiled(), 2);
}

#[test]
fn a_plugin_outlives_its_engine() {
    let engine = WasmEngine::new();
    let plugin = engine.load(&component("join"), &orders("loop", "pair"), &crate::support::HURRIED).unwrap();
    drop(engine);
    let mut instance = plugin.instance().unwrap();
    drop(plugin);
    // Its ticks go on: without them this call would not end.
    let fault = instance.call(&crate::support::request_for("pair")).unwrap_err();
    assert_eq!(fault, PluginFault::Deadline { limit_ms: 50 });
}

#[test]
fn an_inspection_tells_what_a_component_is() {
    let bytes = component("aggregate");
    let found = engine().inspect(&bytes, "{}", &LIMITS).unwrap();
    assert_eq!(found.n_bytes, bytes.len() as u64);
    assert_eq!(found.digest, blake3::hash(&bytes).to_hex().as_str());
    assert_eq!(found.imports, Vec::<String>::new());
    assert_eq!(found.exports, ["reelflow:plugin/describe@0.1.0", "reelflow:plugin/aggregate@0.1.0"]);
    assert_eq!(found.world, Ok(World::Aggregate));
    let plugin = load("aggregate", "{}", LIMITS);
    assert_eq!(found.declaration.as_ref(), Ok(plugin.declaration()));
    assert_eq!(plugin.digest(), found.digest);
}

#[test]
fn an_inspection_does_not_need_a_plugin_that_loads() {
    let found = engine().inspect(&wat("imports_wasi"), "{}", &LIMITS).unwrap();
    assert_eq!(found.imports, ["wasi:clocks/wall-clock@0.2.0"]);
    assert!(matches!(found.world, Err(LoadError::WrongWorld(_))));
    assert!(matches!(found.declaration, Err(LoadError::Imports(_))));
    let refused = engine().inspect(&component("transform"), &orders("error", ""), &LIMITS).unwrap();
    assert_eq!(refused.world, Ok(World::Transform));
    assert!(matches!(refused.declaration, Err(LoadError::Config(_))));
}

#[test]
fn only_modules_with_known_imports_become_components() {
    let refused = |text: &str| encode_component(&wat::parse_str(text).unwrap()).unwrap_err().to_string();
    let error = refused(r#"(module (import "env" "now" (func)))"#);
    assert!(error.starts_with("cannot make a component of the module: "), "{error}");
    assert!(encode_component(b"no module").is_err());
    // A module that says nothing of worlds becomes a component of none.
    let silent = encode_component(&wat::parse_str("(module)").unwrap()).unwrap();
    assert!(matches!(load_error(&silent, "{}", LIMITS), LoadError::WrongWorld(_)));
}
