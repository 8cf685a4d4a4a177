use super::*;
use reelflow::state;

#[derive(State, Default)]
#[state(version = 1)]
struct V1 {
    plays: u64,
}

#[derive(State, Debug, PartialEq)]
#[state(version = 3, migrate(1 => from_v1))]
struct V3 {
    plays: u64,
    country: String,
}

fn from_v1(old: V1) -> V3 {
    V3 { plays: old.plays, country: "unknown".to_owned() }
}

#[test]
fn old_versions_are_migrated_and_unknown_ones_refused() {
    assert_eq!((<V3 as State>::VERSION, <V3 as State>::READS), (3, &[1][..]), "what the host is told");
    let mut bytes = Vec::new();
    state::encode(&V1 { plays: 5 }, &mut bytes);
    assert_eq!(state::decode(&bytes), Ok(V3 { plays: 5, country: "unknown".to_owned() }));
    bytes[0] = 2;
    let error = state::decode::<V3>(&bytes).unwrap_err();
    assert_eq!(error.to_string(), "state \"V3\" has version 2, this plugin reads version 3");
}

#[test]
fn a_migration_may_fail() {
    #[derive(State, Debug, PartialEq)]
    #[state(version = 2, migrate(1 => few))]
    struct Few {
        plays: u8,
    }
    /// What fails may be anything that a reject can be made of.
    fn few(old: V1) -> Result<Few, String> {
        u8::try_from(old.plays).map(|plays| Few { plays }).map_err(|_| format!("{} plays are not few", old.plays))
    }
    let migrated = |plays| {
        let mut bytes = Vec::new();
        state::encode(&V1 { plays }, &mut bytes);
        state::decode::<Few>(&bytes).map_err(|why| why.to_string())
    };
    assert_eq!(migrated(255), Ok(Few { plays: 255 }));
    assert_eq!(migrated(256), Err("state \"Few\" of version 1 cannot be migrated: 256 plays are not few".to_owned()));
}

#[test]
fn damaged_bytes_are_refused_before_they_cost_memory() {
    #[derive(State, Debug, PartialEq)]
    #[state(version = 1)]
    struct Lists {
        list: Vec<u64>,
        set: std::collections::BTreeSet<u64>,
    }
    #[track_caller]
    fn check(bytes: &[u8], why: &str) {
        assert_eq!(state::decode::<Lists>(bytes).unwrap_err().to_string(), format!("state bytes are damaged: {why}"));
    }
    check(&[], "too short");
    check(&[1, 0xff, 0xff, 0xff, 0xff, 0x0f], "a length");
    check(&[1, 0, 2, 7, 7], "a set");
    check(&[1, 0, 2, 7, 6], "a set");
    check(&[1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0], "an integer");
}
