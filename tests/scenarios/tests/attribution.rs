//! Three inputs by chaining, at random: each play with the latest impression before it, and that with the latest trailer. Every play has exactly
//! one fate, late or a verdict, and the verdict is that of a batch job over what was not late.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use reelflow_scenarios::{print::parse_time, world::World};

const PIPELINE: &str = "pipeline\n  source plays\n  source imps bound=4s\n  source trailers bound=2s\n  join found <- plays,imps within=60s lateness=9s kind=left plugin=pair\n  join told <- found,trailers within=30s lateness=6s kind=left plugin=pair\n  sink found <- found\n  sink told <- told";
const SOURCES: [&str; 3] = ["plays", "imps", "trailers"];
const PLAYS: usize = 0;
const IMPS: usize = 1;
const TRAILERS: usize = 2;

/// A record of a source, which its time in s names: no two have the same, and its remainder mod 3 says the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    key: char,
    at: i64,
}

impl Row {
    fn source(self) -> usize {
        usize::try_from(self.at.rem_euclid(3)).expect("0, 1 or 2")
    }
}

/// Rows, and whether the log is sealed, or everybody crashes, after each.
fn steps() -> impl Strategy<Value = Vec<(Row, &'static str)>> {
    let stray = prop_oneof![4 => Just(0_i64), 4 => 0..6_i64, 1 => 0..30_i64];
    let after = prop_oneof![8 => Just(""), 1 => Just("seal"), 1 => Just("crash")];
    let step = (prop::sample::select(vec!['a', 'a', 'b']), 0..3_i64, 0..4_i64, stray, after);
    prop::collection::vec(step, 1..60).prop_map(|drawn| {
        let (mut now, mut taken) = (-20, BTreeSet::new());
        let mut steps = Vec::new();
        for (key, source, on, stray, after) in drawn {
            now += on;
            let at = (now - stray) * 3 + source;
            if taken.insert(at) {
                steps.push((Row { key, at }, after));
            }
        }
        steps
    })
}

/// What a run said.
#[derive(Default)]
struct Said {
    /// Of each sink, the partners that each play was told with.
    verdicts: BTreeMap<(String, Row), Vec<Option<i64>>>,
    /// Of each stage, the late rows.
    late: BTreeSet<(String, Row)>,
}

impl Said {
    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let seconds = |text: &str| parse_time(text).unwrap_or_else(|why| panic!("{line}: {why}")) / 1_000;
        let key = |text: &str| text.chars().next().unwrap_or_else(|| panic!("{line}"));
        match words[..] {
            [stage, row, _] if stage.starts_with("late.") => {
                let (of, at) = row.split_once('@').unwrap_or_else(|| panic!("{line}"));
                assert!(self.late.insert((stage["late.".len()..].to_owned(), Row { key: key(of), at: seconds(at) })), "{line}");
            }
            [sink @ ("found" | "told"), of, ref values @ ..] => {
                let value = |name| values.iter().find_map(|value| value.strip_prefix(name)).map(seconds);
                let play = Row { key: key(of), at: value("ts=").expect("a play has a time") };
                self.verdicts.entry((sink.to_owned(), play)).or_default().push(value("with_ts="));
            }
            ["watermark", ..] | ["same", "outputs", "again"] => {}
            _ => panic!("{line}"),
        }
    }
}

/// Of the rows of `source` that were not late for `stage`, the latest with the play's key at most `within` s before it.
fn latest(rows: &[Row], source: usize, stage: &str, said: &Said, play: Row, within: i64) -> Option<i64> {
    let on_time = rows.iter().filter(|row| row.source() == source && !said.late.contains(&(stage.to_owned(), **row)));
    on_time.filter(|row| row.key == play.key && (play.at - within..=play.at).contains(&row.at)).map(|row| row.at).max()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_play_has_one_verdict(steps in steps()) {
        let mut lines: Vec<String> = Vec::new();
        for (row, after) in &steps {
            lines.push(format!("records {} p0 {}@{}s", SOURCES[row.source()], row.key, row.at));
            lines.extend((!after.is_empty()).then(|| (*after).to_owned()));
        }
        lines.push("end".to_owned());
        let pipeline: Vec<String> = PIPELINE.lines().map(str::to_owned).collect();
        let mut world = World::new(&pipeline).expect("a good pipeline");
        let mut said = Said::default();
        for line in lines {
            let text = world.step(std::slice::from_ref(&line)).unwrap_or_else(|why| panic!("{line}: {why}"));
            text.lines().for_each(|line| said.line(line));
        }
        let rows: Vec<Row> = steps.iter().map(|(row, _)| *row).collect();
        let mut expected = BTreeMap::new();
        for play in rows.iter().copied().filter(|row| row.source() == PLAYS) {
            prop_assert!(!said.late.contains(&("told".to_owned(), play)), "what the first join tells is on time for the second");
            if !said.late.contains(&("found".to_owned(), play)) {
                expected.insert(("found".to_owned(), play), vec![latest(&rows, IMPS, "found", &said, play, 60)]);
                expected.insert(("told".to_owned(), play), vec![latest(&rows, TRAILERS, "told", &said, play, 30)]);
            }
        }
        prop_assert_eq!(said.verdicts, expected);
    }
}
