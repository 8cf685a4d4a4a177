//! The manifest as the text says it: each table read on its own, its references still names.

use reelflow_core::format::Binary;
use toml::de::DeTable;

use crate::{
    code::Code,
    config::{Config, Log, Pipeline, Plugin, Registry, Sink, Source, Stage, state::State, test::Test, upgrade::Upgrade},
    problem::{At, Problem, Problems, Span, Valid},
    value,
    walk::{Entry, Table, read_text, wrong_type},
    wiring,
};

mod combine;
mod failing;
mod flow;
mod format;
mod global;
mod history;
mod inputs;
mod join;
mod lookup;
mod pipeline;
mod sink;
mod state;
mod test;
mod upgrade;
mod window;
mod written;
mod zoned;

pub(crate) use sink::check_paths;

/// What stands in the text. Where `built` is `None`, something in that table is wrong and already reported; names and references
/// are kept all the same, so that the checks between tables see everything.
#[derive(Default)]
pub(crate) struct RawConfig {
    pub pipeline: Option<Pipeline>,
    pub upgrade: Option<Upgrade>,
    pub log: Option<Log>,
    /// Its inside is `None` where something in it is wrong.
    pub registry: Option<At<Option<Registry>>>,
    /// Its inside is `None` where something in it is wrong.
    pub state: Option<Option<State>>,
    pub sources: Vec<RawSource>,
    pub plugins: Vec<Raw<Plugin>>,
    pub stages: Vec<RawStage>,
    pub sinks: Vec<RawSink>,
    pub tests: Vec<Test>,
}

pub(crate) struct Raw<T> {
    pub name: At<String>,
    pub built: Option<T>,
}

pub(crate) struct RawSource {
    pub name: At<String>,
    pub topic: Option<At<String>>,
    /// Whether it stands under `[table]`.
    pub is_table: bool,
    /// Where it says a format whose schemas only a registry can have.
    pub asks_registry: Option<At<Binary>>,
    pub built: Option<Source>,
}

impl RawSource {
    /// The word for it in messages.
    pub fn what(&self) -> &'static str {
        if self.is_table { "table" } else { "source" }
    }

    pub fn has_history(&self) -> bool {
        self.built.as_ref().is_some_and(|source| source.history.is_some())
    }
}

pub(crate) struct RawStage {
    pub name: At<String>,
    /// As the text says it; `None` if it says none that exists.
    pub kind: Option<&'static str>,
    /// The table of a lookup among them.
    pub inputs: Vec<At<String>>,
    /// The table of a lookup.
    pub table: Option<At<String>>,
    pub plugin: Option<At<String>>,
    pub built: Option<Stage>,
}

pub(crate) struct RawSink {
    pub name: At<String>,
    pub input: Option<At<String>>,
    /// `None`: none is named, or the sink writes files.
    pub topic: Option<At<String>>,
    /// The folder that it writes files to.
    pub path: Option<At<String>>,
    /// The subject of a registry under which its schema is to be found.
    pub subject: Option<At<String>>,
    pub built: Option<Sink>,
}

/// Reads a manifest.
///
/// Returns the configuration with its warnings, or everything that is wrong with the text: errors and warnings.
pub fn parse(text: &str) -> Result<Valid<Config>, Problems> {
    let mut problems = Problems::default();
    let (root, errors) = DeTable::parse_recoverable(text);
    let syntax_is_whole = syntax(text, &errors, &mut problems);
    if !syntax_is_whole {
        // What recovery made of broken text would be reported in ways that mislead.
        return Err(problems);
    }
    let raw = RawConfig::read(root.get_ref(), &mut problems);
    let config = wiring::check(raw, &mut problems);
    match config {
        Some(value) if !problems.has_errors() => Ok(Valid { value, warnings: problems }),
        _ => Err(problems),
    }
}

/// Reports what the TOML parser found. Returns whether the tree can be trusted: duplicates leave it whole.
fn syntax(text: &str, errors: &[toml::de::Error], problems: &mut Problems) -> bool {
    let mut whole = true;
    let mut table_twice: Option<usize> = None;
    for error in errors {
        let span = in_text(text, error.span().unwrap_or(0..0));
        if error.message() != "duplicate key" {
            whole = false;
            problems.push(Problem::at(Code::Syntax, span, "the manifest is not TOML", error.message()));
            continue;
        }
        let line_start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
        let line = text[line_start..].lines().next().unwrap_or_default().trim();
        let is_table = line.starts_with('[');
        // The keys of a table that stands twice are twice there too: that goes without saying.
        if !is_table
            && table_twice
                .is_some_and(|from| !text[from..line_start].lines().skip(1).any(|line| line.trim_start().starts_with('[')))
        {
            continue;
        }
        table_twice = is_table.then_some(line_start);
        let name = text[span.clone()].trim_matches('"');
        let (message, first) = if is_table {
            (format!("the table {line} stands twice"), first_line(text, line_start, |other| other == line))
        } else {
            (format!("the key \"{name}\" stands twice in one table"), first_key(text, line_start, &text[span.clone()]))
        };
        let mut problem = Problem::at(Code::DuplicateKey, span, message, "again here");
        if let Some(first) = first {
            problem = problem.also(first, "first here");
        }
        problems.push(problem);
    }
    whole
}

