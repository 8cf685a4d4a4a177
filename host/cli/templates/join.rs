//! For each play: where on the page was its title seen last?

use reelflow::prelude::*;

/// The left side: every play is answered.
#[derive(Event)]
pub struct Play {
    profile_id: i64,
    title_id: i64,
}

/// The right side: the latest one before the play.
#[derive(Event)]
pub struct Impression<'a> {
    row_type: &'a str,
}

#[derive(Emit)]
pub struct Discovery<'a> {
    profile_id: i64,
    title_id: i64,
    source: &'a str,
}

#[derive(Config)]
pub struct Source;

impl Join for Source {
    type Left<'a> = Play;
    type Right<'a> = Impression<'a>;
    type Output<'a> = Discovery<'a>;

    fn pair<'a>(&self, play: Play, seen: Option<Impression<'a>>, out: &mut Out<Discovery<'a>>) -> Result<(), Reject> {
        let source = seen.map_or("direct", |impression| impression.row_type);
        out.emit(Discovery { profile_id: play.profile_id, title_id: play.title_id, source });
        Ok(())
    }
}

reelflow::export!(Source as Join);
