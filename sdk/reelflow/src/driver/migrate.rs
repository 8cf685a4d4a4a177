//! All states of a plugin, migrated at once.

use crate::{
    Reject, State,
    column::Packed,
    driver::process,
    state::{self, StateError},
};

/// States out, one for each that came, the versions that they had, and refused ones.
#[derive(Debug)]
pub struct Migrated {
    pub states: Packed,
    pub versions: Vec<u32>,
    pub rejects: Vec<(u32, Reject)>,
}

/// `migrate.migrate` of an aggregate.
pub fn aggregate<S: State>(states: &Packed) -> Migrated {
    each(states, |state: &S, to| {
        state::encode(state, &mut to.data);
        to.end();
    })
}

/// `migrate.migrate` of a process, which keeps no state that is as its default.
pub fn process<S: State + Default>(states: &Packed) -> Migrated {
    let new = process::new_bytes::<S>();
    each(states, |state: &S, to| process::write(state, &new, to))
}

fn each<S: State>(states: &Packed, write: impl Fn(&S, &mut Packed)) -> Migrated {
    let mut migrated = Migrated { states: Packed::default(), versions: Vec::new(), rejects: Vec::new() };
    for idx in 0..states.len() {
        let bytes = states.at(idx);
        migrated.versions.push(state::version_of(bytes).ok().and_then(|version| version.try_into().ok()).unwrap_or(0));
        match state::decode(bytes) {
            Ok(state) => write(&state, &mut migrated.states),
            Err(why) => {
                migrated.rejects.push((idx as u32, refusal(why)));
                migrated.states.end();
            }
        }
    }
    migrated
}

/// The author's own words, where there are some.
fn refusal(why: StateError) -> Reject {
    match why {
        StateError::Refused { why, .. } => why,
        other => other.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(State)]
    #[state(version = 1)]
    struct Old {
        plays: i64,
    }

    #[derive(State, Default)]
    #[state(version = 2, migrate(1 => from_v1))]
    struct Plays {
        plays: u64,
        trailers: u64,
    }

    fn from_v1(old: Old) -> Result<Plays, Reject> {
        let plays = u64::try_from(old.plays).map_err(|_| Reject::from("less than no plays").with_code(7))?;
        Ok(Plays { plays, trailers: 0 })
    }

    fn packed(states: &[&[u8]]) -> Packed {
        let mut packed = Packed::default();
        states.iter().for_each(|state| packed.push(state));
        packed
    }

    /// Versions 1 (zigzag: 6 is 3 plays, 1 is -1) and 2; then one of version 3, and one that is cut off.
    #[test]
    fn each_state_is_migrated_or_refused_by_itself() {
        let all = packed(&[&[1, 6], &[2, 5, 1], &[1, 1], &[3, 5, 1], &[1], &[1, 0]]);
        let rejects = |migrated: &Migrated| {
            migrated.rejects.iter().map(|(row, why)| (*row, why.code(), why.message().to_owned())).collect::<Vec<_>>()
        };
        let migrated = aggregate::<Plays>(&all);
        assert_eq!(migrated.states, packed(&[&[2, 3, 0], &[2, 5, 1], &[], &[], &[], &[2, 0, 0]]));
        assert_eq!(migrated.versions, [1, 2, 1, 3, 1, 1]);
        let refused = [
            (2, 7, "less than no plays".to_owned()),
            (3, 0, "state \"Plays\" has version 3, this plugin reads version 2".to_owned()),
            (4, 0, "state bytes are damaged: too short".to_owned()),
        ];
        assert_eq!(rejects(&migrated), refused);
        // A process keeps nothing that is as its default.
        let migrated = process::<Plays>(&all);
        assert_eq!(migrated.states, packed(&[&[2, 3, 0], &[2, 5, 1], &[], &[], &[], &[]]));
        assert_eq!(rejects(&migrated), refused);
    }
}
