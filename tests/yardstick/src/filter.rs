//! Stateless: parse, keep every second profile, write four fields.

use anyhow::Result;
use serde::Deserialize;

use crate::{
    Figures, Job,
    client::{self, Message, Program, Writer},
};

#[derive(Deserialize)]
struct Impression<'a> {
    event_id: &'a str,
    event_ts: i64,
    profile_id: i64,
    title_id: i64,
}

#[derive(Default)]
struct Filter {
    rows_out: u64,
    key: Vec<u8>,
    value: Vec<u8>,
}

pub(crate) fn run(job: &Job) -> Result<Figures> {
    let mut filter = Filter::default();
    let records_read = client::run(job, &[&job.out], &mut filter)?;
    Ok(Figures { records_read, rows_out: filter.rows_out })
}

impl Program for Filter {
    fn message(&mut self, message: &Message<'_>, writer: &mut Writer) -> Result<()> {
        use std::io::Write;
        let Impression { event_id, event_ts, profile_id, title_id } = serde_json::from_slice(message.value)?;
        if profile_id % 2 == 0 {
            self.key.clear();
            self.value.clear();
            write!(self.key, "{profile_id}")?;
            // An id that could be borrowed has no escapes, so it is written as it was read.
            write!(
                self.value,
                r#"{{"event_id":"{event_id}","event_ts":{event_ts},"profile_id":{profile_id},"title_id":{title_id}}}"#
            )?;
            writer.send(0, None, &self.key, &self.value)?;
            self.rows_out += 1;
        }
        Ok(())
    }

    fn end(&mut self, _: i32, _: &mut Writer) -> Result<()> {
        Ok(())
    }

    fn seal(&mut self, _: &mut Writer) -> Result<()> {
        Ok(())
    }
}
