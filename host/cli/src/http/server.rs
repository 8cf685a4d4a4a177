//! A small server: one request a connection.
//!
//! Nobody who talks to it can hold the pipeline up. It has a thread of its own, and a few for work; who comes when too many are there is closed at
//! once. A connection has a few seconds for everything, however slowly it reads or writes, and more only for the work that a page allows. A head
//! has at most 8 KiB, and a body what the page allows.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    Request, Response,
    body::{Body, Bytes, Incoming},
    header,
    http::request::Parts,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout, timeout_at},
};
use tracing::{debug, warn};

use super::{Answer, Head, Pages, Reply, Work};

/// For work.
const N_THREADS: usize = 4;
const CONNECTIONS_MAX: usize = 20;
const HEAD_BYTES_MAX: usize = 8 << 10;
/// For a connection, from when it was accepted.
const TIME_MAX: Duration = Duration::from_secs(5);
/// A body that nobody wants is read for as long as it keeps coming: who is closed while they write may never see the answer.
const UNWANTED_BYTES_MAX: usize = 256 << 20;
const UNWANTED_SILENCE_MAX: Duration = Duration::from_millis(500);

/// Serves `pages` on `address` until the process ends, on a thread called `name`. Returns where, as port 0 is a free one.
pub(crate) fn serve(name: &str, address: SocketAddr, pages: Arc<Pages>) -> io::Result<SocketAddr> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(N_THREADS)
        .thread_name(format!("{name}-work"))
        .build()?;
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let listener = {
        let _entered = runtime.enter();
        TcpListener::from_std(listener)?
    };
    let run = move || runtime.block_on(accept(listener, address.ip(), pages));
    thread::Builder::new().name(name.to_owned()).spawn(run)?;
    Ok(address)
}

async fn accept(listener: TcpListener, bound_to: IpAddr, pages: Arc<Pages>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Who finds no place is closed by being dropped.
                if let Ok(place) = places.clone().try_acquire_owned() {
                    drop(tokio::spawn(attend(stream, bound_to, pages.clone(), Arc::new(place))));
                }
            }
            Err(error) => {
                warn!(%error, "a connection over HTTP cannot be accepted");
                sleep(Duration::from_millis(100)).await; // Out of descriptors, say: the next one fails as well.
            }
        }
    }
}

async fn attend(stream: TcpStream, bound_to: IpAddr, pages: Arc<Pages>, place: Arc<OwnedSemaphorePermit>) {
    let until = Arc::new(Mutex::new(Instant::now() + TIME_MAX));
    let look = |until: &Mutex<Instant>| *until.lock().unwrap_or_else(PoisonError::into_inner);
    let service = service_fn(|request: Request<Incoming>| {
        let (pages, until, place) = (pages.clone(), until.clone(), place.clone());
        async move {
            let (head, body) = request.into_parts();
            let reply = read_head(&head, bound_to).map_or_else(Reply::Now, |head| pages(&head));
            Ok::<_, Infallible>(response(match reply {
                Reply::Now(answer) => {
                    discard(body).await;
                    answer
                }
                Reply::Later(work) => {
                    *until.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + work.time_max;
                    work_off(work, body, place).await
                }
            }))
        }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES_MAX)
        .title_case_headers(true)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    loop {
        let given = look(&until);
        match timeout_at(given, connection.as_mut()).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => return debug!(%error, "a request over HTTP was not answered"),
            Err(_) if look(&until) > given => {} // It was given more time meanwhile.
            Err(_) => return debug!("a connection over HTTP took too long"),
        }
    }
}

