//! The broker's jars, fetched by Maven once for a checkout.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

/// Which Apache Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// The one that everything is tested on: `kafka/pom.xml`.
    Current,
    /// The last one whose brokers do not verify transactions: `kafka/pom-3.9.xml`.
    Older,
}

/// The folder with the jars, below `target/kafka`. Fetches them when they are not there or another pom asked for them.
pub fn ensure_jars(release: Release) -> Result<PathBuf> {
    check_java()?;
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (pom, libs) = match release {
        Release::Current => ("kafka/pom.xml", "libs"),
        Release::Older => ("kafka/pom-3.9.xml", "libs-3.9"),
    };
    let pom = project.join(pom);
    let kafka = project.join("../../target/kafka");
    let libs = kafka.join(libs);
    // The pom is copied last, into a folder that appears under its name at once: who sees it sees all jars.
    let is_current =
        |libs: &Path| matches!((fs::read(libs.join("pom.xml")), fs::read(&pom)), (Ok(had), Ok(wanted)) if had == wanted);
    if !is_current(&libs) {
        fs::create_dir_all(&kafka).with_context(|| format!("cannot create {}", kafka.display()))?;
        let fetched = tempfile::Builder::new().prefix("libs-").tempdir_in(&kafka).context("no folder for the jars")?;
        fetch(&pom, fetched.path())?;
        fs::copy(&pom, fetched.path().join("pom.xml")).context("cannot copy the pom")?;
        if !is_current(&libs) {
            if libs.exists() {
                fs::remove_dir_all(&libs).context("cannot delete old jars")?;
            }
            if let Err(error) = fs::rename(fetched.path(), &libs) {
                ensure!(is_current(&libs), "cannot move the jars to {}: {error}", libs.display());
            }
        }
    }
    libs.canonicalize().context("the jars vanished")
}

fn fetch(pom: &Path, into: &Path) -> Result<()> {
    let output = Command::new("mvn")
        .args(["-q", "-B", "dependency:copy-dependencies", "-f"])
        .arg(pom)
        .arg(format!("-DoutputDirectory={}", into.display()))
        .output()
        .context("Apache Maven is needed to fetch Apache Kafka, and `mvn` does not run. Install it: apt-get install maven, or brew install maven")?;
    ensure!(
        output.status.success(),
        "mvn could not fetch Apache Kafka: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn check_java() -> Result<()> {
    const INSTALL: &str = "Install it: apt-get install openjdk-17-jre-headless, or brew install openjdk";
    let output = Command::new("java")
        .arg("-version")
        .output()
        .with_context(|| format!("Apache Kafka needs Java 17 or newer, and `java` does not run. {INSTALL}"))?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    match major_version(&text) {
        Some(17..) => Ok(()),
        Some(major) => bail!("Apache Kafka needs Java 17 or newer, this is Java {major}. {INSTALL}"),
        None => bail!("`java -version` does not tell its version: {text}"),
    }
}

/// The feature release in what `java -version` prints; the ones before 9 call themselves 1.x.
fn major_version(text: &str) -> Option<u32> {
    let version = text.split('"').nth(1)?;
    let mut numbers = version.split(['.', '-', '+', '_']).map(|number| number.parse::<u32>().ok());
    match numbers.next()?? {
        1 => numbers.next()?,
        major => Some(major),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn java_tells_its_version_in_several_ways() {
        let check = |text: &str, expected: Option<u32>| assert_eq!(major_version(text), expected, "{text}");
        check("openjdk version \"17.0.15\" 2025-04-15", Some(17));
        check("java version \"1.8.0_401\"", Some(8));
        check("openjdk version \"25-ea\" 2025-09-16", Some(25));
        check("command not found", None);
    }
}
