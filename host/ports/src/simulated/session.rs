//! One life of one member of the model.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use reelflow_core::record::{Offset, Outgoing, RecordBatch};

use super::{
    SimulatedLog,
    broker::{Broker, count},
    faults::{Call, Fault},
};
use crate::{
    group::Life,
    log::{Appended, Commit, Fetched, Guarantee, LogError, MemberSpec, Polled, Session, TopicPartition},
};

pub(super) struct SimulatedSession {
    pub log: SimulatedLog,
    pub spec: MemberSpec,
    pub life: Life,
    pub reading: BTreeMap<TopicPartition, Reading>,
    pub paused: BTreeSet<TopicPartition>,
    /// Of the deltas since the last drain.
    pub appended: Vec<Appended>,
    /// Positions that wait for the commit, where there is no transaction to hold them.
    pub offsets: Vec<Commit>,
    /// Of the current poll.
    pub is_deaf: bool,
    pub is_over: bool,
}

pub(super) struct Reading {
    next: Offset,
    said_end: bool,
}

impl SimulatedSession {
    /// Does `act` with the faults that are decided for it. After an error the session is over.
    fn call<T>(
        &mut self,
        call: Call,
        act: impl FnOnce(&mut Self, &mut Broker, i64) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        let shared = self.log.shared.clone();
        let mut broker = shared.lock().expect("a test that panicked is over");
        if self.is_over {
            return Err(LogError::Fenced("this session has ended by an error".to_owned()));
        }
        let now_ms = self.log.clock.now_ms();
        broker.pass_time(now_ms);
        let fault = broker.decide(&self.spec.member, call);
        let lost = match call {
            Call::Commit => LogError::InDoubt(format!("simulated: {fault:?}")),
            _ => LogError::Unavailable(format!("simulated: {fault:?} of {call:?}")),
        };
        if matches!(fault, Fault::CrashBefore | Fault::CrashAfter) {
            broker.crashed.push(self.spec.member.clone());
        }
        self.is_deaf = fault == Fault::Deaf;
        let result = match fault {
            Fault::None | Fault::Deaf => act(self, &mut broker, now_ms),
            Fault::FailBefore | Fault::CrashBefore => Err(lost),
            Fault::FailAfter | Fault::CrashAfter => act(self, &mut broker, now_ms).and(Err(lost)),
            Fault::DoneLater { ms } => broker.commit_later(&self.spec, self.life, now_ms + ms).and(Err(lost)),
        };
        if let Err(error) = &result {
            broker.note(error.to_string().as_bytes());
            self.is_over = !matches!(error, LogError::RecordTooLarge { .. });
        }
        result
    }

    fn fetch(&mut self, broker: &mut Broker) -> Result<Vec<Fetched>, LogError> {
        let mut fetched = Vec::new();
        for (at, reading) in &mut self.reading {
            if self.paused.contains(at) {
                continue;
            }
            let n_max = broker.faults.fetch_max();
            let log = broker.partition(at)?;
            let (earliest, end) = (log.earliest(), log.stable_end(&broker.fates));
            if reading.next < earliest || reading.next > end {
                return Err(LogError::OffsetLost { at: at.clone(), wanted: reading.next, earliest, end });
            }
            let mut batch = RecordBatch::default();
            let mut next = if n_max == 0 { reading.next } else { end };
            let mut committed = log.committed(reading.next, end, &broker.fates);
            for record in committed.by_ref().take(n_max) {
                batch.push(record.as_record());
            }
            if let Some(more) = committed.next() {
                next = if batch.is_empty() { reading.next } else { more.offset };
            }
            let at_end = next == end;
            if next > reading.next || (at_end && !reading.said_end) {
                *reading = Reading { next, said_end: at_end };
                fetched.push(Fetched { at: at.clone(), batch: Arc::new(batch), next, at_end });
            }
        }
        Ok(fetched)
    }
}

