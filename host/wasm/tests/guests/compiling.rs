//! Components that would cost their compiler too much are refused before it sees them.

use reelflow_ports::engine::{Limits, LoadError};

use crate::{bombs, support::load_error};

#[test]
fn each_bomb_may_have_its_limit_and_not_one_more() {
    let ample = Limits { component_bytes_max: 16 << 20, ..Limits::STANDARD };
    for (what, bomb, n_max) in bombs::BOMBS {
        let measure_of = |n: usize| {
            let measures = reelflow_wasm::shape::measures(&bombs::component(&bomb(n))).unwrap();
            measures.into_iter().find(|measure| measure.what == what).unwrap_or_else(|| panic!("{what} is not measured"))
        };
        let most = measure_of(n_max);
        assert!(most.found <= most.limit, "{most:?}");
        let over = load_error(&bombs::component(&bomb(n_max + 1)), "{}", ample);
        let expected = measure_of(n_max + 1);
        assert_eq!(over, LoadError::TooCostly { what, found: expected.found, limit: expected.limit });
    }
}

#[test]
fn what_is_measured_is_tested() {
    let measures = reelflow_wasm::shape::measures(&bombs::component("")).unwrap();
    let measured: Vec<&str> = measures.iter().map(|measure| measure.what).collect();
    assert_eq!(measured, bombs::BOMBS.map(|(what, _, _)| what));
}

#[test]
fn half_a_component_is_no_component() {
    let whole = bombs::component("(core module (func (drop (i32.const 1))))");
    for n_bytes in 8..whole.len() {
        let error = load_error(&whole[..n_bytes], "{}", Limits::STANDARD);
        assert!(matches!(error, LoadError::NotAComponent(_) | LoadError::WrongWorld(_)), "{n_bytes} bytes: {error}");
    }
}
