//! Plugins are compiled in helpers with limits, and once: what `reel` says and does where a limit, a cache or a file in it is not as it should be.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, ensure};
use reelflow_pipelines::{Job, guest_stage::GuestStage, prepared, said};
use serde_json::Value;

/// A pipeline whose plugin breaks on the second of its records.
fn job() -> Result<Job> {
    GuestStage::transform("panic").job("{\"ts\":1,\"n\":100}\n{\"ts\":2,\"n\":13}\n", "1", &["--end"])
}

/// The same with other limits.
fn limited(limits: &str) -> Result<Job> {
    let job = job()?;
    let manifest = job.path().join("reel.toml");
    let text = fs::read_to_string(&manifest)?;
    ensure!(text.contains("component = \"2MiB\""), "{text}");
    fs::write(&manifest, text.replace("component = \"2MiB\"", &format!("component = \"2MiB\", {limits}")))?;
    Ok(job)
}

/// `reel` with a cache in `folder`, and the log of what happens inside.
fn with_cache(job: &Job, folder: &Path, args: &[&str]) -> Command {
    let mut command = job.reel(&[&["--log", "info"], args].concat());
    command.arg("--component-cache").arg(folder).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// How many plugins were compiled, and how many were found in the cache.
fn counts(output: &Output) -> Result<(usize, usize)> {
    ensure!(output.status.success(), "{}", said(output));
    let text = said(output);
    let n = |words: &str| text.matches(words).count();
    Ok((n("compiling a plugin in a helper"), n("the plugin's code is in the cache")))
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

#[test]
fn a_limit_is_said_with_what_raises_it() -> Result<()> {
    for (limits, what, help) in [
        ("compile_memory = \"1MiB\"", "took more than 1 MiB of memory", "help: raise `compile_memory` in the plugin's limits"),
        ("compile_time = \"1ms\"", "took longer than 1 ms", "help: raise `compile_time` in the plugin's limits"),
    ] {
        let job = limited(limits)?;
        let digest = job.read(&["plugin", "inspect", "guest.wasm", "--format", "json"])?;
        let digest = serde_json::from_str::<Value>(&digest)?["digest"].as_str().context("a digest")?.to_owned();
        // Neither is looked at where the code is in the cache.
        let output = job.reel(&["check", "--component-cache", "off"]).output()?;
        let text = said(&output);
        for words in ["error[RF0417]: plugin \"guest\" cannot be loaded", &format!("compiling component {digest} {what}"), help] {
            ensure!(output.status.code() == Some(2) && text.contains(words), "{words}: {} {text}", output.status);
        }
    }
    job()?.read(&["check", "--component-cache", "off"]).map(drop)
}

#[test]
fn a_helper_does_one_thing() -> Result<()> {
    let job = job()?;
    let help = job.read(&["--help"])?;
    ensure!(!help.contains("compile-component") && help.contains("--component-cache"), "{help}");
    let component = fs::read(job.path().join("guest.wasm"))?;
    let folder = job.path().to_owned();
    let helper = |input: &[u8], memory_bytes: u64, output: Stdio| -> Result<Output> {
        fs::write(folder.join("input"), input)?;
        let mut command = Command::new(prepared("debug/reel"));
        command.args(["compile-component", "--cpu-s", "60", "--memory-bytes", &memory_bytes.to_string()]);
        command.env_clear().stdin(fs::File::open(folder.join("input"))?).stdout(output).stderr(Stdio::piped());
        Ok(command.spawn()?.wait_with_output()?)
    };
    let compiled = helper(&component, 1 << 30, Stdio::piped())?;
    ensure!(compiled.status.success() && compiled.stdout.starts_with(b"reelflow native"), "{}", compiled.status);
    let garbage = helper(b"\0asm\x0d\0\x01\0garbage", 1 << 30, Stdio::piped())?;
    ensure!(garbage.status.code() == Some(2) && !garbage.stderr.is_empty() && garbage.stdout.is_empty(), "{}", garbage.status);
    // Too much to be read, and too much to be worked on.
    let large = helper(&vec![0; 64 << 20], 32 << 20, Stdio::piped())?;
    ensure!(large.status.code() == Some(3) && large.stdout.is_empty(), "{}", large.status);
    let small = helper(&component, 1 << 20, Stdio::piped())?;
    ensure!(!small.status.success() && said(&small).contains("memory allocation of "), "{} {}", small.status, said(&small));
    // No file grows by its hand.
    let out = folder.join("out");
    let to_file = helper(&component, 1 << 30, fs::File::create(&out)?.into())?;
    ensure!(!to_file.status.success() && fs::metadata(&out)?.len() == 0, "{}", to_file.status);
    Ok(())
}

#[test]
fn the_second_start_compiles_nothing_and_symbolises_as_the_first() -> Result<()> {
    let (first, second) = (job()?, job()?);
    let cache = first.path().join("cache");
    let backtrace = |job: &Job| -> Result<String> {
        let letters = job.read(&["topic", "read", "dead.hostile", "--format", "json"])?;
        let letter: Value = serde_json::from_str(letters.lines().next().context("a dead letter")?)?;
        Ok(letter["headers"]["reel-backtrace"].as_str().with_context(|| letters.clone())?.to_owned())
    };
    let ran = with_cache(&first, &cache, &["run", "--until-end"]).output()?;
    ensure!(counts(&ran)? == (1, 0), "{}", said(&ran));
    let ran = with_cache(&second, &cache, &["run", "--until-end"]).output()?;
    ensure!(counts(&ran)? == (0, 1), "{}", said(&ran));
    let (compiled, cached) = (backtrace(&first)?, backtrace(&second)?);
    ensure!(compiled == cached && compiled.contains("guest_shared::misbehave"), "{compiled}\n{cached}");
    Ok(())
}

#[test]
fn a_damaged_file_is_said_and_compiled_again() -> Result<()> {
    let job = job()?;
    let cache = job.path().join("cache");
    ensure!(counts(&with_cache(&job, &cache, &["check"]).output()?)? == (1, 0));
    let [file] = &files(&cache)?[..] else { anyhow::bail!("one file") };
    let mut bytes = fs::read(file)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes)?;
    let output = with_cache(&job, &cache, &["check"]).output()?;
    ensure!(counts(&output)? == (1, 0), "{}", said(&output));
    ensure!(said(&output).contains("is not used, the plugin is compiled again: it is damaged"), "{}", said(&output));
    ensure!(counts(&with_cache(&job, &cache, &["check"]).output()?)? == (0, 1));
    Ok(())
}

#[test]
fn a_folder_that_is_not_safe_is_said_and_not_used() -> Result<()> {
    let job = job()?;
    let cache = job.path().join("cache");
    fs::create_dir(&cache)?;
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o777))?;
    symlink("cache", job.path().join("link"))?;
    for (folder, why, help) in [
        ("cache", "others may write in \"cache\"", "help: chmod 700 \"cache\""),
        ("link", "\"link\" is a link, or no folder", "help: name the folder itself"),
        ("reel.toml/below", "\"reel.toml/below\" cannot be made", "help: name a folder that this user can make"),
    ] {
        let output = with_cache(&job, Path::new(folder), &["check"]).output()?;
        ensure!(counts(&output)? == (1, 0), "{}", said(&output));
        let text = said(&output);
        ensure!(text.contains(&format!("warning: compiled plugins are not kept: {why}")) && text.contains(help), "{text}");
    }
    ensure!(files(&cache)?.is_empty());
    Ok(())
}

