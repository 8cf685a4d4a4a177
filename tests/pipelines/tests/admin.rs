//! `reel run --admin` on the embedded log: code that is changed over HTTP, and those who may not.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::Output,
    thread,
};

use anyhow::{Context, Result, ensure};
use reelflow_pipelines::{Job, guest, guest_stage::GuestStage, said, variant};
use serde_json::{Value, json};

mod served;

use served::{PATIENCE, Running};

const TOKEN: &str = "a-token-that-nobody-guesses";

fn job() -> Result<Job> {
    let job = GuestStage::transform("panic").job("", "2", &[])?;
    fs::write(job.path().join("token"), format!("{TOKEN}\n"))?;
    Ok(job)
}

/// A run that has begun, and may be changed.
fn running(job: &Job) -> Result<Running> {
    let running = Running::start(job, "admin", &["--admin-token-file", "token"])?;
    running.await_answer("/status", |status, answer| status == 200 && json_in(answer).is_ok_and(|it| !it["code"].is_null()))?;
    running.await_answer("/readyz", |status, _| status == 200)?;
    Ok(running)
}

fn json_in(answer: &str) -> Result<Value> {
    let (_, body) = answer.split_once("\r\n\r\n").context("a head and a body")?;
    serde_json::from_str(body).with_context(|| answer.to_owned())
}

fn page(running: &Running, path: &str) -> Result<Value> {
    let (status, answer) = running.get(path)?;
    ensure!(status == 200, "{path}: {answer}");
    let page = json_in(&answer)?;
    ensure!(page["format"] == 1, "{page}");
    Ok(page)
}

/// Posts `body`; `extra`: more headers, each with its line's end.
fn post(running: &Running, target: &str, extra: &str, body: &[u8]) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(running.address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let (host, len) = (running.address, body.len());
    stream.write_all(format!("POST {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len}\r\n{extra}\r\n").as_bytes())?;
    stream.write_all(body)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).with_context(|| answer.clone())?;
    Ok((status, answer))
}

fn with_token() -> String {
    format!("Authorization: Bearer {TOKEN}\r\n")
}

/// `reel` with the address of `running`, and the token.
fn reel(job: &Job, running: &Running, args: &[&str]) -> Result<Output> {
    let url = format!("http://{}", running.address);
    job.reel(&[args, &["--admin", &url]].concat()).env("REEL_ADMIN_TOKEN", TOKEN).output().context("start reel")
}

#[test]
fn code_is_planned_tried_and_taken_over_http() -> Result<()> {
    let job = job()?;
    let original = fs::read(job.path().join("guest.wasm"))?;
    let running = running(&job)?;
    let digest = |page: &Value| page["plugins"][0]["digest"].as_str().map(str::to_owned).context("a digest");
    let plugins = page(&running, "/plugins")?;
    assert_eq!(
        (&plugins["plugins"][0]["plugin"], &plugins["plugins"][0]["stages"]),
        (&json!("guest"), &json!(["guest"])),
        "{plugins}"
    );
    let first = digest(&plugins)?;

    let (status, answer) = post(&running, "/reload?plugin=guest&plan=true", &with_token(), &variant(&original, 1))?;
    let planned = json_in(&answer)?;
    assert_eq!((status, planned["plan"]["plugins"][0]["was"].as_str()), (200, Some(&first[..12])), "{planned}");
    assert!(planned["proposal"].is_null() && planned["plan"]["differences"] == json!([]), "{planned}");
    assert_eq!(digest(&page(&running, "/plugins")?)?, first, "a plan changes nothing");

    let (status, answer) = post(&running, "/reload?plugin=guest&by=Jo+%26+Al", &with_token(), &variant(&original, 1))?;
    let taken = json_in(&answer)?;
    assert_eq!(
        (status, &taken["verdict"]["verdict"], &taken["verdict"]["by"]),
        (200, &json!("accepted"), &json!("Jo & Al")),
        "{taken}"
    );
    assert_ne!(digest(&page(&running, "/plugins")?)?, first);
    let (status, answer) = post(&running, "/reload?plugin=guest", &with_token(), &variant(&original, 1))?;
    assert!(status == 422 && answer.contains("the pipeline runs this code already"), "{answer}");

    let history = page(&running, "/history")?;
    let hows: Vec<&Value> = history["entries"].as_array().context("a list")?.iter().map(|entry| &entry["how"]).collect();
    assert_eq!(hows, ["started", "reloaded"], "{history}");
    let status = page(&running, "/status")?;
    assert_eq!((&status["code"], &status["decided"]), (&history["entries"][1], &history["entries"][1]), "{status}");
    assert!(status["trial"].is_null() && status["ready"] == true && status["pipeline"] == "hostile", "{status}");
    running
        .await_answer("/metrics", |_, text| text.contains("reel_trials_total{pipeline=\"hostile\",verdict=\"accepted\"} 1\n"))?;
    running.stop()
}

