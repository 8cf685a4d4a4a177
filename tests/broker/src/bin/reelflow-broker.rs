//! Runs a Kafka broker for as long as its standard input is open. Prints the bootstrap address as one line.

use std::io::{self, Read, Write};

use anyhow::Result;
use reelflow_broker_tests::Broker;

fn main() -> Result<()> {
    let broker = Broker::start()?;
    println!("{}", broker.bootstrap());
    io::stdout().flush()?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
