//! The words of windows: `tumbling(10s[@3s])`, `hopping(30s,10s)`, `session(10s[,end=stop])`, `global(idle=60s,rows=3)` and so on, see [`crate::pipeline`].

use std::sync::Arc;

use reelflow_core::{
    plan::{GlobalWindow, SessionCuts, WindowSpec},
    schema::Schema,
    window::local::LocalWindows,
};

use crate::{print::parse_time, words::Words};

pub(crate) fn window(text: &str, input: &Schema) -> Result<WindowSpec, String> {
    let wrong = || format!("\"{text}\" is no window");
    let (kind, lengths) = text.strip_suffix(')').and_then(|text| text.split_once('(')).ok_or_else(wrong)?;
    match kind {
        "session" => return session(lengths, input),
        "global" => return global(lengths),
        _ => {}
    }
    let (lengths, zone) = lengths.split_once('/').map_or((lengths, None), |(lengths, zone)| (lengths, Some(zone)));
    let (lengths, offset) = lengths.split_once('@').unwrap_or((lengths, "0s"));
    let offset_ms = parse_time(offset)?;
    let (size, slide) = match (kind, lengths.split_once(',')) {
        ("tumbling", None) => (lengths, lengths),
        ("hopping", Some((size, slide))) => (size, slide),
        _ => return Err(wrong()),
    };
    let (size_ms, slide_ms) = (parse_time(size)?, parse_time(slide)?);
    if let Some(name) = zone {
        let zone = reelflow_config::time_zone(name).ok_or_else(|| format!("no time zone \"{name}\""))?;
        return Ok(WindowSpec::Local(Arc::new(LocalWindows::new(zone, size_ms, slide_ms, offset_ms))));
    }
    Ok(match kind {
        "tumbling" => WindowSpec::Tumbling { size_ms, offset_ms },
        _ => WindowSpec::Hopping { size_ms, slide_ms, offset_ms },
    })
}

/// `idle=60s[,rows=3][,every=10s][,clear=true]`
fn global(text: &str) -> Result<WindowSpec, String> {
    let words = Words::parse(text.split(','), &["idle", "rows", "every", "clear"])?;
    Ok(WindowSpec::Global(GlobalWindow {
        every_rows: words.0.get("rows").map(|text| text.parse().map_err(|_| format!("rows={text}"))).transpose()?,
        every_ms: words.0.get("every").map(|text| parse_time(text)).transpose()?,
        clear: words.0.get("clear").is_some_and(|text| *text == "true"),
        idle_ms: parse_time(words.text("idle")?)?,
    }))
}

/// `10s[,end=stop][,rows=3][,length=1m]`
fn session(text: &str, input: &Schema) -> Result<WindowSpec, String> {
    let (gap, rest) = text.split_once(',').unwrap_or((text, ""));
    let words = Words::parse(rest.split(',').filter(|word| !word.is_empty()), &["end", "rows", "length"])?;
    let column = |field: &&str| input.position(field).ok_or_else(|| format!("no field \"{field}\""));
    let cuts = SessionCuts {
        end: words.0.get("end").map(column).transpose()?,
        rows_max: words.0.get("rows").map(|text| text.parse().map_err(|_| format!("rows={text}"))).transpose()?,
        length_ms_max: words.0.get("length").map(|text| parse_time(text)).transpose()?,
    };
    Ok(WindowSpec::Session { gap_ms: parse_time(gap)?, cuts })
}