/// What a request says, or what it gets because it is none for us.
fn read_head(head: &Parts, bound_to: IpAddr) -> Result<Head, Answer> {
    let hosts: Vec<&[u8]> = head.headers.get_all(header::HOST).iter().map(|host| host.as_bytes()).collect();
    let is_meant = matches!(hosts[..], [host] if std::str::from_utf8(host).is_ok_and(|host| is_ours(host, bound_to)));
    if !is_meant {
        return Err(Answer::text(403, "the Host header must name this machine: nothing here is for pages of other sites\n"));
    }
    let authorization = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer =
        authorization.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let query = head.uri.query().unwrap_or_default();
    Ok(Head {
        method: head.method.clone(),
        path: head.uri.path().to_owned(),
        parameters: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        token: bearer.map(|(_, token)| token.trim().to_owned()),
    })
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

/// `place` is held as long as the work lasts, though its connection may end before: so there is never more of it than places (I-9).
async fn work_off(work: Work, body: Incoming, place: Arc<OwnedSemaphorePermit>) -> Answer {
    let Work { body_bytes_max, run, .. } = work;
    let too_long = || Answer::text(413, format!("the body may have {body_bytes_max} bytes\n"));
    if body.size_hint().lower() > body_bytes_max as u64 {
        discard(body).await;
        return too_long();
    }
    let body = match Limited::new(body, body_bytes_max).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return too_long(),
        Err(error) => return Answer::text(400, format!("the body cannot be read: {error}\n")),
    };
    let done = tokio::task::spawn_blocking(move || {
        let answer = run(&body);
        drop(place);
        answer
    });
    done.await.unwrap_or_else(|_| Answer::text(500, "a bug of Reelflow; standard error of the process has the place\n"))
}

async fn discard(mut body: Incoming) {
    let mut n_bytes = 0;
    while n_bytes < UNWANTED_BYTES_MAX {
        match timeout(UNWANTED_SILENCE_MAX, body.frame()).await {
            Ok(Some(Ok(frame))) => n_bytes += frame.data_ref().map_or(0, Bytes::len),
            Ok(Some(Err(_)) | None) | Err(_) => return,
        }
    }
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let Answer { status, content_type, body, header } = answer;
    let mut response =
        Response::builder().status(status).header(header::CONTENT_TYPE, content_type).header(header::CACHE_CONTROL, "no-store");
    if let Some((name, value)) = header {
        response = response.header(name, value);
    }
    response.body(Full::new(Bytes::from(body))).expect("status and headers are constants of ours")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `head`: a target and headers, each as name and value.
    #[track_caller]
    fn check(target: &str, headers: &[(&str, &str)], bound_to: &str, expected: Result<&[(&str, &str)], u16>) {
        let mut request = Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let found = read_head(&parts, bound_to.parse().unwrap());
        let owned = |all: &[(&str, &str)]| all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let expected: Result<Vec<(String, String)>, u16> = expected.map(owned);
        assert_eq!(found.map(|head| head.parameters).map_err(|answer| answer.status), expected, "{target} {headers:?}");
    }

    #[test]
    fn parameters_are_decoded() {
        let host = [("host", "127.0.0.1:7070")];
        check(
            "/reload?plugin=count&by=Jo%20%26+Al&plan",
            &host,
            "127.0.0.1",
            Ok(&[("plugin", "count"), ("by", "Jo & Al"), ("plan", "")]),
        );
        check("/reload", &host, "127.0.0.1", Ok(&[]));
    }

    #[test]
    fn pages_of_other_sites_get_nothing_from_a_loopback_address() {
        for host in ["evil.example", "evil.example:9464", "localhost.evil.example", ""] {
            check("/metrics", &[("host", host)], "127.0.0.1", Err(403));
        }
        check("/metrics", &[], "127.0.0.1", Err(403));
        check("/metrics", &[("host", "localhost"), ("host", "evil.example")], "127.0.0.1", Err(403));
        for host in ["localhost", "LOCALHOST:9464", "127.0.0.1:9464", "[::1]:9464"] {
            check("/metrics", &[("host", host)], "127.0.0.1", Ok(&[]));
        }
        check("/metrics", &[("host", "reel-0.example")], "0.0.0.0", Ok(&[]));
    }
}
