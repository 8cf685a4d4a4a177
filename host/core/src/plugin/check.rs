//! The rules that a plugin's answer must keep.

use super::{Reject, Request, Response, Routed, TimerChange};
use crate::{
    column::{Column, Value, Values},
    schema::{Field, FieldType, Schema},
    time::EventTime,
};

pub(super) fn response(request: &Request, response: &Response, outputs: &[(String, Schema)]) -> Result<(), String> {
    let n_units = request.n_units();
    let rejects = match (request, response) {
        (
            Request::Transform { .. } | Request::Emit { .. } | Request::Pair { .. },
            Response::Rows { outputs: routed, rejects },
        ) => {
            all_routed(routed, outputs, n_units)?;
            rejects
        }
        (Request::Add { grouped, .. }, Response::States { states, rejects }) => {
            counts("states", states.len(), grouped.ends.len())?;
            rejects
        }
        (Request::Merge { ends, .. }, Response::States { states, rejects }) => {
            counts("states", states.len(), ends.len())?;
            rejects
        }
        (Request::Take { .. } | Request::Fire { .. }, Response::Processed { states, outputs: routed, rejects, timers }) => {
            let n_groups = match request {
                Request::Take { grouped, .. } => grouped.ends.len(),
                _ => n_units,
            };
            counts("states", states.len(), n_groups)?;
            all_routed(routed, outputs, n_units)?;
            timers_of(timers, rejects, n_units)?;
            rejects
        }
        (Request::Migrate { .. }, Response::Migrated { states, versions, rejects }) => {
            counts("states", states.len(), n_units)?;
            counts("versions", versions.len(), n_units)?;
            rejects
        }
        _ => return Err("the answer to another kind of call".to_owned()),
    };
    match rejects.iter().find(|reject| reject.row as usize >= n_units) {
        Some(reject) => Err(format!("a reject of row {}, of {n_units}", reject.row)),
        None => Ok(()),
    }
}

fn counts(what: &str, found: usize, wanted: usize) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("{found} {what} instead of {wanted}")) }
}

fn all_routed(routed: &[Routed], outputs: &[(String, Schema)], n_units: usize) -> Result<(), String> {
    let mut seen = vec![false; outputs.len()];
    for one in routed {
        let output_idx = one.output as usize;
        let Some((name, schema)) = outputs.get(output_idx) else {
            return Err(format!("output {output_idx} of {} declared", outputs.len()));
        };
        if std::mem::replace(&mut seen[output_idx], true) {
            return Err(format!("output \"{name}\" twice in one answer"));
        }
        routed_rows(one, schema, n_units).map_err(|why| format!("output \"{name}\": {why}"))?;
    }
    Ok(())
}

fn timers_of(changes: &[TimerChange], rejects: &[Reject], n_units: usize) -> Result<(), String> {
    if !changes.is_sorted_by_key(|change| change.origin) {
        return Err("timers: origins that fall".to_owned());
    }
    if let Some(last) = changes.last()
        && last.origin as usize >= n_units
    {
        return Err(format!("timers: an origin of {}, of {n_units}", last.origin));
    }
    let by_origin = |reject: &&Reject| changes.binary_search_by_key(&reject.row, |change| change.origin).is_ok();
    if let Some(reject) = rejects.iter().find(by_origin) {
        return Err(format!("a timer of row {}, which was refused", reject.row));
    }
    match changes.iter().find(|change| EventTime::checked(change.timer.at).is_none()) {
        Some(change) => Err(format!("a timer at {}, not within {} and {}", change.timer.at, EventTime::MIN, EventTime::MAX)),
        None => Ok(()),
    }
}

fn routed_rows(routed: &Routed, schema: &Schema, n_units: usize) -> Result<(), String> {
    counts("origins", routed.origins.len(), routed.rows.len())?;
    if !routed.origins.is_sorted() {
        return Err("origins that fall".to_owned());
    }
    if let Some(last) = routed.origins.last()
        && *last as usize >= n_units
    {
        return Err(format!("an origin of {last}, of {n_units}"));
    }
    counts("columns", routed.rows.columns().len(), schema.len())?;
    for (field, column) in schema.fields.iter().zip(routed.rows.columns()) {
        column_of(field, column).map_err(|why| format!("field \"{}\": {why}", field.name))?;
    }
    Ok(())
}

fn column_of(field: &Field, column: &Column) -> Result<(), String> {
    if column.kind() != field.field_type.kind() {
        return Err(format!("a column of {:?} instead of {}", column.kind(), field.field_type.name()));
    }
    if field.required && (0..column.len()).any(|idx| !column.is_valid(idx)) {
        return Err("null in a required field".to_owned());
    }
    match column.values() {
        Values::Float(values) if values.iter().any(|value| !value.is_finite()) => Err("a float that is not finite".to_owned()),
        Values::Bytes(packed) if field.field_type == FieldType::Text && !text(packed, column) => {
            Err("text that is not UTF-8".to_owned())
        }
        _ => Ok(()),
    }
}

/// Whether every value is UTF-8. The whole arena first: one fast pass, and only then are the borders looked at.
fn text(packed: &crate::column::Packed, column: &Column) -> bool {
    match simdutf8::basic::from_utf8(packed.data()) {
        Ok(all) => packed.ends().iter().all(|end| all.is_char_boundary(*end as usize)),
        Err(_) => (0..column.len()).all(|idx| match column.at(idx) {
            Value::Bytes(bytes) => simdutf8::basic::from_utf8(bytes).is_ok(),
            _ => true,
        }),
    }
}
