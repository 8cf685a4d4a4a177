//! The SDK ships its own copy of the contract, so that crates outside of this repository can build. It is the same, to the byte.

#[test]
fn the_sdk_ships_the_contract() {
    assert_eq!(include_str!("../wit/types.wit"), include_str!("../../../wit/plugin/types.wit"));
    assert_eq!(include_str!("../wit/migrate.wit"), include_str!("../../../wit/plugin/migrate.wit"));
    assert_eq!(include_str!("../wit/worlds.wit"), include_str!("../../../wit/plugin/worlds.wit"));
}
