//! A server that never outlives the process that started it, however that ends: a shell holds the server and the read end of a pipe whose write end
//! is ours, so our death is its end of file.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering},
    },
};

use anyhow::{Context, Result, bail, ensure};

/// A running server and the shell that guards it.
pub struct Guarded {
    guard: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// Runs the server, and kills it when told so or when its starter is gone, whichever comes first.
///
/// Interrupts are ignored, by the server too: Ctrl-C in a terminal reaches the whole process group, and the server must live
/// until its clients are done. The folder is left alone after an orderly stop, since a restart may need it.
const GUARD: &str = r#"
trap '' INT TERM HUP
home=$1; shift
"$@" >>"$home/server.log" 2>&1 </dev/null &
server=$!
echo started
order=
read -r order
kill -9 $server 2>/dev/null
wait $server 2>/dev/null
if [ "$order" = kill ]; then echo killed; else rm -rf "$home"; fi
"#;

impl Guarded {
    /// Starts the program and arguments of `server` in the folder `home`, which is its own: it has its log there, and is deleted if nobody
    /// stops the server.
    pub fn spawn(server: &Command, home: &Path) -> Result<Guarded> {
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "guard"]).arg(home).arg(server.get_program()).args(server.get_args()).current_dir(home);
        guard.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut guard = guard.spawn().context("cannot start sh")?;
        let orders = guard.stdin.take().context("the guard has no stdin")?;
        let answers = BufReader::new(guard.stdout.take().context("the guard has no stdout")?);
        let mut server = Guarded { guard, orders, answers };
        server.expect("started")?;
        Ok(server)
    }

    /// Ends the server at once.
    pub fn kill(mut self) -> Result<()> {
        self.orders.write_all(b"kill\n").context("the server's guard is gone")?;
        self.expect("killed")?;
        self.guard.wait().context("the server's guard cannot be awaited")?;
        Ok(())
    }

    fn expect(&mut self, answer: &str) -> Result<()> {
        let mut line = String::new();
        self.answers.read_line(&mut line).context("the server's guard does not answer")?;
        ensure!(line.trim() == answer, "the server's guard says \"{}\" instead of \"{answer}\"", line.trim());
        Ok(())
    }
}

/// The last lines that the server in `home` has said.
pub fn log_end(home: &Path) -> String {
    let log = fs::read(home.join("server.log")).unwrap_or_default();
    let text = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// A port that nobody listens on, below the range from which systems give out the local ports of connections: a client that
/// tries to reconnect to a broker that is down could otherwise be given the broker's own port.
pub fn free_port() -> Result<u16> {
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
