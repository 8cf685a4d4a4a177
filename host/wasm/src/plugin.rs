//! A loaded plugin, its instances and their calls.

use std::sync::Arc;

use reelflow_core::{
    plugin::{Declaration, PluginFault, Request, Response},
    schema::Schema,
};
use reelflow_ports::engine::{Limits, LoadError, Plugin, PluginInstance};
use wasmtime::{Store, component::Instance};

use crate::{
    bindings::exports::reelflow::plugin::{aggregate, join, migrate, process, transform},
    component::{Compiled, Indices},
    convert::{self, Lowered},
    describe,
    engine::{TICK, Ticker},
    fault,
    limits::Limiter,
    words::legible,
};

/// Bytes of a describe document, at most.
pub(crate) const DESCRIPTION_BYTES_MAX: usize = 1 << 20;

pub(crate) struct WasmPlugin {
    shared: Arc<Shared>,
    declaration: Declaration,
}

/// What a plugin's instances share.
struct Shared {
    compiled: Arc<Compiled>,
    config: String,
    limits: Limits,
    /// The declared outputs, which every answer is checked against.
    outputs: Vec<(String, Schema)>,
    /// Without ticks a call would never end.
    _ticker: Arc<Ticker>,
}

impl WasmPlugin {
    /// Has a fresh instance describe itself under `config`.
    pub(crate) fn new(
        compiled: Arc<Compiled>,
        config: &str,
        limits: Limits,
        ticker: Arc<Ticker>,
    ) -> Result<WasmPlugin, LoadError> {
        let (_, description) = Live::start(&compiled, config, &limits)?;
        let declaration =
            describe::declaration(&description, compiled.world).map_err(|why| LoadError::Description(legible(&why)))?;
        let outputs = declaration.outputs.clone();
        let shared = Shared { compiled, config: config.to_owned(), limits, outputs, _ticker: ticker };
        Ok(WasmPlugin { shared: Arc::new(shared), declaration })
    }
}

impl Plugin for WasmPlugin {
    fn declaration(&self) -> &Declaration {
        &self.declaration
    }

    fn digest(&self) -> &str {
        &self.shared.compiled.digest
    }

    fn can_migrate(&self) -> bool {
        self.shared.compiled.migrate.is_some()
    }

    fn instance(&self) -> Result<Box<dyn PluginInstance>, LoadError> {
        let live = self.shared.start()?;
        let memory_bytes_max = live.store.data().memory_bytes();
        Ok(Box::new(WasmInstance { shared: self.shared.clone(), live: Some(live), memory_bytes_max }))
    }
}

impl Shared {
    /// A fresh instance. What it says of itself is not looked at: with nothing but the config to go by, it says the same again.
    fn start(&self) -> Result<Live, LoadError> {
        Live::start(&self.compiled, &self.config, &self.limits).map(|(live, _)| live)
    }
}

struct WasmInstance {
    shared: Arc<Shared>,
    /// `None` after a fault, until the next call.
    live: Option<Live>,
    memory_bytes_max: u64,
}

impl PluginInstance for WasmInstance {
    fn call(&mut self, request: &Request) -> Result<Response, PluginFault> {
        let mut live = match self.live.take() {
            Some(live) => live,
            None => self.shared.start().map_err(restart_fault)?,
        };
        let result = live.call(request, &self.shared.limits);
        self.memory_bytes_max = self.memory_bytes_max.max(live.store.data().memory_bytes());
        let response = result?;
        request.check(&response, &self.shared.outputs)?;
        self.live = Some(live);
        Ok(response)
    }

    fn memory_bytes_max(&self) -> u64 {
        self.memory_bytes_max
    }
}

/// A plugin that could be started before and cannot now is not pure; its call gets the blame.
fn restart_fault(error: LoadError) -> PluginFault {
    match error {
        LoadError::Fault(fault) => fault,
        other => PluginFault::Malformed(format!("a fresh instance: {other}")),
    }
}

/// An instance that is fit for calls. It is dropped with its store, and so with its memory, once a call has failed.
struct Live {
    store: Store<Limiter>,
    guest: Guest,
    migrate: Option<migrate::Guest>,
}

enum Guest {
    Transform(transform::Guest),
    Aggregate(aggregate::Guest),
    Join(join::Guest),
    Process(process::Guest),
}

