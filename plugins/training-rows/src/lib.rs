//! What does a recommender learn from?
//!
//! Input: impressions with the profile as it was, and how long was watched of what they led to, as one stream, keyed by profile and
//! impression. Output: one row for each impression that led to at least `positive_ms` of watching (label 1), and for one in `sample` of the
//! others (label 0). Which of them are sampled is a function of the id (md5, as the batch job has it), so nothing is left to chance. State: the
//! impression, and the longest time watched.
//!
//! An impression waits for `wait_ms` of event time: the longest span between an impression and the play that it led to, plus the longest
//! playback, plus the lateness after which the playback is final. Then its row is written, and it is forgotten: the time of that is `wait_ms` after
//! the impression, so the stage's `event_time` lies `wait_ms` behind.

use md5::{Digest, Md5};
use reelflow::prelude::*;

#[derive(Event)]
pub struct Seen<'a> {
    /// Of an impression.
    title_id: Option<i64>,
    row: Option<i64>,
    position: Option<i64>,
    algo: Option<&'a str>,
    device: Option<&'a str>,
    country: Option<&'a str>,
    plan: Option<&'a str>,
    /// Of what it led to.
    watched_ms: Option<i64>,
}

#[derive(State, Default)]
#[state(version = 1)]
pub struct Waiting {
    shown: Option<Shown>,
    watched_ms: Option<i64>,
}

#[derive(State, Default)]
#[state(version = 1)]
pub struct Shown {
    event_ts: i64,
    title_id: i64,
    row: i64,
    position: i64,
    algo: Option<String>,
    device: Option<String>,
    country: Option<String>,
    plan: Option<String>,
}

#[derive(Emit)]
pub struct TrainingRow<'a> {
    imp_id: &'a str,
    event_ts: i64,
    profile_id: i64,
    title_id: i64,
    row: i64,
    position: i64,
    algo: Option<String>,
    device: Option<String>,
    country: Option<String>,
    plan: Option<String>,
    label: i64,
    watched_ms: i64,
}

#[derive(Config)]
#[config(check = check)]
pub struct TrainingRows {
    /// How long after an impression all is known that it led to, in ms.
    wait_ms: i64,
    /// Who watched so long liked it.
    #[config(default = 120_000)]
    positive_ms: i64,
    /// One in so many impressions that led to nothing is kept.
    #[config(default = 10)]
    sample: u32,
}

fn check(settings: &TrainingRows) -> Result<(), String> {
    match settings {
        TrainingRows { wait_ms: ..0, .. } => Err("wait_ms is negative".to_owned()),
        TrainingRows { sample: 0, .. } => Err("sample is 0, less than 1".to_owned()),
        _ => Ok(()),
    }
}

/// The first four bytes of the id's md5 as a number.
fn hash(id: &str) -> u32 {
    let digest = Md5::digest(id.as_bytes());
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

impl Process for TrainingRows {
    type Event<'a> = Seen<'a>;
    type State = Waiting;
    type Output<'a> = TrainingRow<'a>;

    const KEY: &'static [KeyField] = &[KeyField::i64("profile_id"), KeyField::str("imp_id")];

    fn on_event<'a>(&self, ctx: &mut Context<'a, TrainingRow<'a>>, state: &mut Waiting, seen: Seen<'a>) -> Result<(), Reject> {
        if seen.watched_ms.is_some() {
            state.watched_ms = state.watched_ms.max(seen.watched_ms);
            return Ok(());
        }
        let (Some(title_id), Some(row), Some(position)) = (seen.title_id, seen.row, seen.position) else {
            return Err("neither an impression nor what it led to".into());
        };
        let owned = |text: Option<&str>| text.map(str::to_owned);
        state.shown = Some(Shown {
            event_ts: ctx.time(),
            title_id,
            row,
            position,
            algo: owned(seen.algo),
            device: owned(seen.device),
            country: owned(seen.country),
            plan: owned(seen.plan),
        });
        ctx.set_timer(Timer::EventTime(ctx.time() + self.wait_ms));
        Ok(())
    }

    fn on_timer<'a>(&self, ctx: &mut Context<'a, TrainingRow<'a>>, state: &mut Waiting, _: Timer) -> Result<(), Reject> {
        let Waiting { shown, watched_ms } = std::mem::take(state);
        let Some(shown) = shown else { return Ok(()) };
        let (imp_id, watched_ms) = (ctx.key().at(1).str(), watched_ms.unwrap_or(0));
        let is_positive = watched_ms >= self.positive_ms;
        if is_positive || hash(imp_id).is_multiple_of(self.sample) {
            ctx.emit(TrainingRow {
                imp_id,
                event_ts: shown.event_ts,
                profile_id: ctx.key().i64(),
                title_id: shown.title_id,
                row: shown.row,
                position: shown.position,
                algo: shown.algo,
                device: shown.device,
                country: shown.country,
                plan: shown.plan,
                label: i64::from(is_positive),
                watched_ms,
            });
        }
        Ok(())
    }
}

