//! A process that sums, or breaks in the way that its config names. A row sets a timer ten ms after itself, 0 forgets the sum, a
//! negative number is refused; a timer sets one of the clock at its own time, and deletes the one a ms later. A sum had four bytes once.

use exports::reelflow::plugin::{
    describe, migrate,
    migrate::Migrated,
    process,
    process::{Clock, Emitted, Packed, Processed, Rows, Time, Timer, TimerChange},
};
use reelflow::plugin::types::{Column, Reject, Routed, Values};

wit_bindgen::generate!({
    path: "../../../wit/plugin",
    inline: "
        package guest:process;
        world migrating {
            include reelflow:plugin/process-plugin@0.1.0;
            export reelflow:plugin/migrate@0.1.0;
        }
    ",
    world: "guest:process/migrating",
    generate_all,
});

const TRUTH: &str = r#"{
    "format": 1, "sdk": "guest", "kind": "process",
    "inputs": [{"fields": [{"name": "n", "type": "i64", "required": true}]}],
    "outputs": [{"name": "sums", "fields": [{"name": "k", "type": "i64"}, {"name": "at", "type": "i64"}, {"name": "sum", "type": "i64"},
        {"name": "watermark", "type": "i64"}, {"name": "now", "type": "i64"}]}, {"name": "none", "fields": []}],
    "key": [{"name": "k", "type": "i64"}],
    "state": {"name": "Sum", "version": 2, "reads": [1]}
}"#;

const MODES: [&str; 7] =
    ["state-missing", "version-missing", "reject-beyond", "timer-beyond", "timers-fall", "timer-far", "timer-of-refused"];

struct Process;

impl describe::Guest for Process {
    fn describe(config: String) -> Result<String, String> {
        guest_shared::describe(&config, TRUTH, &MODES)
    }
}

#[derive(Default)]
struct Answer {
    states: Vec<u8>,
    ends: Vec<u32>,
    columns: [Vec<i64>; 5],
    origins: Vec<u32>,
    rejects: Vec<Reject>,
    timers: Vec<TimerChange>,
}

impl Answer {
    fn emit(&mut self, origin: u32, row: [i64; 5]) {
        self.columns.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
        self.origins.push(origin);
    }

    fn keep(&mut self, sum: i64) {
        if sum != 0 {
            self.states.extend_from_slice(&sum.to_le_bytes());
        }
        self.ends.push(self.states.len() as u32);
    }

    fn change(&mut self, origin: u32, is_set: bool, clock: Clock, at: i64) {
        self.timers.push(TimerChange { origin, is_set, timer: Timer { clock, at } });
    }

    fn finish(mut self, function: &str) -> Processed {
        match guest_shared::mode_at(function).as_str() {
            "state-missing" => drop(self.ends.pop()),
            "reject-beyond" => self.rejects.push(Reject { row: 1000, code: 0, message: String::new() }),
            "timer-beyond" => self.change(1000, true, Clock::EventTime, 0),
            "timers-fall" => self.timers.reverse(),
            "timer-of-refused" => self.rejects.push(Reject { row: 1, code: 0, message: String::new() }),
            "timer-far" => self.timers[0].timer.at = i64::MAX,
            _ => {}
        }
        let columns = self.columns.into_iter().map(|values| Column { values: Values::Ints(values), validity: Vec::new() });
        let rows = Rows { len: self.origins.len() as u32, columns: columns.collect() };
        let outputs = vec![Routed { output: 0, rows, origins: self.origins }];
        let mut states = Packed { data: self.states, ends: self.ends };
        states.data.truncate(states.ends.last().map_or(0, |end| *end as usize));
        Processed { states, emitted: Emitted { outputs, rejects: self.rejects }, timers: self.timers }
    }
}

impl process::Guest for Process {
    fn take(input: Rows, times: Vec<i64>, ends: Vec<u32>, keys: Rows, states: Packed, time: Time) -> Processed {
        guest_shared::misbehave("take");
        let mut answer = Answer::default();
        let mut start = 0;
        for (group, end) in ends.iter().enumerate() {
            let mut sum = state(&states, group);
            for row in start..*end {
                let n = ints(&input)[row as usize];
                if n < 0 {
                    answer.rejects.push(Reject { row, code: 1, message: "negative".to_owned() });
                    continue;
                }
                sum = if n == 0 { 0 } else { sum + n };
                answer.emit(row, [ints(&keys)[group], times[row as usize], sum, time.watermark, time.now]);
                answer.change(row, true, Clock::EventTime, times[row as usize] + 10);
            }
            answer.keep(sum);
            start = *end;
        }
        answer.finish("take")
    }

    fn fire(timers: Vec<Timer>, keys: Rows, states: Packed, time: Time) -> Processed {
        guest_shared::misbehave("fire");
        let mut answer = Answer::default();
        for (group, timer) in timers.iter().enumerate() {
            let sum = state(&states, group);
            let clock = if timer.clock == Clock::EventTime { 0 } else { 1 };
            answer.emit(group as u32, [ints(&keys)[group], timer.at + clock, sum, time.watermark, time.now]);
            answer.change(group as u32, true, Clock::WallTime, timer.at);
            answer.change(group as u32, false, Clock::EventTime, timer.at + 1);
            answer.keep(sum);
        }
        answer.finish("fire")
    }
}

impl migrate::Guest for Process {
    fn migrate(states: Packed) -> Migrated {
        guest_shared::misbehave("migrate");
        let mut answer = Answer::default();
        let mut versions = Vec::new();
        for (idx, end) in states.ends.iter().enumerate() {
            let start = if idx == 0 { 0 } else { states.ends[idx - 1] as usize };
            let bytes = &states.data[start..*end as usize];
            match bytes.try_into().map(i32::from_le_bytes) {
                Ok(old) if old >= 0 => answer.keep(old.into()),
                Ok(_) => {
                    answer.rejects.push(Reject { row: idx as u32, code: 1, message: "negative".to_owned() });
                    answer.keep(0);
                }
                Err(_) => answer.keep(state(&states, idx)),
            }
            versions.push(if bytes.len() == 4 { 1 } else { 2 });
        }
        if guest_shared::mode_at("migrate") == "version-missing" {
            versions.pop();
        }
        let Processed { states, emitted, .. } = answer.finish("migrate");
        Migrated { states, versions, rejects: emitted.rejects }
    }
}

fn ints(rows: &Rows) -> &[i64] {
    match &rows.columns[0].values {
        Values::Ints(values) => values,
        _ => unreachable!("declared as i64"),
    }
}

/// The sum in state `group`, 0 for one that does not exist.
fn state(states: &Packed, group: usize) -> i64 {
    let start = if group == 0 { 0 } else { states.ends[group - 1] as usize };
    let bytes = &states.data[start..states.ends[group] as usize];
    if bytes.is_empty() { 0 } else { i64::from_le_bytes(bytes.try_into().unwrap()) }
}

export!(Process);
