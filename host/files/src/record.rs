//! What is written down beside the files: whose folder it is, and what each roll has published. JSON, for people and other programs
//! too; members are added, never renamed.

use std::path::Path;

use reelflow_core::{
    record::{Offset, Partition},
    time::Watermark,
    watermark::InputMark,
};
use reelflow_ports::files::FilesError;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The format that this build writes, and the only one that it reads.
const FORMAT: u32 = 1;

/// Whose folder it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    format: u32,
    pub pipeline: String,
    pub sink: String,
    pub files: String,
    pub partition_by: String,
}

/// A roll that is published: all rows of one partition from offset `first` to before `next`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RollRecord {
    format: u32,
    pub sequence: u64,
    pub partition: Partition,
    pub first: Offset,
    pub next: Offset,
    /// How far the task had come after these rows, in ms; the greatest number if it has ended, the smallest if nothing is known.
    watermark: i64,
    idle: bool,
    pub files: Vec<RolledFile>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RolledFile {
    /// Its name in the partition's staging folder, until it is renamed.
    pub staged: String,
    /// Its published name, below the sink's folder.
    pub path: String,
    pub rows: u64,
    pub bytes: u64,
    /// CRC-32 of its bytes, as zlib computes it.
    pub crc32: u32,
}

impl Owner {
    pub fn new(pipeline: &str, sink: &str, files: &str, partition_by: &str) -> Owner {
        let [pipeline, sink, files, partition_by] = [pipeline, sink, files, partition_by].map(str::to_owned);
        Owner { format: FORMAT, pipeline, sink, files, partition_by }
    }

    pub fn read(bytes: &[u8], path: &Path) -> Result<Owner, FilesError> {
        read(bytes, path)
    }

    pub fn bytes(&self) -> Vec<u8> {
        bytes(self)
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Owner { pipeline, sink, files, partition_by, .. } = self;
        write!(f, "{files} files of sink \"{sink}\" of pipeline \"{pipeline}\", partitioned by {partition_by}")
    }
}

impl RollRecord {
    pub fn new(
        sequence: u64,
        partition: Partition,
        (first, next): (Offset, Offset),
        mark: InputMark,
        files: Vec<RolledFile>,
    ) -> RollRecord {
        let InputMark { watermark: Watermark(watermark), is_idle: idle } = mark;
        RollRecord { format: FORMAT, sequence, partition, first, next, watermark, idle, files }
    }

    pub fn mark(&self) -> InputMark {
        InputMark { watermark: Watermark(self.watermark), is_idle: self.idle }
    }

    pub fn read(bytes: &[u8], path: &Path) -> Result<RollRecord, FilesError> {
        read(bytes, path)
    }

    pub fn bytes(&self) -> Vec<u8> {
        bytes(self)
    }
}

/// The format is looked at first: what a newer build wrote may have any other members.
fn read<T: DeserializeOwned>(bytes: &[u8], path: &Path) -> Result<T, FilesError> {
    let damaged = |why: String| FilesError::Damaged { path: path.to_owned(), why };
    let document: serde_json::Value = serde_json::from_slice(bytes).map_err(|why| damaged(why.to_string()))?;
    match document["format"].as_u64() {
        Some(format) if format == u64::from(FORMAT) => {}
        Some(format) => return Err(damaged(format!("it has format {format}, this build reads {FORMAT}"))),
        None => return Err(damaged("it says no format".to_owned())),
    }
    serde_json::from_value(document).map_err(|why| damaged(why.to_string()))
}

fn bytes<T: Serialize>(document: &T) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(document).expect("texts and numbers are JSON");
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Format 1, as it was first written.
    const FIXTURE: &str = r#"{
  "format": 1,
  "sequence": 17,
  "partition": 3,
  "first": 120,
  "next": 451,
  "watermark": -9223372036854775808,
  "idle": true,
  "files": [
    {
      "staged": "000000000017.a1.0.parquet",
      "path": "dt=2026-11-26/hr=07/rows.p00003.000000000120-000000000450.parquet",
      "rows": 12,
      "bytes": 345,
      "crc32": 4294967295
    }
  ]
}
"#;

    #[test]
    fn a_roll_is_written_as_it_ever_was() {
        let path = Path::new("17.json");
        let read = RollRecord::read(FIXTURE.as_bytes(), path).expect("format 1");
        assert_eq!(read.mark(), InputMark { watermark: Watermark::UNKNOWN, is_idle: true });
        assert_eq!((read.first, read.next, read.files[0].rows), (120, 451, 12));
        assert_eq!(String::from_utf8(read.bytes()).expect("JSON"), FIXTURE);
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let path = Path::new("17.json");
        let newer = FIXTURE.replace("\"format\": 1", "\"format\": 2");
        let without = FIXTURE.replace("\"format\": 1,", "");
        let short = FIXTURE.replace("\"next\": 451,", "");
        for text in ["", "{", "[]", &FIXTURE[..200], &newer, &without, &short] {
            let refused = RollRecord::read(text.as_bytes(), path);
            assert!(matches!(refused, Err(FilesError::Damaged { .. })), "{text}: {refused:?}");
        }
    }
}
