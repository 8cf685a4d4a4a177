//! What a process tells whoever watches of the trials of new code.

use std::sync::{Arc, Mutex};

use reelflow_core::{
    plan::Emission,
    time::WallTime,
    upgrade::{CodeSet, Migration},
};
use reelflow_ports::{
    clock::Clock,
    log::Log,
    schemas::KnownSchemas,
    simulated::{NoFaults, SimulatedLog, VirtualClock},
};
use reelflow_runtime::{
    code::{Components, Loader, Program},
    control::{self, Control, Started, Upgrader},
    observe::{Event, Observer},
    settings::Settings,
    summary::Summary,
    worker::Job,
};
use reelflow_simulation::{
    input::BEGIN_MS,
    shape::{FOR_EVER_MS, Kind, Shape},
};

const SHAPE: Shape =
    Shape { kind: Kind::Join, n_partitions: 1, lateness_ms: 0, horizon_ms: FOR_EVER_MS, emission: Emission::Final };

/// Knows one component that does not fit.
struct Picky;

impl Loader for Picky {
    fn load(&self, components: &Components) -> Result<Program, String> {
        match &*components["p"] {
            b"unfit" => Err("it does not fit this manifest".to_owned()),
            _ => Ok(program(components)),
        }
    }
}

fn set(components: &Components) -> CodeSet {
    let digest = |component: &Arc<[u8]>| Arc::from(String::from_utf8_lossy(component));
    CodeSet(components.iter().map(|(name, component)| (name.clone(), digest(component))).collect())
}

fn program(components: &Components) -> Program {
    let (plan, plugins) = SHAPE.build();
    Program {
        plan: Arc::new(plan),
        plugins,
        names: Vec::new(),
        set: set(components),
        stamps: Default::default(),
        resets: Default::default(),
    }
}

fn components(text: &str) -> Components {
    [("p".into(), text.as_bytes().into())].into()
}

#[derive(Default)]
struct Heard(Mutex<Vec<Event>>);

impl Observer for Heard {
    fn event(&self, event: &Event) {
        self.0.lock().expect("nobody panics").push(event.clone());
    }

    fn progress(&self, _: &Summary) {}
}

impl Heard {
    /// Why new code was given up, each time that somebody said so.
    fn rolled_back(&self) -> Vec<String> {
        let heard = self.0.lock().expect("nobody panics");
        let why = |event: &Event| match event {
            Event::CodeRolledBack { why, .. } => Some(why.to_string()),
            _ => None,
        };
        heard.iter().filter_map(why).collect()
    }
}

/// A process of the pipeline, and who watches it.
fn enter(log: &Arc<dyn Log>, clock: &Arc<dyn Clock>, instance: &str) -> (Control, Arc<Heard>) {
    let heard = Arc::new(Heard::default());
    let code = Arc::new(program(&components("v1")));
    let mut job = Job {
        plan: code.plan.clone(),
        plugins: code.plugins.clone(),
        log: log.clone(),
        bases: None,
        schemas: Arc::new(KnownSchemas::default()),
        clock: clock.clone(),
        settings: Settings::standard(instance.into()),
        observer: heard.clone(),
        board: None,
    };
    let started = Started { code, components: components("v1"), loader: Arc::new(Picky), resets: Default::default() };
    (control::enter(&mut job, &started, Upgrader::default()).expect("nothing fails here"), heard)
}

/// Regression: code that did not even load was rolled back without a word, as its trial never came onto the board; and who looked a moment later,
/// when it was over, never heard of it.
#[test]
fn code_that_does_not_load_is_rolled_back_aloud() {
    let clock = VirtualClock::starting_at(WallTime(BEGIN_MS));
    let log: Arc<dyn Log> = Arc::new(SimulatedLog::new(clock.clone(), Box::new(NoFaults)));
    let clock: Arc<dyn Clock> = clock;
    let mut processes = [enter(&log, &clock, "a"), enter(&log, &clock, "b")];
    let name = SHAPE.build().0.name;
    let unfit = components("unfit");
    let (code, resets, by) = (set(&unfit), Default::default(), "somebody".into());
    let proposal = control::Proposal { components: &unfit, code: &code, migration: Migration::Lazy, resets: &resets, by: &by };
    control::propose(&log, &clock, (&name, 1), proposal).expect("it is written");
    for _ in 0..3 {
        for (control, _) in &mut processes {
            control.step().expect("nothing fails here");
        }
    }
    processes.iter().for_each(|(_, heard)| assert_eq!(heard.rolled_back(), ["it does not fit this manifest"]));
    // Who comes later has not seen it.
    let (mut late, heard) = enter(&log, &clock, "c");
    late.step().expect("nothing fails here");
    assert!(heard.rolled_back().is_empty());
}
