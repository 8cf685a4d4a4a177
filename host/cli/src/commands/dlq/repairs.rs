//! A file of mended dead letters: lines of `reel dlq export` whose keys and values somebody has changed.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use reelflow_core::letter::retried::Retried;
use serde_json::{Map, Value};

use crate::{
    args::dlq::Address,
    failure::{Exit, Failure},
    json_bytes,
};

/// A longer line is refused.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// What a record is to have; `None`: what it had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Repair {
    pub(super) key: Option<Option<Vec<u8>>>,
    pub(super) value: Option<Option<Vec<u8>>>,
}

/// The lines of one file, read piece by piece.
pub(super) struct Repairs {
    path: PathBuf,
    lines: BufReader<File>,
    number: u64,
}

impl Repairs {
    /// Reads the whole file once, so that nothing is done when a line of it is wrong.
    pub(super) fn open(path: &Path) -> Result<Repairs, Failure> {
        let begin = || -> Result<Repairs, Failure> {
            let file = File::open(path).map_err(|why| unreadable(path, &why))?;
            Ok(Repairs { path: path.to_owned(), lines: BufReader::with_capacity(1 << 20, file), number: 0 })
        };
        let mut repairs = begin()?;
        let mut named = Retried::default();
        while let Some((address, _)) = repairs.next()? {
            if named.contains(address.partition, address.offset) {
                return Err(repairs.wrong(format!("dead letter {address} stands in a line above as well")));
            }
            named.insert(address.partition, address.offset);
        }
        begin()
    }

    /// The next lines, at most so many, of about so many bytes; none at the end.
    pub(super) fn piece(&mut self, n_max: usize, n_bytes_max: usize) -> Result<BTreeMap<Address, Repair>, Failure> {
        let (mut piece, mut n_bytes) = (BTreeMap::new(), 0);
        while piece.len() < n_max && n_bytes < n_bytes_max {
            let Some((address, repair)) = self.next()? else { break };
            n_bytes += [&repair.key, &repair.value].into_iter().flatten().flatten().map(Vec::len).sum::<usize>();
            piece.insert(address, repair);
        }
        Ok(piece)
    }

    fn next(&mut self) -> Result<Option<(Address, Repair)>, Failure> {
        let mut line = Vec::new();
        loop {
            line.clear();
            self.number += 1;
            let n_bytes = self.lines.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
            let n_bytes = n_bytes.map_err(|why| unreadable(&self.path, &why))?;
            if n_bytes as u64 == LINE_BYTES_MAX {
                return Err(self.wrong(format!("longer than {LINE_BYTES_MAX} bytes")));
            }
            match line.iter().all(u8::is_ascii_whitespace) {
                true if n_bytes == 0 => return Ok(None),
                true => {}
                false => return parse(&line).map(Some).map_err(|why| self.wrong(why)),
            }
        }
    }

    fn wrong(&self, why: String) -> Failure {
        Failure::new(Exit::User, format!("{}:{}: {why}", self.path.display(), self.number))
            .help("Write lines as `reel dlq export` does, and change \"key\" and \"value\" only.")
    }
}

fn parse(line: &[u8]) -> Result<(Address, Repair), String> {
    let members: Map<String, Value> = serde_json::from_slice(line).map_err(|why| format!("not a JSON object: {why}"))?;
    let address = members.get("letter").and_then(Value::as_str).ok_or("no member \"letter\" that names a dead letter")?;
    let address = address.parse().map_err(|why| format!("\"letter\" {why}"))?;
    let (key, value) = (json_bytes::read(&members, "key")?, json_bytes::read(&members, "value")?);
    Ok((address, Repair { key, value }))
}

fn unreadable(path: &Path, why: &io::Error) -> Failure {
    Failure::new(Exit::Environment, format!("\"{}\" cannot be read: {why}", path.display()))
}
