//! How much of a title did a playback get through?
//!
//! Input: the heartbeats of playbacks and their plays (with the runtime of the title; `plugins/play-with-runtime` makes them) as one stream,
//! keyed by profile and playback. Output: a row when the playback stops, or is silent for `pause_ms`; another one whenever a later or belated
//! heartbeat changes it; and a last one, which is `final`. `rev` counts them; with `provisional = false` only the last one is written. A
//! playback whose play never came has no row, and neither has one without heartbeats. State: sums, and which rows were written.
//!
//! A row is final when nothing can come any more that belongs to it. The next heartbeat of a playback is at most `pause_ms` behind its last one
//! and at most the stage's lateness behind the watermark (which the setting `lateness_ms` must say alike), so the watermark must be past the last
//! one by both. A heartbeat that comes later still belongs to a playback that is over, and counts nowhere.

use reelflow::prelude::*;

#[derive(Event)]
pub struct Watching<'a> {
    title_id: i64,
    /// A play has none.
    #[field(name = "type")]
    kind: Option<&'a str>,
    pos_ms: Option<i64>,
    watched_ms: Option<i64>,
    /// Of the play: null where the catalog does not have the title, and in heartbeats.
    catalog_version: Option<i64>,
    runtime_ms: Option<i64>,
}

#[derive(State, Default)]
#[state(version = 1)]
pub struct Playback {
    play: Option<Play>,
    beats: Option<Beats>,
    /// Time of the last play or heartbeat, by which timers are set.
    last_ts: Option<i64>,
    /// How many rows were written.
    n_written: u64,
}

#[derive(State, Default)]
#[state(version = 1)]
pub struct Play {
    title_id: i64,
    play_ts: i64,
    catalog_version: Option<i64>,
    runtime_ms: Option<i64>,
}

#[derive(State, Default)]
#[state(version = 1)]
pub struct Beats {
    max_pos_ms: i64,
    watched_ms: i64,
    last_ts: i64,
    is_stopped: bool,
}

#[derive(Emit)]
pub struct Completion<'a> {
    playback_id: &'a str,
    profile_id: i64,
    title_id: i64,
    play_ts: i64,
    last_ts: i64,
    max_pos_ms: i64,
    watched_ms: i64,
    catalog_version: Option<i64>,
    runtime_ms: Option<i64>,
    completion: Option<f64>,
    completed: Option<bool>,
    closed_by: &'static str,
    rev: u64,
    #[field(name = "final")]
    is_final: bool,
}

#[derive(Config)]
#[config(check = check)]
pub struct Completions {
    /// The lateness of the stage, in ms.
    lateness_ms: i64,
    /// A playback that is silent so long is closed until it goes on.
    #[config(default = 1_800_000)]
    pause_ms: i64,
    /// Whether rows that are not final are written.
    #[config(default = true)]
    provisional: bool,
}

fn check(settings: &Completions) -> Result<(), String> {
    match settings {
        Completions { lateness_ms: ..0, .. } => Err("lateness_ms is negative".to_owned()),
        Completions { pause_ms: ..0, .. } => Err("pause_ms is negative".to_owned()),
        _ => Ok(()),
    }
}

impl Completions {
    fn paused_at(&self, last_ts: i64) -> Timer {
        Timer::EventTime(last_ts + self.pause_ms)
    }

    /// A heartbeat at exactly `watermark − lateness` is still accepted, so one ms later.
    fn final_at(&self, last_ts: i64) -> Timer {
        Timer::EventTime(last_ts + self.pause_ms + self.lateness_ms + 1)
    }

    /// Moves the timer of the end to behind an event at `at`.
    fn extend<T: Outputs>(&self, ctx: &mut Context<'_, T>, state: &mut Playback, at: i64) -> i64 {
        let last_ts = state.last_ts.map_or(at, |last| last.max(at));
        if let Some(before) = state.last_ts.filter(|before| *before != last_ts) {
            ctx.delete_timer(self.paused_at(before));
            ctx.delete_timer(self.final_at(before));
        }
        ctx.set_timer(self.final_at(last_ts));
        state.last_ts = Some(last_ts);
        last_ts
    }

