//! Who played something and then was silent for a minute?

use std::collections::BTreeSet;

use reelflow::prelude::*;

const SILENCE_MS: i64 = 60_000;

/// What is read of a record: only these fields are decoded.
#[derive(Event)]
pub struct Play {
    title_id: i64,
}

/// What is kept per profile.
#[derive(State, Default)]
#[state(version = 1)]
pub struct Seen {
    plays: u64,
    /// The times of plays whose timers have not fired.
    times: BTreeSet<i64>,
}

/// What comes out when a profile has been silent.
#[derive(Emit)]
pub struct Silence {
    profile_id: i64,
    since: i64,
    plays: u64,
}

#[derive(Config)]
pub struct Silences;

impl Process for Silences {
    type Event<'a> = Play;
    type State = Seen;
    type Output<'a> = Silence;
    const KEY: &'static [KeyField] = &[KeyField::i64("profile_id")];

    fn on_event(&self, ctx: &mut Context<'_, Silence>, state: &mut Seen, play: Play) -> Result<(), Reject> {
        if ctx.key().i64() <= 0 || play.title_id <= 0 {
            return Err(Reject::from("not a play"));
        }
        state.plays += 1;
        state.times.insert(ctx.time());
        ctx.set_timer(Timer::EventTime(ctx.time() + SILENCE_MS));
        Ok(())
    }

    /// The watermark has come a minute past a play: all plays of that minute are here.
    fn on_timer(&self, ctx: &mut Context<'_, Silence>, state: &mut Seen, timer: Timer) -> Result<(), Reject> {
        let since = timer.at() - SILENCE_MS;
        state.times.remove(&since);
        if state.times.range(since..timer.at()).next().is_none() {
            ctx.emit(Silence { profile_id: ctx.key().i64(), since, plays: state.plays });
        }
        Ok(())
    }
}

reelflow::export!(Silences as Process);
