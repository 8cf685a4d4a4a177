//! What the kinds of files and folders of a sink are called, and what they hold.

use super::{Divided, FileFormat};

impl FileFormat {
    /// The name that manifests use, and the ending of files.
    pub fn name(self) -> &'static str {
        match self {
            FileFormat::Ndjson => "ndjson",
            FileFormat::Parquet => "parquet",
        }
    }
}

impl Divided {
    /// The name that manifests use.
    pub fn name(self) -> &'static str {
        match self {
            Divided::Hourly => "hour",
            Divided::Daily => "day",
            Divided::Not => "none",
        }
    }

    /// How much event time one folder holds, in ms; `None`: all of it.
    pub fn length_ms(self) -> Option<i64> {
        match self {
            Divided::Hourly => Some(3_600_000),
            Divided::Daily => Some(86_400_000),
            Divided::Not => None,
        }
    }
}
