//! Small components that cost a compiler much, in any size: for the tests, and for the example `compile_cost`.

/// What grows, what makes it, and the greatest size that is let through. One more is refused for that very reason.
pub const BOMBS: [Bomb; 15] = [
    ("core modules", |n| "(core module)".repeat(n), 16),
    ("nested components", |n| format!("{}{}", "(component ".repeat(n), ")".repeat(n)), 16),
    ("component instances", instances, 16),
    ("core instances", |n| format!("(core module $m){}", "(core instance (instantiate $m))".repeat(n)), 64),
    ("lifted or lowered functions", lifted, 64),
    ("bytes of component types", |n| "(type (tuple u8))".repeat(n), 21_844),
    ("core types", |n| format!("(core module {})", "(type (func))".repeat(n)), 10_000),
    ("functions", |n| format!("(core module {})", "(func)".repeat(n)), 20_000),
    ("bytes in all functions", |n| sum(43_689).repeat(15) + &sum(n), 43_689),
    ("bytes in one function", sum, 43_689),
    ("locals in one function", |n| function(&"(local i64)".repeat(n), ""), 2_000),
    ("branches in one function", blocks, 1_999),
    ("squared branches in all functions", |n| blocks(1_999).repeat(2) + &blocks(n), 1_413),
    ("branches times locals in all functions", |n| function(&"(local i64)".repeat(n), &"(block)".repeat(999)), 1_999),
    ("results of calls", calls, 500),
];

type Bomb = (&'static str, fn(usize) -> String, usize);

/// One function of a module of its own, with one parameter.
pub fn function(locals: &str, body: &str) -> String {
    format!("(core module (memory 1) (func (param i32) {locals} {body}))")
}

/// A function of `n` branches, besides the one that enters it.
fn blocks(n: usize) -> String {
    function("", &"(block)".repeat(n))
}

/// A sum of `n` numbers: three bytes for each.
fn sum(n: usize) -> String {
    function("", &format!("i32.const 0 {} drop", "i32.const 1 i32.add ".repeat(n)))
}

/// Each component but the innermost makes two instances of the one inside of it.
fn instances(n: usize) -> String {
    let twice = |inner: String, _| format!("(component $c {inner}) (instance (instantiate $c)) (instance (instantiate $c))");
    let rest = "(component $d) (instance (instantiate $d))".repeat(n % 2);
    (0..n / 2).fold("(core module)".to_owned(), twice) + &rest
}

fn lifted(n: usize) -> String {
    let lift = "(func (canon lift (core func $i \"f\")))".repeat(n);
    format!("(core module $m (func (export \"f\"))) (core instance $i (instantiate $m)) {lift}")
}

/// `n` calls of a function with 1,000 results.
fn calls(n: usize) -> String {
    let wide = format!("(type $wide (func (result{})))", " i32".repeat(1_000));
    format!("(core module {wide} (import \"a\" \"b\" (func $f (type $wide))) (func {} unreachable))", "(call $f)".repeat(n))
}

/// The bomb as bytes.
pub fn component(text: &str) -> Vec<u8> {
    wat::parse_str(format!("(component {text})")).unwrap_or_else(|error| panic!("{error}"))
}
