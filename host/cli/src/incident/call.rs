//! The call of an incident: arguments as JSON, and the request that they are.

use reelflow_core::{
    column::{Bitmap, Column, Packed, Rows, Value as Cell},
    plugin::{Clock, Declaration, Grouped, Request, TimeRead, Timer, World},
    schema::{Field, FieldType, Schema},
    time::{EventTime, WallTime, Watermark, Window},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::json_bytes;

/// A call of a plugin with one row, or one group.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "function")]
pub(crate) enum Call {
    #[serde(rename = "transform.apply")]
    Apply { row: Vec<Named> },
    #[serde(rename = "aggregate.add")]
    Add {
        row: Vec<Named>,
        /// That of the row's key in the row's window; `None`: it had none.
        state: Option<State>,
    },
    #[serde(rename = "aggregate.merge")]
    Merge {
        /// At least one.
        parts: Vec<State>,
    },
    #[serde(rename = "aggregate.emit")]
    Emit { window: WindowPart, key: Vec<Named>, state: State },
    #[serde(rename = "join.pair")]
    Pair {
        /// `None`: the right row is alone.
        left: Option<Vec<Named>>,
        /// `None`: the left row has no partner, or no version.
        right: Option<Vec<Named>>,
    },
    #[serde(rename = "process.take")]
    Take {
        row: Vec<Named>,
        state: Option<State>,
        key: Vec<Named>,
        /// The row's event time.
        time: i64,
        watermark: i64,
        now: i64,
    },
    #[serde(rename = "process.fire")]
    Fire { timer: TimerPart, state: Option<State>, key: Vec<Named>, watermark: i64, now: i64 },
}

/// From `start` on, up to before `end`, in ms since 1970.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WindowPart {
    pub(crate) start: i64,
    pub(crate) end: i64,
}

/// `at` in ms since 1970.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TimerPart {
    pub(crate) clock: ClockPart,
    pub(crate) at: i64,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ClockPart {
    EventTime,
    WallTime,
}

/// A value of a row.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Named {
    name: String,
    #[serde(rename = "type")]
    field_type: String,
    value: Value,
}

/// A plugin's state.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct State {
    #[serde(rename = "type")]
    pub(crate) name: String,
    /// Those that it may be of.
    pub(crate) versions: Vec<u32>,
    pub(crate) base64: String,
}

impl Call {
    /// Whether the arguments can be read at all.
    pub(super) fn check(&self) -> Result<(), String> {
        // The second row of a pair stands where others have a key.
        let (row, key, states): (&[Named], &[Named], Vec<&State>) = match self {
            Call::Apply { row } => (row, &[], Vec::new()),
            Call::Pair { left, right } => (left.as_deref().unwrap_or_default(), right.as_deref().unwrap_or_default(), Vec::new()),
            Call::Add { row, state } => (row, &[], state.iter().collect()),
            Call::Take { row, state, key, .. } => (row, key, state.iter().collect()),
            Call::Merge { parts } => (&[], &[], parts.iter().collect()),
            Call::Emit { key, state, .. } => (&[], key, vec![state]),
            Call::Fire { key, state, .. } => (&[], key, state.iter().collect()),
        };
        row.iter().chain(key).try_for_each(|named| named.push_to(None).map(drop))?;
        if states.iter().any(|state| json_bytes::decoded(&state.base64).is_none()) {
            return Err("its state is not base64".to_owned());
        }
        match self {
            Call::Take { time, .. } if EventTime::checked(*time).is_none() => {
                Err(format!("the row's time {time} is no event time"))
            }
            Call::Fire { timer: TimerPart { at, .. }, .. } if EventTime::checked(*at).is_none() => {
                Err(format!("the timer's time {at} is no event time"))
            }
            Call::Emit { window: WindowPart { start, end }, .. } if start >= end => {
                Err(format!("the window from {start} to {end} is none"))
            }
            Call::Merge { parts } if parts.is_empty() => Err("it merges nothing".to_owned()),
            Call::Pair { left: None, right: None } => Err("it pairs nothing".to_owned()),
            _ => Ok(()),
        }
    }

