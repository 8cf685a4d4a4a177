//! Dead letters: what their headers say, and whether the record that died can be put back where it came from.
//!
//! A letter is the record or row as it was, and behind its own headers those of [`name`], which begin with [`name::PIPELINE`]. A record
//! that is put back has one header more than at first, [`name::RETRIES`]; should it die again, the letter holds it as any other.

use std::{fmt, sync::Arc};

use crate::{
    plan::{Consumer, Plan, StageKind},
    record::{END_KEY, Header, Offset, Partition, Record, WATERMARK_KEY},
    stage::DeadReason,
};

pub mod call;
pub mod retried;
pub mod row;

/// The names of headers.
pub mod name {
    pub const PIPELINE: &str = "reel-pipeline";
    pub const SOURCE: &str = "reel-source";
    pub const STAGE: &str = "reel-stage";
    /// Which plugin it was: its name, `@`, and the first digits of its component's digest. Of a sink's records: which plugin made them.
    pub const PLUGIN: &str = "reel-plugin";
    pub const REASON: &str = "reel-reason";
    pub const CODE: &str = "reel-code";
    pub const ERROR: &str = "reel-error";
    /// Of a trap: the plugin's functions, one a line, the innermost first.
    pub const BACKTRACE: &str = "reel-backtrace";
    /// Bytes of a [`super::call::DeadCall`].
    pub const CALL: &str = "reel-call";
    pub const TOPIC: &str = "reel-topic";
    pub const PARTITION: &str = "reel-partition";
    pub const OFFSET: &str = "reel-offset";
    /// The record's own log timestamp, or the row's event time: a topic of dead letters may count from arrival.
    pub const TIMESTAMP: &str = "reel-timestamp";
    /// Of a record: how often it was put back.
    pub const RETRIES: &str = "reel-retries";
}

/// Where a record or row stood when it died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place<'a> {
    Source(&'a str),
    Stage(&'a str),
}

impl<'a> Place<'a> {
    pub fn name(self) -> &'a str {
        match self {
            Place::Source(name) | Place::Stage(name) => name,
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Source(name) => write!(f, "source {name}"),
            Place::Stage(name) => write!(f, "stage {name}"),
        }
    }
}

/// The record that a letter holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    pub topic: &'a str,
    pub partition: Partition,
    pub offset: Offset,
}

/// A dead letter, borrowed from its record.
#[derive(Clone, Copy, Debug)]
pub struct Letter<'a> {
    pub pipeline: &'a str,
    pub place: Place<'a>,
    /// The plugin's name, `@`, and the first digits of its component's digest; `None`: no plugin did it, or nobody knew which.
    pub plugin: Option<&'a str>,
    /// The short code of why it died.
    pub reason: &'a str,
    /// The plugin's own code.
    pub code: Option<&'a str>,
    pub error: &'a str,
    /// The plugin's functions in which it trapped, one a line, the innermost first.
    pub backtrace: Option<&'a str>,
    /// The bytes of a [`call::DeadCall`].
    pub call: Option<&'a [u8]>,
    /// `None`: what died was a row that a stage had made, or that had come through a shuffle; the value is that row as JSON.
    pub origin: Option<Origin<'a>>,
    /// The record's log timestamp, or the row's event time, in ms since 1970.
    pub timestamp_ms: i64,
    /// How often the record was put back.
    pub retries: u32,
    /// The record's headers as it came.
    pub headers: &'a [Header],
    /// The letter itself: its own offset and time, the key and value that died.
    pub record: Record<'a>,
}

