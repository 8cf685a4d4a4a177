//! What a helper does: it limits itself, reads a component, and writes its native code.
//!
//! It has the bytes, three pipes and nothing else: no variable of the environment, no argument but its limits, and after `limit_itself` no
//! file that it could open or make longer. Standard output has the code, or standard error why there is none; the exit code says which.

use std::io::{self, ErrorKind, Read, Write};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::sealed::Key;
use crate::{
    engine::{self, digest},
    native::Native,
};

/// Exit code: the compiler refuses the component, standard error says why.
pub(super) const REFUSED: u8 = 2;
/// Exit code: the memory was not enough.
pub(super) const OUT_OF_MEMORY: u8 = 3;
/// Exit code: anything else.
const BROKE: u8 = 1;

/// What a helper allows itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Address space beyond what the program has mapped when it begins.
    pub memory_bytes: u64,
    /// CPU time. The host looks at the clock on the wall; this ends a helper whose host is gone.
    pub cpu_s: u64,
}

/// Compiles the component on standard input. Gives the process's exit code.
pub fn compile(allowance: Allowance) -> u8 {
    match limit_itself(allowance).and_then(|()| answer()) {
        Ok(()) => 0,
        Err(Failure { code, why }) => {
            // Nobody is left to tell.
            drop(io::stderr().write_all(why.as_bytes()));
            code
        }
    }
}

struct Failure {
    code: u8,
    why: String,
}

impl From<io::Error> for Failure {
    fn from(why: io::Error) -> Failure {
        let code = if why.kind() == ErrorKind::OutOfMemory { OUT_OF_MEMORY } else { BROKE };
        Failure { code, why: why.to_string() }
    }
}

fn limit_itself(Allowance { memory_bytes, cpu_s }: Allowance) -> Result<(), Failure> {
    // The last file that it opens. Where there is none, what the program itself takes counts as well.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let address_space = mapped_bytes(&status).unwrap_or(0).saturating_add(memory_bytes);
    let limits = [
        (Resource::RLIMIT_AS, address_space, address_space),
        // The soft limit ends it by a signal of its own, the hard one by that which ends anybody.
        (Resource::RLIMIT_CPU, cpu_s, cpu_s.saturating_add(1)),
        (Resource::RLIMIT_CORE, 0, 0),
        (Resource::RLIMIT_FSIZE, 0, 0),
        // The three that are open are the three that there can be.
        (Resource::RLIMIT_NOFILE, 3, 3),
    ];
    for (resource, soft, hard) in limits {
        // Whoever started the host may have allowed less; nobody may allow themselves more.
        getrlimit(resource)
            .and_then(|(_, most)| setrlimit(resource, soft.min(most), hard.min(most)))
            .map_err(|why| Failure { code: BROKE, why: format!("{resource:?} cannot be limited: {why}") })?;
    }
    Ok(())
}

/// The address space of a process whose `/proc/self/status` is `status`.
fn mapped_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
}

fn answer() -> Result<(), Failure> {
    let mut component = Vec::new();
    io::stdin().lock().read_to_end(&mut component)?;
    let engine = engine::engine();
    let key = Key::new(&engine, &digest(&component));
    let native = Native::compiled(&engine, &component).map_err(|why| {
        let code = if why.is::<wasmtime::OutOfMemory>() { OUT_OF_MEMORY } else { REFUSED };
        Failure { code, why: format!("{why:#}") }
    })?;
    let mut output = io::stdout().lock();
    output.write_all(native.seal(&key).as_bytes())?;
    Ok(output.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mapped_is_read_from_the_status() {
        assert_eq!(mapped_bytes("Name:\tx\nVmPeak:\t 99 kB\nVmSize:\t  12 kB\n"), Some(12 << 10));
        assert_eq!(mapped_bytes(""), None);
        assert_eq!(mapped_bytes("VmSize:\tmuch\n"), None);
    }
}
