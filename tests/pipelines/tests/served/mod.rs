//! A run that serves pages over HTTP.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use reelflow_pipelines::Job;

pub const PATIENCE: Duration = Duration::from_secs(30);

/// A run without an end, and where it serves its pages.
pub struct Running {
    child: Child,
    pub address: SocketAddr,
}

impl Running {
    /// `what`: `metrics` or `admin`, on a free port.
    pub fn start(job: &Job, what: &str, args: &[&str]) -> Result<Running> {
        let (option, announced) = (format!("--{what}"), format!("{what} at http://"));
        let all = [&["run", &option, "0"], args].concat();
        let mut child = job.reel(&all).stderr(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let (tell, told) = mpsc::channel();
        let lines = BufReader::new(child.stderr.take().context("a pipe")?).lines();
        // Reads on to the end, or the run would wait for somebody to read what it says.
        thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(tell.send(line))));
        loop {
            let line = told.recv_timeout(PATIENCE).context("it does not say where")?;
            if let Some(address) = line.strip_prefix(&announced).and_then(|rest| rest.split('/').next()) {
                return Ok(Running { child, address: address.parse()? });
            }
        }
    }

    /// Sends `request` as it is; gives the status and all that came.
    pub fn ask(&self, request: &str) -> Result<(u16, String)> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).with_context(|| answer.clone())?;
        Ok((status, answer))
    }

    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address))
    }

    /// Asks for `path` until the answer is as wanted.
    pub fn await_answer(&self, path: &str, is_it: impl Fn(u16, &str) -> bool) -> Result<String> {
        let until = Instant::now() + PATIENCE;
        loop {
            let (status, answer) = self.get(path)?;
            if is_it(status, &answer) {
                return Ok(answer);
            }
            ensure!(Instant::now() < until, "{path} never says it: {answer}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks the run to end, and waits for it.
    pub fn stop(mut self) -> Result<()> {
        ensure!(Command::new("kill").arg(self.child.id().to_string()).status()?.success(), "it runs no more");
        let status = self.child.wait()?;
        ensure!(status.success(), "it ended with {status}");
        Ok(())
    }
}

impl Drop for Running {
    /// Of a test that has failed.
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
