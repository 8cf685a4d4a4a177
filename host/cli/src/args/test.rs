//! `reel test`.

use clap::{Args, ValueEnum};

use super::ManifestArg;

#[derive(Debug, Args)]
#[command(
    after_help = "Each test is played one record at a time, then in batches, then with a crash between every two records: all must give the same.\n\nExamples:\n  reel test\n  reel test pipeline.toml late\n  reel test --format junit > tests.xml"
)]
pub(crate) struct Test {
    #[command(flatten)]
    pub(crate) file: ManifestArg,
    /// Only tests with this in their name.
    pub(crate) name: Option<String>,
    #[arg(long, value_enum, default_value_t = TestFormat::Text)]
    pub(crate) format: TestFormat,
}

/// How the outcome of tests is written to standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TestFormat {
    /// For people.
    Text,
    /// For programs: one JSON document.
    Json,
    /// For CI: JUnit's XML.
    Junit,
}