    /// The request to a plugin that declares itself so.
    pub(super) fn request(&self, declaration: &Declaration) -> Result<Request, String> {
        let world = self.world();
        if declaration.world != world {
            return Err(format!("it is of kind {}, and the call is one of kind {}", declaration.world.name(), world.name()));
        }
        match self {
            Call::Apply { row } => Ok(Request::Transform { rows: fitted(row, &declaration.inputs[0])? }),
            Call::Add { row, state } => {
                let grouped = Grouped { rows: fitted(row, &declaration.inputs[0])?, ends: vec![1] };
                Ok(Request::Add { grouped, states: states(state.as_ref(), declaration)? })
            }
            Call::Merge { parts } => {
                let mut packed = Packed::default();
                parts.iter().try_for_each(|part| push_state(part, declaration, &mut packed))?;
                Ok(Request::Merge { ends: vec![packed.len() as u32], parts: packed })
            }
            Call::Emit { window: WindowPart { start, end }, key, state } => Ok(Request::Emit {
                windows: vec![Window::new(EventTime(*start), EventTime(*end))],
                keys: key_row(key, &declaration.key)?,
                states: states(Some(state), declaration)?,
            }),
            Call::Pair { left, right } => {
                if left.is_none() && !declaration.takes_right_alone {
                    return Err("it takes no right row alone".to_owned());
                }
                let [of_left, of_right] = [0, 1].map(|side| &declaration.inputs[side]);
                let side =
                    |row: &Option<Vec<Named>>, schema| row.as_ref().map_or_else(|| Ok(nulls(schema)), |row| fitted(row, schema));
                Ok(Request::Pair {
                    left: side(left, of_left)?,
                    right: side(right, of_right)?,
                    matched: Bitmap::filled(right.is_some(), 1),
                    has_left: left.is_none().then(|| Bitmap::filled(false, 1)),
                })
            }
            Call::Take { row, state, key, time, watermark, now } => Ok(Request::Take {
                grouped: Grouped { rows: fitted(row, &declaration.inputs[0])?, ends: vec![1] },
                times: vec![EventTime(*time)],
                keys: key_row(key, &declaration.key)?,
                states: states(state.as_ref(), declaration)?,
                time: TimeRead { watermark: Watermark(*watermark), now: WallTime(*now) },
            }),
            Call::Fire { timer, state, key, watermark, now } => Ok(Request::Fire {
                timers: vec![Timer { clock: timer.clock.into(), at: timer.at }],
                keys: key_row(key, &declaration.key)?,
                states: states(state.as_ref(), declaration)?,
                time: TimeRead { watermark: Watermark(*watermark), now: WallTime(*now) },
            }),
        }
    }

    fn world(&self) -> World {
        match self {
            Call::Apply { .. } => World::Transform,
            Call::Add { .. } | Call::Merge { .. } | Call::Emit { .. } => World::Aggregate,
            Call::Pair { .. } => World::Join,
            Call::Take { .. } | Call::Fire { .. } => World::Process,
        }
    }
}

impl From<Clock> for ClockPart {
    fn from(clock: Clock) -> ClockPart {
        match clock {
            Clock::EventTime => ClockPart::EventTime,
            Clock::WallTime => ClockPart::WallTime,
        }
    }
}

impl From<ClockPart> for Clock {
    fn from(clock: ClockPart) -> Clock {
        match clock {
            ClockPart::EventTime => Clock::EventTime,
            ClockPart::WallTime => Clock::WallTime,
        }
    }
}

impl Named {
    /// Value `idx` of the only row of `rows`.
    pub(crate) fn of(field: &Field, rows: &Rows, idx: usize) -> Named {
        let value = match rows.column(idx).at(0) {
            Cell::Null => Value::Null,
            Cell::Bool(value) => json!(value),
            Cell::Int(value) => json!(value),
            Cell::Float(value) => json!(value),
            Cell::Bytes(bytes) if field.field_type == FieldType::Bytes => json!(json_bytes::encoded(bytes)),
            Cell::Bytes(bytes) => json!(String::from_utf8_lossy(bytes)),
        };
        Named { name: field.name.clone(), field_type: field.field_type.name().to_owned(), value }
    }

