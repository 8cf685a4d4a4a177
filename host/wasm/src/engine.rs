//! [`WasmEngine`]: one wasmtime engine, its ticks, and the components that it has compiled.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use reelflow_ports::engine::{Limits, LoadError, Plugin, PluginEngine};
use wasmtime::{Config, Engine, OptLevel, Strategy, component::Component};

use crate::{
    compiler::{Compiler, Loaded},
    component::Compiled,
    inspect::{self, Inspection},
    plugin::WasmPlugin,
};

/// How often running guests look whether their time is over.
pub(crate) const TICK: Duration = Duration::from_millis(5);
/// Stack of one call, in bytes. The default stack of a Rust thread is 2 MiB, so a guest meets its own limit first.
pub(crate) const STACK_BYTES_MAX: usize = 512 << 10;
/// Compiled components that are kept although no plugin uses them, so that `check` and then `run`, or a rollback, compile once.
const CACHED_MAX: usize = 16;

/// Compiles and runs plugins. Cheap to share: put it in an `Arc`, one for a process.
pub struct WasmEngine {
    engine: Engine,
    compiler: Compiler,
    ticker: Arc<Ticker>,
    cache: Mutex<VecDeque<Slot>>,
    n_compiled: AtomicU64,
}

/// A component by its digest. The cell is filled by whoever comes first; the others wait for it instead of compiling again.
struct Slot {
    digest: String,
    compiled: Arc<OnceLock<Result<Arc<Compiled>, LoadError>>>,
}

impl WasmEngine {
    /// Starts the engine and the thread that ticks for it. It compiles in this process.
    ///
    /// Panics when the machine has no support of Cranelift's, or no thread can be started: there is no work without either.
    pub fn new() -> WasmEngine {
        WasmEngine::with_compiler(Compiler::InProcess)
    }

    /// As [`WasmEngine::new`], where `compiler` says.
    pub fn with_compiler(compiler: Compiler) -> WasmEngine {
        let engine = engine();
        let ticker = Arc::new(Ticker::start(&engine));
        WasmEngine { engine, compiler, ticker, cache: Mutex::default(), n_compiled: AtomicU64::new(0) }
    }

    /// What `component` is and says of itself under `config` (a JSON object), also where it could not be loaded.
    ///
    /// Errors: only when the bytes are no component, or too many.
    pub fn inspect(&self, component: &[u8], config: &str, limits: &Limits) -> Result<Inspection, LoadError> {
        check_size(component, limits)?;
        let digest = digest(component);
        let compiled = self.compile(component, &digest, limits)?;
        let declaration = Compiled::new(&self.engine, &compiled, digest)
            .and_then(|compiled| WasmPlugin::new(Arc::new(compiled), config, *limits, self.ticker.clone()))
            .map(|plugin| plugin.declaration().clone());
        Ok(inspect::inspection(&self.engine, &compiled, component, declaration))
    }

    /// How many components were compiled since the start, and not found in a cache.
    pub fn n_compiled(&self) -> u64 {
        self.n_compiled.load(Ordering::Relaxed)
    }

    fn compile(&self, bytes: &[u8], digest: &str, limits: &Limits) -> Result<Component, LoadError> {
        let Loaded { component, is_compiled } = self.compiler.load(&self.engine, bytes, digest, limits)?;
        self.n_compiled.fetch_add(u64::from(is_compiled), Ordering::Relaxed);
        Ok(component)
    }

    fn compiled(&self, bytes: &[u8], limits: &Limits) -> Result<Arc<Compiled>, LoadError> {
        let digest = digest(bytes);
        let cell = self.cell(&digest);
        let compile = || {
            let component = self.compile(bytes, &digest, limits)?;
            Compiled::new(&self.engine, &component, digest.clone()).map(Arc::new)
        };
        let compiled = cell.get_or_init(compile).clone();
        if compiled.as_ref().is_err_and(LoadError::may_pass) {
            self.lock().retain(|slot| !Arc::ptr_eq(&slot.compiled, &cell));
        }
        compiled
    }

    /// The cache's cell for `digest`, made the newest one.
    fn cell(&self, digest: &str) -> Arc<OnceLock<Result<Arc<Compiled>, LoadError>>> {
        let mut cache = self.lock();
        let known = cache.iter().position(|slot| slot.digest == digest).and_then(|slot_idx| cache.remove(slot_idx));
        let slot = known.unwrap_or_else(|| Slot { digest: digest.to_owned(), compiled: Arc::default() });
        let cell = slot.compiled.clone();
        cache.push_back(slot);
        if cache.len() > CACHED_MAX {
            cache.pop_front();
        }
        cell
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Slot>> {
        // A panic of another thread leaves the queue whole: nothing that holds the lock can stop half way.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for WasmEngine {
    fn default() -> WasmEngine {
        WasmEngine::new()
    }
}

impl PluginEngine for WasmEngine {
    fn load(&self, component: &[u8], config: &str, limits: &Limits) -> Result<Arc<dyn Plugin>, LoadError> {
        check_size(component, limits)?;
        let compiled = self.compiled(component, limits)?;
        let plugin = WasmPlugin::new(compiled, config, *limits, self.ticker.clone())?;
        Ok(Arc::new(plugin))
    }
}

/// BLAKE3 of `bytes`, in hex: the name of a component wherever it is recorded.
pub fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

fn check_size(component: &[u8], limits: &Limits) -> Result<(), LoadError> {
    let n_bytes = component.len() as u64;
    if n_bytes > limits.component_bytes_max {
        return Err(LoadError::TooLarge { n_bytes, limit_bytes: limits.component_bytes_max });
    }
    Ok(())
}

/// An engine that compiles, and runs what another one with this configuration has compiled.
pub(crate) fn engine() -> Engine {
    Engine::new(&config()).expect("wasmtime accepts a constant configuration")
}

fn config() -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES_MAX)
        // What compiling takes, and so whether it stays within its limits, must not depend on how many cores there are.
        .parallel_compilation(false)
        // The memory of an instance that trapped is looked at once, for the panic's message.
        .coredump_on_trap(true)
        .wasm_component_model(true)
        // The same input must give the same bytes on every machine.
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        .concurrency_support(false)
        // Nothing that a Rust plugin needs: less to trust.
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_tail_call(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false);
    config
}

/// The thread that advances wasmtime's epoch (a tick, in our words). It lives as long as the engine or any plugin of it.
pub(crate) struct Ticker {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Ticker {
    fn start(engine: &Engine) -> Ticker {
        let (stop, stopped) = mpsc::channel::<()>();
        let engine = engine.clone();
        // One tick per wake-up, however late it was: when the whole process stood still, no plugin is to blame.
        let tick = move || {
            while stopped.recv_timeout(TICK) == Err(mpsc::RecvTimeoutError::Timeout) {
                engine.increment_epoch();
            }
        };
        let thread = thread::Builder::new().name("reel-ticks".to_owned()).spawn(tick).expect("the system can start a thread");
        Ticker { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the ticking thread has nothing to panic about");
        }
    }
}
