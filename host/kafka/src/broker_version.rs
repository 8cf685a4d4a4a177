//! Whether the brokers check transactions on their side (KIP-890), as Apache Kafka does from 4.0 on.
//!
//! No call of librdkafka tells a broker's version. What it learns from a broker's ApiVersions answer it only logs, with `debug=feature`:
//! `ApiKey EndTxn (26) Versions 0..5`. Version 5 of EndTxn came with KIP-890, so its absence tells an older broker. A line that is not
//! understood says nothing, and nothing is refused because of it.

use std::sync::Mutex;

/// librdkafka's name for the lines that are read here.
const FACILITY: &str = "APIVERSION";
const API: &str = "ApiKey EndTxn (26) Versions ";
/// The first version of EndTxn whose brokers verify that a produced batch belongs to an open transaction.
const VERIFYING: i16 = 5;

/// What the brokers have said of themselves so far.
#[derive(Debug, Default)]
pub(crate) struct BrokerVersions {
    /// The lowest "highest version of EndTxn" of all brokers that were asked.
    end_txn_max: Mutex<Option<i16>>,
}

impl BrokerVersions {
    /// Takes note of a line that the client logged.
    pub(crate) fn logged(&self, facility: &str, line: &str) {
        if let Some(found) = end_txn_max(facility, line) {
            let mut known = self.end_txn_max.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            *known = Some(known.map_or(found, |known| known.min(found)));
        }
    }

    /// Whether a broker said that it does not verify transactions.
    pub(crate) fn are_too_old(&self) -> bool {
        let known = *self.end_txn_max.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.is_some_and(|known| known < VERIFYING)
    }
}

fn end_txn_max(facility: &str, line: &str) -> Option<i16> {
    let (_, versions) = line.split_once(API).filter(|_| facility == FACILITY)?;
    let (_, max) = versions.split_once("..")?;
    max.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_broker_counts_and_what_is_not_understood_does_not() {
        let versions = BrokerVersions::default();
        let say = |line: &str| {
            versions.logged("APIVERSION", line);
            versions.are_too_old()
        };
        assert!(!say("[thrd:127.0.0.1:9092/bootstrap]: 127.0.0.1:9092/bootstrap:   ApiKey EndTxn (26) Versions 0..5"));
        assert!(!say("  ApiKey EndTxn (26) Versions of all kinds"));
        assert!(!say("  ApiKey Fetch (1) Versions 0..3"));
        versions.logged("FEATURE", "  ApiKey EndTxn (26) Versions 0..3");
        assert!(!versions.are_too_old());
        assert!(say("  ApiKey EndTxn (26) Versions 0..4"));
        assert!(say("  ApiKey EndTxn (26) Versions 0..5"), "one broker is too old, whatever the others are");
    }
}
