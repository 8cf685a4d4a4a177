//! A plugin is replaced by one with states of another version: migrated when they are read or all at once, the same comes of them, and
//! what cannot be migrated is found before anything is lost.

use std::sync::Arc;

use reelflow_core::{
    plan::{Emission, Plan, SessionCuts, StageKind, WindowSpec},
    plugin::PluginFault,
    record::{END_KEY, Outgoing},
    schema::{FieldType, Schema},
    stage::DeadReason,
    task::{Effect, FAILURES_MAX, Input, StageMigration, Task},
    time::WallTime,
};
use reelflow_ports::{
    engine::{Plugin, PluginInstance},
    native::{
        NativePlugin,
        ready::{field, tally},
        rolling::rolling,
    },
};
use reelflow_simulation::{
    input::BEGIN_MS,
    shape::{HOPPING_MS, Kind, SPAN_MS, Shape},
    versioned::{On99, versioned},
};

const LATENESS_MS: i64 = 300_000;
/// The stage that keeps states, in the pipelines used here.
const STAGE: usize = 2;

/// Everything that keeps states of a plugin.
#[derive(Clone, Copy, Debug)]
enum Keeper {
    Tumbling,
    Hopping,
    Session,
    CutSession,
    Process,
}

const KEEPERS: [Keeper; 5] = [Keeper::Tumbling, Keeper::Hopping, Keeper::Session, Keeper::CutSession, Keeper::Process];

