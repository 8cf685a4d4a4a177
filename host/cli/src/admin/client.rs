//! Asking the process that runs a pipeline, as `reel reload --admin` and others do.

use std::{net::SocketAddr, time::Duration};

use hyper::Method;
use reelflow_runtime::code::Components;
use serde::de::DeserializeOwned;

use super::{
    CHANGE_MAX, READ_MAX,
    change::Change,
    said::{self, Refused, Reloaded},
    token,
};
use crate::{
    args::Reload,
    failure::{Exit, Failure},
    http::client::{self, Heard, Question},
};

/// How much longer than the other side somebody waits.
const SLACK: Duration = Duration::from_secs(5);

/// The page at `path`.
pub(crate) fn read<T: DeserializeOwned>(address: SocketAddr, path: &str) -> Result<T, Failure> {
    let question = Question { method: Method::GET, target: path, token: None, body: Vec::new(), time_max: READ_MAX + SLACK };
    let heard = client::ask(address, question).map_err(|why| silent(address, &why))?;
    match heard.status {
        200 => understood(address, &heard),
        _ => Err(failure(address, &heard)),
    }
}

/// Sends `components` to be tried, as `args` say.
pub(crate) fn reload(address: SocketAddr, components: &Components, args: &Reload) -> Result<Reloaded, Failure> {
    let change = Change {
        plugin: None,
        migration: args.trying.migration(),
        resets: args.reset.clone(),
        is_breaking_allowed: args.allow_breaking,
        is_plan: args.plan,
        wait: Duration::from_secs(args.trying.wait),
        by: args.trying.by.clone().unwrap_or_else(|| "reel reload".to_owned()),
    };
    let token = token::given(args.admin_token_file.as_deref())?;
    let target = format!("/reload?{}", change.query());
    let time_max = CHANGE_MAX + change.wait + SLACK;
    let body = said::body_of(components);
    let question = Question { method: Method::POST, target: &target, token: token.as_deref(), body, time_max };
    let heard = client::ask(address, question).map_err(|why| silent(address, &why))?;
    match (heard.status, serde_json::from_str::<Refused>(&heard.body)) {
        (200 | 202 | 409, Err(_)) => understood(address, &heard),
        _ => Err(failure(address, &heard)),
    }
}

fn silent(address: SocketAddr, why: &std::io::Error) -> Failure {
    Failure::new(Exit::Environment, format!("nobody answers at http://{address}: {why}"))
        .help("Start the pipeline with `reel run --admin PORT` and give the address that it says.")
}

fn understood<T: DeserializeOwned>(address: SocketAddr, heard: &Heard) -> Result<T, Failure> {
    serde_json::from_str(&heard.body).map_err(|why| {
        Failure::new(Exit::Environment, format!("what http://{address} answers is not understood: {why}"))
            .help("Is that the address of `reel run --admin`, and the same version of reel?")
    })
}

/// What the other side said: the same as if it had happened here.
fn failure(address: SocketAddr, heard: &Heard) -> Failure {
    match serde_json::from_str::<Refused>(&heard.body) {
        Ok(Refused { text, exit, .. }) => {
            anstream::eprintln!("{text}");
            Failure::Said(exit)
        }
        Err(_) => {
            let said = crate::output::printable(heard.body.trim());
            Failure::new(Exit::Environment, format!("http://{address} answers {}: {said}", heard.status))
        }
    }
}
