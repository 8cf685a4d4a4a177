//! S3Proxy: a server that speaks as Amazon S3 does and checks every signature, on loopback, with its objects in a temporary folder. Fetched by Maven
//! once for a checkout.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use reelflow_broker_tests::{
    artifact,
    guarded::{self, Guarded, free_port},
};
use tempfile::TempDir;

const VERSION: &str = "2.9.0";
/// How long it may take to answer after its start; a loaded machine needs most of it.
const START_MAX: Duration = Duration::from_secs(60);

pub const KEY_ID: &str = "reel";
pub const SECRET: &str = "not a secret";
/// The only bucket.
pub const BUCKET: &str = "bases";

/// A server that runs until it is dropped.
pub struct ObjectServer {
    /// Outlives the process.
    home: TempDir,
    port: u16,
    process: Option<Guarded>,
}

impl ObjectServer {
    /// A server with one empty bucket, on a free port. Needs Java 17 or newer and Maven.
    pub fn start() -> Result<ObjectServer> {
        let home = tempfile::Builder::new().prefix("reelflow-objects-").tempdir()?;
        fs::create_dir_all(home.path().join("data").join(BUCKET))?;
        let port = free_port()?;
        let properties = format!(
            "s3proxy.authorization=aws-v2-or-v4
s3proxy.endpoint=http://127.0.0.1:{port}
s3proxy.identity={KEY_ID}
s3proxy.credential={SECRET}
jclouds.provider=filesystem
jclouds.identity=none
jclouds.credential=none
jclouds.filesystem.basedir={}
",
            home.path().join("data").display()
        );
        fs::write(home.path().join("server.properties"), properties)?;
        let mut server = ObjectServer { home, port, process: None };
        server.restart()?;
        Ok(server)
    }

    /// Starts it anew on the objects and the port it had; kills it first if it runs.
    pub fn restart(&mut self) -> Result<()> {
        self.kill()?;
        let mut java = Command::new("java");
        java.arg("-Xmx256m").arg("-jar").arg(program()?).args(["--properties", "server.properties"]);
        self.process = Some(Guarded::spawn(&java, self.home.path())?);
        let deadline = Instant::now() + START_MAX;
        while let Err(error) = self.ask() {
            if Instant::now() > deadline {
                bail!("the object store does not answer: {error:#}; its log ends with:\n{}", guarded::log_end(self.home.path()));
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Ends it at once. Does nothing if it does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), Guarded::kill)
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where an object lies on disk.
    pub fn path(&self, key: &str) -> PathBuf {
        self.home.path().join("data").join(BUCKET).join(key)
    }

    /// Whoever has not signed is refused: an answer.
    fn ask(&self) -> Result<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 403"), "{answer}");
        Ok(())
    }
}

impl Drop for ObjectServer {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("the object store could not be stopped: {error:#}");
        }
    }
}

fn program() -> Result<PathBuf> {
    let goal = ["dependency:copy".to_owned(), format!("-Dartifact=org.gaul:s3proxy:{VERSION}:jar:jar-with-dependencies")];
    let folder = artifact::fetched(&format!("s3proxy/{VERSION}"), "S3Proxy", &goal)?;
    Ok(folder.join(format!("s3proxy-{VERSION}-jar-with-dependencies.jar")))
}
