//! Programs from Maven Central, fetched once for a checkout.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// The folder `name` below `target`, with what the goal of Maven has put there, which takes an `outputDirectory`. Fetches it when it is not there; `what` says
/// what it is.
pub fn fetched(name: &str, what: &str, goal: &[String]) -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target").join(name);
    if !folder.exists() {
        let above = folder.parent().context("it lies below target")?;
        fs::create_dir_all(above).with_context(|| format!("cannot create {}", above.display()))?;
        let fetched = tempfile::Builder::new().prefix("fetched-").tempdir_in(above)?;
        let output = Command::new("mvn")
            .args(["-q", "-B"])
            .args(goal)
            .arg(format!("-DoutputDirectory={}", fetched.path().display()))
            .current_dir(fetched.path())
            .output()
            .with_context(|| {
                format!("Apache Maven is needed to fetch {what}, and `mvn` does not run. Install it: apt-get install maven")
            })?;
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "mvn could not fetch {what}: {said}");
        // Under its name at once: who sees it sees all of it. Another test program may have been faster.
        if let Err(error) = fs::rename(fetched.keep(), &folder) {
            ensure!(folder.exists(), "cannot move {what} to {}: {error}", folder.display());
        }
    }
    Ok(folder.canonicalize()?)
}
