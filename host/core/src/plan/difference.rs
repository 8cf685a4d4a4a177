//! What new code changes in a plan, and whether a running pipeline can take it.

use std::{collections::BTreeSet, fmt, sync::Arc};

use crate::{
    plan::{Plan, StagePlan},
    plugin::StateVersion,
    schema::{Field, Schema},
    task::{OtherTerm, may_change_with_a_reset, other_terms},
};

/// One thing that differs between a plan and the same manifest's plan with other code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Fields of a stream that are decoded, kept or emitted.
    Fields { of: StreamOf, added: Vec<String>, removed: Vec<String>, retyped: Vec<String> },
    State {
        stage: Arc<str>,
        was: Option<StateVersion>,
        is: Option<StateVersion>,
        /// Whether states are also under way to the stage: rows that were added up before they were moved.
        is_sent: bool,
    },
    /// What decides the results of a stage, as far as it comes of the code: fields that a join keeps of its rows.
    Terms { stage: Arc<str>, term: &'static str, was: String, is: String },
    /// A running pipeline cannot take it: this would have to be the same.
    Shape { what: String },
}

/// Whose fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamOf {
    /// What is decoded of a source: all that anything reads.
    Source(Arc<str>),
    /// What a stage emits.
    Stage(Arc<str>),
    /// Rows between fragments, by the topic that holds them.
    Shuffle(Arc<str>),
    Sink {
        name: Arc<str>,
        is_files: bool,
    },
}

impl Difference {
    /// Whether a running pipeline cannot take it, with what to do instead. `resets`: the stages whose state is forgotten.
    ///
    /// Rows in a shuffle, or on their way into files, were written with the old fields: the new plan would not read them.
    pub fn blocks(&self, resets: &BTreeSet<Arc<str>>) -> Option<&'static str> {
        match self {
            Difference::Terms { stage, term, .. } => match (may_change_with_a_reset(term), resets.contains(stage)) {
                (true, true) => None,
                (true, false) => Some("forget what the stage keeps with --reset, or give the new code another name"),
                (false, _) => Some("rows that were sent by the old one are under way; give the new code another name"),
            },
            Difference::Shape { .. } => Some("start the pipeline again with the new code"),
            Difference::Fields { of: StreamOf::Shuffle(_), .. } => {
                Some("rows with the old fields are under way; let the pipeline end (`__end`), or give the new one another name")
            }
            Difference::Fields { of: StreamOf::Sink { is_files: true, .. }, .. } => {
                Some("rows with the old fields wait to become files; stop the pipeline, which publishes them, and start it again")
            }
            Difference::State { was, is, is_sent: true, .. } if !reads(is, was) => {
                Some("rows that were added up to the old state are under way; let the new code read it, or give it another name")
            }
            Difference::Fields { .. } | Difference::State { .. } => None,
        }
    }

    /// Whether readers of the pipeline's results may break by it, or state would be unreadable that is not of `resets`.
    pub fn is_breaking(&self, resets: &BTreeSet<Arc<str>>) -> bool {
        match self {
            Difference::State { stage, .. } if resets.contains(stage) => false,
            Difference::Fields { of: StreamOf::Sink { .. }, removed, retyped, .. } => !removed.is_empty() || !retyped.is_empty(),
            Difference::State { was, is, .. } => !reads(is, was),
            Difference::Fields { .. } | Difference::Terms { .. } | Difference::Shape { .. } => false,
        }
    }
}

impl Plan {
    /// All that `new` changes, in the order of the plan. Empty: the two differ in nothing but code.
    pub fn differences(&self, new: &Plan) -> Vec<Difference> {
        let mut found = Vec::new();
        if let Some(what) = other_shape(self, new) {
            found.push(Difference::Shape { what });
            return found;
        }
        for (was, is) in self.sources.iter().zip(&new.sources) {
            found.extend(fields(StreamOf::Source(was.name.clone()), &was.stream.schema, &is.stream.schema));
        }
        let sent: BTreeSet<_> = (0..self.shuffles.len()).filter_map(|shuffle| self.combines_for(shuffle)).collect();
        for (idx, (was, is)) in self.stages.iter().zip(&new.stages).enumerate() {
            let stage = &was.name;
            for (was_out, is_out) in was.outputs.iter().zip(&is.outputs) {
                found.extend(fields(StreamOf::Stage(was.name.clone()), &was_out.schema, &is_out.schema));
            }
            if was.state != is.state {
                let is_sent = sent.contains(&idx);
                let (was_state, is_state) = (was.state.clone(), is.state.clone());
                found.push(Difference::State { stage: was.name.clone(), was: was_state, is: is_state, is_sent });
            }
            let of_terms = |OtherTerm { term, was, is }| Difference::Terms { stage: stage.clone(), term, was, is };
            found.extend(other_terms(was, is).into_iter().map(of_terms));
        }
        for (was, is) in self.shuffles.iter().zip(&new.shuffles) {
            // A frame knows its columns by their places.
            let is_same_order = was.stream.schema == is.stream.schema;
            let differs = fields(StreamOf::Shuffle(was.topic.clone()), &was.stream.schema, &is.stream.schema);
            match (differs, is_same_order) {
                (Some(differs), _) => found.push(differs),
                (None, true) => {}
                (None, false) => {
                    found.push(Difference::Shape { what: format!("the fields of topic \"{}\" have another order", was.topic) })
                }
            }
        }
        for (was, is) in self.sinks.iter().zip(&new.sinks) {
            let of = StreamOf::Sink { name: was.name.clone(), is_files: was.files.is_some() };
            found.extend(fields(of, &was.schema, &is.schema));
        }
        found
    }
}

