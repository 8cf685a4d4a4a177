//! A schema registry over HTTP: schemas by their ids, and ids for schemas, in the interface that Confluent's has and others speak.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use reelflow_core::{
    format::{Binary, SchemaAnswer},
    json::base64,
};
use reelflow_ports::schemas::{Schemas, SchemasError};
use serde_json::{Value, json};
use ureq::{
    Agent, Error,
    tls::{PemItem, RootCerts, TlsConfig, parse_pem},
};

use crate::{avro, protobuf};

/// One request takes no longer, and a worker does not wait longer for one.
const TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: u64 = 16 << 20;
/// An id that was not known is asked for again after so long: a registry of several machines may be behind.
const UNKNOWN_FOR: Duration = Duration::from_secs(10);
/// When there are more answers, all are forgotten (I-9).
const ANSWERS_MAX: usize = 10_000;
/// A schema refers to no more others than this, counted through.
const REFERENCES_MAX: usize = 100;
/// What a registry says when it answers, and has no such schema, subject or version.
const NOT_FOUND: std::ops::RangeInclusive<u64> = 40_401..=40_403;

/// Who asks.
#[derive(Clone)]
pub struct Account {
    pub user: String,
    pub password: String,
}

/// The client of a registry. Holds a secret, so it has no `Debug`.
pub struct HttpRegistry {
    agent: Agent,
    url: String,
    authorization: Option<String>,
    kept: Mutex<BTreeMap<u32, Kept>>,
}

struct Kept {
    answer: SchemaAnswer,
    asked: Instant,
}

/// A schema as the registry has it.
struct Text {
    schema: String,
    format: Format,
    /// Name, subject and version.
    references: Vec<(String, String, u64)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Avro,
    Protobuf,
    Other,
}

/// What a request came to.
enum Got {
    Found(Value),
    NotFound,
    /// It understood, and will not, for this reason.
    Refused(String),
}

impl HttpRegistry {
    /// A client of the registry at `url`. Does not ask it yet. `ca`: PEM of the certificates that sign its own, in place of the public ones; an error
    /// says in words what is wrong with it.
    pub fn new(url: &str, account: Option<Account>, ca: Option<&str>) -> Result<HttpRegistry, String> {
        let roots = ca.map_or(Ok(RootCerts::WebPki), roots)?;
        let config = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .user_agent("reelflow")
            .accept("application/vnd.schemaregistry.v1+json, application/json")
            .build();
        let authorization = account.map(|Account { user, password }| {
            let mut text = b"Basic ".to_vec();
            base64::encode(format!("{user}:{password}").as_bytes(), &mut text);
            String::from_utf8(text).expect("base64 is ASCII")
        });
        let url = url.trim_end_matches('/').to_owned();
        Ok(HttpRegistry { agent: config.new_agent(), url, authorization, kept: Mutex::default() })
    }

    /// The id under which `subject` has the schema `text`, whose next version it becomes if it is none yet. Says in words why the registry will
    /// not have it.
    pub fn register(&self, subject: &str, format: Binary, text: &str) -> Result<Result<u32, String>, SchemasError> {
        let mut body = json!({ "schema": text });
        if format == Binary::Protobuf {
            body["schemaType"] = json!("PROTOBUF");
        }
        let path = format!("/subjects/{}/versions", escaped(subject));
        match self.ask(&path, Some(&body))? {
            Got::Found(answer) => match answer["id"].as_u64().and_then(|id| u32::try_from(id).ok()) {
                Some(id) => Ok(Ok(id)),
                None => Err(SchemasError::Unavailable(format!("{}: it gives no id for a schema", self.url))),
            },
            Got::NotFound => Ok(Err("it has no such subject, and makes none".to_owned())),
            Got::Refused(why) => Ok(Err(why)),
        }
    }

    fn get(&self, path: &str) -> Result<Got, SchemasError> {
        self.ask(path, None)
    }

    /// One request: with `body` a POST, otherwise a GET.
    fn ask(&self, path: &str, body: Option<&Value>) -> Result<Got, SchemasError> {
        let unavailable = |why: String| SchemasError::Unavailable(format!("{}: {why}", self.url));
        let url = format!("{}{path}", self.url);
        let answer = match (body, &self.authorization) {
            (None, None) => self.agent.get(url).call(),
            (None, Some(account)) => self.agent.get(url).header("authorization", account).call(),
            (Some(body), account) => {
                let request = self.agent.post(url).content_type("application/vnd.schemaregistry.v1+json");
                match account {
                    Some(account) => request.header("authorization", account).send(body.to_string()),
                    None => request.send(body.to_string()),
                }
            }
        };
        let mut response = answer.map_err(|error| match error {
            Error::BadUri(_) | Error::Http(_) => SchemasError::BadUrl(format!("{}: {error}", self.url)),
            error => unavailable(error.to_string()),
        })?;
        let status = response.status().as_u16();
        let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let text = text.map_err(|error| unavailable(error.to_string()))?;
        let body = serde_json::from_str::<Value>(&text);
        match (status, body) {
            (200, Ok(body)) => Ok(Got::Found(body)),
            (404, Ok(body)) if body["error_code"].as_u64().is_some_and(|code| NOT_FOUND.contains(&code)) => Ok(Got::NotFound),
            (409 | 422, Ok(body)) => {
                let why = body["message"].as_str().map_or_else(|| format!("it answers {status}"), str::to_owned);
                Ok(Got::Refused(why))
            }
            (401 | 403, _) => Err(SchemasError::Denied(format!("{}: it answers {status}", self.url))),
            (200 | 404, _) => Err(unavailable(format!("it answers {status}, but not as a registry does"))),
            _ => Err(unavailable(format!("it answers {status}"))),
        }
    }

