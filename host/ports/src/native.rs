//! Plugins in plain Rust, in this process: for tests, which need no compiler for components and no sandbox.
//!
//! What a component would be is a name here: [`NativeEngine::load`] takes the name's bytes.

use std::{collections::BTreeMap, sync::Arc};

use reelflow_core::plugin::{Declaration, PluginFault, Request, Response};

use crate::engine::{Limits, LoadError, Plugin, PluginEngine, PluginInstance};

pub mod ready;
pub mod rolling;

/// What a native plugin does with a call.
pub type Answer = dyn Fn(&Request) -> Result<Response, PluginFault> + Send + Sync;

/// Plugins by name.
#[derive(Clone, Default)]
pub struct NativeEngine {
    plugins: BTreeMap<String, NativePlugin>,
}

/// A declaration and a function.
#[derive(Clone)]
pub struct NativePlugin {
    declaration: Declaration,
    digest: String,
    answer: Arc<Answer>,
    can_migrate: bool,
}

impl NativePlugin {
    /// `digest` names the code: another function needs another one.
    pub fn new(
        digest: &str,
        declaration: Declaration,
        answer: impl Fn(&Request) -> Result<Response, PluginFault> + Send + Sync + 'static,
    ) -> NativePlugin {
        NativePlugin { declaration, digest: digest.to_owned(), answer: Arc::new(answer), can_migrate: false }
    }

    /// The same plugin, whose function answers [`Request::Migrate`] too.
    pub fn migrating(self) -> NativePlugin {
        NativePlugin { can_migrate: true, ..self }
    }
}

impl NativeEngine {
    /// From now on `plugin` is what the component `name` is.
    pub fn register(&mut self, name: &str, plugin: NativePlugin) {
        self.plugins.insert(name.to_owned(), plugin);
    }
}

impl PluginEngine for NativeEngine {
    fn load(&self, component: &[u8], _config: &str, _limits: &Limits) -> Result<Arc<dyn Plugin>, LoadError> {
        let name = String::from_utf8_lossy(component);
        match self.plugins.get(&*name) {
            Some(plugin) => Ok(Arc::new(plugin.clone())),
            None => Err(LoadError::NotAComponent(format!("no native plugin is called \"{name}\""))),
        }
    }
}

impl Plugin for NativePlugin {
    fn declaration(&self) -> &Declaration {
        &self.declaration
    }

    fn digest(&self) -> &str {
        &self.digest
    }

    fn can_migrate(&self) -> bool {
        self.can_migrate
    }

    fn instance(&self) -> Result<Box<dyn PluginInstance>, LoadError> {
        Ok(Box::new(self.clone()))
    }
}

impl PluginInstance for NativePlugin {
    fn call(&mut self, request: &Request) -> Result<Response, PluginFault> {
        let response = (self.answer)(request)?;
        request.check(&response, &self.declaration.outputs)?;
        Ok(response)
    }

    fn memory_bytes_max(&self) -> u64 {
        0
    }
}
