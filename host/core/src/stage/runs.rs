//! Rows that stand beside each other in the order of their groups.

use std::ops::Range;

/// The groups of a range of `order`: a range for each. `is_same`: whether two entries are of one group.
pub(super) fn runs<T>(order: &[T], range: Range<usize>, is_same: fn(&T, &T) -> bool) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut start = range.start;
    order[range].chunk_by(is_same).map(move |run| {
        let run = start..start + run.len();
        start = run.end;
        run
    })
}

/// A range of a bisection, as one of places.
pub(super) fn as_usize(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_group_of_a_range_is_a_run() {
        let order = [7, 7, 8, 8, 8, 9];
        let found: Vec<Range<usize>> = runs(&order, 1..5, |a, b| a == b).collect();
        assert_eq!(found, [1..2, 2..5]);
        assert_eq!(runs(&order, 2..2, |a, b| a == b).count(), 0);
        assert_eq!(as_usize(&(1..5)), 1..5);
    }
}
