//! Apicurio Registry: another team's registry, with the interface of Confluent's, on loopback and in memory. Fetched by Maven once for a checkout.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use reelflow_broker_tests::{
    artifact,
    guarded::{self, Guarded, free_port},
};
use tempfile::TempDir;

const VERSION: &str = "3.0.9";
const KEYS: &str = "keys.p12";
const PASSWORD: &str = "not a secret";
const CERTIFICATE: &str = "certificate.pem";
/// How long it may take to answer after its start; a loaded machine needs most of it.
const START_MAX: Duration = Duration::from_secs(120);

/// A registry that runs until it is dropped.
pub struct RealRegistry {
    /// Outlives the process.
    home: TempDir,
    port: u16,
    tls_port: u16,
    process: Option<Guarded>,
}

impl RealRegistry {
    /// An empty registry on a free port. Needs Java 17 or newer and Maven.
    pub fn start() -> Result<RealRegistry> {
        let program = program()?;
        let home = tempfile::Builder::new().prefix("reelflow-registry-").tempdir()?;
        let (port, tls_port) = (free_port()?, free_port()?);
        certify(home.path())?;
        let mut java = Command::new("java");
        java.args(["-Xmx512m", "-Dquarkus.http.host=127.0.0.1"]).arg(format!("-Dquarkus.http.port={port}"));
        java.arg(format!("-Dquarkus.http.ssl-port={tls_port}"));
        java.arg(format!("-Dquarkus.http.ssl.certificate.key-store-file={KEYS}"));
        java.arg(format!("-Dquarkus.http.ssl.certificate.key-store-password={PASSWORD}"));
        java.arg("-jar").arg(program);
        let process = Some(Guarded::spawn(&java, home.path())?);
        let registry = RealRegistry { home, port, tls_port, process };
        let deadline = Instant::now() + START_MAX;
        while let Err(error) = registry.ask("GET", "/subjects", "") {
            if Instant::now() > deadline {
                bail!("the registry does not answer: {error:#}; its log ends with:\n{}", guarded::log_end(registry.home.path()));
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(registry)
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/apis/ccompat/v7", self.port)
    }

    /// The same over TLS, with a certificate that no authority knows.
    pub fn tls_url(&self) -> String {
        format!("https://127.0.0.1:{}/apis/ccompat/v7", self.tls_port)
    }

    /// That certificate, in PEM.
    pub fn certificate(&self) -> Result<String> {
        Ok(fs::read_to_string(self.home.path().join(CERTIFICATE))?)
    }

    /// From now on a new version of `subject` must be able to read what the one before has written.
    pub fn require_compatible(&self, subject: &str) -> Result<()> {
        self.ask("PUT", &format!("/config/{subject}"), "{\"compatibility\":\"BACKWARD\"}").map(drop)
    }

    /// The newest schema of `subject`, in what the registry says.
    pub fn latest(&self, subject: &str) -> Result<String> {
        self.ask("GET", &format!("/subjects/{subject}/versions/latest"), "")
    }

    /// One request. Gives the answer's body if all is well.
    fn ask(&self, method: &str, path: &str, body: &str) -> Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let head = format!("{method} /apis/ccompat/v7{path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n");
        let rest = format!("content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all((head + &rest).as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{method} {path}: {answer}");
        Ok(answer.split_once("\r\n\r\n").context("an answer has a body")?.1.to_owned())
    }
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.process.take().map(Guarded::kill) {
            eprintln!("the registry could not be stopped: {error:#}");
        }
    }
}

/// Writes a key and a certificate for it into `home`, with the tool that comes with Java.
fn certify(home: &Path) -> Result<()> {
    let keytool = |args: &[&str]| -> Result<()> {
        let keys = ["-keystore", KEYS, "-storepass", PASSWORD, "-alias", "registry"];
        let output =
            Command::new("keytool").args(args).args(keys).current_dir(home).output().context("`keytool` of Java does not run")?;
        ensure!(output.status.success(), "keytool: {}", String::from_utf8_lossy(&output.stdout));
        Ok(())
    };
    let name = ["-dname", "CN=registry", "-ext", "SAN=ip:127.0.0.1"];
    keytool(&[&["-genkeypair", "-keyalg", "EC", "-storetype", "PKCS12", "-validity", "3650"], &name[..]].concat())?;
    keytool(&["-exportcert", "-rfc", "-file", CERTIFICATE])
}

fn program() -> Result<PathBuf> {
    let goal = ["dependency:unpack".to_owned(), format!("-Dartifact=io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all")];
    let folder = artifact::fetched(&format!("registry/{VERSION}"), "Apicurio Registry", &goal)?;
    Ok(folder.join(format!("apicurio-registry-app-{VERSION}-runner.jar")))
}