impl Plan {
    /// The first stage whose state, as the code of this plan writes it, the code of `new` does not read, in words; `is_reset` says which are
    /// forgotten anyway. Plans of one shape.
    pub fn unread_by(&self, new: &Plan, is_reset: impl Fn(&str) -> bool) -> Option<String> {
        let stages = self.stages.iter().zip(&new.stages);
        let unread = |(was, is): &(&StagePlan, &StagePlan)| !reads(&is.state, &was.state) && !is_reset(&was.name);
        stages.filter(unread).find_map(|(was, is)| {
            let has = was.state.as_ref()?;
            let reads = is.state.as_ref().map_or_else(|| "no state".to_owned(), StateVersion::to_string);
            Some(format!("stage \"{}\" keeps state {} {}, its plugin reads {reads}", was.name, has.name, has.version))
        })
    }
}

/// What differs in the topics, fragments and stages themselves, which tasks, positions and recovery points hang on.
fn other_shape(was: &Plan, is: &Plan) -> Option<String> {
    let outputs = |stage: &StagePlan| stage.outputs.len();
    let same = [
        ("the name or the partitions", was.name == is.name && was.n_partitions == is.n_partitions),
        (
            "the topics of dead letters",
            was.dead_letter_topic == is.dead_letter_topic && was.side_partitions == is.side_partitions,
        ),
        ("the sources", by(&was.sources, &is.sources, |a, b| a.name == b.name && a.topic == b.topic && a.fragment == b.fragment)),
        (
            "the stages",
            by(&was.stages, &is.stages, |a, b| a.name == b.name && a.fragment == b.fragment && a.late_topic == b.late_topic),
        ),
        ("the outputs of a stage", by(&was.stages, &is.stages, |a, b| outputs(a) == outputs(b))),
        (
            "the internal topics",
            by(&was.shuffles, &is.shuffles, |a, b| {
                a.topic == b.topic && a.from_fragment == b.from_fragment && a.to_fragment == b.to_fragment
            }),
        ),
        (
            "the sinks",
            by(&was.sinks, &is.sinks, |a, b| {
                a.name == b.name
                    && a.topic == b.topic
                    && a.n_partitions == b.n_partitions
                    && a.files == b.files
                    && a.upsert == b.upsert
            }),
        ),
        (
            "the fragments",
            by(&was.fragments, &is.fragments, |a, b| a.name == b.name && a.inputs == b.inputs && a.stages == b.stages),
        ),
    ];
    same.into_iter().find(|(_, is_same)| !is_same).map(|(what, _)| what.to_owned())
}

/// Whether code that keeps `is` reads what other code kept.
fn reads(is: &Option<StateVersion>, was: &Option<StateVersion>) -> bool {
    match (was, is) {
        (Some(was), Some(is)) => is.can_read(&was.name, was.version),
        (Some(_), None) => false,
        (None, _) => true,
    }
}

fn by<T>(was: &[T], is: &[T], same: impl Fn(&T, &T) -> bool) -> bool {
    was.len() == is.len() && was.iter().zip(is).all(|(a, b)| same(a, b))
}

fn fields(of: StreamOf, was: &Schema, is: &Schema) -> Option<Difference> {
    let find = |schema: &Schema, name: &str| -> Option<Field> { schema.fields.iter().find(|field| field.name == name).cloned() };
    let missing = |from: &Schema, other: &Schema| -> Vec<String> {
        from.fields.iter().filter(|field| find(other, &field.name).is_none()).map(text).collect()
    };
    let (added, removed) = (missing(is, was), missing(was, is));
    let retyped: Vec<String> = was
        .fields
        .iter()
        .filter_map(|field| find(is, &field.name).map(|other| (field, other)))
        .filter(|(field, other)| field.field_type != other.field_type || field.required != other.required)
        .map(|(field, other)| format!("{}: {} → {}", field.name, type_text(field), type_text(&other)))
        .collect();
    let is_same = added.is_empty() && removed.is_empty() && retyped.is_empty();
    (!is_same).then_some(Difference::Fields { of, added, removed, retyped })
}

fn text(field: &Field) -> String {
    format!("{}: {}", field.name, type_text(field))
}

fn type_text(field: &Field) -> String {
    let optional = if field.required { "" } else { "?" };
    format!("{}{optional}", field.field_type.name())
}

