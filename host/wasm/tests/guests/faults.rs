//! Guests that break in a call (I-8): the fault says how, the next call starts afresh, and nobody else notices.

use reelflow_core::plugin::{PluginFault, Request, Response};
use reelflow_ports::engine::{Limits, PluginEngine};

use crate::support::{
    HURRIED, LIMITS, call, engine, instance, int_rows, load, module, n_calls, orders, out, transform, transform_rows, wat,
};

const FUNCTIONS: [&str; 8] = ["apply", "add", "merge", "emit", "pair", "take", "fire", "migrate"];

#[track_caller]
fn trap_text(result: Result<Response, PluginFault>) -> String {
    match result {
        Err(PluginFault::Trap(report)) => report.to_string(),
        other => panic!("{other:?} instead of a trap"),
    }
}

#[test]
fn an_endless_loop_meets_its_deadline_in_every_function() {
    for at in FUNCTIONS {
        assert_eq!(call("loop", at, HURRIED), Err(PluginFault::Deadline { limit_ms: 50 }), "{at}");
    }
}

#[test]
fn a_hoarder_meets_the_memory_limit_in_every_function() {
    for at in FUNCTIONS {
        assert_eq!(call("hoard", at, LIMITS), Err(PluginFault::Memory { limit_bytes: LIMITS.memory_bytes_max }), "{at}");
    }
}

#[test]
fn endless_recursion_is_a_trap_in_every_function() {
    for at in FUNCTIONS {
        let text = trap_text(call("recurse", at, LIMITS));
        assert!(text.contains("call stack exhausted") || text.contains("out of bounds"), "{at}: {text}");
    }
}

#[test]
fn a_panic_tells_its_message_and_place_in_every_function() {
    for at in FUNCTIONS {
        let text = trap_text(call("panic", at, LIMITS));
        let message = format!(" asked to panic in {at}, in guest_shared::misbehave");
        assert!(text.starts_with("panicked at shared/src/lib.rs:") && text.contains(&message), "{at}: {text}");
    }
}

#[test]
fn a_bare_trap_tells_its_kind_and_place_in_every_function() {
    for at in FUNCTIONS {
        let text = trap_text(call("trap", at, LIMITS));
        assert!(text.starts_with("wasm trap: wasm `unreachable` instruction executed, in guest_shared::"), "{at}: {text}");
    }
}

#[test]
fn a_giant_answer_meets_the_output_limit() {
    assert_eq!(call("flood", "apply", LIMITS), Err(PluginFault::Output { limit_bytes: 1 << 20 }));
    assert_eq!(call("long-reason", "apply", LIMITS), Err(PluginFault::Output { limit_bytes: 1 << 20 }));
    // The same answer is fine where it is allowed.
    let ample = Limits { output_bytes_max: 8 << 20, ..LIMITS };
    assert!(call("flood", "apply", ample).is_ok());
    assert!(call("long-reason", "apply", ample).is_ok());
}

#[test]
fn a_guest_that_can_live_with_less_memory_goes_on() {
    assert!(call("hoard-and-survive", "apply", LIMITS).is_ok());
}

#[test]
fn memory_refused_in_an_earlier_call_is_not_blamed_for_a_panic() {
    let mut instance = instance("transform", &orders("hoard-and-survive", "apply"), LIMITS);
    instance.call(&transform(&[13])).unwrap();
    let text = trap_text(instance.call(&transform(&[666])));
    assert!(text.contains("no guest takes this number"), "{text}");
}

/// The answer of a guest whose input is rows of one integer.
fn call_wat(name: &str, limits: Limits) -> Result<Response, PluginFault> {
    let plugin = engine().load(&wat(name), "{}", &limits).unwrap_or_else(|error| panic!("{name}: {error}"));
    plugin.instance().unwrap().call(&Request::Transform { rows: int_rows(&[1, 2, 3]) })
}

