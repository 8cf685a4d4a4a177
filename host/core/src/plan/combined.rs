//! Which rows are added up before they change their partition, and what is sent of them.

use crate::{
    plan::{Consumer, Plan, ShuffleIdx, StageIdx, StageKind, StagePlan, WindowSpec},
    schema::{Field, FieldType, Schema},
};

impl Plan {
    /// The aggregate that adds rows up before they are sent through `shuffle`.
    pub fn combines_for(&self, shuffle: ShuffleIdx) -> Option<StageIdx> {
        self.shuffles[shuffle]
            .is_combined
            .then(|| self.partials_for(shuffle).expect("only an aggregate adds rows up"))
            .map(|(stage, _)| stage)
    }

    /// The stage that takes partial states out of `shuffle`, and the fields that they have. Those that lie there are taken also where nothing is
    /// added up any more.
    pub fn partials_for(&self, shuffle: ShuffleIdx) -> Option<(StageIdx, Schema)> {
        let [Consumer::Stage { stage, .. }] = self.shuffles[shuffle].stream.consumers[..] else { return None };
        self.stages[stage].partial_schema().map(|schema| (stage, schema))
    }
}

impl StagePlan {
    /// What is sent of rows that were added up: the fields of the key, and the state. `None`: the stage can add nothing up before it has its rows
    /// together.
    pub fn partial_schema(&self) -> Option<Schema> {
        match &self.kind {
            StageKind::Aggregate { window: WindowSpec::Session { .. } | WindowSpec::Global { .. }, .. } => None,
            StageKind::Aggregate { key, .. } if self.union.is_empty() => {
                let mut schema = self.inputs[0].pick(key);
                let name = "@state".to_owned();
                schema.fields.push(Field { path: name.clone(), name, field_type: FieldType::Bytes, required: true });
                Some(schema)
            }
            StageKind::Aggregate { .. }
            | StageKind::Transform { .. }
            | StageKind::Dedup { .. }
            | StageKind::Join { .. }
            | StageKind::Lookup { .. }
            | StageKind::Process { .. } => None,
        }
    }
}
