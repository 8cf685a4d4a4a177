//! The history of a source: records from before its topic, or from when something went wrong, that lie in files.

use std::sync::Arc;

use crate::{
    plan::{FileFormat, SourceIdx},
    schema::Schema,
    time::EventTime,
};

/// Where the history of one source lies, and what of a record decides its place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryPlan {
    /// In the plan.
    pub source: SourceIdx,
    /// As the manifest calls the source.
    pub name: Arc<str>,
    /// A folder, a file, or a pattern of names, as the manifest says it.
    pub path: Arc<str>,
    pub format: FileFormat,
    /// What the source decodes, and whatever else the columns below need.
    pub schema: Schema,
    /// The column whose value orders records: their event time, in ms since 1970.
    pub time: usize,
    /// The column that holds what the log said of a record's time; `None`: its event time.
    pub timestamp: Option<usize>,
    /// Of a table, the boolean column that says that its key is deleted from then on: the record has no value then. Nothing else of such a row is
    /// needed but its key and its time.
    pub deleted: Option<usize>,
    /// The columns that say where in its topic a record lay: partition and offset. Asked for where the live topic is to go on behind the files.
    pub position: Option<(usize, usize)>,
    /// The columns that form the record key, as producers write it. Empty: records have none, and are spread over partitions in turns.
    pub key: Vec<usize>,
    /// Longer values are cut off: the source refuses them.
    pub value_bytes_max: usize,
}

/// Event times `from <= time < to` of a history; `None` is no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeRange {
    pub from: Option<EventTime>,
    pub to: Option<EventTime>,
}

impl TimeRange {
    pub fn contains(self, time: EventTime) -> bool {
        self.from.is_none_or(|from| from <= time) && self.to.is_none_or(|to| time < to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_its_beginning_and_not_its_end() {
        let at = |ms| Some(EventTime(ms));
        for (from, to, inside) in [
            (None, None, [true, true, true, true]),
            (at(-1), None, [false, true, true, true]),
            (None, at(0), [true, true, false, false]),
            (at(-1), at(0), [false, true, false, false]),
            (at(0), at(0), [false, false, false, false]),
        ] {
            let range = TimeRange { from, to };
            assert_eq!([-2, -1, 0, 1].map(|ms| range.contains(EventTime(ms))), inside, "{range:?}");
        }
    }
}