#[test]
fn an_answer_that_repeats_the_same_memory_is_counted_each_time() {
    // Guest memory alone would not bound what the host copies.
    assert_eq!(call_wat("flood_by_alias", Limits::STANDARD), Err(PluginFault::Output { limit_bytes: 32 << 20 }));
    assert_eq!(call_wat("answers_nothing", LIMITS), Ok(Response::Rows { outputs: Vec::new(), rejects: Vec::new() }));
}

#[test]
fn an_answer_outside_of_memory_is_malformed() {
    let fault = call_wat("answer_out_of_bounds", LIMITS).unwrap_err();
    assert!(matches!(&fault, PluginFault::Malformed(text) if text.contains("out of bounds")), "{fault}");
}

#[test]
fn room_for_the_rows_outside_of_memory_is_malformed() {
    let fault = call_wat("realloc_out_of_bounds", LIMITS).unwrap_err();
    assert!(matches!(&fault, PluginFault::Malformed(text) if text.contains("realloc return")), "{fault}");
}

#[test]
fn after_each_fault_the_next_call_has_a_fresh_instance() {
    for mode in ["loop", "hoard", "recurse", "panic", "trap", "flood", "ragged", "nan", "output-twice"] {
        let limits = if mode == "loop" { Limits { call_ms_max: 500, ..LIMITS } } else { LIMITS };
        let mut instance = instance("transform", &orders(mode, "apply"), limits);
        for round in 0..2 {
            assert_eq!(n_calls(&instance.call(&transform(&[1])).unwrap()), 1, "{mode}, round {round}");
            assert_eq!(n_calls(&instance.call(&transform(&[2])).unwrap()), 2, "{mode}, round {round}");
            instance.call(&transform(&[12, 13])).expect_err(mode);
        }
        let answer = instance.call(&transform(&[3])).unwrap();
        assert_eq!(out(&answer), &transform_rows(&[3]), "{mode}");
    }
}

#[test]
fn a_fault_touches_no_other_instance_of_any_plugin() {
    let broken = load("transform", &orders("panic", "apply"), LIMITS);
    let mut broken_instance = broken.instance().unwrap();
    let mut sibling = broken.instance().unwrap();
    let mut other = instance("transform", "{}", LIMITS);
    for round in 1..4 {
        broken_instance.call(&transform(&[13])).unwrap_err();
        assert_eq!(n_calls(&sibling.call(&transform(&[1])).unwrap()), round);
        assert_eq!(n_calls(&other.call(&transform(&[13])).unwrap()), round);
    }
}

#[test]
fn a_loop_in_one_thread_does_not_delay_the_deadline_of_another() {
    let plugin = load("transform", &orders("loop", "apply"), HURRIED);
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..4).map(|_| scope.spawn(|| plugin.instance().unwrap().call(&transform(&[13])).unwrap_err())).collect();
        for worker in workers {
            assert_eq!(worker.join().unwrap(), PluginFault::Deadline { limit_ms: 50 });
        }
    });
}

#[test]
fn the_modes_of_all_guests_are_tested() {
    use std::collections::BTreeSet;
    let common = ["loop", "hoard", "recurse", "panic", "trap"];
    let transform: Vec<&str> = ["flood", "long-reason", "hoard-and-survive", "nan-bits"]
        .into_iter()
        .chain(crate::malformed::TRANSFORM.map(|(mode, _)| mode))
        .collect();
    let own = [
        ("transform", transform),
        ("aggregate", crate::malformed::AGGREGATE_MODES.to_vec()),
        ("join", vec!["origins-short"]),
        ("process", crate::malformed::PROCESS_MODES.to_vec()),
    ];
    for (guest, modes) in own {
        let component = reelflow_wasm::encode_component(&module(guest)).unwrap();
        let listed = crate::support::load_error(&component, &orders("modes", ""), LIMITS).to_string();
        let listed = listed.strip_prefix("plugin refused its config: ").unwrap();
        let listed: BTreeSet<&str> = listed.split(' ').collect();
        assert_eq!(listed, modes.into_iter().chain(common).collect(), "{guest}");
    }
}
