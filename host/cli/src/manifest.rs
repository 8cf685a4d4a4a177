//! Reads a manifest and what it names: references to the environment, components, the log. Everything wrong is said at once.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use reelflow_config::{
    At, Code, Config, External, Outside, Partitions, Problem, Problems, Valid,
    config::{
        Guarantee as Promise, Log as LogSection, Plugin as PluginSection,
        state::{Bases as BasesGo, StoreAddress, store_address},
    },
};
use reelflow_core::{
    history::{HistoryPlan, TimeRange},
    plan::Plan,
};
use reelflow_ports::{
    bases::{BaseError, BaseStore},
    engine::{LoadError, Plugin, PluginEngine},
    history::History,
    log::{Guarantee, Log, LogError},
};
use reelflow_runtime::{
    bases::Bases,
    code::{Components, Program},
    error::RunError,
    publish::FileSinks,
};

use crate::{
    failure::{Exit, Failure},
    outside,
    wire::{self, LogTarget},
};

mod schemas;

/// A manifest that is valid by itself.
#[derive(Clone)]
pub(crate) struct Manifest {
    path: PathBuf,
    text: String,
    pub(crate) config: Config,
    pub(crate) warnings: Problems,
    /// Components in the place of those that are named, by plugin.
    candidates: BTreeMap<String, Vec<u8>>,
    /// What a registry calls the schemas of sinks, by sink. Empty before it was asked.
    sink_ids: BTreeMap<String, u32>,
}

/// A pipeline that fits its plugins.
pub(crate) struct Planned {
    pub(crate) plan: Plan,
    /// In the order of the plan's plugin indices.
    pub(crate) plugins: Vec<Arc<dyn Plugin>>,
    pub(crate) warnings: Problems,
}

impl Manifest {
    /// Reads and checks the file at `path`.
    pub(crate) fn load(path: &Path) -> Result<Manifest, Failure> {
        let text = fs::read_to_string(path).map_err(|why| unreadable(path, &why))?;
        match reelflow_config::parse(&text) {
            Ok(valid) => {
                let Valid { value: config, warnings } = valid;
                let (candidates, sink_ids) = (BTreeMap::new(), BTreeMap::new());
                Ok(Manifest { path: path.to_owned(), text, config, warnings, candidates, sink_ids })
            }
            Err(problems) => Err(Failure::Manifest { file: path.display().to_string(), text, problems }),
        }
    }

    /// What the messages about this manifest point into.
    pub(crate) fn failure(&self, problems: impl Into<Problems>) -> Failure {
        Failure::Manifest { file: self.file(), text: self.text.clone(), problems: problems.into() }
    }

    /// An error of the log that this manifest names.
    pub(crate) fn log_failure(&self, error: LogError) -> Failure {
        match outside::problem(&self.config, &error) {
            Some(problem) => self.failure(problem),
            None => error.into(),
        }
    }

    /// Why this manifest's pipeline stopped.
    pub(crate) fn run_failure(&self, error: RunError) -> Failure {
        outside::problems_of_run(&self.config, error).map_or_else(|failure| failure, |problems| self.failure(problems))
    }

