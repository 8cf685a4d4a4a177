//! The call that a letter is about, as far as nobody could rebuild it later: which function, of what time, with which states.
//!
//! A letter of a row has the row, one of a window or a timer the key; both have this beside it ([`name::CALL`](super::name::CALL)), unless the
//! plugin simply refused a row: then only what is kept of its key is known. A right row of a join that died alone has it also then, as it
//! says that the row is not a left one.
//!
//! ```text
//! call   = version u8 (1) | function | states
//! function = 0 u8 (add) | 1 u8 (merge) | 2 u8 (emit) window start, end, signed | 3 u8 (take) time | 4 u8 (fire) clock u8, at signed, time
//!          | 5 u8 (pair, of a right row alone)
//! time   = watermark signed | now signed
//! states = 1 u8 name bytes | n varint, version varint* | n varint, state bytes*
//!        | 2 u8 | n varint | n_bytes varint                                      left out: there were so many
//! ```

use crate::{
    column::Packed,
    plugin::{Clock, StateVersion, TimeRead, Timer},
    state::{ByteWriter, ChangeReader, StateError},
    time::{EventTime, WallTime, Watermark, Window},
};

const VERSION: u8 = 1;
/// A letter has at most so many bytes of states and value together; states that would make it longer are left out. Brokers take 1 MB.
pub const LETTER_BYTES_MAX: usize = 256 << 10;

/// A call with one unit.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadCall {
    pub function: Function,
    pub states: States,
}

/// What was called, and of what time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    Add,
    Merge,
    Emit {
        window: Window,
    },
    Take {
        time: TimeRead,
    },
    Fire {
        timer: Timer,
        time: TimeRead,
    },
    /// Of a right row alone; it has no state.
    PairRight,
}

/// What the plugin was given of its state.
#[derive(Clone, Debug, PartialEq)]
pub enum States {
    /// The parts of a merge; one of any other function, and empty for none. `name`: of the plugin's state, `versions`: those that they may have.
    Whole {
        name: String,
        versions: Vec<u32>,
        states: Packed,
    },
    LeftOut {
        n_states: u64,
        n_bytes: u64,
    },
}

impl DeadCall {
    /// That of a right row without a left one.
    pub(crate) fn right_alone() -> DeadCall {
        DeadCall::new(Function::PairRight, [].into_iter(), 0)
    }

    /// A call with these states, which have no name yet ([`DeadCall::named`]).
    pub(crate) fn new<'a>(function: Function, of: impl Iterator<Item = &'a [u8]>, n_bytes_max: usize) -> DeadCall {
        let (mut n_states, mut n_bytes, mut states) = (0, 0, Packed::default());
        for state in of {
            n_states += 1;
            n_bytes += state.len();
            if n_bytes <= n_bytes_max {
                states.push(state);
            }
        }
        let states = match n_bytes <= n_bytes_max {
            true => States::Whole { name: String::new(), versions: Vec::new(), states },
            false => States::LeftOut { n_states, n_bytes: n_bytes as u64 },
        };
        DeadCall { function, states }
    }

    /// This call of a plugin with that state, of which `kept` versions may be there; beside a value of `n_value_bytes`.
    pub(crate) fn named(mut self, state: &StateVersion, kept: impl Iterator<Item = u32>, n_value_bytes: usize) -> DeadCall {
        let n_bytes = self.n_bytes();
        if let States::Whole { name, versions, states } = &mut self.states {
            if n_bytes + n_value_bytes > LETTER_BYTES_MAX {
                self.states = States::LeftOut { n_states: states.len() as u64, n_bytes: n_bytes as u64 };
                return self;
            }
            *name = state.name.clone();
            *versions = kept.chain([state.version]).collect();
            versions.sort_unstable();
            versions.dedup();
        }
        self
    }

    /// Bytes of the states that are there.
    pub(crate) fn n_bytes(&self) -> usize {
        match &self.states {
            States::Whole { states, .. } => states.data().len(),
            States::LeftOut { .. } => 0,
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut to = ByteWriter::default();
        let write_time = |time: &TimeRead, to: &mut ByteWriter| {
            to.signed(time.watermark.0);
            to.signed(time.now.0);
        };
        to.u8(VERSION);
        match &self.function {
            Function::Add => to.u8(0),
            Function::Merge => to.u8(1),
            Function::Emit { window } => {
                to.u8(2);
                to.signed(window.start().0);
                to.signed(window.end().0);
            }
            Function::Take { time } => {
                to.u8(3);
                write_time(time, &mut to);
            }
            Function::Fire { timer, time } => {
                to.u8(4);
                to.bool(timer.clock == Clock::WallTime);
                to.signed(timer.at);
                write_time(time, &mut to);
            }
            Function::PairRight => to.u8(5),
        }
        match &self.states {
            States::Whole { name, versions, states } => {
                to.u8(1);
                to.bytes(name.as_bytes());
                to.varint(versions.len() as u64);
                versions.iter().for_each(|version| to.varint((*version).into()));
                to.varint(states.len() as u64);
                states.iter().for_each(|state| to.bytes(state));
            }
            States::LeftOut { n_states, n_bytes } => {
                to.u8(2);
                to.varint(*n_states);
                to.varint(*n_bytes);
            }
        }
        to.into_bytes()
    }

    /// Reads what [`DeadCall::encode`] wrote. Never panics, whatever the bytes: anybody may write to a topic.
    pub fn decode(bytes: &[u8]) -> Result<DeadCall, StateError> {
        let mut from = ChangeReader::new(bytes);
        match from.u8()? {
            VERSION => {}
            found => return Err(StateError::Version { found, reads: VERSION }),
        }
        let function = match from.u8()? {
            0 => Function::Add,
            1 => Function::Merge,
            2 => Function::Emit { window: read_window(&mut from)? },
            3 => Function::Take { time: read_time(&mut from)? },
            4 => {
                let clock = if from.bool()? { Clock::WallTime } else { Clock::EventTime };
                let EventTime(at) = read_event_time(&mut from)?;
                Function::Fire { timer: Timer { clock, at }, time: read_time(&mut from)? }
            }
            5 => Function::PairRight,
            _ => return Err(StateError::Damaged("an unknown function")),
        };
        let states = match from.u8()? {
            1 => read_states(&mut from)?,
            2 => States::LeftOut { n_states: from.varint()?, n_bytes: from.varint()? },
            _ => return Err(StateError::Damaged("states of an unknown kind")),
        };
        if from.is_empty() { Ok(DeadCall { function, states }) } else { Err(StateError::Damaged("bytes after the call")) }
    }
}