    /// The schema at `path`, with those that it refers to, as the core reads by it.
    fn schema(&self, path: &str) -> Result<SchemaAnswer, SchemasError> {
        let unusable = |why: String| Ok(SchemaAnswer::Unusable(why.into()));
        let body = match self.get(path)? {
            Got::Found(body) => body,
            Got::NotFound => return Ok(SchemaAnswer::Unknown),
            Got::Refused(why) => return unusable(why),
        };
        let Some(text) = Text::read(&body) else { return unusable("the registry gives no text for it".to_owned()) };
        let mut references: Vec<(String, String)> = Vec::new();
        let mut open = text.references;
        while let Some((name, subject, version)) = open.pop() {
            if references.iter().any(|(known, _)| *known == name) {
                continue;
            }
            if references.len() == REFERENCES_MAX {
                return unusable(format!("it refers to more than {REFERENCES_MAX} others"));
            }
            let path = format!("/subjects/{}/versions/{version}", escaped(&subject));
            match self.get(&path)? {
                Got::Found(body) => match Text::read(&body) {
                    Some(found) => {
                        open.extend(found.references);
                        references.push((name, found.schema));
                    }
                    None => return unusable(format!("the registry gives no text for \"{name}\", to which it refers")),
                },
                Got::NotFound => return unusable(format!("the registry does not have \"{name}\", to which it refers")),
                Got::Refused(why) => {
                    return unusable(format!("the registry does not give \"{name}\", to which it refers: {why}"));
                }
            }
        }
        let parsed = match text.format {
            Format::Avro => {
                let references: Vec<String> = references.into_iter().map(|(_, text)| text).collect();
                avro::parse(&text.schema, &references)
            }
            Format::Protobuf => protobuf::parse(&text.schema, &references),
            Format::Other => Err("it is neither of Avro nor of Protobuf".to_owned()),
        };
        parsed.map_or_else(unusable, |schema| Ok(SchemaAnswer::Known(Arc::new(schema))))
    }
}

impl Schemas for HttpRegistry {
    fn writer(&self, id: u32) -> Result<SchemaAnswer, SchemasError> {
        let is_fresh = |kept: &Kept| kept.answer != SchemaAnswer::Unknown || kept.asked.elapsed() < UNKNOWN_FOR;
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept().get(&id).filter(|kept| is_fresh(kept)) {
            return Ok(known.answer.clone());
        }
        // Not under the lock: other workers need not wait for this schema.
        let answer = self.schema(&format!("/schemas/ids/{id}"))?;
        let mut kept = kept();
        if kept.len() >= ANSWERS_MAX {
            kept.clear();
        }
        kept.insert(id, Kept { answer: answer.clone(), asked: Instant::now() });
        Ok(answer)
    }
}

impl Text {
    fn read(body: &Value) -> Option<Text> {
        let format = match body["schemaType"].as_str() {
            None | Some("AVRO") => Format::Avro,
            Some("PROTOBUF") => Format::Protobuf,
            Some(_) => Format::Other,
        };
        let reference =
            |one: &Value| Some((one["name"].as_str()?.to_owned(), one["subject"].as_str()?.to_owned(), one["version"].as_u64()?));
        let references = body["references"].as_array().map_or(&[][..], Vec::as_slice);
        let references = references.iter().map(reference).collect::<Option<Vec<_>>>()?;
        Some(Text { schema: body["schema"].as_str()?.to_owned(), format, references })
    }
}

fn roots(pem: &str) -> Result<RootCerts, String> {
    let mut roots = Vec::new();
    for item in parse_pem(pem.as_bytes()) {
        if let PemItem::Certificate(root) = item.map_err(|error| error.to_string())? {
            roots.push(root);
        }
    }
    if roots.is_empty() { Err("it holds no certificate in PEM".to_owned()) } else { Ok(RootCerts::new_with_certs(&roots)) }
}

/// A name as a part of a path. Source: RFC 3986, section 2.3.
fn escaped(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    name.bytes().map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
