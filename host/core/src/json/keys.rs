//! Which keys of an object somebody wants, and in which order keys are expected.

use crate::{
    json::scan::{Cursor, Fault, padded, unescape},
    schema::{FieldType, Schema},
};

/// An object on the path of a field.
#[derive(Clone, Debug, Default)]
pub(super) struct Object {
    pub members: Vec<Member>,
    /// The keys of the last records in the order in which they came, each with the member it means.
    order: Vec<Expected>,
    /// All fields inside, at any depth.
    pub fields: Vec<u16>,
}

/// A key that somebody wants: for fields, or as the object that holds some, or (if they disagree) both.
#[derive(Clone, Debug)]
pub(super) struct Member {
    key: String,
    /// The fields that want the value itself, each as its own type. Hardly ever more than one.
    pub fields: Vec<(u16, FieldType)>,
    pub object: Option<usize>,
}

/// A key as it stands in the text, from its quote to the colon. In place and not on the heap: an order that changes must not allocate.
#[derive(Clone, Copy, Debug)]
struct Expected {
    /// The first 16 bytes as a number, and which of them belong to the key: one comparison decides for nearly all keys.
    head: u128,
    mask: u128,
    bytes: [u8; EXPECTED_BYTES_MAX],
    len: u8,
    action: Action,
}

/// What to do with the value of a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    Skip,
    /// Exactly one field wants it.
    Field {
        field_idx: u16,
        field_type: FieldType,
    },
    Member {
        member_idx: u16,
    },
}

/// Longer keys are looked up each time.
const EXPECTED_BYTES_MAX: usize = 46;
/// So many keys of an object are remembered.
const EXPECTED_KEYS_MAX: usize = 64;
/// So many expected keys may be absent before the next one is looked up.
const EXPECTED_AHEAD_MAX: usize = 4;

impl Object {
    /// The objects that the paths of `schema` lead through, the root first. Panics if there are more than 65,535 fields.
    pub fn tree(schema: &Schema) -> Vec<Object> {
        let mut objects = vec![Object::default()];
        for (field_idx, field) in schema.fields.iter().enumerate() {
            let field_idx = u16::try_from(field_idx).expect("a schema has fewer fields");
            let mut keys = field.path.split('.').peekable();
            let mut object_idx = 0;
            while let Some(key) = keys.next() {
                objects[object_idx].fields.push(field_idx);
                let member_idx = objects[object_idx].member(key);
                if keys.peek().is_none() {
                    objects[object_idx].members[member_idx].fields.push((field_idx, field.field_type));
                    break;
                }
                let next = objects.len();
                object_idx = *objects[object_idx].members[member_idx].object.get_or_insert(next);
                if object_idx == next {
                    objects.push(Object::default());
                }
            }
        }
        objects
    }

    /// The key and colon at `cursor`, if that key is expected: their length, and what the value is for. `place` is how far in the
    /// order of keys this object has come.
    #[inline(always)]
    pub fn expected(&self, cursor: Cursor<'_>, place: &mut usize) -> Option<(usize, Action)> {
        let rest = cursor.rest();
        let head = u128::from_le_bytes(padded(rest));
        let expected = self.order.get(*place)?;
        if expected.begins(head, rest) {
            *place += 1;
            return Some((expected.len.into(), expected.action));
        }
        self.expected_later(head, rest, place)
    }

    /// The same, when the key that was expected next is absent.
    #[cold]
    fn expected_later(&self, head: u128, rest: &[u8], place: &mut usize) -> Option<(usize, Action)> {
        let ahead = self.order[*place..].iter().take(EXPECTED_AHEAD_MAX);
        let (n_absent, expected) = ahead.enumerate().find(|(_, expected)| expected.begins(head, rest))?;
        *place += n_absent + 1;
        Some((expected.len.into(), expected.action))
    }

    /// Looks up the key at `cursor` and remembers that it came at `place`. Returns what comes after the colon.
    #[cold]
    pub fn unexpected<'a>(
        &mut self,
        mut cursor: Cursor<'a>,
        place: usize,
        scratch: &mut Vec<u8>,
    ) -> Result<(Cursor<'a>, Action), Fault> {
        let begin = cursor.at;
        let key = cursor.string()?;
        let action = if key.is_escaped {
            let start = scratch.len();
            unescape(cursor.text, key, scratch);
            let action = self.action(&scratch[start..]);
            scratch.truncate(start);
            action
        } else {
            self.action(&cursor.text.as_bytes()[key.start..key.end])
        };
        cursor.colon()?;
        self.expect(place, &cursor.text.as_bytes()[begin..cursor.at], action);
        Ok((cursor, action))
    }

    /// Remembers that `raw`, a key and its colon, came at `place`.
    fn expect(&mut self, place: usize, raw: &[u8], action: Action) {
        let Some(expected) = Expected::new(raw, action) else { return };
        if self.order.len() >= EXPECTED_KEYS_MAX {
            // Too many orders at once: start over with the one at hand.
            self.order.truncate(place.min(EXPECTED_KEYS_MAX / 2));
        }
        self.order.insert(place.min(self.order.len()), expected);
    }

    fn action(&self, key: &[u8]) -> Action {
        let Some(member_idx) = self.members.iter().position(|member| member.key.as_bytes() == key) else { return Action::Skip };
        match (self.members[member_idx].fields.as_slice(), self.members[member_idx].object) {
            ([(field_idx, field_type)], None) => Action::Field { field_idx: *field_idx, field_type: *field_type },
            _ => Action::Member { member_idx: member_idx as u16 },
        }
    }

    /// The member called `key`, made if it is not there.
    fn member(&mut self, key: &str) -> usize {
        self.members.iter().position(|member| member.key == key).unwrap_or_else(|| {
            self.members.push(Member { key: key.to_owned(), fields: Vec::new(), object: None });
            self.members.len() - 1
        })
    }
}

impl Expected {
    /// `None` for a key that is too long to be remembered.
    fn new(raw: &[u8], action: Action) -> Option<Expected> {
        let mut bytes = [0; EXPECTED_BYTES_MAX];
        bytes.get_mut(..raw.len())?.copy_from_slice(raw);
        let head = *bytes.first_chunk().expect("46 bytes begin with 16");
        let mask = if raw.len() < 16 { (1 << (8 * raw.len())) - 1 } else { u128::MAX };
        Some(Expected { head: u128::from_le_bytes(head), mask, bytes, len: raw.len() as u8, action })
    }

    /// Whether this key stands at the beginning of `rest`, whose first 16 bytes are `head`.
    #[inline(always)]
    fn begins(&self, head: u128, rest: &[u8]) -> bool {
        (head ^ self.head) & self.mask == 0 && (self.len <= 16 || rest.starts_with(&self.bytes[..usize::from(self.len)]))
    }
}