/// A version of the plugin: what it writes, the others that it reads, and what it does with 99.
#[derive(Clone, Copy)]
struct Version(u32, &'static [u32], On99);

const V1: Version = Version(1, &[], On99::Migrates);
const V2: Version = Version(2, &[1], On99::Migrates);

impl Keeper {
    fn build(self, Version(version, reads, on_99): Version) -> (Arc<Plan>, Vec<Box<dyn PluginInstance>>) {
        let kind = match self {
            Keeper::Tumbling | Keeper::Hopping => Kind::Tumbling,
            Keeper::Session | Keeper::CutSession => Kind::Session,
            Keeper::Process => Kind::Process,
        };
        let shape = Shape { kind, n_partitions: 1, lateness_ms: LATENESS_MS, horizon_ms: LATENESS_MS, emission: Emission::Final };
        let (mut plan, plugins) = shape.build();
        if let StageKind::Aggregate { window, .. } = &mut plan.stages[STAGE].kind {
            match (self, window) {
                (Keeper::Hopping, window) => {
                    let (size_ms, slide_ms) = HOPPING_MS;
                    *window = WindowSpec::Hopping { size_ms, slide_ms, offset_ms: 0 };
                }
                (Keeper::CutSession, WindowSpec::Session { cuts, .. }) => {
                    *cuts = SessionCuts { rows_max: Some(3), ..SessionCuts::NONE };
                }
                _ => {}
            }
        }
        let inner = match self {
            Keeper::Process => rolling("profile", SPAN_MS, LATENESS_MS),
            _ => tally(Schema { fields: vec![field("profile", FieldType::Text)] }),
        };
        let plugin: NativePlugin = versioned(inner, version, reads, on_99);
        plan.stages[STAGE].state.clone_from(&plugin.declaration().state);
        let clean = plugins[0].instance().expect("native plugins need nothing");
        (Arc::new(plan), vec![clean, Box::new(plugin)])
    }
}

/// A task, what it has sealed, and what came of it.
struct Life {
    task: Task,
    plugins: Vec<Box<dyn PluginInstance>>,
    chunks: Vec<Vec<u8>>,
    out: Vec<String>,
    migrated: Option<Vec<StageMigration>>,
    n_calls: usize,
}

impl Life {
    /// The task of `chunks` under another version of its plugin, or why there is none.
    fn recovered(keeper: Keeper, version: Version, chunks: &[Vec<u8>]) -> Result<Life, String> {
        let (plan, plugins) = keeper.build(version);
        let mut task = Task::new(plan, 0, 0);
        for chunk in chunks {
            task.restore(chunk).map_err(|why| why.to_string())?;
        }
        let mut life = Life { task, plugins, chunks: chunks.to_vec(), out: Vec::new(), migrated: None, n_calls: 0 };
        life.give(Input::ClockRead { now: WallTime(BEGIN_MS) });
        Ok(life)
    }

    fn give(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.task.handle(input, &mut effects);
        let mut effects = std::collections::VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Failed(failure) => panic!("no stage stops these pipelines: {failure:?}"),
                Effect::Call { plugin, request, .. } => {
                    self.n_calls += 1;
                    let (result, mut more) = (self.plugins[plugin].call(&request), Vec::new());
                    self.task.handle(Input::PluginReturned { result }, &mut more);
                    effects.extend(more);
                }
                Effect::Append(outgoing) => {
                    let line = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
                    self.out.extend(outgoing.records.iter().map(|record| format!("{} {}", outgoing.topic, line(record.value))));
                }
                Effect::Migrated(found) => assert!(self.migrated.replace(found).is_none(), "migrated twice"),
                Effect::Sealed(sealed) => {
                    if sealed.is_base {
                        self.chunks.clear();
                    }
                    self.chunks.extend(sealed.chunks);
                }
            }
        }
    }

    /// A row of each of `profiles` at each of `at_ms`, all with ids that begin with `round`.
    fn rows(&mut self, round: &str, profiles: &[(String, i64)], at_ms: &[i64]) {
        let mut outgoing = Outgoing::new("plays".into());
        for (at, (profile, value)) in at_ms.iter().flat_map(|at| profiles.iter().map(move |of| (BEGIN_MS + at, of))) {
            let json = format!(
                r#"{{"profile":"{profile}","id":"{round} {profile} {at}","ts":{at},"value":{value},"mark":"","country":"DE"}}"#
            );
            outgoing.push(0, at, Some(profile.as_bytes()), Some(json.as_bytes()), &[]);
        }
        self.give(Input::Records { input: 0, batch: Arc::new(outgoing.records) });
    }

    fn end(&mut self) -> Vec<String> {
        let mut outgoing = Outgoing::new("plays".into());
        outgoing.push(0, BEGIN_MS, Some(END_KEY), Some(b"{}"), &[]);
        self.give(Input::Records { input: 0, batch: Arc::new(outgoing.records) });
        let mut out = std::mem::take(&mut self.out);
        out.sort();
        out
    }

    /// What the stage keeps, whatever happened before: in an order of its own.
    fn kept(&self) -> Vec<String> {
        let mut all = Vec::new();
        self.task.kept(&mut |stage, kept| {
            if stage == STAGE {
                all.push(format!("{kept:?}"));
            }
        });
        all.sort();
        all
    }

    fn versions(&self) -> Vec<u32> {
        self.task.state_versions(STAGE).collect()
    }

    fn migrate(&mut self) -> Vec<StageMigration> {
        self.give(Input::Migrate);
        self.migrated.take().expect("a migration is answered")
    }

    /// The same calls, whose answers are dropped.
    fn run_dry(&mut self) -> Vec<StageMigration> {
        let mut dry_run = self.task.dry_run(&|_| true);
        assert_eq!(dry_run.plugins(), [1].into(), "the plugin that has the states");
        while let Some((plugin, request)) = dry_run.next_call(&self.task) {
            dry_run.returned(self.plugins[plugin].call(&request), |_, _, _| {});
        }
        dry_run.finish()
    }
}

fn profiles(n: usize) -> Vec<(String, i64)> {
    (0..n).map(|at| (format!("p{at:04}"), 1)).collect()
}

/// Some of them hours apart by windows, but nothing is late.
const TIMES: [i64; 6] = [0, 1_000, 30_000, 61_000, 100_000, 200_000];

fn first(keeper: Keeper, profiles: &[(String, i64)], at_ms: &[i64]) -> Life {
    let mut life = Life::recovered(keeper, V1, &[]).expect("nothing is kept");
    life.rows("first", profiles, at_ms);
    life.give(Input::Seal);
    life
}

