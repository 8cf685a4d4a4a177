//! Writing rows to one file.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use arrow_schema::SchemaRef;
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::properties::WriterProperties,
};
use reelflow_core::{json::encode, plan::FileFormat, schema::Schema, stage::Batch};
use reelflow_ports::files::FilesError;

use crate::{columns, disk::failed};

/// A row group has at most so many rows; a file that is long gets several.
const GROUP_ROWS_MAX: usize = 128 * 1024;

/// What the rows of a sink are.
#[derive(Clone, Debug)]
pub(crate) struct RowFormat {
    pub format: FileFormat,
    pub schema: Schema,
    /// Whether rows carry `rev` and `final`.
    pub upsert: bool,
    arrow: SchemaRef,
}

/// A file that is being written.
pub(crate) struct Writer {
    path: PathBuf,
    body: Body,
    scratch: Vec<u8>,
}

enum Body {
    Ndjson(Summed),
    Parquet(Box<ArrowWriter<Summed>>),
}

/// Counts and sums up what goes into a file.
struct Summed {
    file: BufWriter<File>,
    n_bytes: u64,
    crc: crc32fast::Hasher,
}

/// A file that is written, but not durable.
pub(crate) struct Finished {
    pub file: File,
    pub n_bytes: u64,
    pub crc32: u32,
}

impl RowFormat {
    pub fn new(format: FileFormat, schema: Schema, upsert: bool) -> RowFormat {
        RowFormat { format, arrow: columns::schema(&schema, upsert), schema, upsert }
    }
}

impl Writer {
    /// Writes to `file`, which is new and lies at `path`.
    pub fn new(file: File, path: PathBuf, rows: &RowFormat) -> Result<Writer, FilesError> {
        let summed = Summed { file: BufWriter::new(file), n_bytes: 0, crc: crc32fast::Hasher::new() };
        let body = match rows.format {
            FileFormat::Ndjson => Body::Ndjson(summed),
            FileFormat::Parquet => {
                let writer = ArrowWriter::try_new(summed, rows.arrow.clone(), Some(properties()));
                Body::Parquet(Box::new(writer.map_err(|why| parquet_failed(&path, why))?))
            }
        };
        Ok(Writer { path, body, scratch: Vec::new() })
    }

    pub fn write(&mut self, rows: &RowFormat, batch: &Batch) -> Result<(), FilesError> {
        match &mut self.body {
            Body::Ndjson(file) => {
                self.scratch.clear();
                for row in 0..batch.len() {
                    let revision = batch.revisions.as_ref().map(|all| all[row]);
                    encode::row(&rows.schema, &batch.rows, row, revision, &mut self.scratch);
                    self.scratch.push(b'\n');
                }
                file.write_all(&self.scratch).map_err(|why| failed(&self.path, &why))
            }
            Body::Parquet(writer) => {
                let batch = columns::batch(&rows.arrow, &rows.schema, rows.upsert, batch);
                writer.write(&batch).map_err(|why| parquet_failed(&self.path, why))
            }
        }
    }

    /// About how long the file would be if it ended here.
    pub fn n_bytes(&self) -> u64 {
        match &self.body {
            Body::Ndjson(file) => file.n_bytes,
            Body::Parquet(writer) => (writer.bytes_written() + writer.in_progress_size()) as u64,
        }
    }

    /// How much of it is still in memory.
    pub fn memory_bytes(&self) -> usize {
        match &self.body {
            Body::Ndjson(_) => 0,
            Body::Parquet(writer) => writer.memory_size(),
        }
    }

    /// Writes down what is in memory.
    pub fn flush(&mut self) -> Result<(), FilesError> {
        match &mut self.body {
            Body::Ndjson(_) => Ok(()),
            Body::Parquet(writer) => writer.flush().map_err(|why| parquet_failed(&self.path, why)),
        }
    }

    pub fn finish(self) -> Result<Finished, FilesError> {
        let path = self.path;
        let summed = match self.body {
            Body::Ndjson(summed) => summed,
            Body::Parquet(writer) => writer.into_inner().map_err(|why| parquet_failed(&path, why))?,
        };
        let file = summed.file.into_inner().map_err(|why| failed(&path, why.error()))?;
        Ok(Finished { file, n_bytes: summed.n_bytes, crc32: summed.crc.finalize() })
    }
}

impl Write for Summed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n_written = self.file.write(bytes)?;
        self.n_bytes += n_written as u64;
        self.crc.update(&bytes[..n_written]);
        Ok(n_written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(GROUP_ROWS_MAX))
        .set_created_by(concat!("reelflow ", env!("CARGO_PKG_VERSION")).to_owned())
        .build()
}

/// The library hides errors of the file system in errors of its own.
fn parquet_failed(path: &Path, why: ParquetError) -> FilesError {
    if let ParquetError::External(inner) = &why
        && let Some(inner) = inner.downcast_ref::<io::Error>()
    {
        return failed(path, inner);
    }
    FilesError::Unavailable { path: path.to_owned(), why: why.to_string() }
}
