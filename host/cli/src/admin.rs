//! `--admin`: what a running pipeline tells programs about its code, and how they give it other code, over HTTP on this machine.
//!
//! Everybody on this machine may read, as with `--metrics`; a change needs a [token]. What is asked for is proposed in the log, as `reel reload`
//! does, and read from there: this process has no word that others do not have. On the embedded log, which belongs to one process, it is the door.
//!
//! The pages of `--metrics` are answered from memory, all others by asking the log, on threads of their own.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use reelflow_ports::log::Log;
use reelflow_runtime::code::Components;
use serde::Serialize;

use crate::{
    commands::reload::{self, Running, Wanted, told},
    failure::{Exit, Failure},
    http::{Answer, Head, Reply, Work, server},
    manifest::Manifest,
    metrics::{self, Metrics},
};
use change::Change;
use said::{FORMAT, History, Plugin, Plugins, Refused, Reloaded, Status};
use token::Token;

mod change;
pub(crate) mod client;
pub(crate) mod said;
pub(crate) mod token;

/// For a page that asks the log.
const READ_MAX: Duration = Duration::from_secs(30);
/// For a change, beside the wait for its verdict: the body, and compiling.
const CHANGE_MAX: Duration = Duration::from_secs(180);
/// What a list of components has beside them.
const BODY_SLACK: u64 = 64 << 10;

/// The pages of a pipeline that runs in this process.
pub(crate) struct Admin {
    metrics: Arc<Metrics>,
    manifest: Manifest,
    log: Arc<dyn Log>,
    n_partitions: u32,
    /// `None`: nobody may change anything.
    token: Option<Token>,
    /// Held by the one change that is under way: each compiles, and a pipeline tries one at a time.
    changing: Mutex<()>,
}

impl Admin {
    /// `token_file`: where the token stands, if not in the environment.
    pub(crate) fn new(
        metrics: Arc<Metrics>,
        manifest: Manifest,
        log: Arc<dyn Log>,
        n_partitions: u32,
        token_file: Option<&Path>,
    ) -> Result<Admin, Failure> {
        let token = token::given(token_file)?.map(|text| Token::new(&text)).transpose()?;
        Ok(Admin { metrics, manifest, log, n_partitions, token, changing: Mutex::new(()) })
    }

    /// Serves the pages on `address` until the process ends. Returns where.
    pub(crate) fn serve(self, address: SocketAddr) -> Result<SocketAddr, Failure> {
        let admin = Arc::new(self);
        let pages = move |head: &Head| admin.reply(head);
        server::serve("admin", address, Arc::new(pages)).map_err(|why| metrics::cannot_serve("admin", address, &why))
    }

    fn reply(self: &Arc<Admin>, head: &Head) -> Reply {
        let page = match head.path.as_str() {
            "/status" => Admin::status,
            "/history" => Admin::history,
            "/plugins" => Admin::plugins,
            "/reload" => return self.change(head).unwrap_or_else(Reply::Now),
            path => {
                return Reply::Now(match self.metrics.page(path) {
                    Some(page) if head.is_reading() => page,
                    Some(_) => Answer::only("GET, HEAD"),
                    None => Answer::text(404, "there are /metrics, /healthz, /readyz, /status, /history, /plugins and /reload\n"),
                });
            }
        };
        if !head.is_reading() {
            return Reply::Now(Answer::only("GET, HEAD"));
        }
        let admin = self.clone();
        let run = move |_: &[u8]| admin.running().and_then(|running| page(&admin, &running)).unwrap_or_else(|why| refused(&why));
        Reply::Later(Work { body_bytes_max: 0, time_max: READ_MAX, run: Box::new(run) })
    }

    /// The pipeline as the log shows it now.
    fn running(&self) -> Result<Running, Failure> {
        if !reload::has_begun(&*self.log, &self.manifest).map_err(|error| self.manifest.log_failure(error))? {
            return Err(Failure::new(Exit::Environment, "the pipeline has not begun yet").help("Ask again in a moment."));
        }
        Running::on(self.log.clone(), self.manifest.clone(), self.n_partitions)
    }

