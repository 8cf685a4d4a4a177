//! A real Apache Kafka for tests, the demo and benchmarks: one combined broker and controller on free loopback ports, with its
//! data in a temporary folder.
//!
//! Needs Java 17 or newer, Maven and a POSIX shell; without them it fails with what to install, it never skips.

pub mod artifact;
pub mod guarded;
mod jars;
mod ready;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use guarded::{Guarded, free_port};
pub use jars::{Release, ensure_jars};

/// How long a broker may take to answer after its start; a loaded machine needs most of it.
const START_MAX: Duration = Duration::from_secs(60);

/// One broker. Dropping it kills it and deletes its data.
pub struct Broker {
    libs: PathBuf,
    home: TempDir,
    port: u16,
    process: Option<Guarded>,
}

impl Broker {
    /// Fetches the jars if needed, formats storage, starts a broker, and waits until it answers.
    pub fn start() -> Result<Broker> {
        Broker::start_with(Release::Current, "PLAINTEXT", &[])
    }

    /// A broker of another release.
    pub fn start_release(release: Release) -> Result<Broker> {
        Broker::start_with(release, "PLAINTEXT", &[])
    }

    /// Like [`Broker::start`], for clients that log in with SASL PLAIN (and no TLS).
    pub fn start_with_login(user: &str, password: &str) -> Result<Broker> {
        let module = "org.apache.kafka.common.security.plain.PlainLoginModule";
        let logins = format!("{module} required username=\"{user}\" password=\"{password}\" user_{user}=\"{password}\";");
        Broker::start_with(
            Release::Current,
            "SASL_PLAINTEXT",
            &[
                ("sasl.enabled.mechanisms", "PLAIN"),
                ("sasl.mechanism.inter.broker.protocol", "PLAIN"),
                ("listener.name.sasl_plaintext.plain.sasl.jaas.config", &logins),
            ],
        )
    }

    fn start_with(release: Release, protocol: &str, settings: &[(&str, &str)]) -> Result<Broker> {
        let libs = ensure_jars(release)?;
        let home = tempfile::Builder::new().prefix("reelflow-broker-").tempdir().context("no folder for the broker's data")?;
        let (port, controller_port) = (free_port()?, free_port()?);
        let mut properties = properties(home.path(), protocol, port, controller_port);
        for (name, value) in settings {
            properties.push_str(&format!("{name}={value}\n"));
        }
        fs::write(home.path().join("server.properties"), properties).context("cannot write server.properties")?;
        let mut broker = Broker { libs, home, port, process: None };
        broker.format()?;
        broker.restart()?;
        Ok(broker)
    }

    /// The broker of this process, started on first use; killed when the process ends. Use topic names of your own: [`unique`].
    pub fn shared() -> &'static Broker {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        SHARED.get_or_init(|| Broker::start().unwrap_or_else(|error| panic!("no broker for the tests: {error:#}")))
    }

    /// Where clients connect: `127.0.0.1:PORT`. Stays the same over [`Broker::restart`].
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends the broker at once, as a crash of its machine would (but for its page cache). Does nothing if it does not run.
    pub fn kill(&mut self) -> Result<()> {
        match self.process.take() {
            Some(process) => process.kill(),
            None => Ok(()),
        }
    }

    /// Starts the broker anew on the data and the ports it had; kills it first if it runs.
    pub fn restart(&mut self) -> Result<()> {
        self.kill()?;
        let mut broker = java(&self.libs);
        broker.args(["kafka.Kafka", "server.properties"]);
        self.process = Some(Guarded::spawn(&broker, self.home.path())?);
        ready::wait(self.port, START_MAX)
            .with_context(|| format!("the broker did not start; its log ends with:\n{}", guarded::log_end(self.home.path())))
    }

    fn format(&self) -> Result<()> {
        let storage_tool = |args: &[&str]| -> Result<String> {
            let output = java(&self.libs)
                .arg("kafka.tools.StorageTool")
                .args(args)
                .current_dir(self.home.path())
                .output()
                .context("cannot run Kafka's storage tool")?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            ensure!(output.status.success(), "storage tool: {text}{}", String::from_utf8_lossy(&output.stderr));
            Ok(text)
        };
        let id = storage_tool(&["random-uuid"])?;
        storage_tool(&["format", "-t", id.trim(), "-c", "server.properties", "--standalone"])?;
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("the broker could not be stopped: {error:#}");
        }
    }
}

/// `stem` with a suffix that no other test of this process uses: a name for a topic or a group.
pub fn unique(stem: &str) -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    format!("{stem}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The JVM with Kafka's classes. The `*` is for the JVM, which expands it itself.
fn java(libs: &Path) -> Command {
    let mut java = Command::new("java");
    java.args(["-Xmx1g", "-cp"]).arg(libs.join("*"));
    java
}

/// Records are kept for ever: those of a workload lie in the past, and with Kafka's default of a week they would be gone half a minute
/// after the broker's start.
fn properties(home: &Path, protocol: &str, port: u16, controller_port: u16) -> String {
    let data = home.join("data");
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}
listeners={protocol}://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners={protocol}://127.0.0.1:{port}
inter.broker.listener.name={protocol}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={data}
auto.create.topics.enable=false
num.partitions=1
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.dedupe.buffer.size=16777216
log.retention.ms=-1
",
        data = data.display()
    )
}
