//! What died, as its stage saw it: the row decoded once more from the letter's bytes, or the key of a window or a timer, and the call.

use crate::{
    column::{RowBuilder, Rows, Value},
    format::{SchemaAnswer, decoder::Decoder},
    json::decode::Projector,
    letter::{
        Letter, Place,
        call::{DeadCall, Function},
    },
    plan::{Consumer, EventTimeFrom, Plan, SourcePlan, StageIdx, StageKind, StagePlan},
    record::{Record, RecordBatch},
    schema::{Field, Schema},
    time::EventTime,
};

/// One row that a stage refused; of a join a left row, or a right one that was alone; of a lookup a row and no version. Or the key of a window or a
/// timer.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadRow {
    pub stage: StageIdx,
    /// The columns of the stage's (first) input; of the second one where `call` is that of a right row alone, of the key alone where it is an emit or a
    /// fire; none where it is a merge.
    pub rows: Rows,
    pub time: EventTime,
    /// What the letter says of the call.
    pub call: Option<DeadCall>,
}

/// Why the row cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRow {
    #[error("source \"{0}\" refused it, before any plugin was called")]
    OfSource(String),
    /// The host itself refused what the plugin had answered.
    #[error("its plugin has answered the call: reason \"{0}\" is the host's own")]
    OfHost(String),
    #[error("the pipeline has no stage \"{0}\"")]
    NoStage(String),
    #[error("stage \"{0}\" has no plugin")]
    NoPlugin(String),
    #[error("no source reads topic \"{topic}\" for stage \"{stage}\"")]
    NoSource { stage: String, topic: String },
    /// One that an older build wrote may hold a right row of a join, or the key of a window or a timer.
    #[error("its value is no row of stage \"{stage}\": {why}")]
    Unreadable { stage: String, why: String },
}

/// The row of `letter`. `schema`: what is known of a writer's schema, for records that name one.
pub fn dead_row(plan: &Plan, letter: &Letter<'_>, schema: &mut dyn FnMut(u32) -> SchemaAnswer) -> Result<DeadRow, NoRow> {
    let name = match letter.place {
        Place::Source(name) => return Err(NoRow::OfSource(name.to_owned())),
        Place::Stage(_) if ["event-time", "timers"].contains(&letter.reason) => {
            return Err(NoRow::OfHost(letter.reason.to_owned()));
        }
        Place::Stage(name) => name,
    };
    let stage = plan.stages.iter().position(|stage| *stage.name == *name).ok_or_else(|| NoRow::NoStage(name.to_owned()))?;
    let of = &plan.stages[stage];
    if matches!(of.kind, StageKind::Dedup { .. }) {
        return Err(NoRow::NoPlugin(name.to_owned()));
    }
    let call = letter.call.map(DeadCall::decode).transpose().map_err(|why| unreadable(of, why.to_string()))?;
    let made = match call.as_ref().map(|call| call.function) {
        Some(Function::Merge) => {
            let rows = Rows::new(1, Vec::new()).expect("no column has another length");
            return Ok(DeadRow { stage, rows, time: EventTime(letter.timestamp_ms), call });
        }
        Some(Function::Emit { .. } | Function::Fire { .. }) => of.key_schema(),
        Some(Function::PairRight) => match of.inputs.get(1) {
            Some(right) => Some(right.clone()),
            None => return Err(unreadable(of, "the stage has no right rows".to_owned())),
        },
        Some(Function::Add | Function::Take { .. }) | None => letter.origin.is_none().then(|| of.inputs[0].clone()),
    };
    let Some(origin) = letter.origin.filter(|_| made.is_none()) else {
        // The value is a row as the dead-letter topic has it: its fields by their names.
        let fields = made.unwrap_or_default().fields.into_iter().map(|field| Field { path: field.name.clone(), ..field });
        let rows = decode_json(&Schema { fields: fields.collect() }, letter).map_err(|why| unreadable(of, why))?;
        return Ok(DeadRow { stage, rows, time: EventTime(letter.timestamp_ms), call });
    };
    let source = plan.sources.iter().find(|source| *source.topic == *origin.topic);
    let (source, port) = source
        .and_then(|source| Some((source, port_of(plan, &source.stream.consumers, stage)?)))
        .filter(|(_, port)| *port == 0 || !of.union.is_empty())
        .ok_or_else(|| NoRow::NoSource { stage: name.to_owned(), topic: origin.topic.to_owned() })?;
    let record = Record { offset: origin.offset, timestamp_ms: letter.timestamp_ms, headers: letter.headers, ..letter.record };
    let rows = decode_record(source, &record, schema).map_err(|why| unreadable(of, why))?;
    let ms = match source.event_time {
        EventTimeFrom::LogTimestamp => letter.timestamp_ms,
        EventTimeFrom::Field(column) => match rows.column(column).at(0) {
            Value::Int(ms) => ms,
            other => unreachable!("the event time is a required integer, not {other:?}"),
        },
    };
    let rows = match of.union.get(port) {
        None => rows,
        Some(columns) => {
            let kinds = of.inputs[0].fields.iter().map(|field| field.field_type.kind());
            rows.arrange(columns.iter().copied().zip(kinds))
        }
    };
    Ok(DeadRow { stage, rows, time: EventTime(ms), call })
}

fn unreadable(stage: &StagePlan, why: String) -> NoRow {
    NoRow::Unreadable { stage: stage.name.to_string(), why }
}

/// The port on which rows with `consumers` come to `stage` as the records they were.
fn port_of(plan: &Plan, consumers: &[Consumer], stage: StageIdx) -> Option<usize> {
    consumers.iter().find_map(|consumer| match *consumer {
        Consumer::Stage { stage: found, port } if found == stage => Some(port),
        Consumer::Stage { stage: dedup, .. } if matches!(plan.stages[dedup].kind, StageKind::Dedup { .. }) => {
            plan.stages[dedup].outputs.iter().find_map(|output| port_of(plan, &output.consumers, stage))
        }
        Consumer::Stage { .. } | Consumer::Shuffle(_) | Consumer::Sink(_) => None,
    })
}

fn decode_json(schema: &Schema, letter: &Letter<'_>) -> Result<Rows, String> {
    let mut projector = Projector::new(schema);
    let mut rows = projector.rows();
    projector.decode(letter.record.value.unwrap_or_default(), &mut rows).map_err(|why| why.to_string())?;
    Ok(rows.finish())
}

fn decode_record(source: &SourcePlan, record: &Record<'_>, schema: &mut dyn FnMut(u32) -> SchemaAnswer) -> Result<Rows, String> {
    let mut decoder = Decoder::new(&source.format, &source.stream.schema);
    let mut batch = RecordBatch::default();
    batch.push(*record);
    for id in decoder.lacks(&batch) {
        decoder.learn(id, schema(id));
    }
    let mut rows: RowBuilder = decoder.rows();
    decoder.decode(record, &mut rows).map_err(|why| why.to_string())?;
    Ok(rows.finish())
}
