//! A plugin of the engine whose states carry a version: one byte in front of what the plugin itself keeps.

use reelflow_core::{
    column::Packed,
    plugin::{PluginFault, Reject, Request, Response},
};
use reelflow_ports::{
    engine::{Plugin, PluginInstance},
    native::NativePlugin,
};

/// What becomes of an older state in which the value 99 was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On99 {
    Migrates,
    Refuses,
    Traps,
}

/// 99 as the plugins of the engine write it.
const NINETY_NINE: [u8; 2] = [0xc6, 0x01];

/// `inner` with states of `version`, which reads those of `reads` as well.
pub fn versioned(inner: NativePlugin, version: u32, reads: &[u32], on_99: On99) -> NativePlugin {
    let mut declaration = inner.declaration().clone();
    let state = declaration.state.as_mut().expect("a plugin with a state");
    (state.version, state.reads) = (version, reads.to_vec());
    let states = Versions { version: version as u8, reads: reads.iter().map(|read| *read as u8).collect(), on_99 };
    let answer = move |request: &Request| states.call(inner.clone(), request);
    NativePlugin::new(&format!("version {version}, {on_99:?}"), declaration, answer).migrating()
}

struct Versions {
    version: u8,
    reads: Vec<u8>,
    on_99: On99,
}

impl Versions {
    fn call(&self, mut inner: NativePlugin, request: &Request) -> Result<Response, PluginFault> {
        let mut request = request.clone();
        match &mut request {
            Request::Migrate { states } => return self.migrate(states),
            Request::Add { states, .. }
            | Request::Merge { parts: states, .. }
            | Request::Emit { states, .. }
            | Request::Take { states, .. }
            | Request::Fire { states, .. } => *states = self.read_all(states)?,
            Request::Transform { .. } | Request::Pair { .. } => {}
        }
        let mut response = inner.call(&request)?;
        if let Response::States { states, .. } | Response::Processed { states, .. } = &mut response {
            *states = each(states, |state| Ok(self.written(state)))?;
        }
        Ok(response)
    }

    fn migrate(&self, states: &Packed) -> Result<Response, PluginFault> {
        let (mut migrated, mut versions, mut rejects) = (Packed::default(), Vec::new(), Vec::new());
        for (row, state) in (0..).zip(states.iter()) {
            versions.push(state[0].into());
            match self.read(state) {
                Ok(inner) => migrated.push(&self.written(inner)),
                Err(PluginFault::Trap(message)) if self.on_99 == On99::Refuses => {
                    rejects.push(Reject { row, code: 99, message: message.to_string() });
                    migrated.push(b"");
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(Response::Migrated { states: migrated, versions, rejects })
    }

    fn read_all(&self, states: &Packed) -> Result<Packed, PluginFault> {
        each(states, |state| self.read(state).map(<[u8]>::to_vec))
    }

    /// What the plugin itself keeps.
    fn read<'a>(&self, state: &'a [u8]) -> Result<&'a [u8], PluginFault> {
        let Some((version, inner)) = state.split_first() else { return Ok(state) };
        let is_older = self.reads.contains(version);
        if *version != self.version && !is_older {
            return Err(PluginFault::Trap(format!("a state of version {version}").into()));
        }
        if is_older && self.on_99 != On99::Migrates && inner.windows(2).any(|two| two == NINETY_NINE) {
            return Err(PluginFault::Trap("no room for 99".to_owned().into()));
        }
        Ok(inner)
    }

    /// None is none, in every version.
    fn written(&self, inner: &[u8]) -> Vec<u8> {
        if inner.is_empty() { Vec::new() } else { [&[self.version], inner].concat() }
    }
}

fn each(states: &Packed, change: impl Fn(&[u8]) -> Result<Vec<u8>, PluginFault>) -> Result<Packed, PluginFault> {
    let mut changed = Packed::default();
    for state in states.iter() {
        changed.push(&change(state)?);
    }
    Ok(changed)
}