/// Every window, session and key of the first round is touched in the second. The answer is that of a plugin that was never replaced.
#[test]
fn migrated_when_read_or_all_at_once_the_same_is_kept_and_comes_out() {
    for keeper in KEEPERS {
        let profiles = profiles(7);
        let mut never = first(keeper, &profiles, &TIMES);
        let n_states = never.kept().len() as u64;
        let mut lazy = Life::recovered(keeper, V2, &never.chunks).expect("it reads version 1");
        let mut eager = Life::recovered(keeper, V2, &never.chunks).expect("it reads version 1");
        let of_dry_run = eager.run_dry();
        assert_eq!(eager.kept(), never.kept(), "{keeper:?}: a dry run changes nothing");
        let found = eager.migrate();
        assert_eq!(found, of_dry_run, "{keeper:?}");
        let by_version = [(1, n_states)].into();
        let all = StageMigration { stage: STAGE, version: 2, by_version, n_failed: 0, failures: Vec::new() };
        assert_eq!((found[0].n_migrated(), found), (n_states, vec![all]), "{keeper:?}");
        assert_eq!((lazy.versions(), eager.versions()), (vec![1], vec![2]), "{keeper:?}: what may be kept");
        assert_ne!(lazy.kept(), eager.kept(), "{keeper:?}: nothing was read yet");
        assert!(eager.task.migration().plugins().is_empty(), "{keeper:?}: nothing is left to migrate");
        assert_eq!(eager.migrate(), [], "{keeper:?}");
        let seen = eager.run_dry();
        assert_eq!((&seen[0].by_version, seen[0].n_migrated()), (&[(2, n_states)].into(), 0), "{keeper:?}: all can be read");

        for life in [&mut never, &mut lazy, &mut eager] {
            life.rows("second", &profiles, &TIMES);
            life.give(Input::Seal);
        }
        assert_eq!(lazy.kept(), eager.kept(), "{keeper:?}: all was read");
        assert_eq!(
            (lazy.versions(), eager.versions()),
            (vec![1, 2], vec![2]),
            "{keeper:?}: nobody knows that nothing of 1 is left"
        );
        let mut again = Life::recovered(keeper, V2, &eager.chunks).expect("what it wrote itself");
        assert_eq!(again.kept(), eager.kept(), "{keeper:?}: all was sealed");
        let out = never.end();
        assert!(out.len() > profiles.len(), "{keeper:?}: {out:?}");
        for (name, mut life) in [("lazy", lazy), ("eager", eager)] {
            assert_eq!(life.end(), out, "{keeper:?}, {name}");
        }
        assert_eq!(again.end(), out, "{keeper:?}, eager and recovered");
    }
}

/// 2,500 keys, of which two have a state that cannot be migrated.
#[test]
fn the_states_that_cannot_be_migrated_are_found_and_nothing_else_is_lost() {
    let mut profiles = profiles(2_500);
    (profiles[17].1, profiles[2_400].1) = (99, 99);
    for keeper in KEEPERS {
        let before = first(keeper, &profiles, &[0]);
        for on_99 in [On99::Refuses, On99::Traps] {
            let version = Version(2, &[1], on_99);
            let mut life = Life::recovered(keeper, version, &before.chunks).expect("it reads version 1");
            let of_dry_run = life.run_dry();
            assert_eq!(life.kept(), before.kept(), "{keeper:?}: a dry run changes nothing");
            life.n_calls = 0;
            let found = life.migrate();
            assert_eq!(found, of_dry_run, "{keeper:?} {on_99:?}");
            let [found] = &found[..] else { panic!("{found:?}") };
            assert_eq!((found.n_migrated(), found.n_failed), (2_498, 2), "{keeper:?} {on_99:?}");
            let mut names = Vec::new();
            for failure in &found.failures {
                names.push(String::from_utf8_lossy(&failure.spot.key).into_owned());
                let expected = match on_99 {
                    On99::Traps => DeadReason::Fault(PluginFault::Trap("no room for 99".to_owned().into())),
                    _ => DeadReason::Rejected { code: 99, message: "no room for 99".to_owned() },
                };
                assert_eq!(failure.why, expected, "{keeper:?}");
            }
            assert!(names.len() == 2 && names[0].contains("p0017") && names[1].contains("p2400"), "{keeper:?}: {names:?}");
            // Three slices, or these and what finds two states of 1024.
            let n_calls = if on_99 == On99::Traps { 3 + 40 } else { 3 };
            assert!((3..=n_calls).contains(&life.n_calls), "{keeper:?} {on_99:?}: {} calls", life.n_calls);
            // Who goes on with the task all the same has one that is half migrated by reading, and it says so.
            life.give(Input::Seal);
            assert_eq!(life.versions(), [1, 2], "{keeper:?}");
            let again = Life::recovered(keeper, V1, &before.chunks).expect("as it was written");
            assert_eq!(again.kept(), before.kept(), "{keeper:?}: the log has what was there before");
        }
    }
}