fn read_event_time(from: &mut ChangeReader<'_>) -> Result<EventTime, StateError> {
    EventTime::checked(from.signed()?).ok_or(StateError::Damaged("an event time"))
}

fn read_window(from: &mut ChangeReader<'_>) -> Result<Window, StateError> {
    // Those of the first and last rows may reach beyond the event times that there are.
    let (start, end) = (from.signed()?, from.signed()?);
    if start < end { Ok(Window::new(EventTime(start), EventTime(end))) } else { Err(StateError::Damaged("a window")) }
}

fn read_time(from: &mut ChangeReader<'_>) -> Result<TimeRead, StateError> {
    Ok(TimeRead { watermark: Watermark(from.signed()?), now: WallTime(from.signed()?) })
}

fn read_states(from: &mut ChangeReader<'_>) -> Result<States, StateError> {
    let name = std::str::from_utf8(from.bytes()?).map_err(|_| StateError::Damaged("the name of a state"))?.to_owned();
    let mut versions = Vec::new();
    for _ in 0..from.varint()? {
        versions.push(u32::try_from(from.varint()?).map_err(|_| StateError::Damaged("the version of a state"))?);
    }
    let mut states = Packed::default();
    for _ in 0..from.varint()? {
        states.push(from.bytes()?);
    }
    Ok(States::Whole { name, versions, states })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> StateVersion {
        StateVersion { name: "Sum".to_owned(), version: 3, reads: vec![2] }
    }

    fn call(function: Function, states: &[&[u8]]) -> DeadCall {
        DeadCall::new(function, states.iter().copied(), LETTER_BYTES_MAX).named(&state(), [2].into_iter(), 0)
    }

    #[track_caller]
    fn check(call: &DeadCall, bytes: &[u8]) {
        assert_eq!(call.encode(), bytes);
        assert_eq!(DeadCall::decode(bytes).as_ref(), Ok(call));
        for len in 0..bytes.len() {
            assert!(DeadCall::decode(&bytes[..len]).is_err(), "{len}");
        }
        assert!(DeadCall::decode(&[bytes, b"\0"].concat()).is_err());
    }

    /// A stored form: the bytes of each version must be read for ever (I-10).
    #[test]
    fn the_bytes_of_every_version() {
        let time = TimeRead { watermark: Watermark(-1), now: WallTime(1) };
        let window = Window::new(EventTime(-1), EventTime(2));
        let timer = Timer { clock: Clock::WallTime, at: 64 };
        check(&call(Function::Add, &[b"xy"]), b"\x01\x00\x01\x03Sum\x02\x02\x03\x01\x02xy");
        check(&call(Function::Merge, &[b"x", b"y"]), b"\x01\x01\x01\x03Sum\x02\x02\x03\x02\x01x\x01y");
        check(&call(Function::Emit { window }, &[b"x"]), b"\x01\x02\x01\x04\x01\x03Sum\x02\x02\x03\x01\x01x");
        check(&call(Function::Take { time }, &[b""]), b"\x01\x03\x01\x02\x01\x03Sum\x02\x02\x03\x01\x00");
        check(&call(Function::Fire { timer, time }, &[b"x"]), b"\x01\x04\x01\x80\x01\x01\x02\x01\x03Sum\x02\x02\x03\x01\x01x");
        let left_out = DeadCall { function: Function::Add, states: States::LeftOut { n_states: 1, n_bytes: 300 } };
        check(&left_out, b"\x01\x00\x02\x01\xac\x02");
        check(&DeadCall::right_alone(), b"\x01\x05\x01\x00\x00\x00");
        assert_eq!(DeadCall::decode(b"\x02\x00"), Err(StateError::Version { found: 2, reads: 1 }));
    }

    #[test]
    fn states_beyond_the_limit_are_left_out_and_counted() {
        let of = |n_bytes: usize, n_value_bytes: usize| {
            let bytes = vec![7; n_bytes];
            DeadCall::new(Function::Add, [&bytes[..]].into_iter(), LETTER_BYTES_MAX).named(
                &state(),
                [].into_iter(),
                n_value_bytes,
            )
        };
        let is_whole = |call: &DeadCall| matches!(call.states, States::Whole { .. });
        assert!(is_whole(&of(LETTER_BYTES_MAX, 0)) && is_whole(&of(LETTER_BYTES_MAX - 5, 5)));
        let left_out = States::LeftOut { n_states: 1, n_bytes: LETTER_BYTES_MAX as u64 + 1 };
        assert_eq!(of(LETTER_BYTES_MAX + 1, 0).states, left_out);
        assert_eq!(of(LETTER_BYTES_MAX, 1).states, States::LeftOut { n_states: 1, n_bytes: LETTER_BYTES_MAX as u64 });
    }
}
