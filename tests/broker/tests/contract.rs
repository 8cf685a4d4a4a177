//! The contract of logs, on a real Kafka: the same cases that the simulated and the embedded log pass.

use std::time::Duration;

use reelflow_broker_tests::Broker;
use reelflow_kafka::{KafkaConfig, KafkaLog};
use reelflow_ports::contract::{self, Differences};

#[test]
fn kafka_keeps_the_contract_of_logs() {
    let broker = Broker::shared();
    let differences = Differences {
        run: "kafka".to_owned(),
        session_timeout: Duration::from_secs(6),
        transaction_timeout: Duration::from_secs(20),
        wait: Duration::from_millis(50),
        idle_polls_max: 1_200,
        ..Differences::local()
    };
    let mut make = || -> Box<dyn reelflow_ports::log::Log> {
        let config = KafkaConfig { wait_max: Duration::from_secs(30), ..KafkaConfig::new(broker.bootstrap()) };
        Box::new(KafkaLog::new(config).expect("a log without settings"))
    };
    contract::log(&mut make, &differences);
}