impl<'a> Letter<'a> {
    /// What `record` of a topic of dead letters says; `None` if it is no letter.
    pub fn read(record: Record<'a>) -> Option<Letter<'a>> {
        // The record may have been a letter itself, of another pipeline: its own headers come first.
        let begin = record.headers.iter().rposition(|(name, _)| **name == *name::PIPELINE)?;
        let (headers, own) = record.headers.split_at(begin);
        let text = |name: &str| find(own, name);
        let place = match (text(name::STAGE), text(name::SOURCE)) {
            (Some(stage), _) => Place::Stage(stage),
            (None, source) => Place::Source(source?),
        };
        let origin = || {
            Some(Origin {
                topic: text(name::TOPIC)?,
                partition: text(name::PARTITION)?.parse().ok()?,
                offset: text(name::OFFSET)?.parse().ok()?,
            })
        };
        Some(Letter {
            pipeline: text(name::PIPELINE)?,
            place,
            plugin: text(name::PLUGIN),
            reason: text(name::REASON)?,
            code: text(name::CODE),
            error: text(name::ERROR)?,
            backtrace: text(name::BACKTRACE),
            call: find_bytes(own, name::CALL),
            origin: origin(),
            timestamp_ms: text(name::TIMESTAMP).and_then(|text| text.parse().ok()).unwrap_or(record.timestamp_ms),
            retries: find(headers, name::RETRIES).and_then(|text| text.parse().ok()).unwrap_or(0),
            headers,
            record,
        })
    }

    /// The headers of the record when it is put back once more.
    pub fn headers_again(&self) -> Vec<Header> {
        let others = self.headers.iter().filter(|(name, _)| **name != *name::RETRIES).cloned();
        let retries: Header = (Arc::from(name::RETRIES), (self.retries + 1).to_string().into_bytes());
        others.chain([retries]).collect()
    }

    /// Where in the value the error points, if it says so.
    pub fn byte_position(&self) -> Option<usize> {
        let (_, behind) = self.error.split_once(" at byte ")?;
        let digits = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
        behind[..digits].parse().ok()
    }
}

fn find<'a>(headers: &'a [Header], name: &str) -> Option<&'a str> {
    std::str::from_utf8(find_bytes(headers, name)?).ok()
}

fn find_bytes<'a>(headers: &'a [Header], name: &str) -> Option<&'a [u8]> {
    headers.iter().rfind(|(found, _)| **found == *name).map(|(_, bytes)| &bytes[..])
}

/// The short code, the text and the plugin's own code of a reason.
pub fn words(reason: &DeadReason) -> (&'static str, String, Option<u32>) {
    match reason {
        DeadReason::Rejected { code, message } => ("rejected", message.clone(), Some(*code)),
        DeadReason::EventTime(why) => ("event-time", why.clone(), None),
        DeadReason::Fault(fault) => (fault.kind(), fault.to_string(), None),
    }
}

/// What is let through although it is not sure to be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// A record is put back at most so often.
    pub retries_max: u32,
    /// Also records that something else has read already: it will read them twice.
    pub shared: bool,
}

/// Why a letter cannot be put back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    OtherPipeline(String),
    /// The record is not known.
    Row,
    NotASource(String),
    PartitionGone {
        topic: String,
    },
    /// `__end` or `__watermark`.
    Control,
    Often {
        retries_max: u32,
    },
    /// A dedup took its id before it died.
    Deduplicated {
        stage: String,
    },
    /// Others have taken the record.
    Shared {
        with: String,
    },
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::OtherPipeline(name) => write!(f, "of pipeline \"{name}\""),
            Obstacle::Row => write!(f, "a row that a stage made or that was moved by its key, whose record is not known"),
            Obstacle::NotASource(topic) => write!(f, "from topic \"{topic}\", which no source reads"),
            Obstacle::PartitionGone { topic } => write!(f, "from a partition that topic \"{topic}\" does not have"),
            Obstacle::Control => write!(f, "a control record"),
            Obstacle::Often { retries_max } => write!(f, "put back {retries_max} times already"),
            Obstacle::Deduplicated { stage } => write!(f, "stage \"{stage}\" knows its id and would drop it"),
            Obstacle::Shared { with } => write!(f, "{with} has read the record as well, and would count it twice"),
        }
    }
}

/// Why the record of `letter` cannot be put back into its topic; `None`: it can, and nothing of `plan` but what refused it will see it
/// for the second time.
pub fn obstacle(plan: &Plan, letter: &Letter<'_>, allowed: Allowed) -> Option<Obstacle> {
    if letter.pipeline != &*plan.name {
        return Some(Obstacle::OtherPipeline(letter.pipeline.to_owned()));
    }
    let Some(origin) = letter.origin else { return Some(Obstacle::Row) };
    let Some(source) = plan.sources.iter().find(|source| *source.topic == *origin.topic) else {
        return Some(Obstacle::NotASource(origin.topic.to_owned()));
    };
    if origin.partition >= plan.n_partitions {
        return Some(Obstacle::PartitionGone { topic: origin.topic.to_owned() });
    }
    if matches!(letter.record.key, Some(END_KEY | WATERMARK_KEY)) {
        return Some(Obstacle::Control);
    }
    if letter.retries >= allowed.retries_max {
        return Some(Obstacle::Often { retries_max: allowed.retries_max });
    }
    match letter.place {
        // Nothing behind the source has seen it.
        Place::Source(_) => None,
        Place::Stage(refused_by) => seen_by_others(plan, &source.stream.consumers, refused_by, allowed.shared),
    }
}