#[test]
fn only_the_first_failures_are_told_one_by_one() {
    let all: Vec<(String, i64)> = profiles(FAILURES_MAX + 5).into_iter().map(|(name, _)| (name, 99)).collect();
    let before = first(Keeper::Tumbling, &all, &[0]);
    let mut life =
        Life::recovered(Keeper::Tumbling, Version(2, &[1], On99::Refuses), &before.chunks).expect("it reads version 1");
    let found = life.migrate();
    assert_eq!((found[0].n_failed, found[0].n_migrated()), (FAILURES_MAX as u64 + 5, 0));
    assert_eq!(found[0].failures.len(), FAILURES_MAX);
    assert!(found[0].failures.is_sorted_by_key(|failure| failure.spot.clone()), "{:?}", found[0].failures);
}

/// A crash when some states were read and others were not: both versions are kept, and each plugin is told what it does not read.
#[test]
fn after_a_crash_half_way_both_versions_are_kept() {
    for keeper in KEEPERS {
        let (all, some) = (profiles(6), profiles(2));
        let before = first(keeper, &all, &[0]);
        let mut half = Life::recovered(keeper, V2, &before.chunks).expect("it reads version 1");
        half.rows("second", &some, &[0]);
        half.give(Input::Seal);
        let refused = |version: Version, chunks: &[Vec<u8>]| Life::recovered(keeper, version, chunks).map(drop).unwrap_err();
        let name = if matches!(keeper, Keeper::Process) { "Rolling" } else { "Tally" };

        // The crash.
        let mut again = Life::recovered(keeper, V2, &half.chunks).expect("it reads both");
        assert_eq!((again.kept(), again.versions()), (half.kept(), vec![1, 2]), "{keeper:?}");
        let back = refused(V1, &half.chunks);
        assert!(back.ends_with(&format!("keeps state {name} 2, its plugin reads {name} 1")), "{keeper:?}: {back}");
        let next = Version(3, &[2], On99::Migrates);
        let too_far = refused(next, &half.chunks);
        assert!(too_far.contains(&format!("keeps state {name} 1, its plugin reads {name} 3")), "{keeper:?}: {too_far}");
        let careful = Version(3, &[1, 2], On99::Migrates);
        assert_eq!(Life::recovered(keeper, careful, &half.chunks).expect("it reads both").kept(), half.kept(), "{keeper:?}");

        let found = again.migrate();
        assert_eq!(found[0].by_version, [(1, 4), (2, 2)].into(), "{keeper:?}");
        assert_eq!(found[0].n_migrated(), 4, "{keeper:?}");
        again.give(Input::Seal);
        assert_eq!(Life::recovered(keeper, next, &again.chunks).expect("all is of version 2").kept(), again.kept(), "{keeper:?}");
        assert!(!refused(V1, &again.chunks).is_empty(), "{keeper:?}");
        // Whoever never sealed the migration can still go back.
        Life::recovered(keeper, V1, &before.chunks).expect("as it was written");
    }
}
