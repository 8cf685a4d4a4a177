//! What is given up of one batch or firing, until it leaves as [`DeadRows`].

use std::collections::BTreeMap;

use crate::{
    letter::call::{DeadCall, Function, LETTER_BYTES_MAX},
    stage::{Batch, DeadReason, DeadRows, RowsOf},
};

/// Bytes of states that wait for their letters; beyond that calls are kept without.
const STATES_BYTES_MAX: usize = 16 << 20;

/// Dead units, each once, with the call that nobody could make again without it.
#[derive(Debug, Default)]
pub(super) struct Deads {
    by_unit: BTreeMap<u32, (DeadReason, Option<Box<DeadCall>>)>,
    n_bytes: usize,
}

impl Deads {
    /// `unit` is dead, and all that is needed to know of its call is known otherwise.
    pub(super) fn insert(&mut self, unit: u32, why: DeadReason) {
        self.by_unit.insert(unit, (why, None));
    }

    /// `unit` is dead in this call with these states.
    pub(super) fn insert_call<'a>(
        &mut self,
        unit: u32,
        why: DeadReason,
        function: Function,
        states: impl Iterator<Item = &'a [u8]>,
    ) {
        let call = DeadCall::new(function, states, LETTER_BYTES_MAX.min(STATES_BYTES_MAX - self.n_bytes));
        self.n_bytes += call.n_bytes();
        self.by_unit.insert(unit, (why, Some(Box::new(call))));
    }

    /// `unit` is dead in this call, the states of which stand with another one.
    pub(super) fn insert_call_without(&mut self, unit: u32, why: DeadReason, function: Function, states: &[Vec<u8>]) {
        let call = DeadCall::new(function, states.iter().map(Vec::as_slice), 0);
        self.by_unit.insert(unit, (why, Some(Box::new(call))));
    }

    pub(super) fn contains(&self, unit: u32) -> bool {
        self.by_unit.contains_key(&unit)
    }

    pub(super) fn len(&self) -> usize {
        self.by_unit.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_unit.is_empty()
    }

    /// The units, in rising order.
    pub(super) fn units(&self) -> Vec<u32> {
        self.by_unit.keys().copied().collect()
    }

    /// `batch` has a row for each unit, in their order.
    pub(super) fn into_rows(self, batch: Batch, of: RowsOf) -> DeadRows {
        let (reasons, calls) = self.by_unit.into_values().unzip();
        DeadRows { batch, of, reasons, calls }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{column::Rows, letter::call::States};

    fn whole(deads: Deads) -> Vec<bool> {
        let rows = deads.into_rows(Batch::made(Rows::default(), Vec::new(), None), RowsOf::Key);
        let is_whole =
            |call: &Option<Box<DeadCall>>| call.as_ref().is_some_and(|call| matches!(call.states, States::Whole { .. }));
        rows.calls.iter().map(is_whole).collect()
    }

    fn why() -> DeadReason {
        DeadReason::Rejected { code: 0, message: String::new() }
    }

    /// I-9: a batch in which everything dies does not hold all of its states twice.
    #[test]
    fn i_9_states_that_wait_are_bounded() {
        let mut deads = Deads::default();
        let state = vec![7; LETTER_BYTES_MAX];
        let n_units = (STATES_BYTES_MAX / LETTER_BYTES_MAX) as u32 + 1;
        (0..n_units).for_each(|unit| deads.insert_call(unit, why(), Function::Add, [&state[..]].into_iter()));
        let found = whole(deads);
        assert_eq!((found.len(), found.iter().filter(|is_whole| **is_whole).count()), (n_units as usize, n_units as usize - 1));
        assert!(!found[n_units as usize - 1]);
    }

    #[test]
    fn units_leave_in_their_order() {
        let mut deads = Deads::default();
        deads.insert_call(5, why(), Function::Merge, [&b"a"[..], b"b"].into_iter());
        deads.insert(2, why());
        deads.insert_call_without(9, why(), Function::Merge, &[b"a".to_vec()]);
        assert_eq!((deads.units(), deads.len(), deads.contains(9), deads.contains(3)), (vec![2, 5, 9], 3, true, false));
        assert_eq!(whole(deads), [false, true, false]);
    }
}