    fn status(&self, running: &Running) -> Result<Answer, Failure> {
        let entries = running.entries();
        let last = |is_it: &dyn Fn(&told::Entry) -> bool| entries.iter().rev().find(|entry| is_it(entry)).cloned();
        Ok(page(&Status {
            format: FORMAT,
            pipeline: self.manifest.config.pipeline.name.to_string(),
            standing: self.metrics.standing(),
            code: last(&|entry| entry.current),
            trial: last(&|entry| entry.verdict == told::Verdict::OnTrial),
            decided: last(&|entry| entry.how == told::RELOADED && entry.verdict != told::Verdict::OnTrial),
        }))
    }

    fn history(&self, running: &Running) -> Result<Answer, Failure> {
        Ok(page(&History { format: FORMAT, entries: running.entries() }))
    }

    fn plugins(&self, running: &Running) -> Result<Answer, Failure> {
        let current = running.entries().into_iter().find(|entry| entry.current);
        let plugin = |(plugin, digest): (String, String)| {
            let stages = self.metrics.stages_of(&plugin).into_iter().map(str::to_owned).collect();
            Plugin { plugin, digest, stages }
        };
        let plugins = current.into_iter().flat_map(|entry| entry.plugins).map(plugin).collect();
        Ok(page(&Plugins { format: FORMAT, plugins }))
    }

    /// What is to be done for `POST /reload`, or why it is not.
    fn change(self: &Arc<Admin>, head: &Head) -> Result<Reply, Answer> {
        if head.method != hyper::Method::POST {
            return Err(Answer::only("POST"));
        }
        self.admit(head.token.as_deref())?;
        let user = |why: String| Failure::new(Exit::User, why);
        let change = Change::of(&head.parameters).map_err(|why| with_status(400, &user(why)))?;
        let limit = |name: Option<&str>| -> u64 {
            let sections = self.manifest.config.plugins.iter();
            sections
                .filter(|section| name.is_none_or(|name| section.name.as_str() == name))
                .map(|one| one.limits.component_bytes_max)
                .sum()
        };
        let body_bytes_max = match &change.plugin {
            Some(name) => {
                self.known(name).map_err(|why| refused(&why))?;
                limit(Some(name))
            }
            None => limit(None) / 3 * 4 + BODY_SLACK,
        };
        let time_max = CHANGE_MAX + change.wait;
        let admin = self.clone();
        let run = move |body: &[u8]| admin.reload(&change, body).unwrap_or_else(|why| refused(&why));
        Ok(Reply::Later(Work {
            body_bytes_max: usize::try_from(body_bytes_max).unwrap_or(usize::MAX),
            time_max,
            run: Box::new(run),
        }))
    }

    /// Whether who sends this token may change something.
    fn admit(&self, given: Option<&str>) -> Result<(), Answer> {
        match (&self.token, given) {
            (None, _) => {
                let why = "nobody may change this pipeline over HTTP: it was started without an admin token";
                let help = format!(
                    "Start `reel run --admin` with --admin-token-file FILE, or with the environment variable {}.",
                    token::VARIABLE
                );
                Err(with_status(403, &Failure::new(Exit::User, why).help(help)))
            }
            (Some(_), None) => {
                let help = format!(
                    "Send `Authorization: Bearer TOKEN`; `reel` takes it from --admin-token-file or {}.",
                    token::VARIABLE
                );
                let answer = with_status(401, &Failure::new(Exit::User, "a change needs the admin token").help(help));
                Err(Answer { header: Some(("WWW-Authenticate", "Bearer")), ..answer })
            }
            (Some(token), Some(given)) if token.is(given) => Ok(()),
            (Some(_), Some(_)) => Err(with_status(403, &Failure::new(Exit::User, "the admin token is another one"))),
        }
    }

    fn known(&self, plugin: &str) -> Result<(), Failure> {
        let names: Vec<&str> = self.manifest.config.plugins.iter().map(|section| section.name.as_str()).collect();
        match names.contains(&plugin) {
            true => Ok(()),
            false => {
                let message = format!("pipeline \"{}\" has no plugin \"{plugin}\"", *self.manifest.config.pipeline.name);
                Err(Failure::new(Exit::User, message).help(format!("Its plugins are {}.", names.join(", "))))
            }
        }
    }

