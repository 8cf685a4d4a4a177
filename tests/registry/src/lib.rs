//! A schema registry for tests, on loopback: ids, subjects and versions, in the interface of Confluent's. It fails as it is told; that it answers as
//! registries do is shown by [`real`], on which the same tests run.
//!
//! Source: Confluent, "Schema Registry API Reference". It checks no compatibility, and forgets everything when it is dropped.

pub mod real;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use reelflow_core::json::base64;
use serde_json::{Value, json};

/// A registry that runs until it is dropped.
pub struct TestRegistry {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    /// By id, from 1.
    schemas: Vec<Registered>,
    /// What it wants to see of whoever asks.
    authorization: Option<String>,
    /// What it answers to everything.
    failure: Option<(u16, String)>,
    n_requests: usize,
}

struct Registered {
    subject: String,
    version: u64,
    body: Value,
}

impl TestRegistry {
    /// An empty registry on a free port.
    pub fn start() -> TestRegistry {
        TestRegistry::at(([127, 0, 0, 1], 0).into())
    }

    /// An empty registry at `address`, where one may have been before.
    pub fn at(address: SocketAddr) -> TestRegistry {
        let listener = TcpListener::bind(address).expect("a free port");
        let address = listener.local_addr().expect("a socket has an address");
        let (state, is_over) = (Arc::new(Mutex::new(State::default())), Arc::new(AtomicBool::new(false)));
        let (state_of_thread, is_over_of_thread) = (state.clone(), is_over.clone());
        let thread = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if is_over_of_thread.load(Ordering::SeqCst) {
                    return;
                }
                // Whoever asks may go away before the answer.
                drop(serve(stream, &state_of_thread));
            }
        });
        TestRegistry { address, state, is_over, thread: Some(thread) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Registers the next version of `subject`. `references`: name, subject and version of each. Gives its id.
    pub fn register(&self, subject: &str, schema_type: &str, text: &str, references: &[(&str, &str, u64)]) -> u32 {
        let references: Vec<Value> = references
            .iter()
            .map(|(name, subject, version)| json!({ "name": name, "subject": subject, "version": version }))
            .collect();
        let mut body = json!({ "schema": text });
        // As the real one: Avro is not said, nor that there are no references.
        if schema_type != "AVRO" {
            body["schemaType"] = json!(schema_type);
        }
        if !references.is_empty() {
            body["references"] = json!(references);
        }
        self.state().register(subject, body)
    }

    /// The texts that `subject` has, the oldest first.
    pub fn versions(&self, subject: &str) -> Vec<String> {
        let state = self.state();
        let of_subject = state.schemas.iter().filter(|one| one.subject == subject);
        of_subject.map(|one| one.body["schema"].as_str().expect("it was registered with one").to_owned()).collect()
    }

    /// From now on asks for this account.
    pub fn protect(&self, user: &str, password: &str) {
        let mut expected = b"Basic ".to_vec();
        base64::encode(format!("{user}:{password}").as_bytes(), &mut expected);
        self.state().authorization = Some(String::from_utf8(expected).expect("base64 is ASCII"));
    }

    /// From now on answers everything so; `None`: as it should.
    pub fn fail(&self, failure: Option<(u16, &str)>) {
        self.state().failure = failure.map(|(status, body)| (status, body.to_owned()));
    }

    /// How often it was asked.
    pub fn n_requests(&self) -> usize {
        self.state().n_requests
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // Wakes the thread, which then sees that it is over.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// One request and its answer.
fn serve(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
    let (mut authorization, mut n_bytes) = (None, 0);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        match name.to_lowercase().as_str() {
            "authorization" => authorization = Some(value.trim().to_owned()),
            "content-length" => n_bytes = value.trim().parse().unwrap_or(0),
            _ => {}
        }
    }
    let mut body = vec![0; n_bytes];
    reader.read_exact(&mut body)?;
    let (status, body) = state.lock().unwrap_or_else(PoisonError::into_inner).answer(&method, &path, authorization, &body);
    let head = format!("HTTP/1.1 {status} -\r\ncontent-type: application/vnd.schemaregistry.v1+json\r\n");
    let rest = format!("content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    stream.write_all((head + &rest).as_bytes())
}

impl State {
    fn answer(&mut self, method: &str, path: &str, authorization: Option<String>, body: &[u8]) -> (u16, String) {
        self.n_requests += 1;
        if let Some(failure) = &self.failure {
            return failure.clone();
        }
        if self.authorization.is_some() && authorization != self.authorization {
            return (401, json!({ "error_code": 401, "message": "Unauthorized" }).to_string());
        }
        let parts: Vec<String> = path.trim_matches('/').split('/').map(unescaped).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let answer = match (method, &parts[..]) {
            ("GET", ["schemas", "ids", id]) => self.by_id(id).map(|one| one.body.clone()),
            ("GET", ["subjects", subject, "versions", version]) => self.version(subject, version),
            ("POST", ["subjects", subject, "versions"]) => match serde_json::from_slice::<Value>(body) {
                Ok(body) if body["schema"].is_string() => Some(json!({ "id": self.register(subject, body) })),
                _ => return (422, json!({ "error_code": 42201, "message": "Invalid schema" }).to_string()),
            },
            _ => return (404, json!({ "error_code": 404, "message": "HTTP 404 Not Found" }).to_string()),
        };
        let not_found = || (404, json!({ "error_code": 40403, "message": "Schema not found" }).to_string());
        answer.map_or_else(not_found, |body| (200, body.to_string()))
    }

    /// Gives its id: that of before, if the subject has it.
    fn register(&mut self, subject: &str, body: Value) -> u32 {
        if let Some(known) = self.schemas.iter().position(|one| one.subject == subject && one.body == body) {
            return known as u32 + 1;
        }
        let version = 1 + self.schemas.iter().filter(|one| one.subject == subject).count() as u64;
        self.schemas.push(Registered { subject: subject.to_owned(), version, body });
        self.schemas.len() as u32
    }

    fn by_id(&self, id: &str) -> Option<&Registered> {
        self.schemas.get(id.parse::<usize>().ok()?.checked_sub(1)?)
    }

    fn version(&self, subject: &str, version: &str) -> Option<Value> {
        let mut all = self.schemas.iter().enumerate().filter(|(_, one)| one.subject == subject);
        let (idx, one) = match version {
            "latest" => all.next_back(),
            number => all.find(|(_, one)| Some(one.version) == number.parse().ok()),
        }?;
        let mut body = one.body.clone();
        body["subject"] = json!(subject);
        body["version"] = json!(one.version);
        body["id"] = json!(idx + 1);
        Some(body)
    }
}

/// A part of a path without its escapes. Source: RFC 3986, section 2.1.
fn unescaped(part: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = part.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok())).flatten();
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
