//! I-12: how records are cut into batches changes nothing. Random records through every kind of stage, one by one and in random batches:
//! the same rows are late, for the same windows and by the same watermarks, the same rows die, and the final results are the same.

use proptest::prelude::*;
use reelflow_scenarios::world::World;

/// Pipelines over `plays` and, where there are two inputs, `imps`. With `emit=upsert` only final rows are compared: how often a result was
/// told before depends on when somebody looked.
const PIPELINES: &[&str] = &[
    "pipeline\n  source plays bound=3s\n  aggregate count <- plays window=tumbling(10s) lateness=2s plugin=count\n  sink counts <- count",
    "pipeline\n  source plays\n  aggregate count <- plays window=hopping(30s,10s) plugin=count\n  sink counts <- count",
    "pipeline\n  source plays bound=1s\n  aggregate count <- plays window=hopping(12s,2s) lateness=3s emit=upsert plugin=count\n  sink counts <- count",
    "pipeline\n  source plays bound=1s\n  aggregate count <- plays window=hopping(12s,3s) lateness=2s emit=upsert early=4s plugin=count\n  sink counts <- count",
    "pipeline\n  source plays\n  aggregate count <- plays window=session(5s) lateness=4s plugin=count\n  sink counts <- count",
    // Sessions that something cuts.
    "pipeline\n  source plays bound=1s fields=key,ts,id,n,stop\n  aggregate count <- plays window=session(5s,end=stop) lateness=3s plugin=count\n  sink counts <- count",
    "pipeline\n  source plays fields=key,ts,id,n,stop\n  aggregate count <- plays window=session(6s,end=stop,rows=4,length=9s) lateness=6s plugin=count\n  sink counts <- count",
    // One window for all time: rows and multiples tell it, and keys end.
    "pipeline\n  source plays bound=2s\n  aggregate so_far <- plays window=global(idle=12s,rows=3,every=5s) emit=upsert plugin=count\n  sink out <- so_far",
    "pipeline\n  source plays bound=1s\n  aggregate threes <- plays window=global(idle=20s,rows=3,clear=true) plugin=count\n  aggregate count <- threes window=tumbling(10s) plugin=count\n  sink out <- threes\n  sink counts <- count",
    "pipeline\n  source plays\n  aggregate parts <- plays window=global(idle=9s,every=4s,clear=true) plugin=count\n  sink out <- parts",
    "pipeline\n  source plays\n  source imps bound=2s\n  join found <- plays,imps within=10s lateness=5s kind=left plugin=pair\n  sink found <- found",
    "pipeline\n  source plays\n  source imps\n  join found <- plays,imps within=10s lateness=2s emit=upsert tie=id plugin=pair\n  sink found <- found",
    "pipeline\n  source plays\n  source imps bound=1s\n  join found <- plays,imps match=all within=10s after=5s lateness=3s kind=left plugin=pair\n  sink found <- found",
    "pipeline\n  source plays\n  source imps bound=1s\n  join found <- plays,imps match=all within=4s after=9s lateness=2s kind=full plugin=pair\n  sink found <- found",
    "pipeline\n  source plays\n  source imps\n  join found <- plays,imps match=window window=tumbling(7s) lateness=1s kind=left plugin=pair\n  sink found <- found",
    "pipeline\n  source plays bound=2s\n  source imps\n  join found <- plays,imps match=window window=hopping(12s,3s) lateness=2s kind=full plugin=pair\n  sink found <- found",
    // Rows that are told alone, in windows behind.
    "pipeline\n  source plays\n  source imps\n  join near <- plays,imps match=all within=6s lateness=1s kind=right plugin=pair\n  join found <- near,imps match=window window=hopping(10s,5s) kind=full plugin=pair\n  sink found <- found",
    // What a stage emits, and what passed through one that keeps nothing.
    "pipeline\n  source plays\n  transform mark <- plays plugin=marks\n  dedup once <- mark horizon=1000s\n  aggregate count <- once window=hopping(6s,3s) plugin=count\n  aggregate again <- count window=tumbling(20s) plugin=count\n  sink counts <- count\n  sink agains <- again",
    // Rows and timers of a key, with and without an end of their own.
    "pipeline\n  source plays bound=1s\n  process timed <- plays plugin=timers\n  sink out <- timed",
    "pipeline\n  source plays\n  process timed <- plays lateness=4s ttl=6s plugin=timers\n  sink out <- timed",
    // Rows that wait for a table, and what becomes of those that come too late.
    "pipeline\n  source plays bound=2s\n  table imps bound=1s\n  lookup found <- plays,imps kind=left plugin=pair\n  sink found <- found",
    "pipeline\n  source plays\n  table imps\n  lookup found <- plays,imps lateness=4s plugin=pair\n  aggregate count <- found window=tumbling(10s) lateness=2s plugin=count\n  sink counts <- count",
    "pipeline\n  source plays\n  table imps\n  lookup found <- plays,imps plugin=pair\n  dedup once <- found horizon=1000s\n  aggregate count <- once window=session(5s) plugin=count\n  sink counts <- count",
    // Rows that go back to the time of the other side.
    "pipeline\n  source plays\n  source imps\n  join found <- plays,imps within=10s kind=inner plugin=pair time=with_ts behind=6s\n  aggregate count <- found window=tumbling(5s) plugin=count\n  sink counts <- count",
    // A join of a stream with what was made of it: both sides go back to one input.
    "pipeline\n  source plays\n  transform mark <- plays plugin=marks\n  join found <- plays,mark within=4s lateness=1s plugin=pair\n  sink found <- found",
    "pipeline\n  source plays bound=1s\n  join found <- plays,plays match=window window=hopping(9s,3s) kind=full plugin=pair\n  sink found <- found",
    // Through a change of key, with two partitions upstream.
    "pipeline partitions=2\n  source plays\n  shuffle by_id <- plays key=id\n  aggregate count <- by_id key=id window=hopping(30s,10s) plugin=count\n  sink counts <- count",
    "pipeline partitions=2\n  source plays\n  source imps\n  shuffle by_id <- plays key=id\n  shuffle imps_by_id <- imps key=id\n  join found <- by_id,imps_by_id within=10s lateness=3s plugin=pair\n  sink found <- found",
];

