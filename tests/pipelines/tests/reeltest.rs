//! `reel test`, as its user sees it: the tests of the examples, what a difference looks like, and what is no test.

use std::{
    fs,
    io::Write,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, ensure};
use reelflow_pipelines::{
    Job, LogKind,
    console::{lines_fit, type_in},
    example_text, prepared, root, said,
};

/// The rest of a test of the flights whose one departure is an hour and 5 minutes late.
const ONE: &str =
    "\n[[test]]\nname = \"one\"\ninput.departures = [{ at = \"10:05\", flight_id = \"a\", origin = \"EWR\", dep_delay = 65 }]\n";

/// The flights with `edits` and these tests.
fn flights(edits: &[(&str, &str)], tests: &str) -> Result<Job> {
    let job = Job::example("flights", &LogKind::Embedded, edits)?;
    let path = job.path().join("reel.toml");
    fs::write(&path, format!("{}{tests}", fs::read_to_string(&path)?))?;
    Ok(job)
}

fn check(job: &Job, args: &[&str], exit: i32, says: &[&str]) -> Result<Output> {
    let output = job.reel(&[&["test"], args].concat()).output()?;
    let text = said(&output);
    ensure!(output.status.code() == Some(exit), "reel test {args:?} ended with {}:\n{text}", output.status);
    for words in says {
        ensure!(text.contains(words), "reel test {args:?} does not say {words:?}:\n{text}");
    }
    ensure!(!text.contains("panicked"), "{text}");
    Ok(output)
}

#[test]
fn the_tests_of_the_examples_pass() -> Result<()> {
    let mut n_examples = 0;
    for entry in fs::read_dir(root().join("examples"))? {
        let name = entry?.file_name().into_string().ok().context("a name that is text")?;
        let n_tests = example_text(&name)?.matches("[[test]]\n").count();
        if n_tests > 0 {
            n_examples += 1;
            check(&Job::tested_example(&name, &[])?, &[], 0, &[&format!("\n{n_tests} passed, 0 failed")])?;
        }
    }
    ensure!(n_examples >= 6, "only {n_examples} examples have tests");
    Ok(())
}

/// The page shows a test of the example, and what it would say if the test were wrong.
#[test]
fn the_page_about_testing_shows_what_is_said() -> Result<()> {
    let page = fs::read_to_string(root().join("docs/testing.md"))?;
    let block = |language: &str| {
        let (_, after) = page.split_once(&format!("```{language}\n")).context("the page has such a block")?;
        after.split("```").next().context("a block ends")
    };
    ensure!(example_text("flights")?.contains(block("toml")?), "the example has another test:\n{}", block("toml")?);
    let wrong =
        ("departures = 1, delay_sum_min = 2, mean_delay = 2.0", "departures = 2, delay_sum_min = 1443, mean_delay = 721.5");
    let job = Job::tested_example("flights", &[wrong])?;
    let output = check(&job, &["reel.toml", "after a day"], 1, &[])?;
    let shown = block("text")?.replace("7 ms", "…");
    let text = said(&output);
    let (found, wanted): (Vec<&str>, Vec<&str>) = (text.lines().collect(), shown.lines().collect());
    ensure!(lines_fit(&found, &wanted), "the page shows\n{shown}\ninstead of\n{text}");
    Ok(())
}

#[test]
fn what_is_no_test_is_told() -> Result<()> {
    check(&flights(&[], "")?, &[], 2, &["reel.toml has no tests", "help: write a [[test]]"])?;
    let job = flights(&[], ONE)?;
    check(&job, &["reel.toml", "two"], 2, &["no test of reel.toml has \"two\" in its name", "its tests: \"one\""])?;
    let misspelt = ONE.replace("dep_delay", "delay");
    check(&flights(&[], &misspelt)?, &[], 2, &["RF0440", "source \"departures\" has no field \"delay\"", "^^^^^"])?;
    let unknown = format!("{ONE}expect.hour = []\n");
    check(&flights(&[], &unknown)?, &[], 2, &["RF0231", "expect.hour = []", "^^^^"])?;
    // A manifest with such a test is wrong for every command.
    let output = flights(&[], &misspelt)?.reel(&["check"]).output()?;
    ensure!(output.status.code() == Some(2) && said(&output).contains("RF0440"), "{}", said(&output));
    Ok(())
}

