//! The topic that engine and yardstick read.

use anyhow::Result;
use rdkafka::ClientConfig;

use crate::{
    Figures, Topic,
    client::{END_KEY, Writer, producer_settings},
};

const START_MS: i64 = 1_767_225_600_000;
const N_PROFILES: u64 = 100_000;
/// In event time: 50,000 records a second, so that a window of 10 s holds each profile about five times.
const RECORDS_PER_MS: u64 = 50;
/// Up to this much behind the front.
const DISORDER_MS: u64 = 1_000;

/// Writes `n_records` impressions of about 310 bytes, keyed by profile.
pub(crate) fn fill(topic: &Topic, n_records: u64) -> Result<Figures> {
    let mut config = ClientConfig::new();
    producer_settings(&mut config, &topic.brokers);
    let mut writer = Writer::new(&config, &[&topic.topic])?;
    let mut value = String::new();
    for n in 0..n_records {
        let noise = scramble(n);
        let event_ts = START_MS + (n / RECORDS_PER_MS) as i64 - (noise % DISORDER_MS) as i64;
        let profile_id = 8_000_000 + (noise >> 20) % N_PROFILES;
        value.clear();
        impression(&mut value, n, noise, event_ts, profile_id);
        writer.send(0, None, profile_id.to_string().as_bytes(), value.as_bytes())?;
    }
    for partition in 0..topic.partitions {
        writer.send(0, Some(partition), END_KEY, b"")?;
    }
    writer.drain()?;
    Ok(Figures { records_read: 0, rows_out: n_records })
}

fn impression(value: &mut String, n: u64, noise: u64, event_ts: i64, profile_id: u64) {
    use std::fmt::Write;
    let (account_id, title_id) = (3_000_000 + profile_id % 50_000, 70_000_000 + (noise >> 40) % 2_000);
    let (device, country) =
        (["tv", "mobile", "web", "tablet"][(noise % 4) as usize], ["IN", "US", "DE", "BR"][(noise >> 2) as usize % 4]);
    let (row, position) = ((noise >> 8) % 40, (noise >> 16) % 75);
    write!(
        value,
        r#"{{"v":1,"event_id":"019b76db-{:04x}-7{:03x}-af48-{n:012x}","event_ts":{event_ts},"sent_ts":{},"profile_id":{profile_id},"account_id":{account_id},"device":"{device}","country":"{country}","title_id":{title_id},"page":"home","request_id":"r-{:08x}","row":{row},"row_type":"continue_watching","position":{position},"algo":"pvr-4","art_id":{}}}"#,
        noise & 0xffff,
        noise >> 52,
        event_ts + 1_500,
        noise >> 32,
        noise % 30_000,
    )
    .expect("a string takes everything");
}

/// SplitMix64's finaliser: the same noise for the same number everywhere.
fn scramble(n: u64) -> u64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