impl Session for SimulatedSession {
    fn poll(&mut self, wait: Duration) -> Result<Polled, LogError> {
        let polled = self.call(Call::Poll, |this, broker, now_ms| {
            if this.is_deaf {
                return Ok(Polled::Idle);
            }
            let Broker { groups, topics, .. } = broker;
            let group = &mut groups.get_mut(&this.spec.group).expect("it was joined").group;
            let news = group.poll(&this.spec.member, this.life, now_ms, &|topic| count(topics, topic))?;
            if let Some(news) = news {
                return Ok(news);
            }
            let fetched = this.fetch(broker)?;
            Ok(if fetched.is_empty() { Polled::Idle } else { Polled::Fetched(fetched) })
        })?;
        if matches!(polled, Polled::Idle) {
            self.log.clock.advance(wait);
        }
        Ok(polled)
    }

    fn start(&mut self, positions: &[(TopicPartition, Offset)]) -> Result<(), LogError> {
        self.call(Call::Start, |this, broker, _| {
            this.reading.clear();
            this.paused.clear();
            for (at, next) in positions {
                let (earliest, end) = (broker.partition(at)?.earliest(), broker.stable_end(at)?);
                if *next < earliest || *next > end {
                    return Err(LogError::OffsetLost { at: at.clone(), wanted: *next, earliest, end });
                }
                this.reading.insert(at.clone(), Reading { next: *next, said_end: false });
            }
            Ok(())
        })
    }

    fn give_up(&mut self) -> Result<(), LogError> {
        self.call(Call::GiveUp, |this, broker, now_ms| {
            this.reading.clear();
            this.paused.clear();
            let Broker { groups, topics, .. } = broker;
            let group = &mut groups.get_mut(&this.spec.group).expect("it was joined").group;
            group.give_up(&this.spec.member, this.life, now_ms, &|topic| count(topics, topic))
        })
    }

    fn pause(&mut self, at: &TopicPartition, paused: bool) -> Result<(), LogError> {
        if !self.reading.contains_key(at) {
            return Err(LogError::Refused(format!("{at} is not read by this member")));
        }
        if paused {
            self.paused.insert(at.clone());
        } else {
            self.paused.remove(at);
        }
        Ok(())
    }

    fn append(&mut self, records: &Outgoing) -> Result<(), LogError> {
        self.call(Call::Append, |this, broker, now_ms| broker.append(&this.spec, this.life, records, now_ms).map(drop))
    }

    fn append_deltas(&mut self, deltas: &Outgoing) -> Result<(), LogError> {
        self.call(Call::AppendDeltas, |this, broker, now_ms| {
            let appended = broker.append(&this.spec, this.life, deltas, now_ms)?;
            this.appended.extend(appended);
            Ok(())
        })
    }

    fn drain(&mut self) -> Result<Vec<Appended>, LogError> {
        self.call(Call::Drain, |this, _, _| Ok(std::mem::take(&mut this.appended)))
    }

    fn add_offsets(&mut self, commits: &[Commit]) -> Result<(), LogError> {
        self.call(Call::AddOffsets, |this, broker, now_ms| match this.spec.guarantee {
            Guarantee::ExactlyOnce => broker.add_offsets(&this.spec, this.life, commits, now_ms),
            Guarantee::AtLeastOnce => {
                this.offsets.extend_from_slice(commits);
                broker.may_commit(&this.spec, this.life)
            }
        })
    }

    fn commit(&mut self) -> Result<(), LogError> {
        self.call(Call::Commit, |this, broker, _| match this.spec.guarantee {
            Guarantee::ExactlyOnce => broker.commit(&this.spec, this.life),
            Guarantee::AtLeastOnce => broker.commit_offsets(&this.spec, this.life, &std::mem::take(&mut this.offsets)),
        })
    }

    fn abort(&mut self) -> Result<(), LogError> {
        self.call(Call::Abort, |this, broker, _| {
            this.appended.clear();
            this.offsets.clear();
            broker.abort(&this.spec, this.life)
        })
    }

    fn leave(mut self: Box<Self>) -> Result<(), LogError> {
        self.call(Call::Leave, |this, broker, now_ms| {
            broker.abort(&this.spec, this.life)?;
            let Broker { groups, topics, .. } = broker;
            let group = &mut groups.get_mut(&this.spec.group).expect("it was joined").group;
            group.leave(&this.spec.member, this.life, now_ms, &|topic| count(topics, topic));
            Ok(())
        })
    }
}
