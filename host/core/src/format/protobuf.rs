//! Protobuf: what a schema says, as far as reading and writing need it. Source: protobuf.dev, "Encoding" and "Field Presence".
//!
//! The text of a schema is parsed outside of the core, with all that it imports.

use std::sync::Arc;

pub(super) mod program;
mod wire;
pub(super) mod writing;

/// The messages and enums of a file and of what it imports, which refer to each other by their place.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    messages: Arc<[Message]>,
    enums: Arc<[Enum]>,
    /// The messages at the top level of the file itself, in its order.
    top: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// With its package.
    pub name: String,
    pub fields: Vec<Field>,
    /// The messages inside, in the order of the file, without those that stand for the entries of maps.
    pub nested: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub name: String,
    pub number: u32,
    pub kind: Kind,
    /// A list or a map.
    pub is_repeated: bool,
    /// Whether a value knows that it does not have the field; otherwise it then has the zero of its type.
    pub has_presence: bool,
    /// The `oneof` that it belongs to, by a number of the message.
    pub oneof: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Float,
    Double,
    Bool,
    String,
    Bytes,
    Enum(usize),
    Message(usize),
    Group(usize),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Enum {
    pub name: String,
    /// Numbers and names. The first is the zero of the type.
    pub values: Vec<(i32, String)>,
}

impl Schema {
    /// `None` if a place is outside of its list, or an enum has no value.
    pub fn new(messages: Vec<Message>, enums: Vec<Enum>, top: Vec<usize>) -> Option<Schema> {
        let is_message = |place: &usize| *place < messages.len();
        let is_kind = |kind: &Kind| match kind {
            Kind::Enum(place) => *place < enums.len(),
            Kind::Message(place) | Kind::Group(place) => is_message(place),
            _ => true,
        };
        let is_good =
            |message: &Message| message.nested.iter().all(is_message) && message.fields.iter().all(|field| is_kind(&field.kind));
        let is_whole =
            messages.iter().all(is_good) && top.iter().all(is_message) && enums.iter().all(|one| !one.values.is_empty());
        is_whole.then(|| Schema { messages: messages.into(), enums: enums.into(), top })
    }

    /// The message that `path` leads to: the place at the top level, then inside each message. `None` if there is none.
    pub(super) fn message_at(&self, path: &[usize]) -> Option<usize> {
        let (first, inner) = path.split_first()?;
        inner.iter().try_fold(*self.top.get(*first)?, |message, at| self.messages[message].nested.get(*at).copied())
    }

    /// Where the message called `name` stands in the file itself, as [`Schema::message_at`] takes it. `name` may be without its package where that
    /// is the name of one message only. `None` if there is none, or more.
    pub fn path_of(&self, name: &str) -> Option<Vec<usize>> {
        let place = self.place_of(name)?;
        self.path_to(place, &self.top)
    }

    fn path_to(&self, place: usize, among: &[usize]) -> Option<Vec<usize>> {
        among.iter().enumerate().find_map(|(at, message)| {
            if *message == place {
                return Some(vec![at]);
            }
            let inner = self.path_to(place, &self.messages[*message].nested)?;
            Some([vec![at], inner].concat())
        })
    }

    /// The same schema with the message called `name` first and alone at the top level. `name` may be without its package where that is
    /// the name of one message only. `None` if there is none, or more.
    pub fn of_message(&self, name: &str) -> Option<Schema> {
        Some(Schema { top: vec![self.place_of(name)?], ..self.clone() })
    }

    fn place_of(&self, name: &str) -> Option<usize> {
        let exact = self.messages.iter().position(|message| message.name == name);
        let mut short = (0..self.messages.len()).filter(|place| self.messages[*place].name.rsplit('.').next() == Some(name));
        match (exact, short.next(), short.next()) {
            (Some(place), _, _) | (None, Some(place), None) => Some(place),
            _ => None,
        }
    }

    /// The names of all messages, imported ones included.
    pub fn message_names(&self) -> impl Iterator<Item = &str> {
        self.messages.iter().map(|message| message.name.as_str())
    }

    fn in_words(&self, field: &Field) -> String {
        let one = match field.kind {
            Kind::Int32 => "int32".to_owned(),
            Kind::Int64 => "int64".to_owned(),
            Kind::Uint32 => "uint32".to_owned(),
            Kind::Uint64 => "uint64".to_owned(),
            Kind::Sint32 => "sint32".to_owned(),
            Kind::Sint64 => "sint64".to_owned(),
            Kind::Fixed32 => "fixed32".to_owned(),
            Kind::Fixed64 => "fixed64".to_owned(),
            Kind::Sfixed32 => "sfixed32".to_owned(),
            Kind::Sfixed64 => "sfixed64".to_owned(),
            Kind::Float => "float".to_owned(),
            Kind::Double => "double".to_owned(),
            Kind::Bool => "bool".to_owned(),
            Kind::String => "string".to_owned(),
            Kind::Bytes => "bytes".to_owned(),
            Kind::Enum(place) => format!("enum \"{}\"", self.enums[place].name),
            Kind::Message(place) | Kind::Group(place) => format!("message \"{}\"", self.messages[place].name),
        };
        if field.is_repeated { format!("repeated {one}") } else { one }
    }
}
