//! Whether a broker answers, found out with the first request of Kafka's protocol.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

/// Waits until the broker at `port` answers requests: an open port alone does not mean that.
pub(crate) fn wait(port: u16, wait_max: Duration) -> Result<()> {
    let deadline = Instant::now() + wait_max;
    loop {
        match ask(port) {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() >= deadline => bail!("no answer within {} s: {error:#}", wait_max.as_secs()),
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Sends ApiVersions v0 and reads its error code. Source: Kafka protocol guide, "ApiVersions Request (Version: 0)".
fn ask(port: u16) -> Result<()> {
    const CORRELATION: [u8; 4] = *b"reel";
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).context("cannot connect")?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut request = vec![0, 0, 0, 10, 0, 18, 0, 0];
    request.extend_from_slice(&CORRELATION);
    request.extend_from_slice(&[0xff, 0xff]); // no client id
    stream.write_all(&request).context("cannot send")?;
    let mut response = [0u8; 10];
    stream.read_exact(&mut response).context("no response")?;
    ensure!(response[4..8] == CORRELATION, "a response to another request");
    ensure!(response[8..10] == [0, 0], "error code {}", i16::from_be_bytes([response[8], response[9]]));
    Ok(())
}