/// A span that can be shown: within `text`, on the borders of characters.
fn in_text(text: &str, span: Span) -> Span {
    let border = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = border(span.start);
    start..border(span.end).max(start)
}

/// The first line before `end` that is as asked, without the blanks around it.
fn first_line(text: &str, end: usize, is_it: impl Fn(&str) -> bool) -> Option<Span> {
    let mut start = 0;
    for line in text[..end].split_inclusive('\n') {
        let trimmed = line.trim();
        if is_it(trimmed) {
            let from = start + line.find(trimmed).unwrap_or(0);
            return Some(from..from + trimmed.len());
        }
        start += line.len();
    }
    None
}

/// The key `key` above `end` in the same table.
fn first_key(text: &str, end: usize, key: &str) -> Option<Span> {
    let table = text[..end].rfind("\n[").map_or(0, |at| at + 1);
    let is_it = |line: &str| line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='));
    let found = first_line(&text[table..], end - table, is_it)?;
    Some(table + found.start..table + found.start + key.len())
}

impl RawConfig {
    fn read(root: &DeTable<'_>, problems: &mut Problems) -> RawConfig {
        let mut root = Table::new("the manifest", root, 0..0);
        let pipeline = pipeline::pipeline(&mut root, problems);
        let mut raw = RawConfig {
            upgrade: Some(upgrade::upgrade(&mut root, pipeline.as_ref(), problems)),
            pipeline,
            log: pipeline::log(&mut root, problems),
            registry: format::registry(&mut root, problems),
            state: state::state(&mut root, problems),
            ..RawConfig::default()
        };
        for (name, table) in named(&mut root, "source", problems) {
            raw.sources.push(flow::source(name, table, false, problems));
        }
        for (name, table) in named(&mut root, "table", problems) {
            raw.sources.push(flow::source(name, table, true, problems));
        }
        for (name, table) in named(&mut root, "plugin", problems) {
            let built = pipeline::plugin(name.clone(), table, problems);
            raw.plugins.push(Raw { name, built });
        }
        for (name, table) in named(&mut root, "stage", problems) {
            raw.stages.push(flow::stage(name, table, problems));
        }
        for (name, table) in named(&mut root, "sink", problems) {
            raw.sinks.push(sink::sink(name, table, problems));
        }
        raw.tests = test::tests(&mut root, problems);
        root.finish(&[], problems);
        raw
    }
}

/// The tables `[kind.name]`, in the order of the text.
fn named<'t>(root: &mut Table<'t>, kind: &'static str, problems: &mut Problems) -> Vec<(At<String>, Table<'t>)> {
    let Some(mut all) = root.table(kind, format!("[{kind}]"), problems) else {
        return Vec::new();
    };
    let mut tables = Vec::new();
    for entry in all.take_rest() {
        let what = format!("{kind} \"{}\"", entry.key);
        let legal = |text: &str| {
            value::name(text).map_err(|mut wrong| {
                // A mended name would have to be quoted where it needs no quotes: say it in words only.
                wrong.instead = None;
                wrong
            })
        };
        if read_text(entry.key, entry.key_span.clone(), &format!("the name of {what}"), Code::BadName, legal, problems).is_none()
        {
            // The table is still read: what is wrong inside should be said too.
        }
        let name = At::new(entry.key.to_owned(), entry.key_span.clone());
        if let Some(table) = table_of(&entry, &what, kind, problems) {
            tables.push((name, table));
        }
    }
    tables
}

fn table_of<'t>(entry: &Entry<'t>, what: &str, kind: &str, problems: &mut Problems) -> Option<Table<'t>> {
    if entry.value.get_ref().as_table().is_none() {
        let problem = wrong_type(entry.key, &format!("[{kind}]"), "a table", entry.value);
        problems.push(problem.help(format!("a {kind} has a name: write [{kind}.NAME] above its keys")));
        return None;
    }
    entry.table(what, what, problems)
}
