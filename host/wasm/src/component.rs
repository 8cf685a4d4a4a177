//! What may be loaded: a component, without imports (I-7), of exactly one of our worlds.

use reelflow_core::plugin::World;
use reelflow_ports::engine::LoadError;
use wasmtime::{
    Engine,
    component::{Component, InstancePre, Linker, types::ComponentItem},
};

use crate::{
    bindings::exports::reelflow::plugin::{aggregate, describe, join, migrate, process, transform},
    limits::Limiter,
    shape,
    words::legible,
};

/// The interfaces of the worlds. The lookup is by semantic version: a plugin built for any 0.1.x is found.
const INTERFACES: [(World, &str); 4] = [
    (World::Transform, "reelflow:plugin/transform@0.1.0"),
    (World::Aggregate, "reelflow:plugin/aggregate@0.1.0"),
    (World::Join, "reelflow:plugin/join@0.1.0"),
    (World::Process, "reelflow:plugin/process@0.1.0"),
];
const DESCRIBE: &str = "reelflow:plugin/describe@0.1.0";
/// Optional: of plugins that keep a state.
const MIGRATE: &str = "reelflow:plugin/migrate@0.1.0";

/// A component that passed every check that needs no instance. Shared by all its plugins, whatever their config.
pub(crate) struct Compiled {
    pub(crate) digest: String,
    pub(crate) world: World,
    pub(crate) pre: InstancePre<Limiter>,
    pub(crate) describe: describe::GuestIndices,
    pub(crate) indices: Indices,
    /// `None`: the plugin migrates a state when it reads it, and not otherwise.
    pub(crate) migrate: Option<migrate::GuestIndices>,
}

/// Where the world's functions are found in an instance.
pub(crate) enum Indices {
    Transform(transform::GuestIndices),
    Aggregate(aggregate::GuestIndices),
    Join(join::GuestIndices),
    Process(process::GuestIndices),
}

impl Compiled {
    /// Checks; errors as [`reelflow_ports::engine::PluginEngine::load`].
    pub(crate) fn new(engine: &Engine, component: &Component, digest: String) -> Result<Compiled, LoadError> {
        let imports = imports(engine, component);
        if !imports.is_empty() {
            return Err(LoadError::Imports(legible(&imports.join(", "))));
        }
        let world = world(engine, component)?;
        let wrong = |error: wasmtime::Error| LoadError::WrongWorld(legible(&format!("{error:#}")));
        // Nothing is ever defined in the linker: this alone would refuse an import that the check above overlooked.
        let pre = Linker::new(engine).instantiate_pre(component).map_err(|error| LoadError::Imports(format!("{error:#}")))?;
        let indices = match world {
            World::Transform => Indices::Transform(transform::GuestIndices::new(&pre).map_err(wrong)?),
            World::Aggregate => Indices::Aggregate(aggregate::GuestIndices::new(&pre).map_err(wrong)?),
            World::Join => Indices::Join(join::GuestIndices::new(&pre).map_err(wrong)?),
            World::Process => Indices::Process(process::GuestIndices::new(&pre).map_err(wrong)?),
        };
        let describe = describe::GuestIndices::new(&pre).map_err(wrong)?;
        let can_migrate = world.keeps_state() && component.get_export_index(None, MIGRATE).is_some();
        let migrate = can_migrate.then(|| migrate::GuestIndices::new(&pre)).transpose().map_err(wrong)?;
        Ok(Compiled { digest, world, pre, describe, indices, migrate })
    }
}

/// That `bytes` are a component at all, and one that a compiler can bear.
pub(crate) fn check_shape(bytes: &[u8]) -> Result<(), LoadError> {
    // The text format as well ends here: a compiler would take it, once some feature enables it.
    check_header(bytes)?;
    shape::check(bytes)
}

/// The first eight bytes tell what a file is, better than a parser's first complaint.
fn check_header(bytes: &[u8]) -> Result<(), LoadError> {
    let why = match bytes {
        [] => "the file is empty",
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => return Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => "this is a core module. Run `reel build`, which makes a component of it",
        [0, b'a', b's', b'm', ..] => "its WebAssembly version is unknown",
        [b'(', ..] => "this looks like WebAssembly text",
        _ => "it does not start with WebAssembly's magic bytes",
    };
    Err(LoadError::NotAComponent(why.to_owned()))
}

/// The names of all that the component wants from outside. An interface of types alone is no such thing: types cannot be called.
pub(crate) fn imports(engine: &Engine, component: &Component) -> Vec<String> {
    let component_type = component.component_type();
    component_type
        .imports(engine)
        .filter(|(_, import)| reaches_outside(engine, &import.ty))
        .map(|(name, _)| name.to_owned())
        .collect()
}

fn reaches_outside(engine: &Engine, item: &ComponentItem) -> bool {
    match item {
        ComponentItem::Type(_) => false,
        ComponentItem::ComponentInstance(instance) => {
            instance.exports(engine).any(|(_, export)| reaches_outside(engine, &export.ty))
        }
        ComponentItem::ComponentFunc(_)
        | ComponentItem::CoreFunc(_)
        | ComponentItem::Module(_)
        | ComponentItem::Component(_)
        | ComponentItem::Resource(_) => true,
    }
}

/// The names of all that the component exports.
pub(crate) fn exports(engine: &Engine, component: &Component) -> Vec<String> {
    component.component_type().exports(engine).map(|(name, _)| name.to_owned()).collect()
}

/// The one world that the component implements.
pub(crate) fn world(engine: &Engine, component: &Component) -> Result<World, LoadError> {
    let exports_interface = |name: &str| component.get_export_index(None, name).is_some();
    let found: Vec<World> = INTERFACES.iter().filter(|(_, name)| exports_interface(name)).map(|(world, _)| *world).collect();
    match found[..] {
        [world] if exports_interface(DESCRIBE) => Ok(world),
        [_] => Err(LoadError::WrongWorld(format!("{DESCRIBE} is missing"))),
        [] => {
            let names = exports(engine, component);
            let names = if names.is_empty() { "nothing".to_owned() } else { legible(&names.join(", ")) };
            Err(LoadError::WrongWorld(format!("it exports {names}")))
        }
        _ => {
            let names: Vec<&str> = found.iter().map(|world| world.name()).collect();
            Err(LoadError::WrongWorld(format!("it exports {} at once; a plugin is of one kind", names.join(" and "))))
        }
    }
}
