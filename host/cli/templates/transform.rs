//! Keeps what is well-formed and gives each play a weight.

use reelflow::prelude::*;

/// What is read of a record: only these fields are decoded.
#[derive(Event)]
pub struct Play<'a> {
    profile_id: i64,
    title_id: i64,
    device: Option<&'a str>,
}

/// What comes out.
#[derive(Emit)]
pub struct Signal<'a> {
    profile_id: i64,
    title_id: i64,
    device: &'a str,
    weight: f64,
}

#[reelflow::transform]
fn signals<'a>(play: Play<'a>, out: &mut Out<Signal<'a>>) -> Result<(), Reject> {
    if play.profile_id <= 0 {
        return Err(Reject::from("not a profile"));
    }
    let device = play.device.unwrap_or("unknown");
    let weight = if device == "tv" { 1.0 } else { 0.5 };
    out.emit(Signal { profile_id: play.profile_id, title_id: play.title_id, device, weight });
    Ok(())
}