impl fmt::Display for StreamOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamOf::Source(name) => write!(f, "source \"{name}\" decodes"),
            StreamOf::Stage(name) => write!(f, "stage \"{name}\" emits"),
            StreamOf::Shuffle(topic) => write!(f, "topic \"{topic}\" holds"),
            StreamOf::Sink { name, .. } => write!(f, "sink \"{name}\" writes"),
        }
    }
}

/// Several lines, one for each change.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Shape { what } => write!(f, "{what} would be others"),
            Difference::Terms { stage, term, was, is } => write!(f, "stage \"{stage}\" had {term} = {was}, now it is {is}"),
            Difference::State { stage, was, is, is_sent: _ } => {
                let of = |state: &Option<StateVersion>| state.as_ref().map_or_else(|| "none".to_owned(), StateVersion::to_string);
                write!(f, "stage \"{stage}\" keeps {} → {}", of(was), of(is))
            }
            Difference::Fields { of, added, removed, retyped } => {
                write!(f, "{of}")?;
                added.iter().try_for_each(|field| write!(f, "\n  + {field}"))?;
                removed.iter().try_for_each(|field| write!(f, "\n  - {field}"))?;
                retyped.iter().try_for_each(|field| write!(f, "\n  ~ {field}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::FieldType;

    fn schema(fields: &[(&str, FieldType, bool)]) -> Schema {
        let field = |(name, field_type, required): &(&str, FieldType, bool)| Field {
            name: (*name).to_owned(),
            path: (*name).to_owned(),
            field_type: *field_type,
            required: *required,
        };
        Schema { fields: fields.iter().map(field).collect() }
    }

    #[test]
    fn fields_are_compared_by_name() {
        let was = schema(&[("a", FieldType::Int, true), ("b", FieldType::Text, true), ("c", FieldType::Int, true)]);
        let is = schema(&[("c", FieldType::Int, false), ("a", FieldType::Int, true), ("d", FieldType::Bool, true)]);
        let of = || StreamOf::Sink { name: "out".into(), is_files: false };
        let found = fields(of(), &was, &is).expect("they differ");
        let text = format!(
            "sink \"out\" writes\n  + d: {}\n  - b: {}\n  ~ c: {int} → {int}?",
            type_text(&is.fields[2]),
            type_text(&was.fields[1]),
            int = type_text(&was.fields[0])
        );
        assert_eq!(found.to_string(), text);
        let none = BTreeSet::new();
        assert!(found.is_breaking(&none) && found.blocks(&none).is_none(), "readers may break, the pipeline does not");
        assert_eq!(fields(of(), &was, &was), None);
        let more = fields(StreamOf::Sink { name: "out".into(), is_files: true }, &was, &schema(&[("a", FieldType::Int, true)]));
        assert!(more.is_some_and(|more| more.blocks(&none).is_some()), "rows that wait to become files have the old fields");
    }

    #[test]
    fn a_reset_makes_other_terms_possible_but_not_another_key() {
        let of = |term| Difference::Terms { stage: "s".into(), term, was: "1".into(), is: "2".into() };
        let resets = |stage: &str| BTreeSet::from([Arc::from(stage)]);
        assert!(of("fields of the right").blocks(&resets("t")).is_some_and(|instead| instead.contains("--reset")));
        assert_eq!(of("fields of the right").blocks(&resets("s")), None);
        assert!(of("left_key").blocks(&resets("s")).is_some_and(|instead| !instead.contains("--reset")));
    }

    #[test]
    fn rows_that_were_added_up_are_not_forgotten_with_a_reset() {
        let version = |version, reads: &[u32]| Some(StateVersion { name: "S".to_owned(), version, reads: reads.to_vec() });
        let of = |is, is_sent| Difference::State { stage: "s".into(), was: version(1, &[]), is, is_sent };
        let resets = BTreeSet::from([Arc::from("s")]);
        assert!(of(version(2, &[]), true).blocks(&resets).is_some());
        assert_eq!(of(version(2, &[1]), true).blocks(&resets), None);
        assert_eq!(of(version(2, &[]), false).blocks(&resets), None);
    }

    #[test]
    fn a_state_that_cannot_be_read_is_a_breaking_change() {
        let version = |version, reads: &[u32]| Some(StateVersion { name: "S".to_owned(), version, reads: reads.to_vec() });
        let state = |was, is| Difference::State { stage: "s".into(), was, is, is_sent: false };
        let (none, of_stage) = (BTreeSet::new(), BTreeSet::from(["s".into()]));
        assert!(state(version(1, &[]), version(2, &[])).is_breaking(&none));
        assert!(!state(version(1, &[]), version(2, &[])).is_breaking(&of_stage), "it is forgotten");
        assert!(state(version(1, &[]), version(2, &[])).is_breaking(&BTreeSet::from(["t".into()])), "another stage's is");
        assert!(state(version(1, &[]), None).is_breaking(&none));
        assert!(!state(version(1, &[]), version(2, &[1])).is_breaking(&none));
        assert!(!state(None, version(2, &[])).is_breaking(&none));
        assert_eq!(state(version(1, &[]), version(2, &[1])).to_string(), "stage \"s\" keeps S 1 → S 2 and migrates 1");
    }
}
