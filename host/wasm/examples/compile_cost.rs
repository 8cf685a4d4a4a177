//! What compiling costs: the measures of a component, the time, and the growth of the process, for plugins and for bombs.
//!
//! `cargo run -p reelflow-wasm --example compile_cost -- PLUGIN.wasm…` measures components. Without arguments it compiles the worst
//! functions that are let through, one of them and as many as are let through together.

use std::{error::Error, time::Instant};

use reelflow_ports::engine::{Limits, PluginEngine};
use reelflow_wasm::{WasmEngine, shape};

#[path = "../tests/guests/bombs.rs"]
mod bombs;

fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    for path in &paths {
        report(path, &std::fs::read(path)?)?;
    }
    if !paths.is_empty() {
        return Ok(());
    }
    for (n_branches, n_locals) in [(900, 1_000), (900, 2_000), (1_900, 100), (1_900, 1_000)] {
        report(&format!("{n_branches} branches, {n_locals} locals"), &bombs::component(&joined(n_branches, n_locals)))?;
    }
    for n in [5_000, 10_000, 15_000] {
        report(&format!("{n} values at once"), &bombs::component(&stacked(n)))?;
    }
    for (what, bomb, n) in bombs::BOMBS {
        report(what, &bombs::component(&bomb(n)))?;
    }
    Ok(())
}

fn report(name: &str, component: &[u8]) -> Result<(), Box<dyn Error>> {
    println!("{name}: {} bytes", component.len());
    for measure in
        shape::measures(component)?.iter().filter(|measure| measure.found * 2 > measure.limit || measure.found > 100_000)
    {
        println!("  {:>12} of {:>9} {}", measure.found, measure.limit, measure.what);
    }
    let resident_before = resident_bytes()?;
    let start = Instant::now();
    let loaded = WasmEngine::new().load(component, "{}", &Limits::STANDARD);
    let grown = resident_bytes()?.saturating_sub(resident_before) >> 20;
    println!(
        "  {:.2?}, the peak {grown} MiB higher: {}",
        start.elapsed(),
        loaded.map_or_else(|why| why.to_string(), |_| "loaded".to_owned())
    );
    Ok(())
}

/// `n_branches` merges of two paths, with `n_locals` values alive across all of them.
fn joined(n_branches: usize, n_locals: usize) -> String {
    let locals = format!("(local {})", "i64 ".repeat(n_locals));
    let each = |text: &dyn Fn(usize) -> String| (1..=n_locals).map(text).collect::<String>();
    let set = each(&|local| format!("(local.set {local} (i64.load offset={local} (local.get 0)))"));
    let branch = |at: usize| {
        let local = at % n_locals + 1;
        format!("(if (i32.load offset={at} (local.get 0)) (then (local.set {local} (i64.load offset={at} (local.get 0)))))")
    };
    let branches: String = (0..n_branches).map(branch).collect();
    let used = each(&|local| format!("(i64.store offset={local} (local.get 0) (local.get {local}))"));
    bombs::function(&locals, &format!("{set}{branches}{used}"))
}

/// `n` values at once, in no local.
fn stacked(n: usize) -> String {
    let loads: String = (0..n).map(|at| format!("(i64.load offset={at} (local.get 0)) ")).collect();
    bombs::function("", &format!("{loads} {} drop", "i64.add ".repeat(n - 1)))
}

/// The most memory that this process had so far.
fn resident_bytes() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).ok_or("no VmHWM")?;
    let kib: u64 = line.split_whitespace().nth(1).ok_or("no number")?.parse()?;
    Ok(kib << 10)
}
