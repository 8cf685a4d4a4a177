//! `reel-workload`: writes a workload into a folder and prints what is in it.

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use reelflow_workload::{files, model::Model};

/// Writes a seeded workload: topic files, the same for a batch job, and the truth about each record.
#[derive(Parser)]
#[command(after_help = "Example:\n  reel-workload --events 50000 --seed 7 data/")]
struct Args {
    /// The folder to write to; it is created.
    folder: PathBuf,
    /// The same seed gives the same bytes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// About how many events, before duplicates and broken records.
    #[arg(long, default_value_t = 400_000)]
    events: u64,
    /// How many partitions the topics will have; one of them falls silent for two hours.
    #[arg(long, default_value_t = 4)]
    partitions: u32,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let model = Model { n_partitions: args.partitions, ..Model::of_size(args.seed, args.events) };
    let truth = files::write(&model, &args.folder)?;
    println!("{}", serde_json::to_string_pretty(&truth)?);
    Ok(())
}
