//! One request, and its answer in full.

use std::{io, net::SocketAddr, time::Duration};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

/// A page of metrics has a few lines for each stage and partition; a history some lines for each of 50 proposals.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// What is asked.
pub(crate) struct Question<'a> {
    pub method: Method,
    /// Path and query.
    pub target: &'a str,
    pub token: Option<&'a str>,
    pub body: Vec<u8>,
    /// For everything.
    pub time_max: Duration,
}

/// What came.
pub(crate) struct Heard {
    pub status: u16,
    pub body: String,
}

/// Asks whoever serves at `address`.
pub(crate) fn ask(address: SocketAddr, question: Question<'_>) -> io::Result<Heard> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let time_max = question.time_max;
    let answer = runtime.block_on(async { timeout(time_max, exchange(address, question)).await });
    answer.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", time_max.as_secs()))))
}

async fn exchange(address: SocketAddr, question: Question<'_>) -> io::Result<Heard> {
    let Question { method, target, token, body, .. } = question;
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // It works in the background; how it ends, the answer says.
    drop(tokio::spawn(connection));
    let mut request = Request::builder().method(method).uri(target).header(header::HOST, address.to_string());
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Full::new(Bytes::from(body))).map_err(io::Error::other)?;
    let answer = sender.send_request(request).await.map_err(io::Error::other)?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(io::Error::other)?;
    Ok(Heard { status, body: String::from_utf8_lossy(&body.to_bytes()).into_owned() })
}