reelflow::export!(TrainingRows as Process);

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = r#"{"title_id":70,"row":3,"position":4,"algo":"a","device":"tv","country":"NL","plan":"premium"}"#;

    /// What comes of rows of the impression `id`, shown at 5, when its time has come; nothing comes before.
    #[track_caller]
    fn check(id: &str, rows: &[&str], expected: &[&str]) {
        let plugin = reelflow::testing::configure::<TrainingRows>(r#"{"wait_ms":100}"#).unwrap();
        let key = format!(r#"[7,"{id}"]"#);
        let mut key = reelflow::testing::process(&plugin, &key);
        let times: Vec<i64> = rows.iter().map(|row| if row.contains("title_id") { 5 } else { 50 }).collect();
        assert!(key.rows(&times, &rows.concat()).out("out").is_empty());
        assert!(key.watermark(104).out("out").is_empty());
        assert_eq!(key.watermark(105).out("out"), expected);
        assert!(!key.has_state() && key.timers().is_empty());
    }

    fn row(id: &str, label: i64, watched_ms: i64) -> String {
        format!(
            r#"{{"imp_id":"{id}","event_ts":5,"profile_id":7,"title_id":70,"row":3,"position":4,"algo":"a","device":"tv","country":"NL","plan":"premium","label":{label},"watched_ms":{watched_ms}}}"#
        )
    }

    #[test]
    fn the_hash_is_that_of_the_batch_job() {
        // md5("abc") = 900150983cd24fb0d6963f7d28e17f72 (RFC 1321, A.5).
        assert_eq!(hash("abc"), 0x9001_5098);
    }

    #[test]
    fn who_watched_two_minutes_is_a_positive_whatever_the_order() {
        // 0x90015098 is 2 modulo 10: not in the sample.
        check("abc", &[SHOWN, r#"{"watched_ms":120000}"#, r#"{"watched_ms":7}"#], &[&row("abc", 1, 120_000)]);
        check("abc", &[r#"{"watched_ms":7}"#, r#"{"watched_ms":130000}"#, SHOWN], &[&row("abc", 1, 130_000)]);
        check("abc", &[SHOWN, r#"{"watched_ms":119999}"#], &[]);
    }

    #[test]
    fn one_in_ten_of_the_others_is_kept() {
        let sampled: Vec<String> = (0..1000).map(|n| n.to_string()).filter(|id| hash(id).is_multiple_of(10)).collect();
        assert!((70..130).contains(&sampled.len()), "{} of 1000", sampled.len());
        check(&sampled[0], &[SHOWN], &[&row(&sampled[0], 0, 0)]);
        check(&sampled[0], &[SHOWN, r#"{"watched_ms":9}"#], &[&row(&sampled[0], 0, 9)]);
    }

    #[test]
    fn the_wait_must_be_said() {
        let refused = reelflow::testing::configure::<TrainingRows>(r#"{"wait_ms":5,"sample":0}"#).err().unwrap();
        assert_eq!(refused, "sample is 0, less than 1");
        let refused = reelflow::testing::configure::<TrainingRows>("{}").err().unwrap();
        assert!(refused.contains("wait_ms"), "{refused}");
    }
}
