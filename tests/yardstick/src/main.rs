//! `reelflow-yardstick`: what a good programmer would write instead of using Reelflow, for `cargo xtask bench`.
//!
//! One thread, librdkafka's batch interface, borrowed JSON fields, a transaction a second: the same input, the same output and the same
//! guarantee as the engine's pipeline in `pipelines/`, and nothing else. It is no straw man: where it could be faster without giving
//! up the guarantee, that is a bug.
//!
//! Modules in reading order: [`fill`] (the topic that is read), [`client`] (reading and writing), [`filter`], [`count`],
//! [`sessions`], [`pairs`].

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};

mod client;
mod count;
mod fill;
mod filter;
mod pairs;
mod sessions;

/// Hand-written Kafka programs to measure the engine against.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write impressions of 100,000 profiles into a topic, and end its partitions.
    Fill {
        #[command(flatten)]
        topic: Topic,
        #[arg(long)]
        records: u64,
    },
    /// Write four fields of every second record to another topic.
    Filter {
        #[command(flatten)]
        job: Job,
    },
    /// Count records per profile in tumbling windows of 10 s of event time.
    Count {
        #[command(flatten)]
        job: Job,
    },
    /// Count records per profile in sessions with a gap of 2 s of event time.
    Sessions {
        #[command(flatten)]
        job: Job,
    },
    /// Pair each record of every second profile with all of that profile up to 1 s before it.
    Pairs {
        #[command(flatten)]
        job: Job,
    },
}

#[derive(clap::Args)]
struct Topic {
    #[arg(long)]
    brokers: String,
    #[arg(long)]
    topic: String,
    #[arg(long)]
    partitions: i32,
}

#[derive(clap::Args)]
struct Job {
    #[command(flatten)]
    input: Topic,
    /// The topic to write to; also names the group and the transactions.
    #[arg(long)]
    out: String,
    #[arg(long, value_enum)]
    guarantee: Guarantee,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Guarantee {
    AtLeastOnce,
    ExactlyOnce,
}

/// How many records were read and how many rows written.
#[derive(Clone, Copy, Default)]
struct Figures {
    records_read: u64,
    rows_out: u64,
}

fn main() -> Result<()> {
    let figures = match Cli::parse().command {
        Command::Fill { topic, records } => fill::fill(&topic, records)?,
        Command::Filter { job } => filter::run(&job)?,
        Command::Count { job } => count::run(&job)?,
        Command::Sessions { job } => sessions::run(&job)?,
        Command::Pairs { job } => pairs::run(&job)?,
    };
    println!("{}", serde_json::json!({ "records_read": figures.records_read, "rows_out": figures.rows_out }));
    Ok(())
}