#[test]
fn what_nobody_named_must_be_silent_unless_the_test_says_otherwise() -> Result<()> {
    let silent = "sink hourly: nothing was expected\n    + { origin = \"EWR\", w_start = 36000000, departures = 1";
    check(&flights(&[], ONE)?, &[], 1, &[silent, "at the end", "0 passed, 1 failed"])?;
    for allowed in [
        "others = \"any\"",
        "expect.hourly = \"any\"",
        "end = false",
        "expect.hourly = [{ origin = \"EWR\", w_start = \"10:00\", departures = 1, delay_sum_min = 65, mean_delay = 65 }]",
    ] {
        check(&flights(&[], &format!("{ONE}{allowed}\n"))?, &[], 0, &["1 passed, 0 failed"])?;
    }
    let dead = ONE.replace("}]", "}, { raw = \"{\" }]\nothers = \"any\"\n");
    check(&flights(&[], &format!("{dead}dead = [{{ source = \"departures\", raw = \"{{\" }}]\n"))?, &[], 0, &["1 passed"])?;
    check(&flights(&[], &format!("{dead}dead = []\n"))?, &[], 1, &["dead letters: nothing was expected", "raw = \"{\""])?;
    let kept = "end = false\nstate.hourly = [{ kind = \"window\", key.origin = \"EWR\", start = \"10:00\", end = \"11:00\" }]\n";
    check(&flights(&[], &format!("{ONE}{kept}"))?, &[], 0, &["1 passed"])?;
    check(
        &flights(&[], &format!("{ONE}others = \"any\"\nstate.hourly = [{{ kind = \"window\" }}]\n"))?,
        &[],
        1,
        &["state hourly: 0 of 1"],
    )?;
    Ok(())
}

/// Files instead of a topic, a format with schemas that nobody is asked for, and results that the wall clock tells.
#[test]
fn sinks_of_files_formats_and_early_results_are_tested_too() -> Result<()> {
    let row =
        "expect.hourly = [{ origin = \"EWR\", w_start = \"10:00\", departures = 1, delay_sum_min = 65, mean_delay = 65.0 }]\n";
    let files = ("topic = \"hourly\"\nkey = [\"origin\"]", "files = { path = \"out\", format = \"parquet\" }");
    check(&flights(&[files], &format!("{ONE}{row}"))?, &[], 0, &["1 passed"])?;
    let avro = ("topic = \"departures\"", "topic = \"departures\"\nformat = \"avro\"");
    let registry = ("[pipeline]", "[registry]\nurl = \"http://localhost:1\"\n\n[pipeline]");
    check(&flights(&[avro, registry], &format!("{ONE}{row}"))?, &[], 0, &["1 passed"])?;
    let early = ("emit = \"final\"", "emit = \"upsert\"\nearly = \"10s\"");
    let told = row.replace("mean_delay = 65.0", "mean_delay = 65.0, rev = 0, final = false");
    let clock = "until = \"10:06\"\nend = false\nonce = true\n";
    check(&flights(&[early], &format!("{ONE}{told}{clock}"))?, &[], 0, &["1 passed"])?;
    check(&flights(&[early], &format!("{ONE}{told}end = false\nonce = true\n"))?, &[], 1, &["0 of 1 rows"])?;
    Ok(())
}

/// One window of a key for all time: by its rows, when an hour has passed, late, and at the end. In batches and with deaths it is told the same.
#[test]
fn windows_of_all_time_are_told_alike_however_records_come() -> Result<()> {
    let name = "\n[[test]]\nname = \"of all time\"\ndate = \"2013-01-01\"\n";
    let input = r#"input.departures = [
  { at = "10:05", flight_id = "a", origin = "EWR", dep_delay = 1 },
  { at = "10:10", flight_id = "b", origin = "EWR", dep_delay = 2 },
  { at = "10:20", flight_id = "c", origin = "EWR", dep_delay = 6 },
  { at = "11:30", flight_id = "d", origin = "JFK", dep_delay = 5 },
  { at = "03:00", flight_id = "e", origin = "EWR", dep_delay = 0 },
]
late.hourly = [{ scheduled_ms = "03:00" }]
"#;
    let stage = "window = { kind = \"tumbling\", size = \"1h\" }\nlateness = \"24h\"\nemit = \"final\"";
    let cleared = "window = { kind = \"global\", every_rows = 2, every = \"1h\", clear = true, idle = \"6h\" }";
    let rows = r#"expect.hourly = [
  { origin = "EWR", w_start = "10:05", departures = 2, delay_sum_min = 3, mean_delay = 1.5 },
  { origin = "EWR", w_start = "10:20", departures = 1, delay_sum_min = 6, mean_delay = 6.0 },
  { origin = "JFK", w_start = "11:30", departures = 1, delay_sum_min = 5, mean_delay = 5.0 },
]
"#;
    check(&flights(&[(stage, cleared)], &format!("{name}{input}{rows}"))?, &["reel.toml", "all time"], 0, &["1 passed"])?;
    let goes_on = "window = { kind = \"global\", every_rows = 2, every = \"1h\", idle = \"6h\" }\nemit = \"upsert\"";
    let rows = r#"expect.hourly = [
  { origin = "EWR", w_start = "10:05", departures = 2, delay_sum_min = 3, mean_delay = 1.5, rev = 0, final = false },
  { origin = "EWR", w_start = "10:05", departures = 3, delay_sum_min = 9, mean_delay = 3.0, rev = 1, final = false },
  { origin = "EWR", w_start = "10:05", departures = 3, delay_sum_min = 9, mean_delay = 3.0, rev = 2, final = true },
  { origin = "JFK", w_start = "11:30", departures = 1, delay_sum_min = 5, mean_delay = 5.0, rev = 0, final = false },
  { origin = "JFK", w_start = "11:30", departures = 1, delay_sum_min = 5, mean_delay = 5.0, rev = 1, final = true },
]
"#;
    check(&flights(&[(stage, goes_on)], &format!("{name}{input}{rows}"))?, &["reel.toml", "all time"], 0, &["1 passed"])?;
    let open = "end = false\nothers = \"any\"\nstate.hourly = [{ kind = \"global\", told = 2, new_rows = 0 }, { kind = \"global\", told = 1, new_rows = 0 }]\n";
    check(&flights(&[(stage, goes_on)], &format!("{name}{input}{open}"))?, &["reel.toml", "all time"], 0, &["1 passed"])?;
    Ok(())
}