/// The process compiles in a helper with the limits of the manifest that it was started with.
#[test]
fn code_that_takes_too_much_to_compile_changes_nothing() -> Result<()> {
    let job = job()?;
    let manifest = job.path().join("reel.toml");
    let text = fs::read_to_string(&manifest)?;
    let limits = "component = \"16MiB\", compile_memory = \"8MiB\"";
    ensure!(text.contains("component = \"2MiB\""), "{text}");
    fs::write(&manifest, text.replace("component = \"2MiB\"", limits))?;
    let running = running(&job)?;
    let before = page(&running, "/plugins")?;
    // A section that means nothing: 12 MiB that must be read.
    let n_bytes: usize = 12 << 20;
    let len = [
        (n_bytes & 0x7f | 0x80) as u8,
        (n_bytes >> 7 & 0x7f | 0x80) as u8,
        (n_bytes >> 14 & 0x7f | 0x80) as u8,
        (n_bytes >> 21) as u8,
    ];
    let large = [fs::read(job.path().join("guest.wasm"))?, [0].to_vec(), len.to_vec(), vec![0; n_bytes]].concat();
    let (status, answer) = post(&running, "/reload?plugin=guest", &with_token(), &large)?;
    ensure!(status == 422 && answer.contains("took more than 8 MiB of memory"), "{status} {answer}");
    ensure!(page(&running, "/plugins")? == before, "the old code stays");
    // What it read before and what it reads now.
    let (status, answer) =
        post(&running, "/reload?plugin=guest", &with_token(), &variant(&large[..large.len() - n_bytes - 5], 1))?;
    ensure!(status == 200 && answer.contains("accepted"), "{status} {answer}");
    running.stop()
}

/// The same words and exit codes as over the log.
#[test]
fn reel_reload_reaches_a_process_that_owns_its_log() -> Result<()> {
    let job = job()?;
    let component = job.path().join("guest.wasm");
    let original = fs::read(&component)?;
    let running = running(&job)?;
    let check = |args: &[&str], code: i32, words: &[&str]| -> Result<()> {
        let output = reel(&job, &running, args)?;
        let text = said(&output);
        ensure!(output.status.code() == Some(code), "{args:?} ended with {}: {text}", output.status);
        ensure!(words.iter().all(|word| text.contains(word)), "{args:?}: {text}");
        Ok(())
    };
    check(&["reload"], 2, &["error: the pipeline runs this code already", "help: Build the plugin first"])?;
    fs::write(&component, variant(&original, 1))?;
    check(&["reload", "--plan"], 0, &["plugin \"guest\" ", " → ", "nothing else changes"])?;
    check(&["reload", "--by", "me"], 0, &["plugin \"guest\" ", "nothing else changes", "accepted: guest "])?;
    fs::write(&component, variant(&original, 2))?;
    check(&["reload", "--format", "json"], 0, &["\"verdict\":\"accepted\"", "\"how\":\"reloaded\""])?;
    let output = job.reel(&["reload"]).output()?;
    let text = said(&output);
    ensure!(output.status.code() == Some(3) && text.contains("RF0508") && text.contains("--admin PORT"), "{text}");
    check(&["history"], 0, &["  started      guest ", "  accepted     guest ", "by me", "* "])?;
    check(&["status"], 0, &["hostile · ready · workers: 1 ready", "runs         guest ", "by reel reload at "])?;
    check(&["status", "--format", "json"], 0, &["\"format\":1", "\"figures\":{"])?;
    fs::write(&component, b"no component")?;
    check(&["reload"], 2, &["error[RF04", "reel.toml:", "path = \"guest.wasm\""])?;
    fs::copy(guest("aggregate"), &component)?;
    check(&["reload"], 2, &["error[RF04", "aggregate"])?;
    running.stop()?;
    // Nobody is there any more, whatever is asked.
    for args in [&["reload"][..], &["history"], &["status"]] {
        let output = job.reel(&[args, &["--admin", "http://127.0.0.1:9"]].concat()).output()?;
        ensure!(
            output.status.code() == Some(3) && said(&output).contains("nobody answers at http://127.0.0.1:9"),
            "{}",
            said(&output)
        );
    }
    Ok(())
}