#[test]
fn two_processes_fill_one_cache() -> Result<()> {
    let job = job()?;
    let cache = job.path().join("cache");
    let both = [(); 2].map(|()| with_cache(&job, &cache, &["check"]).spawn());
    for one in both {
        let output = one?.wait_with_output()?;
        let (compiled, found) = counts(&output)?;
        ensure!(compiled + found == 1, "{}", said(&output));
    }
    ensure!(files(&cache)?.len() == 1, "{:?}", files(&cache)?);
    ensure!(counts(&with_cache(&job, &cache, &["check"]).output()?)? == (0, 1));
    Ok(())
}

/// Where nothing is said, it is where each user has such things.
#[test]
fn the_cache_is_the_users() -> Result<()> {
    let job = job()?;
    let check = |variables: &[(&str, &Path)]| -> Result<()> {
        let mut reel = job.reel(&["check"]);
        reel.env_remove("REEL_COMPONENT_CACHE").env_remove("XDG_CACHE_HOME").env_remove("HOME");
        let output = reel.envs(variables.iter().copied()).output()?;
        ensure!(output.status.success() && !said(&output).contains("warning: compiled plugins"), "{}", said(&output));
        Ok(())
    };
    let (home, xdg) = (job.path().join("home"), job.path().join("xdg"));
    check(&[("HOME", &home)])?;
    ensure!(files(&home.join(".cache/reelflow/components"))?.len() == 1);
    check(&[("HOME", &home), ("XDG_CACHE_HOME", &xdg)])?;
    ensure!(files(&xdg.join("reelflow/components"))?.len() == 1);
    check(&[])
}
