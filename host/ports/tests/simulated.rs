//! The promises of the model broker that need its virtual time or its faults, so that no other log can be asked for them.

use std::{sync::Arc, time::Duration};

use reelflow_core::{record::Outgoing, time::WallTime};
use reelflow_ports::{
    log::{Commit, Guarantee, Log, LogError, MemberSpec, NewTopic, Polled, Retention, Session},
    simulated::{Call, Fault, Faults, NoFaults, SimulatedLog, VirtualClock, at},
};

const WAIT: Duration = Duration::from_millis(10);

struct Bench {
    clock: Arc<VirtualClock>,
    log: SimulatedLog,
}

/// Does `fault` to the next `call`, once.
struct Once(Option<(Call, Fault)>);

impl Faults for Once {
    fn decide(&mut self, _: &str, call: Call) -> Fault {
        self.0.take_if(|(wanted, _)| *wanted == call).map_or(Fault::None, |(_, fault)| fault)
    }
}

impl Bench {
    fn new() -> Bench {
        let clock = VirtualClock::starting_at(WallTime(0));
        let log = SimulatedLog::new(clock.clone(), Box::new(NoFaults));
        for name in ["in", "out"] {
            log.create_topic(&NewTopic { name: name.into(), n_partitions: 1, retention: Retention::UntilTrimmed }).unwrap();
        }
        Bench { clock, log }
    }

    fn join(&self, member: &str) -> Box<dyn Session> {
        let spec = MemberSpec {
            group: "g".into(),
            member: member.into(),
            topics: vec!["in".into()],
            guarantee: Guarantee::ExactlyOnce,
            session_timeout: Duration::from_secs(10),
            transaction_timeout: Duration::from_secs(5),
        };
        self.log.join(&spec).unwrap()
    }

    /// A member that has one output and its position in an open transaction.
    fn about_to_commit(&self, member: &str) -> Box<dyn Session> {
        let mut session = self.join(member);
        assert!(matches!(session.poll(WAIT), Ok(Polled::Assigned(partitions)) if partitions.len() == 1));
        session.start(&[(at("in", 0), 0)]).unwrap();
        let mut output = Outgoing::new("out".into());
        output.push(0, 0, None, Some(member.as_bytes()), &[]);
        session.append(&output).unwrap();
        session.drain().unwrap();
        session.add_offsets(&[Commit { at: at("in", 0), next: 0, metadata: member.to_owned() }]).unwrap();
        session
    }

    fn outputs(&self) -> usize {
        self.log.committed_records("out")[0].len()
    }

    fn positions(&self) -> Result<usize, LogError> {
        Ok(self.log.committed("g", &["in".into()])?.len())
    }
}

#[test]
fn a_transaction_that_is_open_for_too_long_is_aborted_and_its_owner_fenced() {
    let bench = Bench::new();
    let mut session = bench.about_to_commit("m");
    bench.clock.advance(Duration::from_millis(5_001));
    assert!(matches!(session.commit(), Err(LogError::Fenced(_))));
    assert_eq!((bench.outputs(), bench.positions()), (0, Ok(0)));
}

#[test]
fn positions_cannot_be_read_while_a_transaction_with_some_is_undecided() {
    let bench = Bench::new();
    let mut session = bench.about_to_commit("m");
    assert!(matches!(bench.positions(), Err(LogError::Unavailable(_))));
    assert_eq!(bench.log.is_undecided(&at("out", 0)), Ok(true));
    session.commit().unwrap();
    assert_eq!((bench.outputs(), bench.positions()), (1, Ok(1)));
    assert_eq!(bench.log.is_undecided(&at("out", 0)), Ok(false));
}

#[test]
fn a_commit_in_doubt_may_be_done_later() {
    let bench = Bench::new();
    let mut session = bench.about_to_commit("m");
    bench.log.set_faults(Box::new(Once(Some((Call::Commit, Fault::DoneLater { ms: 100 })))));
    assert!(matches!(session.commit(), Err(LogError::InDoubt(_))));
    assert_eq!(bench.outputs(), 0);
    bench.clock.advance(Duration::from_millis(100));
    assert_eq!((bench.outputs(), bench.positions()), (1, Ok(1)));
}

#[test]
fn a_commit_in_doubt_is_refused_once_the_member_lives_again() {
    let bench = Bench::new();
    let mut session = bench.about_to_commit("m");
    bench.log.set_faults(Box::new(Once(Some((Call::Commit, Fault::DoneLater { ms: 100 })))));
    assert!(matches!(session.commit(), Err(LogError::InDoubt(_))));
    let _again = bench.join("m");
    bench.clock.advance(Duration::from_millis(100));
    assert_eq!((bench.outputs(), bench.positions()), (0, Ok(0)));
}

#[test]
fn a_commit_whose_answer_got_lost_is_done() {
    let bench = Bench::new();
    let mut session = bench.about_to_commit("m");
    bench.log.set_faults(Box::new(Once(Some((Call::Commit, Fault::CrashAfter)))));
    assert!(matches!(session.commit(), Err(LogError::InDoubt(_))));
    assert_eq!((bench.outputs(), bench.positions()), (1, Ok(1)));
    assert_eq!(bench.log.take_crashed(), ["m".into()]);
    assert!(session.poll(WAIT).is_err(), "the dead do not poll");
}

#[test]
fn a_silent_member_loses_its_partitions_and_may_not_commit() {
    let bench = Bench::new();
    let mut silent = bench.about_to_commit("m1");
    silent.abort().unwrap();
    let mut other = bench.join("m2");
    assert!(matches!(other.poll(WAIT), Ok(Polled::Idle)));
    bench.clock.advance(Duration::from_secs(9));
    assert!(matches!(other.poll(WAIT), Ok(Polled::Idle)), "still within the time-out");
    bench.clock.advance(Duration::from_secs(2));
    assert!(matches!(other.poll(WAIT), Ok(Polled::Assigned(_))));
    let late = silent.add_offsets(&[Commit { at: at("in", 0), next: 0, metadata: String::new() }]);
    assert!(matches!(late, Err(LogError::Fenced(_))), "{late:?}");
}

#[test]
fn a_silent_member_that_comes_back_is_told() {
    let bench = Bench::new();
    let mut silent = bench.about_to_commit("m1");
    silent.abort().unwrap();
    let mut other = bench.join("m2");
    bench.clock.advance(Duration::from_secs(9));
    assert!(matches!(other.poll(WAIT), Ok(Polled::Idle)));
    bench.clock.advance(Duration::from_secs(2));
    assert!(matches!(other.poll(WAIT), Ok(Polled::Assigned(_))));
    assert!(matches!(silent.poll(WAIT), Ok(Polled::Lost)));
    silent.give_up().unwrap();
    assert!(matches!(other.poll(WAIT), Ok(Polled::Revoked)));
}
