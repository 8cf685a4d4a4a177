//! Runs every case; see the crate's text.

use std::{fs, path::Path};

use libtest_mimic::{Arguments, Failed, Trial};
use reelflow_scenarios::{
    script::{self, Step},
    world::World,
};

/// What happens after every step of a case.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Between {
    Nothing,
    Crash,
    SealAndCrash,
}

fn main() {
    let arguments = Arguments::from_args();
    let is_blessing = std::env::var_os("REEL_BLESS").is_some();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut paths: Vec<_> =
        fs::read_dir(&folder).expect("the cases are there").map(|entry| entry.expect("a readable folder").path()).collect();
    paths.sort();
    let mut trials = Vec::new();
    for path in paths {
        let name = path.file_stem().expect("a case has a name").to_string_lossy().into_owned();
        if is_blessing {
            trials.push(Trial::test(name, move || bless(&path)));
            continue;
        }
        let text = fs::read_to_string(&path).expect("a readable case");
        let is_seal_noticed = ["\n  shuffle ", "\nwait "].iter().any(|word| text.contains(word));
        let runs = [(Between::Nothing, ""), (Between::Crash, "/crashing"), (Between::SealAndCrash, "/sealed_and_crashing")];
        // A seal lets those behind a shuffle go on, and after a restart idleness counts from there: in these cases it would be noticed.
        let n_runs = if is_seal_noticed { 2 } else { 3 };
        for (between, suffix) in runs.into_iter().take(n_runs) {
            let path = path.clone();
            trials.push(Trial::test(format!("{name}{suffix}"), move || check(&path, between)));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn check(path: &Path, between: Between) -> Result<(), Failed> {
    let (steps, _) = script::parse(&fs::read_to_string(path)?)?;
    run(&steps, between, |step, found| {
        if found == step.expected {
            return Ok(());
        }
        Err(format!("{}:{}\n{}\nexpected\n{}\nfound\n{found}", path.display(), step.line, step.input.join("\n"), step.expected))
    })
}

fn bless(path: &Path) -> Result<(), Failed> {
    let (mut steps, after) = script::parse(&fs::read_to_string(path)?)?;
    let mut found = Vec::new();
    run(&steps, Between::Nothing, |_, out| {
        found.push(out.to_owned());
        Ok(())
    })?;
    steps.iter_mut().zip(found).for_each(|(step, found)| step.expected = found);
    fs::write(path, script::render(&steps, &after))?;
    Ok(())
}

fn run(steps: &[Step], between: Between, mut each: impl FnMut(&Step, &str) -> Result<(), String>) -> Result<(), Failed> {
    let mut world: Option<World> = None;
    for step in steps {
        let at_line = |why: String| format!("line {}: {why}", step.line);
        let found = match &mut world {
            _ if step.input[0].starts_with("pipeline") => {
                world = Some(World::new(&step.input).map_err(at_line)?);
                String::new()
            }
            Some(world) => world.step(&step.input).map_err(at_line)?,
            None => return Err(at_line("a case begins with its pipeline".into()).into()),
        };
        each(step, &found)?;
        let world = world.as_mut().expect("set by the first step");
        match between {
            Between::Nothing => {}
            Between::Crash => world.crash().map_err(at_line)?,
            Between::SealAndCrash => {
                world.seal_silently();
                world.crash().map_err(at_line)?;
            }
        }
    }
    Ok(())
}
