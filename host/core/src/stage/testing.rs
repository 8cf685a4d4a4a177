//! Drives an operator in tests as the task does, with a plugin that is a Rust function.

pub(super) mod id_lists;
pub(super) mod windows;

use crate::{
    column::Rows,
    plugin::{PluginFault, Request, Response},
    schema::{Field, FieldType, Schema},
    stage::{Batch, Operator, Outbox},
    state::{ChangeWriter, sections},
    time::{EventTime, WallTime, Watermark},
};

/// A plugin: what it answers to a request.
pub(super) type Native<'a> = &'a mut dyn FnMut(&Request) -> Result<Response, PluginFault>;

pub(super) fn field(name: &str, field_type: FieldType, required: bool) -> Field {
    Field { name: name.to_owned(), path: name.to_owned(), field_type, required }
}

/// `rows`, with one time each, as a batch that a stage made.
pub(super) fn batch(rows: Rows, times: &[i64]) -> Batch {
    let times = times.iter().map(|at| EventTime(*at)).collect();
    Batch::made(rows, times, None)
}

/// All rows are judged by `watermark`.
pub(super) fn accept(stage: &mut dyn Operator, port: usize, batch: Batch, watermark: i64, plugin: Native<'_>, out: &mut Outbox) {
    let marks = vec![Watermark(watermark); batch.len()];
    stage.accept(port, batch, &marks, out);
    answer(stage, plugin, out);
}

pub(super) fn advance(stage: &mut dyn Operator, watermark: i64, plugin: Native<'_>, out: &mut Outbox) {
    stage.advance(Watermark(watermark), out);
    answer(stage, plugin, out);
}

pub(super) fn advance_table(stage: &mut dyn Operator, watermark: i64, plugin: Native<'_>, out: &mut Outbox) {
    stage.advance_table(Watermark(watermark), out);
    answer(stage, plugin, out);
}

pub(super) fn clock(stage: &mut dyn Operator, now: i64, plugin: Native<'_>, out: &mut Outbox) {
    stage.clock(WallTime(now), out);
    answer(stage, plugin, out);
}

/// Answers all calls. What comes back from the plugin is checked, as every engine does.
pub(super) fn answer(stage: &mut dyn Operator, plugin: Native<'_>, out: &mut Outbox) {
    while let Some(request) = stage.next_call() {
        let result = plugin(&request);
        if let Ok(response) = &result {
            let undeclared = [("out".to_owned(), undeclared(response))];
            request.check(response, &undeclared).expect("the test's plugin answers well");
        }
        stage.returned(result, out);
    }
}

/// A schema that the rows of `response` have, so that only the shape of the answer is checked.
fn undeclared(response: &Response) -> Schema {
    let (Response::Rows { outputs, .. } | Response::Processed { outputs, .. }) = response else { return Schema::default() };
    let columns = outputs.iter().flat_map(|routed| routed.rows.columns());
    let type_of = |kind| {
        let all = [FieldType::Bool, FieldType::Int, FieldType::Float, FieldType::Bytes];
        all.into_iter().find(|one| one.kind() == kind).expect("every kind has a type")
    };
    Schema { fields: columns.map(|column| field("any", type_of(column.kind()), false)).collect() }
}

/// What a stage has written down so far.
#[derive(Default)]
pub(super) struct Written(Vec<Vec<u8>>);

impl Written {
    pub(super) fn changes(&mut self, stage: &mut dyn Operator) {
        let mut writer = ChangeWriter::default();
        writer.stage("tested");
        stage.changes(&mut writer);
        self.0.extend(writer.finish());
    }

    pub(super) fn image(&mut self, stage: &mut dyn Operator) {
        let mut writer = ChangeWriter::default();
        writer.stage("tested");
        stage.image(&mut writer);
        self.0 = writer.finish();
    }

    /// Brings what was written into a stage that has just been made.
    pub(super) fn restore(&self, fresh: &mut dyn Operator) {
        for chunk in &self.0 {
            for (_, mut body) in sections(chunk).expect("chunks are whole") {
                fresh.restore(&mut body).expect("what was written is read");
            }
        }
    }

    pub(super) fn n_bytes(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }
}
