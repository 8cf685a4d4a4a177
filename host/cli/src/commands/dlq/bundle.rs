//! `reel dlq export --bundle`: one dead letter with the call that failed, for another machine.

use std::{io::Write, path::Path, sync::Arc};

use reelflow_config::config::Plugin;
use reelflow_core::{
    format::SchemaAnswer,
    letter::{
        Letter,
        row::{DeadRow, NoRow, dead_row},
    },
    plan::Plan,
    upgrade::Entry,
};
use reelflow_ports::{
    clock::{Clock, SystemClock},
    schemas::{Schemas, SchemasError},
};
use reelflow_runtime::{code::made_by, control, retry::retried};
use serde_json::{Map, Value};

use super::{Letters, shown};
use crate::{
    args::{ManifestArg, dlq::Address},
    commands::state::Committed,
    failure::{Exit, Failure},
    incident::{Caller, Incident, Outcome, PluginPart, Words, call::Call, other_component},
    target::unwritable,
};

mod calls;

use calls::{Calls, StatesOf};

/// What a letter gives.
struct Found {
    letter: Map<String, Value>,
    died: Words,
    row: Result<DeadRow, NoRow>,
}

pub(super) fn bundle(file: &ManifestArg, address: Address, to: &Path) -> Result<(), Failure> {
    let committed = Committed::open(file)?;
    let Committed { manifest, log, plan, .. } = &committed;
    let letters = Letters::open(manifest, &**log)?;
    let retried = retried(&**log, &plan.name, &letters.topic).map_err(|error| manifest.run_failure(error))?;
    let is_retried = retried.contains(address.partition, address.offset);
    let schemas = manifest.schemas()?;
    let mut unasked = None;
    let found = letters.one(address, |letter| found(plan, address, letter, is_retried, &*schemas, &mut unasked))?;
    if let Some(error) = unasked {
        return Err(Failure::new(Exit::Environment, format!("the record cannot be read: {error}")));
    }
    let no_call = |why: &dyn std::fmt::Display| Failure::new(Exit::User, format!("dead letter {address} gives no call: {why}"));
    let dead = found.row.map_err(|why| no_call(&why).help("`reel dlq show` prints what there is of it"))?;
    let stage = &plan.stages[dead.stage];
    let Calls { plugin, mut calls, states_of } = calls::calls(&committed, stage, &dead)?;
    let section = &manifest.config.plugins[plugin];
    let then = found.letter.get("plugin").and_then(Value::as_str);
    let component = component(&committed, section, then)?;
    if let Some(note) = other_component(then, &section.name, &component) {
        anstream::eprintln!("{note}");
    }
    let plugin = PluginPart::new(&section.name, &component, &section.config, &section.limits);
    let (call_idx, outcome) = first_that_fails(&Caller::load(&plugin, &component)?, &calls, &found.died)?;
    let call = calls.swap_remove(call_idx);
    let incident = Incident::new((&plan.name, &stage.name), found.letter, found.died, plugin, call);
    write(to, &incident.to_text()?)?;
    anstream::eprintln!("wrote {}", to.display());
    match outcome {
        Outcome::Reproduced => anstream::eprintln!("`reel replay {}` fails as the letter says", to.display()),
        Outcome::Other(now) => anstream::eprintln!("here it fails in another way: {}: {}", now.reason, now.error),
        Outcome::Answered(_) if states_of == StatesOf::Letter => {
            anstream::eprintln!("here the plugin answers: its component or its config are not those of then");
        }
        Outcome::Answered(_) => anstream::eprintln!(
            "here the plugin answers: its component, its config or the state of the key are not those of then"
        ),
    }
    Ok(())
}

/// The component that the letter names, of what the pipeline has run, or that of the manifest if it is that one or nobody has it any more.
fn component(committed: &Committed, section: &Plugin, then: Option<&str>) -> Result<Arc<[u8]>, Failure> {
    let Committed { manifest, log, plan, .. } = committed;
    let unreadable = |why: std::io::Error| {
        Failure::new(Exit::Environment, format!("the component of plugin \"{}\" cannot be read: {why}", *section.name))
    };
    let at_hand = || manifest.component(section).map(Arc::from).map_err(unreadable);
    let Some(then) = then.filter(|then| other_component(Some(then), &section.name, &at_hand().unwrap_or_default()).is_some())
    else {
        return at_hand();
    };
    let name = &plan.name;
    let failed = |error| manifest.log_failure(error);
    if log.n_partitions(&control::control_topics(name)[0].name).map_err(failed)?.is_none() {
        return at_hand();
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let ledger = control::history(log, &clock, (name, plan.n_partitions)).map_err(failed)?;
    let is_it = |entry: &&Entry| entry.code.0.get(&**section.name).is_some_and(|digest| made_by(&section.name, digest) == then);
    let Some(entry) = ledger.entries().rev().find(is_it) else { return at_hand() };
    match control::components(log, &clock, name, entry).map_err(failed)?.ok().and_then(|all| all.get(&**section.name).cloned()) {
        Some(component) => Ok(component),
        None => at_hand(),
    }
}

/// The first of `calls` that fails as the row died; the first of all if none does. And what became of it.
fn first_that_fails(caller: &Caller<'_>, calls: &[Call], died: &Words) -> Result<(usize, Outcome), Failure> {
    let mut first = None;
    for (idx, call) in calls.iter().enumerate() {
        let outcome = caller.call(call, died)?;
        if outcome == Outcome::Reproduced {
            return Ok((idx, outcome));
        }
        first.get_or_insert((idx, outcome));
    }
    Ok(first.expect("there is a call"))
}

fn found(
    plan: &Plan,
    address: Address,
    letter: &Letter<'_>,
    is_retried: bool,
    schemas: &dyn Schemas,
    unasked: &mut Option<SchemasError>,
) -> Found {
    let mut schema = |id| {
        schemas.writer(id).unwrap_or_else(|error| {
            *unasked = Some(error);
            SchemaAnswer::Unknown
        })
    };
    Found {
        letter: shown::json_of(address, letter, is_retried),
        died: Words { reason: letter.reason.to_owned(), code: letter.code.map(str::to_owned), error: letter.error.to_owned() },
        row: dead_row(plan, letter, &mut schema),
    }
}

/// A file that is there is replaced, once all is written.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|why| unwritable(path, &why))?;
    file.write_all(text.as_bytes()).map_err(|why| unwritable(path, &why))?;
    file.persist(path).map(drop).map_err(|why| unwritable(path, &why.error))
}
