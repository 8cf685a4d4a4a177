//! Guests of `tests/guests/core`: core modules that break where no Rust guest can. Each is refused or stopped with its reason, the host
//! stays up, and a neighbour answers as if the guest had never been (I-8).

use std::collections::BTreeSet;

use reelflow_core::plugin::{PluginFault, Request};
use reelflow_ports::engine::{Limits, LoadError, PluginEngine};

use crate::{
    support::{LIMITS, engine, guests_dir, instance, int_rows, listed, load_error, out, transform, transform_rows},
    written::{component, guest},
};

/// When a guest breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Load,
    Call,
}
use When::{Call, Load};

/// Each guest, when it breaks, and how the reason begins.
const GUESTS: [(&str, When, &str); 28] = [
    ("realloc_loops", Call, "plugin ran longer than 50 ms in one call"),
    ("realloc_traps", Call, "plugin trapped: wasm trap: wasm `unreachable`"),
    ("realloc_misaligned", Call, "plugin gave a malformed answer: realloc return: result not aligned"),
    ("post_return_loops", Call, "plugin ran longer than 50 ms in one call"),
    ("post_return_traps", Call, "plugin trapped: wasm trap: wasm `unreachable`"),
    ("describe_post_return_loops", Load, "plugin broke while describing itself: plugin ran longer than 50 ms"),
    ("describe_bad_utf8", Load, "plugin broke while describing itself: plugin gave a malformed answer: invalid utf-8"),
    (
        "describe_beyond_memory",
        Load,
        "plugin broke while describing itself: plugin gave a malformed answer: string pointer/length out of bounds",
    ),
    (
        "describe_endless",
        Load,
        "plugin broke while describing itself: plugin gave a malformed answer: string pointer/length out of bounds",
    ),
    (
        "describe_bad_variant",
        Load,
        "plugin broke while describing itself: plugin gave a malformed answer: invalid expected discriminant",
    ),
    ("describe_once", Call, ""),
    ("lies_about_outputs", Call, "plugin gave a malformed answer: output \"out\": 0 columns instead of 1"),
    ("answer_list_overflows", Call, "plugin gave a malformed answer: list pointer/length out of bounds"),
    ("answer_misaligned", Call, "plugin gave a malformed answer: list pointer is not aligned"),
    ("answer_pointer_beyond", Call, "plugin gave a malformed answer: pointer out of bounds of memory"),
    ("answer_bad_variant", Call, "plugin gave a malformed answer: unexpected discriminant"),
    ("reject_bad_utf8", Call, "plugin gave a malformed answer: invalid utf-8"),
    ("reject_beyond_memory", Call, "plugin gave a malformed answer: string pointer/length out of bounds"),
    ("start_recurses", Load, "plugin broke while describing itself: plugin trapped: wasm trap: call stack exhausted"),
    ("start_grows", Load, "plugin broke while describing itself: plugin wanted more than 16777216 bytes of memory"),
    ("start_fills_table", Load, "plugin broke while describing itself: plugin trapped: wasm trap: wasm `unreachable`"),
    ("calls_without_loop", Call, "plugin ran longer than 50 ms in one call"),
    ("fills_memory", Call, "plugin ran longer than 50 ms in one call"),
    ("jumps_by_table", Call, "plugin ran longer than 50 ms in one call"),
    ("grows_table", Call, "plugin trapped: wasm trap: wasm `unreachable`"),
    ("segment_at_4_gb", Load, "plugin broke while describing itself: plugin trapped: wasm trap: out of bounds memory access"),
    ("element_beyond_table", Load, "plugin broke while describing itself: plugin trapped: wasm trap: "),
    ("large_frame", Call, "plugin trapped: wasm trap: call stack exhausted"),
];

/// Calls that are to run into their deadline do so in 50 ms; the others have all the time that a busy machine may need.
fn limits_for(expected: &str) -> Limits {
    if expected.contains("50 ms") { Limits { call_ms_max: 50, ..LIMITS } } else { LIMITS }
}

