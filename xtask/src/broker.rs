//! A real Apache Kafka for the demo and the benchmark.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};

use crate::{prepare, sh::built};

/// A real Apache Kafka, for as long as this value lives.
pub(crate) struct Broker {
    child: Child,
    pub(crate) address: String,
}

impl Broker {
    /// Starts it on a free port and waits until it answers.
    pub(crate) fn start() -> Result<Broker> {
        prepare::kafka()?;
        println!("== starting Apache Kafka");
        let mut child = Command::new(built("reelflow-broker"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start the broker")?;
        let mut address = String::new();
        BufReader::new(child.stdout.take().expect("it was asked for")).read_line(&mut address)?;
        let address = address.trim().to_owned();
        anyhow::ensure!(!address.is_empty(), "the broker did not start");
        Ok(Broker { child, address })
    }
}

impl Drop for Broker {
    /// The broker stops when its standard input closes.
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if let Err(why) = self.child.wait() {
            eprintln!("the broker did not stop: {why}");
        }
    }
}
