//! A small server of HTTP: a few pages that are made on the spot, for GET and HEAD, one request a connection.
//!
//! Nobody who talks to it can hold the pipeline up: a fixed number of threads of its own serve, what they cannot take is closed at once, and
//! each connection has a few seconds for everything, however slowly it reads or writes. A request has no body and at most 8 KiB of head.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, TrySendError},
    },
    thread,
    time::{Duration, Instant},
};

use tracing::warn;

const N_THREADS: usize = 4;
/// Connections that wait for a thread.
const WAITING_MAX: usize = 16;
const HEAD_BYTES_MAX: usize = 8 << 10;
/// For a whole connection, from when it was accepted.
const TIME_MAX: Duration = Duration::from_secs(5);
const WRITE_BYTES: usize = 16 << 10;

/// What a page answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub status: u16,
    pub content_type: &'static str,
    pub body: String,
}

impl Answer {
    pub fn text(status: u16, body: impl Into<String>) -> Answer {
        Answer { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }
}

struct Connection {
    stream: TcpStream,
    until: Instant,
}

/// Gives the page of a path, or `None`: there is no such page.
pub(super) type Pages = dyn Fn(&str) -> Option<Answer> + Send + Sync;

/// Serves `pages` on `address` until the process ends. Returns where, as port 0 is a free one.
pub(super) fn serve(address: SocketAddr, pages: Arc<Pages>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    let (give, take) = mpsc::sync_channel::<Connection>(WAITING_MAX);
    let take = Arc::new(Mutex::new(take));
    for idx in 0..N_THREADS {
        let (take, pages) = (take.clone(), pages.clone());
        spawn(&format!("metrics-{idx}"), move || work(&take, address.ip(), &*pages))?;
    }
    spawn("metrics", move || {
        for connection in listener.incoming() {
            match connection.map(|stream| give.try_send(Connection { stream, until: Instant::now() + TIME_MAX })) {
                // Who is not taken is closed by being dropped.
                Ok(Ok(()) | Err(TrySendError::Full(_))) => {}
                Ok(Err(TrySendError::Disconnected(_))) => return,
                Err(error) => {
                    warn!(%error, "a connection for metrics cannot be accepted");
                    thread::sleep(Duration::from_millis(100)); // Out of descriptors, say: the next one fails as well.
                }
            }
        }
    })?;
    Ok(address)
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(run).map(drop)
}

fn work(take: &Mutex<Receiver<Connection>>, bound_to: IpAddr, pages: &Pages) {
    loop {
        let taken = take.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Connection { mut stream, until }) = taken else { return };
        let answered = read_head(&mut stream, until).and_then(|head| {
            let (answer, has_body) = answer(&head, bound_to, pages);
            write(&mut stream, until, &answer, has_body)
        });
        if let Err(error) = answered {
            tracing::debug!(%error, "a request for metrics was not answered");
        }
    }
}

/// The head of a request, up to the empty line behind it.
fn read_head(stream: &mut TcpStream, until: Instant) -> io::Result<String> {
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if head.len() > HEAD_BYTES_MAX {
            return Ok(String::new());
        }
        stream.set_read_timeout(Some(left(until)?))?;
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n_bytes => head.extend_from_slice(&piece[..n_bytes]),
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// What a request gets, and whether it wants to see it.
fn answer(head: &str, bound_to: IpAddr, pages: &Pages) -> (Answer, bool) {
    let mut lines = head.split("\r\n");
    let mut request = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some("HTTP/1.1" | "HTTP/1.0"), None) =
        (request.next(), request.next(), request.next(), request.next())
    else {
        return (Answer::text(400, "not a request of HTTP/1.1, or its head is too long\n"), true);
    };
    let has_body = method != "HEAD";
    let hosts: Vec<&str> = lines
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| name.eq_ignore_ascii_case("host"))
        .map(|(_, host)| host.trim())
        .collect();
    if !matches!(hosts[..], [host] if is_ours(host, bound_to)) {
        return (
            Answer::text(403, "the Host header must name this machine: metrics are not for pages of other sites\n"),
            has_body,
        );
    }
    if !["GET", "HEAD"].contains(&method) {
        return (Answer::text(405, "only GET and HEAD\n"), has_body);
    }
    let path = target.split('?').next().unwrap_or_default();
    (pages(path).unwrap_or_else(|| Answer::text(404, "there are /metrics, /healthz and /readyz\n")), has_body)
}

/// Whether a request with this `Host` was meant for us. A page of another site can have its own name resolve to a loopback address, and then
/// read what a browser on this machine may read; but it cannot send another name than its own. Where everybody may connect, nothing is kept
/// from anybody by that.
fn is_ours(host: &str, bound_to: IpAddr) -> bool {
    let name =
        host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit())).map_or(host, |(name, _)| name);
    let is_address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
    !bound_to.is_loopback() || is_address || name.eq_ignore_ascii_case("localhost")
}

fn write(stream: &mut TcpStream, until: Instant, answer: &Answer, has_body: bool) -> io::Result<()> {
    let reason = match answer.status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        _ => "Service Unavailable",
    };
    let allow = if answer.status == 405 { "Allow: GET, HEAD\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {} {reason}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n{allow}Connection: close\r\n\r\n",
        answer.status,
        answer.content_type,
        answer.body.len()
    );
    let body = if has_body { answer.body.as_bytes() } else { &[] };
    for piece in [head.as_bytes()].into_iter().chain(body.chunks(WRITE_BYTES)) {
        let mut rest = piece;
        while !rest.is_empty() {
            stream.set_write_timeout(Some(left(until)?))?;
            let n_bytes = stream.write(rest)?;
            rest = &rest[n_bytes..];
        }
    }
    Ok(())
}

/// The time that a connection still has.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(head: &str, bound_to: &str, status: u16) {
        let pages = |path: &str| (path == "/metrics").then(|| Answer::text(200, "it"));
        assert_eq!(answer(head, bound_to.parse().unwrap(), &pages).0.status, status, "{head}");
    }

    #[test]
    fn requests_get_what_they_ask_for() {
        check("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9464\r\n\r\n", "127.0.0.1", 200);
        check("HEAD /metrics?x=1 HTTP/1.0\r\nhost: localhost\r\n\r\n", "127.0.0.1", 200);
        check("GET /elsewhere HTTP/1.1\r\nHost: [::1]:9464\r\n\r\n", "::1", 404);
        check("POST /metrics HTTP/1.1\r\nHost: localhost:9464\r\n\r\n", "127.0.0.1", 405);
        for head in
            ["", "GET", "GET /metrics\r\n\r\n", "GET /metrics HTTP/2\r\n\r\n", "GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n"]
        {
            check(head, "127.0.0.1", 400);
        }
    }

    #[test]
    fn pages_of_other_sites_get_nothing_from_a_loopback_address() {
        for host in [
            "Host: evil.example\r\n",
            "Host: evil.example:9464\r\n",
            "Host: localhost.evil.example\r\n",
            "",
            "Host: localhost\r\nHost: evil.example\r\n",
        ] {
            check(&format!("GET /metrics HTTP/1.1\r\n{host}\r\n"), "127.0.0.1", 403);
        }
        check("GET /metrics HTTP/1.1\r\nHost: reel-0.example\r\n\r\n", "0.0.0.0", 200);
    }
}
