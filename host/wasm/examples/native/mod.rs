//! What two of the shipped plugins do, as closures behind the same port.

use reelflow_core::{
    column::{Column, Packed, Rows, Values},
    plugin::{PluginFault, Request, Response, Routed},
};

/// What `filter_half` does: passes on the rows whose `profile_id` is even.
pub fn filtered(request: &Request) -> Result<Response, PluginFault> {
    let Request::Transform { rows } = request else { return Err(PluginFault::Trap("not a transform's call".into())) };
    let Values::Int(profiles) = rows.column(2).values() else { unreachable!("profile_id is an int") };
    let kept: Vec<u32> = (0..).zip(profiles).filter(|(_, profile)| *profile % 2 == 0).map(|(row, _)| row).collect();
    Ok(Response::Rows { outputs: vec![Routed { output: 0, rows: rows.take(&kept), origins: kept }], rejects: Vec::new() })
}

/// What `count` does.
pub fn counted(request: &Request) -> Result<Response, PluginFault> {
    let count = |state: &[u8]| state.try_into().map_or(0, u64::from_le_bytes);
    match request {
        Request::Add { grouped, states } => {
            let (mut counts, mut start) = (Packed::default(), 0);
            for (end, state) in grouped.ends.iter().zip(states.iter()) {
                counts.push(&(count(state) + u64::from(end - start)).to_le_bytes());
                start = *end;
            }
            Ok(Response::States { states: counts, rejects: Vec::new() })
        }
        Request::Emit { windows, keys, states } => {
            let int = |values: Vec<i64>| Column::from_parts(Values::Int(values), None).expect("no nulls");
            let columns = vec![
                keys.column(0).clone(),
                int(windows.iter().map(|window| window.start().0).collect()),
                int(states.iter().map(|state| count(state) as i64).collect()),
            ];
            let rows = Rows::new(windows.len(), columns).expect("one value for each window");
            let origins = (0..windows.len() as u32).collect();
            Ok(Response::Rows { outputs: vec![Routed { output: 0, rows, origins }], rejects: Vec::new() })
        }
        other => Err(PluginFault::Trap(format!("{other:?} is not needed here").into())),
    }
}
