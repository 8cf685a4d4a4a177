//! A consumer group as a pure state machine: members, generations, and who reads which partition.
//!
//! Used by the logs that must run a group themselves (simulated, embedded); Kafka's brokers do the same for the real one. Time
//! comes in as data. Rebalances are eager: when the membership changes, every member is asked to give up all it has, and the next
//! generation begins once all of them have (or were not heard of for too long).
//!
//! Sources: Kafka's group protocol (`GroupCoordinator`), its `RangeAssignor`, and KIP-447 for who may still commit.

use std::{collections::BTreeMap, sync::Arc};

use crate::log::{LogError, MemberSpec, Polled, TopicPartition};

/// One life of one member, unique within the group; greater than that of any earlier life.
pub type Life = u64;

/// Who reads what: for each topic, its partitions are cut into ranges in the order of the members' ids, the first ones longer by
/// one where it does not come out even. Topics with equal partition counts are cut alike, so co-partitioned ones stay together.
///
/// `members`: each member's id and the topics it reads, sorted by id. Gives one list for each member, sorted.
/// Source: Apache Kafka, `org.apache.kafka.clients.consumer.RangeAssignor`.
pub fn range_assignment(members: &[(&str, &[Arc<str>])], n_partitions: &dyn Fn(&str) -> u32) -> Vec<Vec<TopicPartition>> {
    assert!(members.is_sorted_by(|(a, _), (b, _)| a < b), "members are sorted and unique");
    let mut assigned = vec![Vec::new(); members.len()];
    let mut readers: BTreeMap<&Arc<str>, Vec<usize>> = BTreeMap::new();
    for (member_idx, (_, topics)) in members.iter().enumerate() {
        topics.iter().for_each(|topic| readers.entry(topic).or_default().push(member_idx));
    }
    for (topic, readers) in readers {
        let (share, longer) = (n_partitions(topic) as usize / readers.len(), n_partitions(topic) as usize % readers.len());
        let mut next = 0;
        for (position, member_idx) in readers.iter().enumerate() {
            let end = next + share + usize::from(position < longer);
            assigned[*member_idx].extend((next..end).map(|p| TopicPartition { topic: topic.clone(), partition: p as u32 }));
            next = end;
        }
    }
    assigned
}

/// A group: its generation and its members.
#[derive(Debug, Default)]
pub struct Group {
    generation: u64,
    members: BTreeMap<Arc<str>, Member>,
    rebalancing: bool,
    last_life: Life,
}

#[derive(Debug)]
struct Member {
    life: Life,
    topics: Vec<Arc<str>>,
    timeout_ms: i64,
    heard_ms: i64,
    standing: Standing,
}

/// Where a member stands in the protocol.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    /// Owns nothing and waits for the next generation.
    Waiting,
    /// Will be told its partitions at its next poll.
    Chosen(Vec<TopicPartition>),
    /// Reads its partitions.
    Holding,
    /// Will be told at its next poll to give up.
    Asked,
    /// Was told to give up and may still seal.
    Sealing,
    /// Was not heard of for too long: its partitions are somebody else's.
    Expelled,
}

impl Group {
    /// How many generations there were.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// A new life of `spec.member` joins; an earlier life is fenced from now on.
    pub fn join(&mut self, spec: &MemberSpec, now_ms: i64) -> Life {
        self.last_life += 1;
        let timeout_ms = i64::try_from(spec.session_timeout.as_millis()).unwrap_or(i64::MAX);
        let (life, topics) = (self.last_life, spec.topics.clone());
        self.members
            .insert(spec.member.clone(), Member { life, topics, timeout_ms, heard_ms: now_ms, standing: Standing::Waiting });
        self.rebalance();
        life
    }

    /// What `life` of `member` must know now: `Assigned`, `Revoked`, `Lost`, or `None` for nothing new. Counts as a sign of life.
    ///
    /// `n_partitions` gives the partition count of a topic. [`LogError::Fenced`] when another life took over.
    pub fn poll(
        &mut self,
        member: &str,
        life: Life,
        now_ms: i64,
        n_partitions: &dyn Fn(&str) -> u32,
    ) -> Result<Option<Polled>, LogError> {
        self.heard(member, life, now_ms)?;
        self.pass_time(now_ms, n_partitions);
        let this = self.member(member, life)?;
        let (standing, news) = match std::mem::replace(&mut this.standing, Standing::Waiting) {
            Standing::Chosen(partitions) => (Standing::Holding, Some(Polled::Assigned(partitions))),
            Standing::Asked => (Standing::Sealing, Some(Polled::Revoked)),
            Standing::Expelled => (Standing::Expelled, Some(Polled::Lost)),
            same @ (Standing::Waiting | Standing::Holding | Standing::Sealing) => (same, None),
        };
        this.standing = standing;
        Ok(news)
    }