    pub(crate) fn file(&self) -> String {
        self.path.display().to_string()
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Paths in a manifest are relative to it.
    fn beside(&self, path: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    /// The crates of plugins whose components lie in their crate's folder, where `reel build` puts them: folder and component.
    pub(crate) fn crates(&self) -> Vec<(PathBuf, PathBuf)> {
        let in_crate = |component: PathBuf| {
            let dir = component.parent().unwrap_or(Path::new("")).to_owned();
            // An empty path means the current folder, but not to a program that is to be started there.
            let dir = if dir.as_os_str().is_empty() { PathBuf::from(".") } else { dir };
            dir.join("Cargo.toml").is_file().then_some((dir, component))
        };
        let mut crates: Vec<(PathBuf, PathBuf)> = self.component_paths().into_iter().filter_map(in_crate).collect();
        // Two plugins may be one component under two configs.
        crates.sort();
        crates.dedup();
        crates
    }

    /// Where a sample of the records of `topic` lies, if there is one.
    pub(crate) fn sample(&self, topic: &str) -> PathBuf {
        self.beside(&format!("{topic}.ndjson"))
    }

    /// The folders in which the file sinks of `plan` publish.
    pub(crate) fn file_sinks(&self, plan: &Plan) -> FileSinks {
        wire::file_sinks(plan, &self.beside(""))
    }

    /// The same manifest for a run under another name.
    pub(crate) fn renamed(self, name: &str) -> Manifest {
        Manifest { config: self.config.renamed(name), ..self }
    }

    /// The same manifest with another component of a plugin: `said` names both as `NAME=FILE`, or the file where there is one plugin.
    pub(crate) fn with_candidate(self, said: &str) -> Result<Manifest, Failure> {
        let names: Vec<&str> = self.config.plugins.iter().map(|section| section.name.value.as_str()).collect();
        let named = said.split_once('=').filter(|(name, _)| names.contains(name));
        let (name, file) = match (named, &names[..]) {
            (Some(named), _) => named,
            (None, [only]) => (*only, said),
            (None, _) => {
                let known = names.join(", ");
                let message = format!("--plugin {said} names no plugin of pipeline \"{}\"", *self.config.pipeline.name);
                let help = format!("write NAME={}; its plugins are {known}", said.rsplit('=').next().unwrap_or(said));
                return Err(Failure::new(Exit::User, message).help(help));
            }
        };
        let component = fs::read(file)
            .map_err(|why| Failure::new(Exit::Environment, format!("the component \"{file}\" cannot be read: {why}")))?;
        let mut candidates = self.candidates.clone();
        candidates.insert(name.to_owned(), component);
        Ok(Manifest { candidates, ..self })
    }

    /// The records of `plans`, sorted in the folder `spool` or beside the manifest.
    pub(crate) fn history(
        &self,
        plans: &[HistoryPlan],
        range: TimeRange,
        n_partitions: u32,
        spool: Option<&Path>,
        watch: &mut dyn FnMut(u64, u64),
    ) -> Result<Box<dyn History>, Failure> {
        let base = self.beside("");
        // An empty path means the current folder, but not to the file system.
        let beside = if base.as_os_str().is_empty() { Path::new(".") } else { &base };
        let spool = spool.unwrap_or(beside);
        wire::history(&base, plans, range, n_partitions, spool, watch).map_err(|unusable| {
            let mut problems = Problems::default();
            unusable.into_iter().for_each(|one| problems.push(outside::history_problem(&self.config, &one.source, &one.why)));
            self.failure(problems)
        })
    }

    /// What the log promises of an epoch.
    pub(crate) fn guarantee(&self) -> Guarantee {
        match self.config.pipeline.guarantee {
            Promise::ExactlyOnce => Guarantee::ExactlyOnce,
            Promise::AtLeastOnce => Guarantee::AtLeastOnce,
        }
    }

    /// Whether the log belongs to one process at a time.
    pub(crate) fn has_own_log(&self) -> bool {
        matches!(self.config.log, LogSection::Embedded { .. })
    }

    /// Opens the log that the manifest names.
    pub(crate) fn open_log(&self) -> Result<Box<dyn Log>, Failure> {
        let mut problems = Problems::default();
        let target = match &self.config.log {
            LogSection::Embedded { path } => LogTarget::Embedded { folder: self.beside(path) },
            LogSection::Kafka { brokers, client } => {
                let brokers = self.resolved(brokers, &mut problems);
                let client = client.iter().map(|(name, value)| (name.value.clone(), self.resolved(value, &mut problems)));
                let client = client.collect();
                LogTarget::Kafka { brokers, client }
            }
        };
        if problems.has_errors() {
            return Err(self.failure(problems));
        }
        wire::log(target).map_err(|error| match outside::problem_of_opening(&self.config, &error) {
            Some(problem) => self.failure(problem),
            None => error.into(),
        })
    }

    /// The store that holds bases of the state, if the manifest names one. Nobody looks at it yet.
    pub(crate) fn store(&self) -> Result<Option<Arc<dyn BaseStore>>, Failure> {
        let Some(state) = &self.config.state else { return Ok(None) };
        let mut problems = Problems::default();
        let address = self.resolved(&state.store, &mut problems);
        if problems.has_errors() {
            return Err(self.failure(problems));
        }
        let store = match store_address(&address) {
            Ok(StoreAddress::Folder(path)) => Ok(wire::folder_store(self.beside(path))),
            Ok(StoreAddress::Bucket { name, prefix }) => wire::bucket_store(name, prefix),
            Err((why, _)) => Err(BaseError::BadAddress(format!("\"{address}\" {why}"))),
        };
        store.map(Some).map_err(|error| self.run_failure(error.into()))
    }

    /// The store, and whether new bases go there.
    pub(crate) fn bases(&self) -> Result<Option<Arc<Bases>>, Failure> {
        let is_written = self.config.state.as_ref().is_some_and(|state| state.bases == BasesGo::Store);
        Ok(self.store()?.map(|store| Arc::new(Bases::new(store, is_written))))
    }

    /// The value of `external`; what is wrong with it is a problem.
    fn resolved(&self, external: &At<External>, problems: &mut Problems) -> String {
        self.resolve(external).unwrap_or_else(|why| {
            problems.push(reelflow_config::external_missing(external, why));
            String::new()
        })
    }

    fn resolve(&self, external: &External) -> Result<String, String> {
        match external {
            External::Inline(value) => Ok(value.clone()),
            External::Env(name) => std::env::var(name).map_err(|_| format!("the environment variable {name} is not set")),
            External::File(path) => match fs::read_to_string(self.beside(path)) {
                Ok(text) => Ok(text.trim_end_matches(['\n', '\r']).to_owned()),
                Err(why) => Err(format!("\"{path}\" cannot be read: {why}")),
            },
        }
    }

    /// Loads the plugins and fits the pipeline to them.
    pub(crate) fn plan(&self, partitions: Partitions) -> Result<Planned, Failure> {
        self.plan_with(&self.components()?, partitions)
    }

    /// The files of all plugins.
    pub(crate) fn component_paths(&self) -> Vec<PathBuf> {
        self.config.plugins.iter().map(|section| self.beside(&section.path)).collect()
    }

    /// What the files of all plugins hold, by the plugins' names.
    pub(crate) fn components(&self) -> Result<Components, Failure> {
        let mut problems = Problems::default();
        let mut components = Components::new();
        for section in &self.config.plugins {
            match self.component(section) {
                Ok(component) => drop(components.insert(section.name.as_str().into(), component.into())),
                Err(why) => problems.push(self.plugin_unreadable(section, &why)),
            }
        }
        if problems.has_errors() { Err(self.failure(problems)) } else { Ok(components) }
    }

    /// What the pipeline runs if its plugins are `components`, and warnings.
    pub(crate) fn code(&self, components: &Components, n_partitions: u32) -> Result<(Program, Problems), Failure> {
        let Planned { plan, plugins, warnings } = self.plan_with(components, Partitions::all(n_partitions))?;
        let names = self.config.plugins.iter().map(|section| section.name.as_str().into()).collect();
        Ok((Program::new(plan, plugins, names), warnings))
    }

    /// Loads `components`, one for each plugin, and fits the pipeline to them.
    fn plan_with(&self, components: &Components, partitions: Partitions) -> Result<Planned, Failure> {
        let mut problems = Problems::default();
        let mut plugins: BTreeMap<String, Arc<dyn Plugin>> = BTreeMap::new();
        let engine = wire::engine();
        for section in &self.config.plugins {
            let Some(component) = components.get(section.name.as_str()) else {
                let message = format!("there is no component for plugin \"{}\"", *section.name);
                return Err(Failure::new(Exit::User, message).help("Was the pipeline started by another manifest?"));
            };
            match engine.load(component, &section.config.to_string(), &section.limits) {
                Ok(plugin) => {
                    plugins.insert(section.name.value.clone(), plugin);
                }
                Err(why) => problems.push(self.plugin_problem(&section.name, &why)),
            }
        }
        let (schemas, sink_schemas) = (self.source_schemas(&mut problems), self.sink_schemas(&mut problems));
        if problems.has_errors() {
            return Err(self.failure(problems));
        }
        let declarations = plugins.iter().map(|(name, plugin)| (name.clone(), plugin.declaration().clone())).collect();
        let outside = Outside { declarations, schemas, sink_schemas };
        let planned = reelflow_config::plan(&self.config, &outside, partitions).map_err(|problems| self.failure(problems))?;
        // The plan's plugin indices follow the manifest.
        let plugins = self.config.plugins.iter().map(|section| plugins[&section.name.value].clone()).collect();
        Ok(Planned { plan: planned.value, plugins, warnings: planned.warnings })
    }

    /// Why the plugin `name` cannot be loaded.
    pub(crate) fn plugin_problem(&self, name: &str, why: &LoadError) -> Problem {
        outside::plugin_problem(&self.config, name, why)
    }

    /// The bytes of a plugin's component, or of what takes its place.
    pub(crate) fn component(&self, section: &PluginSection) -> std::io::Result<Vec<u8>> {
        match self.candidates.get(&section.name.value) {
            Some(candidate) => Ok(candidate.clone()),
            None => fs::read(self.beside(&section.path)),
        }
    }

    fn plugin_unreadable(&self, section: &PluginSection, why: &std::io::Error) -> Problem {
        let path = self.beside(&section.path);
        let message = format!("the component of plugin \"{}\" cannot be read", *section.name);
        Problem::at(Code::PluginFileUnreadable, section.path.span.clone(), message, format!("{}: {why}", path.display()))
            .help("Build it with `reel build`, or mend the path, which is relative to the manifest.")
    }
}

fn unreadable(path: &Path, why: &std::io::Error) -> Failure {
    let name = path.file_name().unwrap_or_default();
    let above = std::env::current_dir()
        .ok()
        .and_then(|dir| dir.ancestors().skip(1).map(|dir| dir.join(name)).find(|file| file.is_file()));
    let help = match above {
        Some(found) => format!("did you mean {}?", found.display()),
        None => "name the manifest, or start one with `reel new NAME`".to_owned(),
    };
    let problems = reelflow_config::manifest_unreadable(path.display(), why).help(help).into();
    Failure::Manifest { file: path.display().to_string(), text: String::new(), problems }
}