/// Whoever has not the token changes nothing, and learns nothing of it.
#[test]
fn a_change_needs_the_token_and_a_component() -> Result<()> {
    let job = job()?;
    let new = variant(&fs::read(job.path().join("guest.wasm"))?, 1);
    let running = running(&job)?;
    let other = "Authorization: Bearer another-token-of-some-length\r\n";
    let long = vec![0; (2 << 20) + 1];
    let token = with_token();
    let cases: [(&str, &str, &[u8], u16, &str); 12] = [
        ("/reload?plugin=guest", "", &new, 401, "Www-Authenticate: Bearer"),
        ("/reload?plugin=guest", "Authorization: Basic YTpi\r\n", &new, 401, "a change needs the admin token"),
        ("/reload?plugin=guest", other, &new, 403, "the admin token is another one"),
        ("/reload?plugin=nobody", "", &new, 401, "a change needs the admin token"),
        ("/reload?plugin=nobody", &token, &new, 422, "has no plugin \\\"nobody\\\""),
        ("/reload?plugin=guest", &token, &long, 413, "the body may have 2097152 bytes"),
        ("/reload?plugin=guest", &token, b"no component", 422, "RF04"),
        ("/reload?plugin=guest", &token, b"", 422, "RF04"),
        ("/reload", &token, &new, 422, "the body is no list of components"),
        ("/reload", &token, br#"{"components":{"nobody":""}}"#, 422, "has no plugin \\\"nobody\\\""),
        ("/reload?plugin=guest&wait=soon", &token, &new, 400, "a number of seconds"),
        ("/history", &token, b"", 405, "Allow: GET, HEAD"),
    ];
    for (target, extra, body, status, words) in cases {
        let (found, answer) = post(&running, target, extra, body)?;
        ensure!(found == status && answer.contains(words), "{target} {extra}: {answer}");
        ensure!(!answer.contains(TOKEN), "{answer}");
    }
    let (status, answer) = running.get("/reload")?;
    ensure!(status == 405 && answer.contains("Allow: POST"), "{answer}");
    // Of another site, with the token.
    let evil = format!("POST /reload?plugin=guest HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n{token}\r\n");
    ensure!(running.ask(&evil)?.0 == 403);
    // A body that never comes: the answer does not wait for it.
    let announced = format!("POST /reload?plugin=guest HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90000000\r\n{token}\r\n");
    ensure!(running.ask(&announced)?.0 == 413);
    ensure!(page(&running, "/history")?["entries"].as_array().map(Vec::len) == Some(1), "something was proposed");
    let output = job.reel(&["reload", "--admin", &running.address.to_string()]).env_remove("REEL_ADMIN_TOKEN").output()?;
    ensure!(output.status.code() == Some(2) && said(&output).contains("--admin-token-file"), "{}", said(&output));
    running.stop()
}

#[test]
fn without_a_token_everybody_reads_and_nobody_changes() -> Result<()> {
    let job = job()?;
    let running = Running::start(&job, "admin", &[])?;
    running.await_answer("/status", |status, _| status == 200)?;
    let (status, answer) = post(&running, "/reload?plugin=guest", &with_token(), b"")?;
    ensure!(status == 403 && answer.contains("--admin-token-file FILE") && answer.contains("REEL_ADMIN_TOKEN"), "{answer}");
    running.stop()
}

/// One pipeline tries one thing at a time, and compiles one.
#[test]
fn of_two_changes_at_once_one_is_told_to_wait() -> Result<()> {
    let job = job()?;
    let original = fs::read(job.path().join("guest.wasm"))?;
    let running = running(&job)?;
    let mut statuses = thread::scope(|scope| -> Result<Vec<u16>> {
        let ask = |mark| {
            let (running, new) = (&running, variant(&original, mark));
            scope.spawn(move || post(running, "/reload?plugin=guest", &with_token(), &new))
        };
        let asked = [1, 2].map(ask);
        asked.into_iter().map(|one| Ok(one.join().expect("it does not panic")?.0)).collect()
    })?;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    running.stop()
}

#[test]
fn what_cannot_be_served_is_said_before_anything_starts() -> Result<()> {
    let job = job()?;
    fs::write(job.path().join("short"), "secret")?;
    for (args, code, words) in [
        (&["--admin", "0.0.0.0:0"][..], 2, "from elsewhere use a tunnel"),
        (&["--admin", "0", "--admin-token-file", "short"], 2, "the admin token is shorter than 16 characters"),
        (&["--admin", "0", "--admin-token-file", "nowhere"], 2, "the admin token cannot be read from nowhere"),
        (&["--admin-token-file", "token"], 2, "--admin"),
    ] {
        let output = job.reel(&[&["run", "--until-end"], args].concat()).output()?;
        let text = said(&output);
        ensure!(output.status.code() == Some(code) && text.contains(words), "{args:?} ended with {}: {text}", output.status);
        ensure!(!text.contains("secret"), "{text}");
    }
    Ok(())
}