    /// A sign of life other than a poll. [`LogError::Fenced`] when another life took over.
    pub fn heard(&mut self, member: &str, life: Life, now_ms: i64) -> Result<(), LogError> {
        self.member(member, life)?.heard_ms = now_ms;
        Ok(())
    }

    /// `member` lets go of all its partitions and waits for the next generation.
    pub fn give_up(&mut self, member: &str, life: Life, now_ms: i64, n_partitions: &dyn Fn(&str) -> u32) -> Result<(), LogError> {
        self.heard(member, life, now_ms)?;
        let this = self.member(member, life)?;
        let before = std::mem::replace(&mut this.standing, Standing::Waiting);
        if !matches!(before, Standing::Sealing | Standing::Waiting) {
            self.rebalance();
        }
        self.pass_time(now_ms, n_partitions);
        Ok(())
    }

    /// `member` goes away. Fine if it is gone already.
    pub fn leave(&mut self, member: &str, life: Life, now_ms: i64, n_partitions: &dyn Fn(&str) -> u32) {
        if self.member(member, life).is_ok() {
            self.members.remove(member);
            self.rebalance();
            self.pass_time(now_ms, n_partitions);
        }
    }

    /// Whether `life` of `member` may still commit positions: it holds partitions of the current generation.
    pub fn may_commit(&mut self, member: &str, life: Life) -> Result<(), LogError> {
        match self.member(member, life)?.standing {
            Standing::Holding | Standing::Asked | Standing::Sealing => Ok(()),
            Standing::Waiting | Standing::Chosen(_) | Standing::Expelled => {
                Err(LogError::Fenced(format!("member \"{member}\" holds nothing in generation {}", self.generation)))
            }
        }
    }

    /// Whether nobody is in the group, the silent ones aside.
    pub fn is_empty(&self) -> bool {
        self.members.values().all(|member| member.standing == Standing::Expelled)
    }

    /// Expels the silent, and begins the next generation once nobody holds anything.
    pub fn pass_time(&mut self, now_ms: i64, n_partitions: &dyn Fn(&str) -> u32) {
        let silent = |member: &&mut Member| {
            member.standing != Standing::Expelled && now_ms.saturating_sub(member.heard_ms) > member.timeout_ms
        };
        let mut expelled = false;
        for member in self.members.values_mut().filter(silent) {
            member.standing = Standing::Expelled;
            expelled = true;
        }
        if expelled {
            self.rebalance();
        }
        let ready = self.present().all(|(_, member)| member.standing == Standing::Waiting);
        if self.rebalancing && ready {
            self.rebalancing = false;
            self.generation += 1;
            let present: Vec<(&str, &[Arc<str>])> = self.present().map(|(id, member)| (&**id, &*member.topics)).collect();
            let assigned = range_assignment(&present, n_partitions);
            let waiting = self.members.values_mut().filter(|member| member.standing != Standing::Expelled);
            for (member, partitions) in waiting.zip(assigned) {
                member.standing = Standing::Chosen(partitions);
            }
        }
    }

    fn present(&self) -> impl Iterator<Item = (&Arc<str>, &Member)> {
        self.members.iter().filter(|(_, member)| member.standing != Standing::Expelled)
    }

    fn rebalance(&mut self) {
        self.rebalancing = true;
        for member in self.members.values_mut() {
            match member.standing {
                Standing::Holding => member.standing = Standing::Asked,
                // It never heard of these partitions, so there is nothing to seal.
                Standing::Chosen(_) => member.standing = Standing::Waiting,
                Standing::Waiting | Standing::Asked | Standing::Sealing | Standing::Expelled => {}
            }
        }
    }

