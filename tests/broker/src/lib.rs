//! A real Apache Kafka for tests, the demo and benchmarks: one combined broker and controller on free loopback ports, with its
//! data in a temporary folder.
//!
//! The broker never outlives the process that started it, however that ends: a shell holds the broker and the read end of a
//! pipe whose write end is ours, so our death is its end of file.
//!
//! Needs Java 17 or newer, Maven and a POSIX shell; without them it fails with what to install, it never skips.

mod jars;
mod ready;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        LazyLock, OnceLock,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

pub use jars::{Release, ensure_jars};

/// How long a broker may take to answer after its start; a loaded machine needs most of it.
const START_MAX: Duration = Duration::from_secs(60);

/// One broker. Dropping it kills it and deletes its data.
pub struct Broker {
    libs: PathBuf,
    home: TempDir,
    port: u16,
    process: Option<Process>,
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
        self.process = Some(Process::spawn(&self.libs, self.home.path())?);
        ready::wait(self.port, START_MAX)
            .with_context(|| format!("the broker did not start; its log ends with:\n{}", self.log_end()))
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

    fn log_end(&self) -> String {
        let log = fs::read(self.home.path().join("broker.log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
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

/// A running broker and the shell that guards it.
struct Process {
    guard: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// Runs the broker, and kills it when told so or when its starter is gone, whichever comes first.
///
/// Interrupts are ignored, by the broker too: Ctrl-C in a terminal reaches the whole process group, and the broker must live
/// until its clients are done. The folder is left alone after an orderly stop, since a restart may need it.
const GUARD: &str = r#"
trap '' INT TERM HUP
home=$1; shift
"$@" >>"$home/broker.log" 2>&1 </dev/null &
broker=$!
echo started
order=
read -r order
kill -9 $broker 2>/dev/null
wait $broker 2>/dev/null
if [ "$order" = kill ]; then echo killed; else rm -rf "$home"; fi
"#;

impl Process {
    fn spawn(libs: &Path, home: &Path) -> Result<Process> {
        let broker = java(libs);
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "guard"]).arg(home).arg(broker.get_program()).args(broker.get_args());
        guard.args(["kafka.Kafka", "server.properties"]).current_dir(home);
        guard.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut guard = guard.spawn().context("cannot start sh")?;
        let orders = guard.stdin.take().context("the guard has no stdin")?;
        let answers = BufReader::new(guard.stdout.take().context("the guard has no stdout")?);
        let mut process = Process { guard, orders, answers };
        process.expect("started")?;
        Ok(process)
    }

    fn kill(mut self) -> Result<()> {
        self.orders.write_all(b"kill\n").context("the broker's guard is gone")?;
        self.expect("killed")?;
        self.guard.wait().context("the broker's guard cannot be awaited")?;
        Ok(())
    }

    fn expect(&mut self, answer: &str) -> Result<()> {
        let mut line = String::new();
        self.answers.read_line(&mut line).context("the broker's guard does not answer")?;
        ensure!(line.trim() == answer, "the broker's guard says \"{}\" instead of \"{answer}\"", line.trim());
        Ok(())
    }
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

/// A port that nobody listens on, below the range from which systems give out the local ports of connections: a client that
/// tries to reconnect to a broker that is down could otherwise be given the broker's own port.
fn free_port() -> Result<u16> {
    const PORTS: std::ops::Range<u16> = 20_000..32_000;
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new((std::process::id() % 1_000) as u16 * 12));
    for _ in PORTS {
        let port = PORTS.start + NEXT.fetch_add(1, Ordering::Relaxed) % (PORTS.end - PORTS.start);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port from {} to {} is free", PORTS.start, PORTS.end)
}