#[derive(Clone, Debug)]
enum Step {
    /// Into a source (if there are two) and a partition (if there are two).
    Record {
        source: usize,
        partition: usize,
        key: String,
        id: String,
        at: i64,
    },
    Seal,
}

/// What is drawn for a step: source, partition, key, id, how far time goes on, how far this record is behind it, and what it is.
type Drawn = (usize, usize, String, String, i64, i64, u8);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key =
        prop_oneof![8 => "[abc]", 1 => Just("drop".to_owned()), 1 => Just("twice".to_owned()), 1 => Just("reject".to_owned())];
    let stray = prop_oneof![3 => Just(0_i64), 2 => 0..8_i64, 1 => 0..60_i64];
    let step = (0..2_usize, 0..2_usize, key, "[xyz]", 0..4_i64, stray, 0..12_u8);
    prop::collection::vec(step, 1..40).prop_map(|drawn: Vec<Drawn>| {
        let mut at = -20;
        let step = |(idx, (source, partition, key, id, on, stray, what)): (usize, Drawn)| {
            at += on;
            let (id, at) = (format!("{id}{idx}"), at - stray);
            if what == 0 { Step::Seal } else { Step::Record { source, partition, key, id, at } }
        };
        drawn.into_iter().enumerate().map(step).collect()
    })
}

/// What comes out of `steps`, sorted. A batch ends with its input, with a seal, and where `is_cut` says so.
fn run(pipeline: &str, steps: &[Step], mut is_cut: impl FnMut(usize) -> bool) -> Vec<String> {
    let lines: Vec<String> = pipeline.lines().map(str::to_owned).collect();
    let has_two = |what: &str| pipeline.contains(what);
    let (two_sources, two_partitions) = (has_two(" imps"), has_two("partitions=2"));
    let mut world = World::new(&lines).expect("a good pipeline");
    let mut out = Vec::new();
    let mut batch: Option<(String, Vec<String>)> = None;
    let mut lines: Vec<String> = Vec::new();
    let end = |batch: &mut Option<(String, Vec<String>)>, lines: &mut Vec<String>| {
        lines.extend(batch.take().map(|(to, words)| format!("records {to} {}", words.join(" "))));
    };
    for (idx, step) in steps.iter().enumerate() {
        match step {
            Step::Seal => {
                end(&mut batch, &mut lines);
                if pipeline.contains("early=") {
                    lines.push("wait 3s".to_owned());
                }
                lines.push("seal".to_owned());
            }
            Step::Record { source, partition, key, id, at } => {
                let id = if pipeline.contains("timers") { timer_word(idx, *at) } else { id.clone() };
                let stop = if pipeline.contains("end=stop") && idx % 5 == 3 { "!" } else { "" };
                let is_version = two_sources && *source == 1 && pipeline.contains("table imps");
                let word = match idx % 6 {
                    0 if is_version => format!("from@{at}s"),
                    1 if is_version => format!("-{key}@{at}s"),
                    _ => format!("{key}#{id}{stop}@{at}s"),
                };
                let source = if two_sources && *source == 1 { "imps" } else { "plays" };
                let to = format!("{source} p{}", if two_partitions { *partition } else { 0 });
                if batch.as_ref().is_some_and(|(open, _)| *open != to) || is_cut(idx) {
                    end(&mut batch, &mut lines);
                }
                batch.get_or_insert_with(|| (to, Vec::new())).1.push(word);
            }
        }
    }
    end(&mut batch, &mut lines);
    lines.extend(["end", "seal", "seal", "counts"].map(str::to_owned));
    for line in lines {
        let said = world.step(std::slice::from_ref(&line)).unwrap_or_else(|why| panic!("{line}: {why}"));
        out.extend(said.lines().map(str::to_owned));
    }
    out.retain(|line| !line.starts_with("watermark "));
    if pipeline.contains("emit=upsert") {
        out = out.iter().filter_map(|line| final_only(line)).collect();
    }
    out.sort();
    out
}

/// What the plugin `timers` does on a row that happens `at` some second.
fn timer_word(idx: usize, at: i64) -> String {
    match idx % 7 {
        0 => format!("at={}", at + 2),
        1 => format!("at={}", at + 9),
        2 => format!("at={}", at - 1),
        3 => format!("not={}", at + 2),
        4 => "chain=3".to_owned(),
        5 => "forget".to_owned(),
        _ => "refuse".to_owned(),
    }
}

/// `line` without what depends on how often results were told early: their rows, and numbers of rows.
fn final_only(line: &str) -> Option<String> {
    let is_early = line.contains(" rev=") && !line.ends_with(" final");
    let told = |word: &&str| !word.starts_with("rev=") && !word.starts_with("out=");
    (!is_early).then(|| line.split(' ').filter(told).collect::<Vec<_>>().join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn i_12_batches_change_nothing(steps in steps(), cuts in prop::collection::vec(any::<bool>(), 40)) {
        for pipeline in PIPELINES {
            let one_by_one = run(pipeline, &steps, |_| true);
            prop_assert_eq!(&run(pipeline, &steps, |_| false), &one_by_one, "as few batches as can be:\n{}", pipeline);
            prop_assert_eq!(&run(pipeline, &steps, |idx| cuts[idx]), &one_by_one, "random batches:\n{}", pipeline);
        }
    }
}
