//! A process that compiles one component and ends.
//!
//! It is the program that runs here, started anew with a word that tells it to be a helper (`inside`). So it can be ended at any moment, its
//! memory can have a limit of its own, and a compiler that breaks takes nobody with it.

use std::{
    ffi::OsString,
    io::{self, Read, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use reelflow_ports::engine::{Limits, LoadError};

use super::{
    inside::{OUT_OF_MEMORY, REFUSED},
    sealed::Sealed,
};
use crate::words::legible;

/// What a helper says on standard error is read so far.
const WORDS_BYTES_MAX: usize = 64 << 10;
/// How the standard library begins its last words when there is no memory; it aborts then, and cannot be told to do otherwise.
const NO_MEMORY: &str = "memory allocation of ";
/// How often a helper is looked at. The first look comes sooner, since a small component takes 20 ms.
const LOOK_MAX: Duration = Duration::from_millis(10);

/// How helpers are started.
#[derive(Clone, Debug)]
pub struct Helper {
    program: PathBuf,
    args: Vec<OsString>,
}

impl Helper {
    /// `program` with `args`, then `--memory-bytes N --cpu-s N`, does what [`super::inside::compile`] does: it must be this very build.
    pub fn new(program: PathBuf, args: Vec<OsString>) -> Helper {
        Helper { program, args }
    }

    /// The native code of `component`, called `digest`, as the helper gave it.
    pub(super) fn compile(&self, component: &[u8], digest: &str, limits: &Limits) -> Result<Sealed, LoadError> {
        let Ended { status, answer, words } =
            self.run(component, limits).map_err(|why| LoadError::NoCompiler(why.to_string()))?;
        let too_slow = || LoadError::CompileTime { digest: digest.to_owned(), limit_ms: limits.compile_ms_max };
        let too_large = || LoadError::CompileMemory { digest: digest.to_owned(), limit_bytes: limits.compile_memory_bytes_max };
        let broke = |why: String| LoadError::CompilerBroke { digest: digest.to_owned(), why };
        let Some(status) = status else { return Err(too_slow()) };
        match (status.code(), status.signal().and_then(|signal| Signal::try_from(signal).ok())) {
            (Some(0), _) if answer.len() > Sealed::BYTES_MAX => {
                Err(broke(format!("it gave more than {} bytes", Sealed::BYTES_MAX)))
            }
            (Some(0), _) => Ok(Sealed::from_bytes(answer)),
            (Some(code), _) if code == i32::from(REFUSED) => Err(LoadError::NotAComponent(legible(&words))),
            (Some(code), _) if code == i32::from(OUT_OF_MEMORY) => Err(too_large()),
            (_, Some(Signal::SIGABRT)) if words.contains(NO_MEMORY) => Err(too_large()),
            (_, Some(Signal::SIGXCPU)) => Err(too_slow()),
            _ if words.is_empty() => Err(broke(format!("the helper ended with {status}"))),
            _ => Err(broke(format!("the helper ended with {status}: {}", legible(&words)))),
        }
    }

    /// Starts a helper, gives it `component`, and waits until it has ended or its time is over.
    fn run(&self, component: &[u8], limits: &Limits) -> io::Result<Ended> {
        let time = Duration::from_millis(limits.compile_ms_max);
        // Rounded up: the wall's clock ends it first.
        let cpu_s = limits.compile_ms_max.div_ceil(1_000) + 1;
        let mut child = Command::new(&self.program)
            .args(&self.args)
            .args(["--memory-bytes", &limits.compile_memory_bytes_max.to_string(), "--cpu-s", &cpu_s.to_string()])
            .env_clear()
            // A ctrl-c is for the host, which may have a pipeline to seal.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let until = Instant::now() + time;
        let mut input = child.stdin.take().expect("it was asked for");
        let output = child.stdout.take().expect("it was asked for");
        let words = child.stderr.take().expect("it was asked for");
        thread::scope(|scope| {
            // Each pipe has a thread: whoever waits for one would miss that another is full, or that time is over.
            let feeding = scope.spawn(move || input.write_all(component));
            let answer = scope.spawn(|| bounded(output, Sealed::BYTES_MAX + 1));
            let words = scope.spawn(|| bounded(words, WORDS_BYTES_MAX));
            let status = wait(&mut child, until);
            // A helper that ended early took no more of it: its exit code says why.
            drop(feeding.join().expect("writing does not panic"));
            let answer = answer.join().expect("reading does not panic")?;
            let words = words.join().expect("reading does not panic")?;
            Ok(Ended { status: status?, answer, words: String::from_utf8_lossy(&words).trim().to_owned() })
        })
    }
}

/// How a helper ended.
struct Ended {
    /// `None`: its time was over.
    status: Option<ExitStatus>,
    answer: Vec<u8>,
    words: String,
}

/// The first bytes that come. Whoever writes more finds the pipe closed.
fn bounded(from: impl Read, n_bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(n_bytes_max as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Waits for the end of `child`, and at `until` brings it about. It leaves no zombie, and is dead in any case.
fn wait(child: &mut Child, until: Instant) -> io::Result<Option<ExitStatus>> {
    let mut look = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            // By its id, which nobody else can have before it was waited for.
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(look.min(left));
        look = (look * 2).min(LOOK_MAX);
    }
}