    /// Writes what is known of a playback whose play and heartbeats have come.
    fn write<'a>(&self, ctx: &mut Context<'a, Completion<'a>>, state: &mut Playback, is_final: bool) {
        let (Some(play), Some(beats)) = (&state.play, &state.beats) else { return };
        if !is_final && !self.provisional {
            return;
        }
        ctx.emit(Completion {
            playback_id: ctx.key().at(1).str(),
            profile_id: ctx.key().i64(),
            title_id: play.title_id,
            play_ts: play.play_ts,
            last_ts: beats.last_ts,
            max_pos_ms: beats.max_pos_ms,
            watched_ms: beats.watched_ms,
            catalog_version: play.catalog_version,
            runtime_ms: play.runtime_ms,
            completion: play.runtime_ms.map(|runtime_ms| (beats.max_pos_ms as f64 / runtime_ms as f64).min(1.0)),
            completed: play.runtime_ms.map(|runtime_ms| beats.max_pos_ms * 10 >= 9 * runtime_ms),
            closed_by: if beats.is_stopped { "stop" } else { "timeout" },
            rev: state.n_written,
            is_final,
        });
        state.n_written += 1;
    }
}

impl Beats {
    fn add(&mut self, at: i64, kind: &str, beat: &Watching<'_>) {
        self.max_pos_ms = self.max_pos_ms.max(beat.pos_ms.unwrap_or(0));
        self.watched_ms += beat.watched_ms.unwrap_or(0);
        self.last_ts = self.last_ts.max(at);
        self.is_stopped |= kind == "STOP";
    }
}

impl Process for Completions {
    type Event<'a> = Watching<'a>;
    type State = Playback;
    type Output<'a> = Completion<'a>;

    const KEY: &'static [KeyField] = &[KeyField::i64("profile_id"), KeyField::str("playback_id")];

    fn on_event<'a>(&self, ctx: &mut Context<'a, Completion<'a>>, state: &mut Playback, row: Watching<'a>) -> Result<(), Reject> {
        let at = ctx.time();
        let last_ts = self.extend(ctx, state, at);
        match row.kind {
            Some(kind) => {
                state.beats.get_or_insert_with(|| Beats { last_ts: at, ..Beats::default() }).add(at, kind, &row);
            }
            None => {
                let Watching { title_id, catalog_version, runtime_ms, .. } = row;
                state.play = Some(Play { title_id, play_ts: at, catalog_version, runtime_ms });
            }
        }
        if state.beats.as_ref().is_some_and(|beats| beats.is_stopped) {
            ctx.delete_timer(self.paused_at(last_ts));
            self.write(ctx, state, false);
        } else if self.provisional {
            ctx.set_timer(self.paused_at(last_ts));
        }
        Ok(())
    }

    fn on_timer<'a>(&self, ctx: &mut Context<'a, Completion<'a>>, state: &mut Playback, timer: Timer) -> Result<(), Reject> {
        let Some(last_ts) = state.last_ts else { return Ok(()) };
        let is_final = timer == self.final_at(last_ts);
        self.write(ctx, state, is_final);
        if is_final {
            *state = Playback::default();
        }
        Ok(())
    }
}

reelflow::export!(Completions as Process);

#[cfg(test)]
mod tests {
    use super::*;

    const PLAY: &str = r#"{"title_id":70,"catalog_version":2,"runtime_ms":1000}"#;

