//! `reel run --admin` on the embedded log: code that is changed over HTTP, and those who may not.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::Output,
};

use anyhow::{Context, Result, bail, ensure};
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

/// `component`, whose description says `to` where it said `from` last.
fn described(component: &[u8], from: &str, to: &str) -> Result<Vec<u8>> {
    ensure!(from.len() == to.len(), "the length of a text stands before it");
    let at = component.windows(from.len()).rposition(|window| window == from.as_bytes()).context("it says so")?;
    let mut changed = component.to_vec();
    changed[at..at + to.len()].copy_from_slice(to.as_bytes());
    Ok(changed)
}

/// Posts `new`, which is refused as `reel reload` would: with these words, and nothing changes.
fn check_refused(running: &Running, new: &[u8], words: &[&str]) -> Result<()> {
    let before = (page(running, "/plugins")?, page(running, "/history")?);
    let (status, answer) = post(running, "/reload?plugin=guest", &with_token(), new)?;
    let refused = json_in(&answer)?;
    ensure!(status == 422 && answer.contains("Content-Type: application/json"), "{answer}");
    ensure!((&refused["format"], &refused["exit"]) == (&json!(1), &json!(2)), "{refused}");
    let text = refused["text"].as_str().context("a text")?;
    ensure!(words.iter().all(|word| text.contains(word)), "{text}");
    let error = refused["error"].as_str().context("an error")?;
    ensure!(!error.is_empty() && !error.contains('\n'), "{error}");
    ensure!(refused.as_object().is_some_and(|members| members.len() == 4), "{refused}");
    let status = page(running, "/status")?;
    ensure!(status["trial"].is_null() && status["decided"].is_null() && status["ready"] == true, "{status}");
    ensure!((page(running, "/plugins")?, page(running, "/history")?) == before, "something changed");
    Ok(())
}

/// A plan that readers must be ready for is only said, and taken if they are.
#[test]
fn what_may_break_readers_is_refused_over_http_without_its_flag() -> Result<()> {
    let job = job()?;
    let original = fs::read(job.path().join("guest.wasm"))?;
    let renamed = described(&original, r#"{"name": "y", "type": "bytes""#, r#"{"name": "z", "type": "bytes""#)?;
    let running = running(&job)?;
    let (status, answer) = post(&running, "/reload?plugin=guest&plan=true", &with_token(), &renamed)?;
    let planned = json_in(&answer)?;
    let differences = planned["plan"]["differences"].as_array().context("a list")?;
    let breaks = |one: &Value| one["breaking"] == true && one["blocks"].is_null();
    ensure!(status == 200 && differences.iter().any(breaks) && planned["proposal"].is_null(), "{planned}");
    check_refused(&running, &renamed, &["readers of the results may break: ", "- y: ", "--allow-breaking"])?;
    let (status, answer) = post(&running, "/reload?plugin=guest&allow_breaking=true", &with_token(), &renamed)?;
    ensure!(status == 200 && json_in(&answer)?["verdict"]["verdict"] == "accepted", "{answer}");
    running.stop()
}

/// State that would be lost is asked for by its name.
#[test]
fn what_cannot_read_the_state_is_refused_over_http_unless_it_is_forgotten() -> Result<()> {
    let window = "key = [\"k\"]\nwindow = { kind = \"tumbling\", size = \"1s\" }\nlateness = \"0s\"\nemit = \"final\"";
    let stage = GuestStage { kind: "aggregate", mode: "", function: "", more: window };
    let job = stage.job("", "2", &[])?;
    fs::write(job.path().join("token"), format!("{TOKEN}\n"))?;
    let original = fs::read(job.path().join("guest.wasm"))?;
    let newer = described(&original, r#""version": 3"#, r#""version": 4"#)?;
    let running = running(&job)?;
    check_refused(&running, &newer, &["the state that is kept would be unreadable: ", "Sum 3", "Sum 4", "`--reset guest`"])?;
    let (status, answer) = post(&running, "/reload?plugin=guest&reset=guest", &with_token(), &newer)?;
    let taken = json_in(&answer)?;
    ensure!(status == 200 && taken["verdict"]["resets"] == json!(["guest"]), "{taken}");
    running.stop()
}

#[test]
fn what_is_no_component_is_refused_over_http() -> Result<()> {
    let job = job()?;
    let original = fs::read(job.path().join("guest.wasm"))?;
    let running = running(&job)?;
    check_refused(&running, b"(component)", &["error[RF04", "reel.toml:", "guest.wasm"])?;
    check_refused(&running, &original[..original.len() / 2], &["error[RF04", "reel.toml:", "guest.wasm"])?;
    check_refused(&running, &fs::read(guest("aggregate"))?, &["error[RF04", "reel.toml:", "aggregate"])?;
    running.stop()
}

/// One pipeline tries one thing at a time. Who asks when a trial was over already is not told to wait, and so asks in the next one.
#[test]
fn who_asks_in_the_trial_of_another_is_told_to_wait() -> Result<()> {
    let job = job()?;
    let manifest = job.path().join("reel.toml");
    // As long as a trial may be.
    fs::write(&manifest, fs::read_to_string(&manifest)? + "\n[upgrade]\ntrial_intervals = 25\n")?;
    let original = fs::read(job.path().join("guest.wasm"))?;
    let running = running(&job)?;
    for mark in (0..20).step_by(2) {
        let (status, answer) = post(&running, "/reload?plugin=guest&wait=0", &with_token(), &variant(&original, mark))?;
        ensure!(status == 202, "nobody has waited for the verdict: {answer}");
        let first = json_in(&answer)?["proposal"].clone();
        let (status, answer) = post(&running, "/reload?plugin=guest", &with_token(), &variant(&original, mark + 1))?;
        let second = json_in(&answer)?["verdict"].clone();
        let is_accepted = |entry: &Value| entry["proposal"] == first && entry["verdict"] == "accepted";
        let entries = |page: &Value| page["entries"].as_array().cloned().unwrap_or_default();
        running.await_answer("/history", |_, answer| json_in(answer).is_ok_and(|page| entries(&page).iter().any(is_accepted)))?;
        if status == 409 {
            ensure!(second["verdict"] == "refused" && second["current"] == false, "{second}");
            ensure!(second["why"].as_str().is_some_and(|why| why.starts_with("the trial of guest ")), "{second}");
            return running.stop();
        }
        ensure!(status == 200 && second["verdict"] == "accepted", "{second}");
    }
    bail!("no trial of five seconds was long enough to ask in it")
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
