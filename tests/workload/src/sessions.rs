//! What people do: they browse rows of titles, start some, watch a part of them.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Beta, Distribution};

use crate::{
    model::{HOUR, MINUTE, Model},
    people::{DEVICES, People, Profile, TEST_PROFILE, Title, weighted},
};

const BEAT_MS: i64 = 300_000;
const ROW_TYPES: [&str; 7] =
    ["billboard", "continue_watching", "trending_now", "because_you_watched", "top10", "genre", "new_releases"];

/// The three topics of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    Impressions,
    PlayStarts,
    PlaybackEvents,
}

impl Topic {
    pub const ALL: [Topic; 3] = [Topic::Impressions, Topic::PlayStarts, Topic::PlaybackEvents];

    pub fn name(self) -> &'static str {
        match self {
            Topic::Impressions => "impressions",
            Topic::PlayStarts => "play_starts",
            Topic::PlaybackEvents => "playback_events",
        }
    }
}

/// What an event says besides who, when and which title.
#[derive(Clone, Debug)]
pub enum Detail {
    Impression { row: u32, row_type: &'static str, position: u32, request: u32 },
    Play { playback: u64, offline: bool, trailer: bool },
    Beat { playback: u64, seq: u32, kind: &'static str, pos_ms: i64, watched_ms: i64 },
}

/// One event as the device saw it.
#[derive(Clone, Debug)]
pub struct Event {
    pub topic: Topic,
    pub event_id: String,
    /// By the device's clock.
    pub event_ts: i64,
    /// By the true clock.
    pub true_ts: i64,
    pub profile_id: i64,
    pub account_id: i64,
    pub country: &'static str,
    pub device: &'static str,
    pub title_id: i64,
    pub detail: Detail,
    /// Watched without a connection: reported at this true time, not when it happened.
    pub flushed_at: Option<i64>,
}

/// All events of `model`, in no particular order.
pub fn events(model: &Model, people: &People, rng: &mut ChaCha8Rng) -> Vec<Event> {
    let mut maker = Maker { model, people, rng, events: Vec::new() };
    maker.test_profile();
    while (maker.events.len() as u64) < model.n_events {
        maker.session();
    }
    maker.events
}

struct Maker<'a> {
    model: &'a Model,
    people: &'a People,
    rng: &'a mut ChaCha8Rng,
    events: Vec<Event>,
}

impl Maker<'_> {
    /// Half a per cent of all events, never more than 30 minutes apart.
    fn test_profile(&mut self) {
        let n_events = (self.model.n_events / 200).max(200) as i64;
        let step = ((self.model.end_ms() - self.model.start_ms) / n_events).min(25 * MINUTE);
        let people = self.people;
        let profile = &people.profiles[0];
        let (mut at, mut playback, mut seq, mut title) = (self.model.start_ms, 0_u64, 0_u32, &people.titles[0]);
        while at < self.model.end_ms() {
            if seq == 0 {
                playback = self.rng.random();
                title = people.any_title(self.rng);
                self.push(profile, "tv", at, title.id, Detail::Play { playback, offline: false, trailer: false }, None);
            } else {
                let pos_ms = (i64::from(seq) * step).min(title.runtime_ms);
                let beat = Detail::Beat { playback, seq, kind: "HEARTBEAT", pos_ms, watched_ms: step };
                self.push(profile, "tv", at, title.id, beat, None);
            }
            seq = (seq + 1) % 20;
            at += step;
        }
    }