/// What becomes of a guest, from loading it to the answer to three rows.
fn fate(component: &[u8], limits: Limits) -> (When, String) {
    let plugin = match engine().load(component, "{}", &limits) {
        Ok(plugin) => plugin,
        Err(error) => return (Load, error.to_string()),
    };
    let mut instance = plugin.instance().expect("what loads has instances");
    let request = Request::Transform { rows: int_rows(&[1, 2, 3]) };
    let first = instance.call(&request);
    // Whatever it did, the next call starts as the first one did.
    assert_eq!(instance.call(&request), first, "a second call");
    (Call, first.err().map_or(String::new(), |fault| fault.to_string()))
}

#[test]
fn each_hostile_guest_is_stopped_with_its_reason_and_its_neighbour_notices_nothing() {
    let mut neighbour = instance("transform", "{}", LIMITS);
    let mut wrong = Vec::new();
    for (name, when, expected) in GUESTS {
        let found = fate(&guest(name), limits_for(expected));
        if found.0 != when || !found.1.starts_with(expected) || found.1.is_empty() != expected.is_empty() {
            wrong.push(format!("{name}: {found:?}"));
        }
        assert_eq!(out(&neighbour.call(&transform(&[4, 5])).unwrap()), &transform_rows(&[4, 5]), "beside {name}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_core_guest_is_without_a_test() {
    let found = listed(&guests_dir().join("core"), |path| Some(path.file_stem()?.to_str()?.to_owned()));
    assert_eq!(found, GUESTS.iter().map(|(name, _, _)| (*name).to_owned()).collect::<BTreeSet<_>>());
}

#[test]
fn each_trap_of_the_machine_has_its_name() {
    let traps = [
        ("(drop (i32.div_s (i32.const 1) (i32.const 0)))", "integer divide by zero"),
        ("(drop (i32.div_s (i32.const -2147483648) (i32.const -1)))", "integer overflow"),
        ("(drop (i32.trunc_f64_s (f64.const nan)))", "invalid conversion to integer"),
        ("(drop (i64.load (i32.const -1)))", "out of bounds memory access"),
        ("(memory.copy (i32.const -1) (i32.const 0) (i32.const 9))", "out of bounds memory access"),
        ("(call_indirect (i32.const 0))", "uninitialized element"),
        ("(call_indirect (i32.const 7))", "undefined element: out of bounds table access"),
        ("(call_indirect (param i64) (i64.const 0) (i32.const 1))", "indirect call type mismatch"),
    ];
    for (body, name) in traps {
        let apply = r#"(func (export "reelflow:plugin/transform@0.1.0#apply") (param i32 i32 i32) (result i32)"#;
        let component =
            component(&format!("(table 2 funcref) (func $f) (elem (i32.const 1) $f) {apply} {body} (i32.const 512))"));
        let (when, found) = fate(&component, LIMITS);
        assert!(when == Call && found.starts_with(&format!("plugin trapped: wasm trap: {name}")), "{body}: {found}");
    }
}

#[test]
fn every_import_is_refused_by_its_name() {
    let interfaces = [
        "wasi:cli/environment@0.2.0",
        "wasi:cli/exit@0.2.0",
        "wasi:cli/stdout@0.2.0",
        "wasi:clocks/monotonic-clock@0.2.0",
        "wasi:clocks/wall-clock@0.2.0",
        "wasi:filesystem/types@0.2.0",
        "wasi:filesystem/preopens@0.2.0",
        "wasi:http/outgoing-handler@0.2.0",
        "wasi:io/poll@0.2.0",
        "wasi:random/random@0.2.0",
        "wasi:random/insecure-seed@0.2.0",
        "wasi:sockets/tcp@0.2.0",
        "wasi:sockets/ip-name-lookup@0.2.0",
        "reelflow:plugin/describe@0.1.0",
    ];
    for interface in interfaces {
        let component = wat::parse_str(format!(r#"(component (import "{interface}" (instance (export "f" (func)))))"#)).unwrap();
        let error = load_error(&component, "{}", LIMITS).to_string();
        assert!(error.starts_with(&format!("plugin imports {interface}; plugins get no imports")), "{error}");
    }
    for kind in ["(core module (export \"f\" (func)))", "(func)", "(instance (export \"r\" (type (sub resource))))"] {
        let component = wat::parse_str(format!(r#"(component (import "the-thing" {kind}))"#)).unwrap();
        let error = load_error(&component, "{}", LIMITS).to_string();
        assert!(error.starts_with("plugin imports the-thing; "), "{kind}: {error}");
    }
}

#[test]
fn a_megabyte_of_names_makes_a_short_message() {
    let long = "n".repeat(90_000);
    let imports: String = (0..8).map(|idx| format!(r#"(import "{long}{idx}" (func))"#)).collect();
    let error = load_error(&wat::parse_str(format!("(component {imports})")).unwrap(), "{}", LIMITS);
    assert!(matches!(error, LoadError::Imports(_)) && error.to_string().len() < 2_000, "{} bytes", error.to_string().len());
    let exports = format!(r#"(component (type $t u8) (export "{long}" (type $t)))"#);
    let error = load_error(&wat::parse_str(exports).unwrap(), "{}", LIMITS);
    assert!(matches!(error, LoadError::WrongWorld(_)) && error.to_string().len() < 2_000, "{} bytes", error.to_string().len());
}

#[test]
fn what_a_custom_section_holds_is_nobodys_business() {
    let junk = "\\ff".repeat(900_000);
    let with_junk = component(&format!(r#"(@custom "junk" "{junk}") (@custom "reelflow:plugin/transform" "")"#));
    assert!(with_junk.len() > 900_000);
    assert_eq!(fate(&with_junk, LIMITS), (Call, String::new()));
    // Names of functions that are no names: nobody has asked for them yet.
    let nameless = wat::parse_str(r#"(component (core module (@custom "name" "\ff\ff\ff")))"#).unwrap();
    assert!(matches!(load_error(&nameless, "{}", LIMITS), LoadError::WrongWorld(_)));
}

#[test]
fn types_end_somewhere() {
    let nested = |n: usize| {
        let types: String = (1..=n).map(|idx| format!("(type $t{idx} (option $t{}))", idx - 1)).collect();
        wat::parse_str(format!("(component (type $t0 u8) {types})")).unwrap()
    };
    assert!(matches!(load_error(&nested(90), "{}", LIMITS), LoadError::WrongWorld(_)));
    assert!(matches!(load_error(&nested(1_000), "{}", LIMITS), LoadError::NotAComponent(_)));
    // Each type stands for two of the one before: 2^40 in all.
    let types: String = (1..=40).map(|idx| format!("(type $t{idx} (tuple $t{0} $t{0}))", idx - 1)).collect();
    let doubled = wat::parse_str(format!("(component (type $t0 u8) {types})")).unwrap();
    assert!(matches!(load_error(&doubled, "{}", LIMITS), LoadError::NotAComponent(_)));
}

#[test]
fn a_trap_of_one_guest_leaves_a_call_under_way_alone() {
    let traps = guest("post_return_traps");
    std::thread::scope(|scope| {
        let breaking = scope.spawn(|| (0..50).map(|_| fate(&traps, LIMITS).1).collect::<BTreeSet<_>>());
        let mut neighbour = instance("transform", "{}", LIMITS);
        for round in 0..50 {
            assert_eq!(out(&neighbour.call(&transform(&[round])).unwrap()), &transform_rows(&[round]));
        }
        assert_eq!(breaking.join().unwrap().len(), 1);
    });
    let fault = PluginFault::Trap(String::new().into()).to_string();
    assert!(fate(&traps, LIMITS).1.starts_with(fault.trim_end()));
}
