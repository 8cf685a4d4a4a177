//! Counts of all tasks together, and the laws they keep.

use reelflow_core::{
    plan::Plan,
    stage::StageCounts,
    task::{SourceCounts, TaskCounts},
};

/// A line for each source and each stage. Panics unless everything that came in has exactly one fate.
pub fn all(plan: &Plan, of_tasks: &[TaskCounts]) -> String {
    let mut out = String::new();
    for (idx, source) in plan.sources.iter().enumerate() {
        let counts = of_tasks.iter().filter_map(|counts| counts.sources.get(&idx));
        let SourceCounts { records_in, decoded, dead } = counts.fold(SourceCounts::default(), |a, b| SourceCounts {
            records_in: a.records_in + b.records_in,
            decoded: a.decoded + b.decoded,
            dead: a.dead + b.dead,
        });
        assert_eq!(records_in, decoded + dead, "of source {}", source.name);
        out += &format!("{} in={records_in} decoded={decoded} dead={dead}\n", source.name);
    }
    for (idx, stage) in plan.stages.iter().enumerate() {
        let sum =
            |count: fn(&StageCounts) -> u64| of_tasks.iter().filter_map(|counts| counts.stages.get(&idx)).map(count).sum::<u64>();
        let all: [(&str, u64); 11] = [
            ("in", sum(|counts| counts.rows_in)),
            ("accepted", sum(|counts| counts.accepted)),
            ("duplicate", sum(|counts| counts.duplicate)),
            ("conflicting", sum(|counts| counts.conflicting)),
            ("late", sum(|counts| counts.late)),
            ("dead", sum(|counts| counts.dead)),
            ("skipped", sum(|counts| counts.skipped)),
            ("out", sum(|counts| counts.rows_out)),
            ("late_panes", sum(|counts| counts.late_panes)),
            ("dead_panes", sum(|counts| counts.dead_panes)),
            ("skipped_panes", sum(|counts| counts.skipped_panes)),
        ];
        let [(_, rows_in), (_, accepted), (_, duplicate), _, (_, late), (_, dead), (_, skipped), ..] = all;
        assert_eq!(rows_in, accepted + duplicate + late + dead + skipped, "of stage {}", stage.name);
        let words: Vec<String> =
            all.iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("{name}={count}")).collect();
        out += &format!("{} {}\n", stage.name, words.join(" "));
    }
    out
}