    /// A browsing session: 10 to 69 impressions 0.2 to 4 s apart, then none to three plays.
    fn session(&mut self) {
        let people = self.people;
        let profile = people.any_profile(self.rng);
        assert_ne!(profile.id, TEST_PROFILE, "the test profile has its own traffic");
        let device = weighted(&DEVICES, self.rng);
        let mut at = self.rng.random_range(self.model.start_ms..self.model.end_ms() - 4 * HOUR);
        let request: u32 = self.rng.random();
        let mut shown: Vec<&Title> = Vec::new();
        for _ in 0..self.rng.random_range(10..70) {
            at += self.rng.random_range(200..4_000);
            let title = people.any_title(self.rng);
            shown.push(title);
            let detail = Detail::Impression {
                row: self.rng.random_range(0..40),
                row_type: ROW_TYPES[self.rng.random_range(0..ROW_TYPES.len())],
                position: self.rng.random_range(0..75),
                request,
            };
            self.push(profile, device, at, title.id, detail, None);
        }
        let n_plays = match self.rng.random_range(0..100) {
            0..25 => 0,
            25..70 => 1,
            70..90 => 2,
            _ => 3,
        };
        let offline = matches!(device, "mobile" | "tablet") && self.rng.random_bool(0.04);
        for _ in 0..n_plays {
            at += self.rng.random_range(1_000..20_000);
            let title = if self.launched(profile, at) {
                &people.titles[people.titles.len() / 2]
            } else if self.rng.random_bool(0.8) {
                shown[self.rng.random_range(0..shown.len())]
            } else {
                people.any_title(self.rng)
            };
            at = self.play(profile, device, at, title, offline);
        }
    }

    /// The launch spike: one title, one country, 30 minutes; nine plays in ten go there, ten times its usual share and more.
    fn launched(&mut self, profile: &Profile, at: i64) -> bool {
        let launch = self.model.start_ms + 30 * HOUR;
        profile.country == "US" && (launch..launch + 30 * MINUTE).contains(&at) && self.rng.random_bool(0.9)
    }

    /// One play with its heartbeats; gives the time at which it ended.
    fn play(&mut self, profile: &Profile, device: &'static str, start: i64, title: &Title, offline: bool) -> i64 {
        let playback: u64 = self.rng.random();
        if self.rng.random_bool(0.1) {
            let trailer = Detail::Play { playback, offline: false, trailer: true };
            self.push(profile, device, start, title.id, trailer, None);
            return start + self.rng.random_range(20_000..120_000);
        }
        let share: f64 = Beta::new(0.7, 0.7).expect("positive shape").sample(self.rng);
        let watched = (share * title.runtime_ms as f64) as i64;
        let flush = offline.then(|| (start + watched + MINUTE).max(start + self.rng.random_range(HOUR..30 * HOUR)));
        self.push(profile, device, start, title.id, Detail::Play { playback, offline, trailer: false }, flush);
        let (mut at, mut pos_ms, mut seq) = (start, 0, 0);
        while pos_ms < watched {
            if self.rng.random_bool(0.03) {
                at += self.rng.random_range(MINUTE..20 * MINUTE);
            }
            let watched_ms = BEAT_MS.min(watched - pos_ms);
            pos_ms += watched_ms;
            at += watched_ms;
            seq += 1;
            let kind = if pos_ms >= watched { "STOP" } else { "HEARTBEAT" };
            self.push(profile, device, at, title.id, Detail::Beat { playback, seq, kind, pos_ms, watched_ms }, flush);
        }
        at
    }

    fn push(&mut self, profile: &Profile, device: &'static str, true_ts: i64, title_id: i64, detail: Detail, flush: Option<i64>) {
        let topic = match detail {
            Detail::Impression { .. } => Topic::Impressions,
            Detail::Play { .. } => Topic::PlayStarts,
            Detail::Beat { .. } => Topic::PlaybackEvents,
        };
        let event_ts = true_ts + profile.skew_ms;
        self.events.push(Event {
            topic,
            event_id: uuid_v7(event_ts, self.rng),
            event_ts,
            true_ts,
            profile_id: profile.id,
            account_id: profile.account_id,
            country: profile.country,
            device,
            title_id,
            detail,
            // A beat that lies after the flush was reported by itself.
            flushed_at: flush.map(|flush| flush.max(true_ts)),
        });
    }
}

/// A UUID of version 7: the time in its first 48 bits, the rest random (RFC 9562, section 5.7).
pub fn uuid_v7(at_ms: i64, rng: &mut ChaCha8Rng) -> String {
    let (a, b): (u16, u64) = (rng.random(), rng.random());
    let ms = at_ms as u64 & 0xffff_ffff_ffff;
    let (high, low) = (ms >> 16, ms & 0xffff);
    let node = b & 0xffff_ffff_ffff;
    format!("{high:08x}-{low:04x}-7{:03x}-{:04x}-{node:012x}", a & 0xfff, 0x8000 | (b >> 48) & 0x3fff)
}