    /// What comes out: `rev`, `watched_ms`, `closed_by` and `final` of each row.
    type Told = Vec<(u64, i64, &'static str, bool)>;

    fn beat(kind: &str, pos_ms: i64, watched_ms: i64) -> String {
        format!(r#"{{"title_id":70,"type":"{kind}","pos_ms":{pos_ms},"watched_ms":{watched_ms}}}"#)
    }

    fn completions(config: &str) -> Completions {
        reelflow::testing::configure::<Completions>(config).unwrap()
    }

    #[track_caller]
    fn check(rows: &[String], expected: Told) {
        assert_eq!(rows.len(), expected.len(), "{rows:?}");
        for (row, (rev, watched_ms, closed_by, is_final)) in rows.iter().zip(expected) {
            assert!(row.contains(&format!(r#""watched_ms":{watched_ms},"#)), "{row}");
            assert!(row.ends_with(&format!(r#""closed_by":"{closed_by}","rev":{rev},"final":{is_final}}}"#)), "{row}");
        }
    }

    #[test]
    fn a_stop_is_told_at_once_and_is_final_when_nothing_more_can_come() {
        let plugin = completions(r#"{"lateness_ms":100,"pause_ms":30}"#);
        let mut key = reelflow::testing::process(&plugin, r#"[7,"p"]"#);
        let rows = [PLAY.to_owned(), beat("HEARTBEAT", 300, 300), beat("STOP", 950, 650)].concat();
        let told = key.rows(&[0, 10, 20], &rows).out("out");
        check(&told, vec![(0, 950, "stop", false)]);
        assert_eq!(
            told[0],
            r#"{"playback_id":"p","profile_id":7,"title_id":70,"play_ts":0,"last_ts":20,"max_pos_ms":950,"watched_ms":950,"catalog_version":2,"runtime_ms":1000,"completion":0.95,"completed":true,"closed_by":"stop","rev":0,"final":false}"#
        );
        assert!(key.watermark(150).out("out").is_empty());
        check(&key.watermark(151).out("out"), vec![(1, 950, "stop", true)]);
        assert!(!key.has_state() && key.timers().is_empty());
    }

    #[test]
    fn silence_closes_and_a_later_heartbeat_opens_again() {
        let plugin = completions(r#"{"lateness_ms":100,"pause_ms":30}"#);
        let mut key = reelflow::testing::process(&plugin, r#"[7,"p"]"#);
        assert!(key.rows(&[0, 10], &[PLAY.to_owned(), beat("HEARTBEAT", 300, 300)].concat()).out("out").is_empty());
        check(&key.watermark(40).out("out"), vec![(0, 300, "timeout", false)]);
        // One that comes late belongs to what is closed, one that is new does not close it yet.
        check(&key.rows(&[5], &beat("HEARTBEAT", 100, 50)).out("out"), vec![(1, 350, "timeout", false)]);
        assert!(key.rows(&[50], &beat("HEARTBEAT", 2000, 50)).out("out").is_empty());
        check(&key.watermark(i64::MAX).out("out"), vec![(2, 400, "timeout", false), (3, 400, "timeout", true)]);
        assert!(!key.has_state() && key.timers().is_empty());
    }

    #[test]
    fn a_belated_heartbeat_revises_what_has_stopped() {
        let plugin = completions(r#"{"lateness_ms":100,"pause_ms":30}"#);
        let mut key = reelflow::testing::process(&plugin, r#"[7,"p"]"#);
        let rows = [beat("STOP", 900, 100), PLAY.to_owned(), beat("HEARTBEAT", 800, 800)].concat();
        check(&key.rows(&[20, 0, 10], &rows).out("out"), vec![(0, 100, "stop", false), (1, 900, "stop", false)]);
        check(&key.watermark(i64::MAX).out("out"), vec![(2, 900, "stop", true)]);
    }

    #[test]
    fn without_play_or_heartbeat_there_is_no_row() {
        let plugin = completions(r#"{"lateness_ms":100,"pause_ms":30}"#);
        for rows in [PLAY.to_owned(), beat("STOP", 900, 100)] {
            let mut key = reelflow::testing::process(&plugin, r#"[7,"p"]"#);
            assert!(key.rows(&[0], &rows).out("out").is_empty());
            assert!(key.watermark(i64::MAX).out("out").is_empty());
            assert!(!key.has_state() && key.timers().is_empty());
        }
    }

    #[test]
    fn a_title_without_runtime_has_no_completion() {
        let plugin = completions(r#"{"lateness_ms":100,"pause_ms":30,"provisional":false}"#);
        let mut key = reelflow::testing::process(&plugin, r#"[7,"p"]"#);
        let rows = [r#"{"title_id":70}"#.to_owned(), beat("STOP", 900, 100)].concat();
        assert!(key.rows(&[0, 10], &rows).out("out").is_empty(), "only the final row is wanted");
        let told = key.watermark(i64::MAX).out("out");
        check(&told, vec![(0, 100, "stop", true)]);
        assert!(told[0].contains(r#""catalog_version":null,"runtime_ms":null,"completion":null,"completed":null"#), "{told:?}");
    }

    #[test]
    fn times_are_not_negative_and_the_lateness_must_be_said() {
        for (config, expected) in [
            (r#"{"lateness_ms":-1}"#, "lateness_ms is negative"),
            (r#"{"lateness_ms":0,"pause_ms":-1}"#, "pause_ms is negative"),
            ("{}", "\"lateness_ms\" is missing"),
        ] {
            assert_eq!(reelflow::testing::configure::<Completions>(config).err().unwrap(), expected);
        }
    }
}
