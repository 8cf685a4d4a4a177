//! An incident: one call that a plugin did not answer, with all that is needed to make it again on another machine.
//!
//! The file is one JSON document, so that anybody can look at it (`jq 'del(.plugin.component_base64)'`):
//!
//! ```text
//! format    "reelflow incident"
//! version   1: a build reads its own; members may be added without a new one
//! reel      the build that wrote it
//! pipeline, stage
//! letter    the dead letter, as `reel dlq show --format json` has it
//! died      why the row died: reason, code, error
//! plugin    name, digest (BLAKE3 of the component), config, limits, component_base64
//! call      function, and its arguments: row, state, key, time, watermark, now; left, right; parts; window; timer
//! ```
//!
//! It may come from anybody. Its size, its version, the digest and the limits are checked before the component is looked at, which then
//! runs as any plugin does, in a sandbox with those limits (I-7, I-8).

use std::{fs, io, path::Path, sync::Arc};

use reelflow_core::{
    json::encode,
    letter::words,
    plugin::{Declaration, PluginFault, Response, Routed},
    stage::DeadReason,
};
use reelflow_ports::engine::{Limits, Plugin, PluginEngine};
use reelflow_runtime::code::made_by;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    failure::{Exit, Failure, exit_of},
    json_bytes, wire,
};

pub(crate) mod call;

use call::Call;

const FORMAT: &str = "reelflow incident";
const VERSION: u32 = 1;
/// A larger file is not read.
const FILE_BYTES_MAX: u64 = 256 << 20;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Incident {
    format: String,
    version: u32,
    reel: String,
    pub(crate) pipeline: String,
    pub(crate) stage: String,
    pub(crate) letter: Map<String, Value>,
    pub(crate) died: Words,
    pub(crate) plugin: PluginPart,
    pub(crate) call: Call,
}

/// Why a row died, as its letter says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Words {
    pub(crate) reason: String,
    pub(crate) code: Option<String>,
    pub(crate) error: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PluginPart {
    pub(crate) name: String,
    pub(crate) digest: String,
    pub(crate) config: Value,
    limits: LimitsPart,
    component_base64: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct LimitsPart {
    memory_bytes: u64,
    call_ms: u64,
    output_bytes: u64,
    component_bytes: u64,
}

/// What became of the call when it was made again.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As it was then.
    Reproduced,
    /// It failed, in another way.
    Other(Words),
    /// The plugin answered: rows as JSON, each with its output.
    Answered(Vec<(String, String)>),
}

impl Incident {
    pub(crate) fn new(
        (pipeline, stage): (&str, &str),
        letter: Map<String, Value>,
        died: Words,
        plugin: PluginPart,
        call: Call,
    ) -> Incident {
        Incident {
            format: FORMAT.to_owned(),
            version: VERSION,
            reel: env!("CARGO_PKG_VERSION").to_owned(),
            pipeline: pipeline.to_owned(),
            stage: stage.to_owned(),
            letter,
            died,
            plugin,
            call,
        }
    }

    /// The bytes of the file.
    pub(crate) fn to_text(&self) -> Result<String, Failure> {
        let text = serde_json::to_string(self).expect("it has text for names and no maps with other keys");
        match text.len() as u64 > FILE_BYTES_MAX {
            true => Err(Failure::new(
                Exit::User,
                format!("the bundle would have {} bytes, at most {FILE_BYTES_MAX} are read back", text.len()),
            )),
            false => Ok(text),
        }
    }

    /// Reads and checks the file at `path`.
    pub(crate) fn read(path: &Path) -> Result<Incident, Failure> {
        let unreadable =
            |why: io::Error| Failure::new(Exit::Environment, format!("\"{}\" cannot be read: {why}", path.display()));
        let n_bytes = fs::metadata(path).map_err(unreadable)?.len();
        let refuse = |why: String| Failure::new(Exit::User, format!("\"{}\" is no good incident bundle: {why}", path.display()));
        if n_bytes > FILE_BYTES_MAX {
            return Err(refuse(format!("it has {n_bytes} bytes, at most {FILE_BYTES_MAX} are read")));
        }
        parse(&fs::read(path).map_err(unreadable)?).map_err(refuse)
    }

    /// That `component` is another one than the letter names.
    pub(crate) fn other_component(&self, component: &[u8]) -> Option<String> {
        other_component(self.letter.get("plugin").and_then(Value::as_str), &self.plugin.name, component)
    }

    /// The component that did not answer.
    pub(crate) fn component(&self) -> Vec<u8> {
        json_bytes::decoded(&self.plugin.component_base64).expect("it was checked")
    }

    /// Makes the call again, with `component` in the place of the plugin.
    pub(crate) fn run(&self, component: &[u8]) -> Result<Outcome, Failure> {
        Caller::load(&self.plugin, component)?.call(&self.call, &self.died)
    }
}

/// A component under the config and the limits of an incident.
pub(crate) struct Caller<'a> {
    of: &'a PluginPart,
    plugin: Arc<dyn Plugin>,
}