#[test]
fn reports_are_read_by_programs() -> Result<()> {
    let two = format!("{ONE}{}expect.hourly = \"any\"\n", ONE.replace("\"one\"", "\"<two> & \\\"more\\\"\""));
    let job = flights(&[], &two)?;
    let output = check(&job, &["--format", "json"], 1, &[])?;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let of = |idx: usize| (&report["tests"][idx]["name"], &report["tests"][idx]["passed"]);
    ensure!(of(0) == (&"one".into(), &false.into()) && of(1) == (&"<two> & \"more\"".into(), &true.into()), "{report}");
    ensure!((&report["passed"], &report["failed"]) == (&1.into(), &1.into()), "{report}");
    let output = check(&job, &["--format", "junit"], 1, &[])?;
    let script = "import sys, xml.etree.ElementTree as E\nroot = E.fromstring(sys.stdin.buffer.read())\n\
                  print(root.tag, root.get('tests'), root.get('failures'), [case.get('name') for case in root.iter('testcase')], \
                  [failure.text.splitlines()[0] for failure in root.iter('failure')])";
    let mut python =
        Command::new(prepared("venv/bin/python")).args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    python.stdin.take().context("it was asked for")?.write_all(&output.stdout)?;
    let read = String::from_utf8(python.wait_with_output()?.stdout)?;
    let expected = "testsuites 2 1 ['one', '<two> & \"more\"'] ['sink hourly: nothing was expected']\n";
    ensure!(read == expected, "{read}");
    Ok(())
}

/// What a plugin keeps outside of its state is lost in a crash, and nobody would see it in a run without one.
#[test]
fn a_plugin_that_keeps_something_besides_its_state_fails() -> Result<()> {
    let folder = tempfile::Builder::new().prefix("reelflow-").tempdir()?;
    // A name of its own: crates of one name would overwrite each other in the folder that all share.
    type_in("reel new leaky --kind transform", folder.path())?;
    let project = folder.path().join("leaky");
    let code = fs::read_to_string(project.join("src/lib.rs"))?;
    let weight = "let weight = if device == \"tv\" { 1.0 } else { 0.5 };";
    ensure!(code.contains(weight), "the template has another plugin:\n{code}");
    let counted = "let weight = N.fetch_add(1, std::sync::atomic::Ordering::Relaxed) as f64;";
    let code = code.replace(weight, counted).replace(
        "#[reelflow::transform]",
        "static N: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);\n\n#[reelflow::transform]",
    );
    fs::write(project.join("src/lib.rs"), code)?;
    let manifest = fs::read_to_string(project.join("reel.toml"))?;
    let (manifest, _) = manifest.split_once("expect.result = [").context("the template has a test")?;
    fs::write(project.join("reel.toml"), format!("{manifest}expect.result = \"any\"\ndead = \"any\"\n"))?;
    let said = type_in("reel build && (reel test || true)", &project)?;
    ensure!(said.contains("sink result comes out otherwise with a crash between every two records\n    - {"), "{said}");
    ensure!(said.contains("\n    + {") && said.contains("0 passed, 1 failed"), "{said}");
    Ok(())
}
