//! The program of a Protobuf message: which numbers are read, and what becomes of them.

use super::{
    Field, Kind, Schema,
    wire::{self, Wire},
};
use crate::{
    format::{
        bytes::{Cursor, Fault},
        layout::{Convert, Found, Layout, Mark, Scalar, Set, scalar},
        wanted::{Leaf, Slot, Wanted},
    },
    schema::{self, FieldType},
};

const TIMESTAMP: &str = "google.protobuf.Timestamp";
const NANOS_PER_MS: i64 = 1_000_000;

#[derive(Clone, Debug)]
pub(in crate::format) struct Program {
    schema: Schema,
    /// The value itself is of the last one.
    messages: Vec<MessageProgram>,
    /// Fields that are points in time, out of two slots each.
    moments: Vec<Moment>,
    pub layout: Layout,
}

/// A message on the path of a field.
#[derive(Clone, Debug, Default)]
struct MessageProgram {
    /// By number, rising.
    members: Vec<Member>,
    /// What fields hold that are not written, once the message is there.
    zeros: Vec<Mark>,
}

#[derive(Clone, Debug)]
struct Member {
    number: u32,
    kind: Kind,
    is_repeated: bool,
    /// The other fields of its `oneof`.
    clears: Vec<Slot>,
    marks: Vec<Mark>,
    sets: Vec<Set>,
    /// What is wanted inside, by its place in [`Program::messages`].
    inner: Option<usize>,
}

/// A `google.protobuf.Timestamp` that is read as ms.
#[derive(Clone, Copy, Debug)]
struct Moment {
    slot: Slot,
    seconds: Slot,
    nanos: Slot,
}

impl Program {
    /// Values are messages of the one at `message`.
    pub fn new(writer: &Schema, message: usize, fields: &schema::Schema) -> Program {
        let mut layout = Layout::new(fields);
        let mut builder = Builder { writer, layout: &mut layout, messages: Vec::new(), moments: Vec::new() };
        builder.message(message, &Wanted::tree(fields));
        let (messages, moments) = (builder.messages, builder.moments);
        Program { schema: writer.clone(), messages, moments, layout }
    }

    /// Reads all of `value` into `found`, which holds [`Found::Absent`] everywhere. O(bytes).
    pub fn read(&self, value: &[u8], start: usize, found: &mut [Found]) -> Result<(), Fault> {
        let mut cursor = Cursor::new(value, start);
        self.message(self.messages.len() - 1, None, &mut cursor, value.len(), found)?;
        for Moment { slot, seconds, nanos } in &self.moments {
            if let (Found::Int(seconds), Found::Int(nanos)) = (found[*seconds], found[*nanos]) {
                // Out of range is what no clock says: event times are checked behind this.
                found[*slot] = Found::Int(seconds.saturating_mul(1000).saturating_add(nanos.div_euclid(NANOS_PER_MS)));
            }
        }
        Ok(())
    }

    /// A message up to `end`, or up to the end of the group with this number. Recurses as deep as the paths of fields.
    fn message(
        &self,
        place: usize,
        group: Option<u32>,
        cursor: &mut Cursor<'_>,
        end: usize,
        found: &mut [Found],
    ) -> Result<(), Fault> {
        let program = &self.messages[place];
        for (slot, zero) in &program.zeros {
            if matches!(found[*slot], Found::Absent) {
                found[*slot] = *zero;
            }
        }
        while cursor.at < end {
            let (number, wire) = wire::tag(cursor)?;
            if wire == Wire::GroupEnd && group == Some(number) {
                return Ok(());
            }
            match program.members.binary_search_by_key(&number, |member| member.number) {
                Ok(at) => self.member(&program.members[at], wire, cursor, end, found)?,
                Err(_) => wire::skip(number, wire, cursor, 0)?,
            }
        }
        if cursor.at > end {
            return cursor.fault("a field that is longer than its message");
        }
        if group.is_some() { cursor.fault("the value ends too early") } else { Ok(()) }
    }

