//! The declared fields as a tree of their paths.

use crate::schema::{FieldType, Schema};

/// Where a value that is read goes: the place of its field, or one behind them.
pub(super) type Slot = usize;

/// What is wanted of one place in a value, and of what stands inside it.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub leafs: Vec<Leaf>,
    members: Vec<(String, Wanted)>,
}

/// The value itself, as one of this type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaf {
    pub slot: Slot,
    pub field_type: FieldType,
}

impl Wanted {
    pub fn tree(schema: &Schema) -> Wanted {
        let mut root = Wanted::default();
        for (slot, field) in schema.fields.iter().enumerate() {
            let place = field.path.split('.').fold(&mut root, |place, name| place.member_mut(name));
            place.leafs.push(Leaf { slot, field_type: field.field_type });
        }
        root
    }

    pub fn member(&self, name: &str) -> Option<&Wanted> {
        self.members.iter().find(|(member, _)| member == name).map(|(_, wanted)| wanted)
    }

    pub fn member_mut(&mut self, name: &str) -> &mut Wanted {
        let at = self.members.iter().position(|(member, _)| member == name).unwrap_or_else(|| {
            self.members.push((name.to_owned(), Wanted::default()));
            self.members.len() - 1
        });
        &mut self.members[at].1
    }

    /// All that is wanted inside this place.
    pub fn inner_slots(&self) -> Vec<Slot> {
        self.members.iter().flat_map(|(_, member)| member.slots()).collect()
    }

    /// All that is wanted of this place and inside it.
    pub fn slots(&self) -> Vec<Slot> {
        self.leafs.iter().map(|leaf| leaf.slot).chain(self.inner_slots()).collect()
    }
}