impl<'a> Caller<'a> {
    pub(crate) fn load(of: &'a PluginPart, component: &[u8]) -> Result<Caller<'a>, Failure> {
        let loaded = wire::engine().load(component, &of.config.to_string(), &of.limits());
        loaded.map(|plugin| Caller { of, plugin }).map_err(|why| Failure::new(exit_of(why.who()), of.refusal(&why)))
    }

    /// What becomes of `call`, beside how its row `died`.
    pub(crate) fn call(&self, call: &Call, died: &Words) -> Result<Outcome, Failure> {
        let request = call.request(self.plugin.declaration()).map_err(|why| self.of.refuse(&why))?;
        let mut instance = self.plugin.instance().map_err(|why| self.of.refuse(&why))?;
        let reason = match instance.call(&request) {
            Err(fault) => DeadReason::Fault(fault),
            Ok(response) => match answer(&*self.plugin, call, response) {
                Err(reason) => reason,
                Ok(rows) => return Ok(Outcome::Answered(rows)),
            },
        };
        let now = Words::of(&reason);
        Ok(if now == *died { Outcome::Reproduced } else { Outcome::Other(now) })
    }
}

impl Words {
    fn of(reason: &DeadReason) -> Words {
        let (reason, error, code) = words(reason);
        Words { reason: reason.to_owned(), code: code.map(|code| code.to_string()), error }
    }
}

impl PluginPart {
    pub(crate) fn new(name: &str, component: &[u8], config: &Value, limits: &Limits) -> PluginPart {
        let Limits { memory_bytes_max, call_ms_max, output_bytes_max, component_bytes_max, .. } = *limits;
        PluginPart {
            name: name.to_owned(),
            digest: digest(component),
            config: config.clone(),
            limits: LimitsPart {
                memory_bytes: memory_bytes_max,
                call_ms: call_ms_max,
                output_bytes: output_bytes_max,
                component_bytes: component_bytes_max,
            },
            component_base64: json_bytes::encoded(component),
        }
    }

    fn refuse(&self, why: &dyn std::fmt::Display) -> Failure {
        Failure::new(Exit::User, self.refusal(why))
    }

    fn refusal(&self, why: &dyn std::fmt::Display) -> String {
        format!("plugin \"{}\" cannot be called: {why}", self.name)
    }

    fn limits(&self) -> Limits {
        let LimitsPart { memory_bytes, call_ms, output_bytes, component_bytes } = self.limits;
        Limits {
            memory_bytes_max: memory_bytes,
            call_ms_max: call_ms,
            output_bytes_max: output_bytes,
            component_bytes_max: component_bytes,
            // What compiling may take is not for a file from anybody to say.
            ..Limits::STANDARD
        }
    }
}

/// That `component` is not that of plugin `name` which the letter names (`None`: it names none).
pub(crate) fn other_component(then: Option<&str>, name: &str, component: &[u8]) -> Option<String> {
    let (then, now) = (then?, made_by(name, &digest(component)));
    (then != now).then(|| format!("the letter is of component {then}, this one is {now}"))
}

fn digest(component: &[u8]) -> String {
    blake3::hash(component).to_hex().to_string()
}

fn parse(bytes: &[u8]) -> Result<Incident, String> {
    #[derive(Deserialize)]
    struct Head {
        format: String,
        version: u32,
    }
    let Head { format, version } = serde_json::from_slice(bytes).map_err(|why| why.to_string())?;
    if format != FORMAT {
        return Err(format!("its format is not \"{FORMAT}\""));
    }
    if version != VERSION {
        return Err(format!("it is of version {version}, this build reads version {VERSION}"));
    }
    let incident: Incident = serde_json::from_slice(bytes).map_err(|why| why.to_string())?;
    let plugin = &incident.plugin;
    let component = json_bytes::decoded(&plugin.component_base64).ok_or("its component is not base64")?;
    if digest(&component) != plugin.digest {
        return Err("its component is damaged: the digest is another one".to_owned());
    }
    if !plugin.config.is_object() {
        return Err("its config is no object".to_owned());
    }
    // Those that a manifest may give.
    let LimitsPart { memory_bytes, call_ms, output_bytes, component_bytes } = plugin.limits;
    for (name, value, range) in [
        ("memory_bytes", memory_bytes, 1 << 20..=4 << 30),
        ("call_ms", call_ms, 1..=60_000),
        ("output_bytes", output_bytes, 1 << 10..=1 << 30),
        ("component_bytes", component_bytes, 1 << 10..=1 << 30),
    ] {
        if !range.contains(&value) {
            return Err(format!("its limit {name} is {value}, and must be from {} to {}", range.start(), range.end()));
        }
    }
    incident.call.check()?;
    Ok(incident)
}

/// The rows of an answer, or why the host, or the plugin, refuses.
fn answer(plugin: &dyn Plugin, call: &Call, response: Response) -> Result<Vec<(String, String)>, DeadReason> {
    let is_forgotten = matches!(&response, Response::States { states, .. } if states.iter().any(<[u8]>::is_empty));
    let (outputs, rejects) = match response {
        Response::Rows { outputs, rejects } | Response::Processed { outputs, rejects, .. } => (outputs, rejects),
        Response::States { rejects, .. } | Response::Migrated { rejects, .. } => (Vec::new(), rejects),
    };
    match rejects.into_iter().next() {
        // A stage looks at states before it looks at rejects, but for rows that were refused.
        reject if is_forgotten && (reject.is_none() || matches!(call, Call::Merge { .. })) => {
            Err(DeadReason::Fault(PluginFault::Malformed("an empty state".to_owned())))
        }
        Some(reject) => Err(DeadReason::Rejected { code: reject.code, message: reject.message }),
        None => Ok(outputs.iter().flat_map(|routed| rows(plugin.declaration(), routed)).collect()),
    }
}

fn rows(declaration: &Declaration, routed: &Routed) -> Vec<(String, String)> {
    let (name, schema) = &declaration.outputs[routed.output as usize];
    let row = |idx| {
        let mut text = Vec::new();
        encode::row(schema, &routed.rows, idx, None, &mut text);
        (name.clone(), String::from_utf8(text).expect("the encoder writes JSON"))
    };
    (0..routed.rows.len()).map(row).collect()
}

#[cfg(test)]
mod tests;