    fn member(&self, member: &Member, wire: Wire, cursor: &mut Cursor<'_>, end: usize, found: &mut [Found]) -> Result<(), Fault> {
        member.clears.iter().for_each(|slot| found[*slot] = Found::Absent);
        member.marks.iter().for_each(|(slot, mark)| found[*slot] = *mark);
        if member.is_repeated {
            // Packed or not.
            return wire::skip(member.number, wire, cursor, 0);
        }
        if wire != Wire::of(member.kind) {
            return cursor.fault("a field of another kind than in its schema");
        }
        match (member.kind, member.inner) {
            (Kind::Group(_), Some(inner)) => self.message(inner, Some(member.number), cursor, end, found),
            (Kind::Message(_), Some(inner)) => {
                let len = cursor.varint()?;
                let mut within = *cursor;
                cursor.take(len)?;
                self.message(inner, None, &mut within, cursor.at, found)
            }
            (Kind::Message(_) | Kind::Group(_), None) => wire::skip(member.number, wire, cursor, 0),
            (kind, _) => {
                let mut read = wire::scalar(kind, cursor)?;
                if let (Kind::Enum(place), Found::Int(number)) = (kind, read) {
                    read = self.enum_value(place, number);
                }
                member.sets.iter().for_each(|set| found[set.slot] = set.convert.apply(read, cursor.bytes));
                Ok(())
            }
        }
    }

    /// The place of a value in its enum, or -1.
    fn enum_value(&self, place: usize, number: i64) -> Found {
        let values = &self.schema.enums[place].values;
        Found::Int(values.iter().position(|(value, _)| i64::from(*value) == number).map_or(-1, |at| at as i64))
    }
}

struct Builder<'a> {
    writer: &'a Schema,
    layout: &'a mut Layout,
    messages: Vec<MessageProgram>,
    moments: Vec<Moment>,
}

