//! `reel run --metrics`: what machines see of a pipeline that runs on the embedded log, and what those get who should see nothing.

use std::{
    io::Write,
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use reelflow_pipelines::{Job, guest_stage::GuestStage, said};

mod served;

use served::{PATIENCE, Running};

const N_RECORDS: usize = 50;

/// A pipeline with records to read, of which two break its plugin.
fn job() -> Result<Job> {
    let line = |idx: usize| format!("{{\"ts\":{idx},\"n\":{}}}\n", if [7, 30].contains(&idx) { 13 } else { 100 });
    GuestStage::transform("panic").job(&(0..N_RECORDS).map(line).collect::<String>(), "2", &[])
}

/// The value of the sample that begins so.
fn sample(page: &str, name: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[test]
fn the_pages_say_what_the_pipeline_has_done() -> Result<()> {
    let running = Running::start(&job()?, "metrics", &["--workers", "3"])?;
    let ready = running.await_answer("/readyz", |status, _| status == 200)?;
    assert!(ready.ends_with("3 of 3 workers are ready\n"), "one of them has no partition: {ready}");
    assert_eq!(running.get("/healthz")?.0, 200);
    let rows = "reel_stage_rows_total{pipeline=\"hostile\",stage=\"guest\",fate=\"accepted\"}";
    let page = running.await_answer("/metrics", |_, page| sample(page, rows) == Some((N_RECORDS - 2) as f64))?;
    assert!(page.contains("Content-Type: application/openmetrics-text; version=1.0.0") && page.ends_with("# EOF\n"), "{page}");
    for (name, value) in [
        ("reel_ready{pipeline=\"hostile\"}", 1.0),
        ("reel_workers{pipeline=\"hostile\",state=\"ready\"}", 3.0),
        ("reel_source_records_total{pipeline=\"hostile\",source=\"numbers\",fate=\"decoded\"}", N_RECORDS as f64),
        ("reel_dead_letters_total{pipeline=\"hostile\",by=\"guest\",reason=\"trap\"}", 2.0),
        ("reel_unaccounted{pipeline=\"hostile\"}", 0.0),
        ("reel_stage_state_bytes{pipeline=\"hostile\",stage=\"guest\"}", 0.0),
        ("reel_plugin_retries_total{pipeline=\"hostile\",stage=\"guest\",plugin=\"guest\"}", 0.0),
    ] {
        assert_eq!(sample(&page, name), Some(value), "{name}\n{page}");
    }
    let of_plugin = |name: &str| sample(&page, &format!("{name}{{pipeline=\"hostile\",stage=\"guest\",plugin=\"guest\"}}"));
    for name in
        ["reel_plugin_calls_total", "reel_plugin_cpu_seconds_total", "reel_plugin_in_bytes_total", "reel_plugin_out_bytes_total"]
    {
        assert!(of_plugin(name) > Some(0.0), "{name}\n{page}");
    }
    // The two clocks need not have the same steps.
    let wall = of_plugin("reel_plugin_call_seconds_total");
    assert!(of_plugin("reel_plugin_cpu_seconds_total") <= wall.map(|seconds| seconds + 0.001), "{page}");
    assert!(of_plugin("reel_plugin_memory_max_bytes") >= Some(65_536.0), "{page}");
    assert!(
        sample(&page, "reel_plugin_faults_total{pipeline=\"hostile\",stage=\"guest\",plugin=\"guest\",kind=\"trap\"}")
            >= Some(2.0)
    );
    assert!(sample(&page, "reel_watermark_lag_max_seconds{pipeline=\"hostile\"}") > Some(1e9), "event times of 1970: {page}");
    running.stop()
}

#[test]
fn top_shows_stages_and_plugins_to_people() -> Result<()> {
    let job = job()?;
    let running = Running::start(&job, "metrics", &[])?;
    running.await_answer("/metrics", |_, page| {
        sample(page, "reel_dead_letters_total{pipeline=\"hostile\",by=\"guest\",reason=\"trap\"}") == Some(2.0)
    })?;
    let address = running.address.to_string();
    let text = job.read(&["top", "--metrics", &address, "--once", "--every", "1"])?;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("hostile · up ") && lines[0].contains(" · ready · watermark 1970-01-01T00:00:00"), "{text}");
    assert!(lines[1].contains("dead letters 2"), "{text}");
    assert!(lines[2].ends_with("busy     cpu  faults"), "{text}");
    let columns: Vec<&str> = lines[3].split_whitespace().collect();
    assert_eq!((columns[0], columns[1], columns[5]), ("guest", "guest", "2"), "stage, plugin, what went wrong: {text}");
    running.stop()?;
    let output = job.reel(&["top", "--metrics", &address, "--once"]).output()?;
    assert_eq!(output.status.code(), Some(3), "nobody serves there any more: {}", said(&output));
    Ok(())
}

#[test]
fn others_get_nothing() -> Result<()> {
    let running = Running::start(&job()?, "metrics", &[])?;
    let host = format!("Host: {}", running.address);
    for (request, status) in [
        ("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(), 403),
        ("GET /metrics HTTP/1.1\r\n\r\n".to_owned(), 403),
        (format!("POST /metrics HTTP/1.1\r\n{host}\r\nContent-Length: 0\r\n\r\n"), 405),
        (format!("GET /../Cargo.toml HTTP/1.1\r\n{host}\r\n\r\n"), 404),
        ("nonsense\r\n\r\n".to_owned(), 400),
    ] {
        let (found, answer) = running.ask(&request)?;
        assert_eq!(found, status, "{request}\n{answer}");
        assert!(!answer.contains("reel_"), "{request}\n{answer}");
    }
    let (status, answer) = running.ask(&format!("HEAD /metrics HTTP/1.1\r\n{host}\r\n\r\n"))?;
    assert!(status == 200 && answer.ends_with("\r\n\r\n") && !answer.contains("Content-Length: 0"), "{answer}");
    running.stop()
}

/// I-9: whoever says nothing, or never ends to speak, is left after a few seconds, and the pipeline never waits for them.
#[test]
fn who_is_slow_holds_nothing_up() -> Result<()> {
    let running = Running::start(&job()?, "metrics", &[])?;
    let connect = |_| -> Result<TcpStream> {
        let mut stream = TcpStream::connect(running.address)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nX-Slow: ")?;
        Ok(stream)
    };
    let slow: Vec<TcpStream> = (0..40).map(connect).collect::<Result<_>>()?;
    // The pages come again once the four that were taken, and those that waited, have had their time.
    let rows = "reel_stage_rows_total{pipeline=\"hostile\",stage=\"guest\",fate=\"accepted\"}";
    let until = Instant::now() + PATIENCE;
    while !running.get("/metrics").is_ok_and(|(_, page)| sample(&page, rows) == Some((N_RECORDS - 2) as f64)) {
        ensure!(Instant::now() < until, "it serves nobody any more");
        thread::sleep(Duration::from_millis(50));
    }
    slow.iter().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
    running.stop()
}

#[test]
fn a_port_that_is_taken_is_said_before_anything_starts() -> Result<()> {
    let job = job()?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let output = job.reel(&["run", "--until-end", "--metrics", &address]).output()?;
    let text = said(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains(&format!("metrics cannot be served on {address}")) && text.contains("help: "), "{text}");
    let output = job.reel(&["run", "--metrics", "nowhere"]).output()?;
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    Ok(())
}
