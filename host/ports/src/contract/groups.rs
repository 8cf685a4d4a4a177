use std::sync::Arc;

use super::{Bench, at, records};
use crate::log::{Commit, Polled, Session, TopicPartition};

/// Polls `old` until it is told to give up, and does.
fn revoked(bench: &Bench<'_>, old: &mut dyn Session) {
    bench.until(old, "the revocation", |polled| match polled {
        Polled::Revoked => Some(()),
        Polled::Idle | Polled::Fetched(_) => None,
        other => panic!("expected to be revoked, got {other:?}"),
    });
}

/// Polls both by turns until each has an assignment.
fn both_assigned(bench: &Bench<'_>, mut sessions: [&mut dyn Session; 2]) -> [Vec<TopicPartition>; 2] {
    let mut found: [Option<Vec<TopicPartition>>; 2] = [None, None];
    for _ in 0..bench.differences.idle_polls_max {
        for (session, found) in sessions.iter_mut().zip(&mut found) {
            if found.is_none() {
                match session.poll(bench.differences.wait).expect("both poll") {
                    Polled::Assigned(mut partitions) => {
                        partitions.sort();
                        *found = Some(partitions);
                    }
                    Polled::Idle => {}
                    other => panic!("expected an assignment, got {other:?}"),
                }
            }
        }
        if let [Some(one), Some(two)] = &found {
            return [one.clone(), two.clone()];
        }
    }
    panic!("waited in vain for two assignments: {found:?}")
}

fn partitions(of: &[TopicPartition]) -> Vec<String> {
    of.iter().map(|at| format!("{}{}", at.topic.rsplit('.').next().unwrap_or_default(), at.partition)).collect()
}

pub(super) fn shared(bench: &Bench<'_>) {
    let topics: Vec<Arc<str>> = vec![bench.topic("a", 4), bench.topic("b", 4)];
    let mut one = bench.join_and_start("m1", &topics);
    let mut two = bench.join("m2", &topics);
    // The second one must be polled too: Kafka's client joins while it polls.
    let mut told = false;
    for _ in 0..bench.differences.idle_polls_max {
        let polled = two.poll(bench.differences.wait).expect("the second polls");
        assert!(matches!(polled, Polled::Idle), "nothing is given away before the first has let go: {polled:?}");
        if matches!(one.poll(bench.differences.wait).expect("the first polls"), Polled::Revoked) {
            told = true;
            break;
        }
    }
    assert!(told, "the first was never told to give up");
    one.give_up().expect("it gives up");
    let [of_one, of_two] = both_assigned(bench, [&mut *one, &mut *two]);
    assert_eq!(partitions(&of_one), ["a0", "a1", "b0", "b1"], "partition p of every topic lands on one member");
    assert_eq!(partitions(&of_two), ["a2", "a3", "b2", "b3"]);
    bench.start(&mut *one, &of_one);
    bench.start(&mut *two, &of_two);
    bench.write(&topics[0], 3, &["for two"]);
    assert_eq!(bench.read(&mut *two, 1)[0].0, at(&topics[0], 3));
}

pub(super) fn sealed_on_revocation(bench: &Bench<'_>) {
    let input = [bench.topic("input", 2)];
    let output = bench.topic("output", 1);
    let mut one = bench.join_and_start("m1", &input);
    one.append(&records(&output, 0, &["sealed"])).expect("an output is appended");
    let mut two = bench.join("m2", &input);
    for _ in 0..bench.differences.idle_polls_max {
        two.poll(bench.differences.wait).expect("the second polls");
        if matches!(one.poll(bench.differences.wait).expect("the first polls"), Polled::Revoked) {
            break;
        }
    }
    let commit = Commit { at: at(&input[0], 1), next: 0, metadata: "sealed".to_owned() };
    one.drain().expect("records are acknowledged");
    one.add_offsets(std::slice::from_ref(&commit)).expect("who was told to give up may still seal");
    one.commit().expect("the last epoch commits");
    one.give_up().expect("it gives up");
    let [_, of_two] = both_assigned(bench, [&mut *one, &mut *two]);
    assert_eq!(partitions(&of_two), ["input1"]);
    assert_eq!(bench.positions(&input), [commit], "the new owner sees what the old one sealed");
    assert_eq!(bench.committed_values(&output, 0), ["sealed"]);
}

pub(super) fn left(bench: &Bench<'_>) {
    let input = [bench.topic("input", 2)];
    let one = bench.join_and_start("m1", &input);
    let mut two = bench.join("m2", &input);
    one.leave().expect("it leaves");
    assert_eq!(partitions(&bench.assigned(&mut *two)), ["input0", "input1"]);
    bench.start(&mut *two, &[at(&input[0], 0), at(&input[0], 1)]);
    let three = bench.join("m3", &input);
    revoked(bench, &mut *two);
    two.give_up().expect("it gives up");
    three.leave().expect("it leaves before it owned anything");
    all_back(bench, &mut *two, 2);
}

/// Polls until the member owns `n_partitions`. A group that hears of a member's leaving late may have shared with it before.
fn all_back(bench: &Bench<'_>, session: &mut dyn Session, n_partitions: usize) {
    for _ in 0..bench.differences.idle_polls_max {
        match session.poll(bench.differences.wait).expect("the member polls") {
            Polled::Assigned(partitions) if partitions.len() == n_partitions => return,
            Polled::Assigned(partitions) => bench.start(session, &partitions),
            Polled::Revoked | Polled::Lost => session.give_up().expect("it gives up"),
            Polled::Idle | Polled::Fetched(_) => {}
        }
    }
    panic!("waited in vain for the partitions of a member that left")
}

pub(super) fn apart(bench: &Bench<'_>) {
    let input = [bench.topic("input", 1)];
    bench.write(&input[0], 0, &["a"]);
    let mut one = bench.join_and_start("m1", &input);
    bench.read(&mut *one, 1);
    one.add_offsets(&[Commit { at: at(&input[0], 0), next: 1, metadata: "mine".to_owned() }]).expect("positions are added");
    one.commit().expect("positions are committed");
    assert_eq!(bench.log.committed("another group", &input).expect("it has no positions"), []);
    let mut spec = bench.spec("other", &input, crate::log::Guarantee::ExactlyOnce);
    spec.group = format!("{}.other", bench.name).into();
    let mut other = bench.log.join(&spec).expect("a member of another group joins");
    let assigned = bench.assigned(&mut *other);
    bench.start(&mut *other, &assigned);
    assert_eq!(bench.read(&mut *other, 1).len(), 1, "both groups read everything");
}