/// Who takes rows of a stream with `consumers` and is not the stage called `refused_by`, nor on the way to it.
fn seen_by_others(plan: &Plan, consumers: &[Consumer], refused_by: &str, shared: bool) -> Option<Obstacle> {
    let mut others = Vec::new();
    for consumer in consumers {
        match *consumer {
            _ if is_of(plan, *consumer, refused_by) => {}
            Consumer::Stage { stage, .. } => match &plan.stages[stage].kind {
                StageKind::Dedup { .. } if leads_to(plan, stage, refused_by) => {
                    return Some(Obstacle::Deduplicated { stage: plan.stages[stage].name.to_string() });
                }
                _ => others.push(format!("stage \"{}\"", plan.stages[stage].name)),
            },
            Consumer::Shuffle(shuffle) => others.push(format!("topic \"{}\"", plan.shuffles[shuffle].topic)),
            Consumer::Sink(sink) => others.push(format!("sink \"{}\"", plan.sinks[sink].name)),
        }
    }
    (!shared && !others.is_empty()).then(|| Obstacle::Shared { with: others.join(", ") })
}

/// Whether rows come to the stage called `name` as the records they were: also where it adds them up before they are moved.
fn is_of(plan: &Plan, consumer: Consumer, name: &str) -> bool {
    let stage = match consumer {
        Consumer::Stage { stage, .. } => Some(stage),
        Consumer::Shuffle(shuffle) => plan.partials_for(shuffle).map(|(stage, _)| stage),
        Consumer::Sink(_) => None,
    };
    stage.is_some_and(|stage| *plan.stages[stage].name == *name)
}

/// Whether the rows that `stage` lets through come to the stage called `to` as the records they were.
fn leads_to(plan: &Plan, stage: usize, to: &str) -> bool {
    let consumers = plan.stages[stage].outputs.iter().flat_map(|output| &output.consumers);
    consumers.clone().any(|consumer| match *consumer {
        _ if is_of(plan, *consumer, to) => true,
        Consumer::Stage { stage, .. } => matches!(plan.stages[stage].kind, StageKind::Dedup { .. }) && leads_to(plan, stage, to),
        Consumer::Shuffle(_) | Consumer::Sink(_) => false,
    })
}

/// An error's text without what differs between records of one kind: numbers and ids become `#`. Of a place in a source file the line stays.
/// At most [`WORDING_CHARS_MAX`] characters.
pub fn wording(error: &str) -> String {
    let mut out = String::new();
    let mut rest = error;
    while let Some(first) = rest.chars().next() {
        let len = rest.find(|c: char| !is_of_word(c)).unwrap_or(rest.len()).max(first.len_utf8());
        let (word, behind) = rest.split_at(len);
        match word.bytes().any(|byte| byte.is_ascii_digit()) {
            true if is_line(&out) => out.push_str(word),
            true if word.len() >= ID_CHARS_MIN => out.push('#'),
            true => push_without_numbers(word, &mut out),
            false => out.push_str(word),
        }
        rest = behind;
        if out.len() > 4 * WORDING_CHARS_MAX {
            break;
        }
    }
    match out.char_indices().nth(WORDING_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &out[..end]),
        None => out,
    }
}

/// See [`wording`].
pub const WORDING_CHARS_MAX: usize = 160;
/// A word with digits that is so long is an id.
const ID_CHARS_MIN: usize = 16;

fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

/// Whether what comes behind `before` is a line, or a column, of a source file.
fn is_line(before: &str) -> bool {
    before.trim_end_matches(|c: char| c.is_ascii_digit() || c == ':').ends_with(".rs") && before.ends_with(':')
}

fn push_without_numbers(word: &str, out: &mut String) {
    let mut in_number = false;
    for c in word.chars() {
        match (c.is_ascii_digit(), in_number) {
            (true, false) => out.push('#'),
            (true, true) => {}
            (false, _) => out.push(c),
        }
        in_number = c.is_ascii_digit();
    }
}

#[cfg(test)]
mod tests;