impl Builder<'_> {
    /// Gives the place of its program. Recurses as deep as the paths of fields.
    fn message(&mut self, message: usize, wanted: &Wanted) -> usize {
        let fields = &self.writer.messages[message].fields;
        let (mut program, mut slots) = (MessageProgram::default(), Vec::new());
        for field in fields {
            let wanted = wanted.member(&field.name);
            let (member, zeros) = match wanted {
                Some(wanted) => self.member(field, wanted),
                None => (Member::skipped(field), Vec::new()),
            };
            program.zeros.extend(zeros);
            slots.push(self.slots_of(&member, wanted));
            program.members.push(member);
        }
        for (at, field) in fields.iter().enumerate() {
            let others =
                (0..fields.len()).filter(|other| *other != at && field.oneof.is_some() && fields[*other].oneof == field.oneof);
            program.members[at].clears = others.flat_map(|other| slots[other].clone()).collect();
        }
        program.members.retain(Member::does_something);
        program.members.sort_by_key(|member| member.number);
        self.messages.push(program);
        self.messages.len() - 1
    }

    /// All that a field sets: what is wanted of it, and the parts of points in time.
    fn slots_of(&self, member: &Member, wanted: Option<&Wanted>) -> Vec<Slot> {
        let mut slots = wanted.map_or_else(Vec::new, Wanted::slots);
        if member.inner.is_some() {
            let parts = self.moments.iter().filter(|moment| slots.contains(&moment.slot)).collect::<Vec<_>>();
            let parts: Vec<Slot> = parts.into_iter().flat_map(|moment| [moment.seconds, moment.nanos]).collect();
            slots.extend(parts);
        }
        slots
    }

    /// How a field is read, and what its slots hold where it is not written.
    fn member(&mut self, field: &Field, wanted: &Wanted) -> (Member, Vec<Mark>) {
        let mut member = Member::skipped(field);
        let in_words = || self.writer.in_words(field);
        if field.is_repeated {
            member.marks = self.layout.other(&wanted.slots(), in_words);
            return (member, Vec::new());
        }
        if let Kind::Message(place) | Kind::Group(place) = field.kind {
            let mut inside = wanted.clone();
            for leaf in std::mem::take(&mut inside.leafs) {
                if !self.well_known(place, leaf, &mut inside) {
                    member.marks.extend(self.layout.other(&[leaf.slot], in_words));
                }
            }
            if !inside.inner_slots().is_empty() {
                member.inner = Some(self.message(place, &inside));
            }
            return (member, Vec::new());
        }
        member.marks = self.layout.other(&wanted.inner_slots(), in_words);
        let mut zeros = Vec::new();
        for leaf in &wanted.leafs {
            match self.convert(field.kind, *leaf) {
                Some(convert) => {
                    let set = self.layout.reads(*leaf, convert);
                    zeros.push((leaf.slot, set.convert.apply(zero(field.kind), &[])));
                    member.sets.push(set);
                }
                None => member.marks.extend(self.layout.other(&[leaf.slot], in_words)),
            }
        }
        // A field that cannot be read is refused by any value that could have it.
        zeros.extend(member.marks.iter().copied());
        (member, if field.has_presence { Vec::new() } else { zeros })
    }

    /// Messages that stand for one value: a point in time, and the wrappers of scalars. Asks for their parts instead.
    fn well_known(&mut self, message: usize, leaf: Leaf, inside: &mut Wanted) -> bool {
        let message = &self.writer.messages[message];
        if message.name == TIMESTAMP && leaf.field_type == FieldType::Int {
            let (seconds, nanos) = (self.layout.add_slot(), self.layout.add_slot());
            for (name, slot) in [("seconds", seconds), ("nanos", nanos)] {
                inside.member_mut(name).leafs.push(Leaf { slot, field_type: FieldType::Int });
            }
            self.layout.reads(leaf, Convert::Same);
            self.moments.push(Moment { slot: leaf.slot, seconds, nanos });
            return true;
        }
        let is_wrapper = message.name.starts_with("google.protobuf.") && message.name.ends_with("Value");
        match &message.fields[..] {
            [only] if is_wrapper && only.name == "value" && !only.is_repeated => {
                inside.member_mut("value").leafs.push(leaf);
                true
            }
            _ => false,
        }
    }

    fn convert(&mut self, kind: Kind, leaf: Leaf) -> Option<Convert> {
        let written = match kind {
            Kind::Bool => Scalar::Bool,
            Kind::Float | Kind::Double => Scalar::Float,
            Kind::String => Scalar::Text,
            Kind::Bytes => Scalar::Bytes,
            Kind::Enum(place) => {
                let names = self.writer.enums[place].values.iter().map(|(_, name)| name);
                return (leaf.field_type == FieldType::Text).then(|| self.layout.symbols(names));
            }
            Kind::Message(_) | Kind::Group(_) => return None,
            _ => Scalar::Int,
        };
        scalar(written, leaf.field_type)
    }
}

impl Member {
    fn skipped(field: &Field) -> Member {
        let Field { number, kind, is_repeated, .. } = *field;
        Member { number, kind, is_repeated, clears: Vec::new(), marks: Vec::new(), sets: Vec::new(), inner: None }
    }

    fn does_something(&self) -> bool {
        !(self.clears.is_empty() && self.marks.is_empty() && self.sets.is_empty() && self.inner.is_none())
    }
}

/// What a scalar is that is not written. Of an enum: the place of its first value.
fn zero(kind: Kind) -> Found {
    match kind {
        Kind::Bool => Found::Bool(false),
        Kind::Float | Kind::Double => Found::Float(0.0),
        Kind::String | Kind::Bytes => Found::Bytes(crate::format::bytes::Span { start: 0, end: 0 }),
        _ => Found::Int(0),
    }
}