    fn reload(&self, change: &Change, body: &[u8]) -> Result<Answer, Failure> {
        let Ok(_changing) = self.changing.try_lock() else {
            let why = Failure::new(Exit::Runtime, "somebody else is changing the code")
                .help("Wait for their verdict: /history has it.");
            return Ok(with_status(409, &why));
        };
        let sent = match &change.plugin {
            Some(name) => Components::from([(name.as_str().into(), body.into())]),
            None => said::components(body)?,
        };
        sent.keys().try_for_each(|name| self.known(name))?;
        let running = self.running()?;
        // Those that nobody sends stay as they are. A running one that is no longer whole is missed below, by its name.
        let mut components = running.components()?.unwrap_or_default();
        components.extend(sent);
        let wanted = running.weigh(components, &change.resets)?;
        if change.is_plan {
            return Ok(reloaded(200, &self.manifest, &wanted, None, None));
        }
        wanted.planned.refuse(change.is_breaking_allowed)?;
        let proposal = running.propose(&wanted, change.migration, &change.by)?;
        let verdict = running.follow(proposal, change.wait)?;
        let status = match verdict.as_ref().map(|entry| entry.verdict) {
            Some(told::Verdict::Accepted) => 200,
            Some(told::Verdict::RolledBack | told::Verdict::Refused) => 409,
            Some(told::Verdict::OnTrial) | None => 202,
        };
        Ok(reloaded(status, &self.manifest, &wanted, Some(proposal), verdict))
    }
}

fn page(said: &impl Serialize) -> Answer {
    Answer::json(200, &told::json_of(said))
}

fn reloaded(status: u16, manifest: &Manifest, wanted: &Wanted, proposal: Option<i64>, verdict: Option<told::Entry>) -> Answer {
    let warnings = (!wanted.warnings.is_empty())
        .then(|| reelflow_config::render(&wanted.warnings, &manifest.file(), manifest.text(), false));
    let said = Reloaded { format: FORMAT, plan: wanted.planned.told(), warnings, proposal, verdict };
    Answer::json(status, &told::json_of(&said))
}

/// Why something was not done.
fn refused(why: &Failure) -> Answer {
    let status = match why.exit_code() {
        2 => 422,
        3 => 503,
        _ => 500,
    };
    with_status(status, why)
}

fn with_status(status: u16, why: &Failure) -> Answer {
    Answer::json(status, &told::json_of(&Refused::of(why)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use reelflow_core::time::WallTime;
    use reelflow_ports::simulated::{NoFaults, SimulatedLog, VirtualClock};

    use super::*;

    const MANIFEST: &str = r#"
[pipeline]
name = "plays"
[log]
kind = "embedded"
path = "log"
[source.plays]
topic = "plays"
event_time = "ts"
bound = "0s"
[plugin.clean]
path = "clean.wasm"
[stage.clean]
kind = "transform"
input = "plays"
plugin = "clean"
[sink.out]
input = "clean"
topic = "out"
"#;

    /// Also where the other one has waited for its verdict for long.
    #[test]
    fn who_comes_while_another_changes_the_code_is_told_to_wait() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reel.toml");
        fs::write(&path, MANIFEST).unwrap();
        let Ok(manifest) = Manifest::load(&path) else { panic!("it is a manifest") };
        let log = SimulatedLog::new(VirtualClock::starting_at(WallTime(0)), Box::new(NoFaults));
        let metrics = Arc::new(Metrics::new(&manifest.config, 1));
        let admin = Admin { metrics, manifest, log: Arc::new(log), n_partitions: 1, token: None, changing: Mutex::default() };
        let change = Change::of(&[("plugin".to_owned(), "clean".to_owned())]).unwrap();
        let asked = || admin.reload(&change, b"").unwrap_or_else(|why| refused(&why));

        let changing = admin.changing.lock().unwrap();
        let told = asked();
        assert!(told.status == 409 && told.body.contains("somebody else is changing the code"), "{} {}", told.status, told.body);
        drop(changing);
        let told = asked();
        assert!(told.status == 503 && told.body.contains("the pipeline has not begun yet"), "{} {}", told.status, told.body);
    }
}