    fn member(&mut self, member: &str, life: Life) -> Result<&mut Member, LogError> {
        self.members
            .get_mut(member)
            .filter(|found| found.life == life)
            .ok_or_else(|| LogError::Fenced(format!("another life of member \"{member}\" took over")))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::log::Guarantee;

    fn spec(member: &str) -> MemberSpec {
        MemberSpec {
            group: "g".into(),
            member: member.into(),
            topics: vec!["a".into(), "b".into()],
            guarantee: Guarantee::ExactlyOnce,
            session_timeout: Duration::from_millis(100),
            transaction_timeout: Duration::from_millis(100),
        }
    }

    fn four(_: &str) -> u32 {
        4
    }

    fn partitions(news: Option<Polled>) -> Vec<String> {
        match news {
            Some(Polled::Assigned(partitions)) => partitions.iter().map(ToString::to_string).collect(),
            other => panic!("expected an assignment, got {other:?}"),
        }
    }

    #[test]
    fn ranges_are_cut_alike_and_the_first_members_get_the_rest() {
        let topics: Vec<Arc<str>> = vec!["a".into(), "b".into()];
        let members: Vec<(&str, &[Arc<str>])> = vec![("m1", &topics), ("m2", &topics), ("m3", &topics)];
        let assigned = range_assignment(&members, &four);
        let text: Vec<String> =
            assigned.iter().map(|of| of.iter().map(|at| format!("{at}")).collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(text, ["a[0] a[1] b[0] b[1]", "a[2] b[2]", "a[3] b[3]"]);
    }

    #[test]
    fn a_member_too_many_gets_nothing() {
        let topics: Vec<Arc<str>> = vec!["a".into()];
        let assigned = range_assignment(&[("m1", &topics), ("m2", &topics)], &|_| 1);
        assert_eq!((assigned[0].len(), assigned[1].len()), (1, 0));
    }

    #[test]
    fn the_next_generation_waits_until_all_gave_up() {
        let mut group = Group::default();
        let one = group.join(&spec("m1"), 0);
        assert_eq!(partitions(group.poll("m1", one, 0, &four).unwrap()).len(), 8);
        let two = group.join(&spec("m2"), 1);
        assert!(group.poll("m2", two, 1, &four).unwrap().is_none(), "m1 still holds everything");
        assert!(matches!(group.poll("m1", one, 2, &four).unwrap(), Some(Polled::Revoked)));
        group.may_commit("m1", one).expect("a member that was told to give up may still seal");
        group.give_up("m1", one, 3, &four).unwrap();
        assert!(matches!(group.may_commit("m1", one), Err(LogError::Fenced(_))));
        assert_eq!(partitions(group.poll("m2", two, 4, &four).unwrap()), ["a[2]", "a[3]", "b[2]", "b[3]"]);
        assert_eq!(partitions(group.poll("m1", one, 4, &four).unwrap()), ["a[0]", "a[1]", "b[0]", "b[1]"]);
        assert_eq!(group.generation(), 2);
    }

    #[test]
    fn a_silent_member_is_expelled_and_told_when_it_comes_back() {
        let mut group = Group::default();
        let one = group.join(&spec("m1"), 0);
        assert_eq!(partitions(group.poll("m1", one, 0, &four).unwrap()).len(), 8);
        let two = group.join(&spec("m2"), 50);
        assert!(group.poll("m2", two, 100, &four).unwrap().is_none());
        assert_eq!(partitions(group.poll("m2", two, 101, &four).unwrap()).len(), 8);
        assert!(matches!(group.may_commit("m1", one), Err(LogError::Fenced(_))));
        assert!(matches!(group.poll("m1", one, 102, &four).unwrap(), Some(Polled::Lost)));
        group.give_up("m1", one, 102, &four).unwrap();
        assert!(matches!(group.poll("m2", two, 103, &four).unwrap(), Some(Polled::Revoked)));
    }

    #[test]
    fn a_second_life_fences_the_first() {
        let mut group = Group::default();
        let first = group.join(&spec("m1"), 0);
        assert_eq!(partitions(group.poll("m1", first, 0, &four).unwrap()).len(), 8);
        let second = group.join(&spec("m1"), 1);
        assert!(matches!(group.poll("m1", first, 1, &four), Err(LogError::Fenced(_))));
        assert_eq!(partitions(group.poll("m1", second, 1, &four).unwrap()).len(), 8);
    }

    #[test]
    fn leaving_frees_the_partitions_at_once() {
        let mut group = Group::default();
        let one = group.join(&spec("m1"), 0);
        assert_eq!(partitions(group.poll("m1", one, 0, &four).unwrap()).len(), 8);
        let two = group.join(&spec("m2"), 0);
        group.leave("m1", one, 0, &four);
        assert_eq!(partitions(group.poll("m2", two, 0, &four).unwrap()).len(), 8);
    }
}