    /// A column with this one value, which must be of type `wanted` if that is given.
    fn push_to(&self, wanted: Option<FieldType>) -> Result<Column, String> {
        let Named { name, field_type: said, value } = self;
        let field_type = FieldType::of_name(said).ok_or_else(|| format!("its field \"{name}\" has no type that there is"))?;
        if let Some(wanted) = wanted.filter(|wanted| *wanted != field_type) {
            return Err(format!("it reads field \"{name}\" as {}, the row has {}", wanted.name(), field_type.name()));
        }
        let bytes;
        let cell = match (field_type, value) {
            (_, Value::Null) => Cell::Null,
            (FieldType::Bool, Value::Bool(value)) => Cell::Bool(*value),
            (FieldType::Int, value) if value.is_i64() => Cell::Int(value.as_i64().expect("just seen")),
            (FieldType::Float, value) if value.is_number() => Cell::Float(value.as_f64().expect("a number")),
            (FieldType::Text, Value::String(text)) => Cell::Bytes(text.as_bytes()),
            (FieldType::Bytes, Value::String(text)) => {
                bytes = json_bytes::decoded(text).ok_or_else(|| format!("its field \"{name}\" is not base64"))?;
                Cell::Bytes(&bytes)
            }
            _ => return Err(format!("its field \"{name}\" is no {}", field_type.name())),
        };
        let mut column = Column::empty(field_type.kind());
        column.push(cell);
        Ok(column)
    }
}

/// What of `row` a plugin reads that declares these fields.
fn fitted(row: &[Named], schema: &Schema) -> Result<Rows, String> {
    let column = |field: &Field| match row.iter().find(|named| named.name == field.name) {
        None if field.required => Err(format!("it reads field \"{}\", which the row does not have", field.name)),
        None => Ok(Column::nulls(field.field_type.kind(), 1)),
        Some(named) if field.required && named.value.is_null() => {
            Err(format!("it needs field \"{}\", which is null in the row", field.name))
        }
        Some(named) => named.push_to(Some(field.field_type)),
    };
    let columns = schema.fields.iter().map(column).collect::<Result<_, _>>()?;
    Ok(Rows::new(1, columns).expect("each column has one value"))
}

/// A row that is not there.
fn nulls(schema: &Schema) -> Rows {
    let columns = schema.fields.iter().map(|field| Column::nulls(field.field_type.kind(), 1)).collect();
    Rows::new(1, columns).expect("each column has one value")
}

/// The key as it lies, which must have the declared types if any are.
fn key_row(key: &[Named], declared: &Schema) -> Result<Rows, String> {
    if !declared.is_empty() && declared.len() != key.len() {
        return Err(format!("it reads a key of {} values, the row has {}", declared.len(), key.len()));
    }
    let wanted = |idx: usize| declared.fields.get(idx).map(|field| field.field_type);
    let columns = key.iter().enumerate().map(|(idx, named)| named.push_to(wanted(idx))).collect::<Result<_, _>>()?;
    Ok(Rows::new(1, columns).expect("each column has one value"))
}

fn states(state: Option<&State>, declaration: &Declaration) -> Result<Packed, String> {
    let mut states = Packed::default();
    match state {
        None => states.push(b""),
        Some(state) => push_state(state, declaration, &mut states)?,
    }
    Ok(states)
}

fn push_state(State { name, versions, base64 }: &State, declaration: &Declaration, to: &mut Packed) -> Result<(), String> {
    let reads = declaration.state.as_ref().ok_or("it declares no state")?;
    if let Some(version) = versions.iter().find(|version| !reads.can_read(name, **version)) {
        return Err(format!("it reads state {reads}, the incident has {name} {version}"));
    }
    to.push(&json_bytes::decoded(base64).expect("it was checked"));
    Ok(())
}