impl Live {
    /// A fresh instance and what it says of itself. Its start function and `describe` share the time of one call.
    fn start(compiled: &Compiled, config: &str, limits: &Limits) -> Result<(Live, String), LoadError> {
        let mut store = Store::new(compiled.pre.engine(), Limiter::new(limits.memory_bytes_max));
        store.limiter(|limiter| limiter);
        store.set_hostcall_fuel(DESCRIPTION_BYTES_MAX);
        store.set_epoch_deadline(n_ticks(limits));
        let broke = |error, store: &mut Store<Limiter>| {
            let limits = Limits { output_bytes_max: DESCRIPTION_BYTES_MAX as u64, ..*limits };
            LoadError::Fault(fault::of_error(&error, store, &limits))
        };
        let instance = match compiled.pre.instantiate(&mut store) {
            Ok(instance) => instance,
            Err(error) => return Err(broke(error, &mut store)),
        };
        let wrong = |error: wasmtime::Error| LoadError::WrongWorld(legible(&format!("{error:#}")));
        let guest = Guest::load(&compiled.indices, &mut store, &instance).map_err(wrong)?;
        let describe = compiled.describe.load(&mut store, &instance).map_err(wrong)?;
        let migrate = compiled.migrate.as_ref().map(|indices| indices.load(&mut store, &instance)).transpose().map_err(wrong)?;
        let description = match describe.call_describe(&mut store, config) {
            Ok(Ok(description)) => description,
            Ok(Err(refusal)) => return Err(LoadError::Config(legible(&refusal))),
            Err(error) => return Err(broke(error, &mut store)),
        };
        // From here on every call may answer as much as the limits say.
        store.set_hostcall_fuel(usize::try_from(limits.output_bytes_max).unwrap_or(usize::MAX));
        Ok((Live { store, guest, migrate }, description))
    }

    fn call(&mut self, request: &Request, limits: &Limits) -> Result<Response, PluginFault> {
        self.store.set_epoch_deadline(n_ticks(limits));
        self.store.data_mut().take_refused_memory(); // What was refused in an earlier call and survived is no reason any more.
        let lowered = Lowered::new(request);
        let answer = match (&self.guest, request) {
            (Guest::Transform(guest), Request::Transform { .. }) => {
                guest.call_apply(&mut self.store, lowered.first()).map(convert::emitted)
            }
            (Guest::Aggregate(guest), Request::Add { grouped, states }) => {
                guest.call_add(&mut self.store, lowered.first(), &grouped.ends, convert::packed_param(states)).map(convert::added)
            }
            (Guest::Aggregate(guest), Request::Merge { parts, ends }) => {
                guest.call_merge(&mut self.store, convert::packed_param(parts), ends).map(convert::added)
            }
            (Guest::Aggregate(guest), Request::Emit { windows, states, .. }) => {
                let windows = convert::windows(windows);
                guest.call_emit(&mut self.store, &windows, lowered.first(), convert::packed_param(states)).map(convert::emitted)
            }
            (Guest::Join(guest), Request::Pair { matched, has_left, .. }) => {
                let sides = convert::sides(matched, has_left.as_ref());
                guest.call_pair(&mut self.store, lowered.first(), lowered.second(), &sides).map(convert::emitted)
            }
            (Guest::Process(guest), Request::Take { grouped, times, states, time, .. }) => {
                let (times, states) = (convert::times(times), convert::packed_param(states));
                let (rows, keys) = (lowered.first(), lowered.second());
                guest
                    .call_take(&mut self.store, rows, &times, &grouped.ends, keys, states, convert::time(*time))
                    .map(convert::processed)
            }
            (Guest::Process(guest), Request::Fire { timers, states, time, .. }) => {
                let (timers, states) = (convert::timers(timers), convert::packed_param(states));
                guest.call_fire(&mut self.store, &timers, lowered.first(), states, convert::time(*time)).map(convert::processed)
            }
            (_, Request::Migrate { states }) => {
                let guest = self.migrate.as_ref().expect("only a plugin that can is asked to migrate");
                guest.call_migrate(&mut self.store, convert::packed_param(states)).map(convert::migrated)
            }
            _ => unreachable!("the plan checks a plugin's world before any call"),
        };
        answer.unwrap_or_else(|error| Err(fault::of_error(&error, &mut self.store, limits)))
    }
}

impl Guest {
    /// Looks the world's functions up; their types are checked here.
    fn load(indices: &Indices, store: &mut Store<Limiter>, instance: &Instance) -> wasmtime::Result<Guest> {
        Ok(match indices {
            Indices::Transform(indices) => Guest::Transform(indices.load(store, instance)?),
            Indices::Aggregate(indices) => Guest::Aggregate(indices.load(store, instance)?),
            Indices::Join(indices) => Guest::Join(indices.load(store, instance)?),
            Indices::Process(indices) => Guest::Process(indices.load(store, instance)?),
        })
    }
}

/// The ticks after which a call that starts now has had all of its time. The tick under way is not counted: it may be nearly over.
fn n_ticks(limits: &Limits) -> u64 {
    limits.call_ms_max.div_ceil(TICK.as_millis() as u64) + 1
}
