//! What two programs wrote when they were given the same, and where they differ.
//!
//! A task is a function of its inputs, so two tasks that were given the same batches and readings of the clock need no tolerance: whatever
//! differs comes of their code. What they wrote is compared by place, key and event time, in whatever order it came: a row is equal if the
//! other one wrote the same row, anywhere in the run.
//!
//! Modules in reading order: [`written`], [`comparison`], [`states`].

pub mod comparison;
pub mod states;
#[cfg(test)]
mod tests;
pub mod written;

/// What may differ between the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pair<T> {
    Changed { old: T, new: T },
    OnlyOld(T),
    OnlyNew(T),
}

/// How many things are equal, how many are not, and the first of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally<T> {
    pub equal: u64,
    pub changed: u64,
    pub only_old: u64,
    pub only_new: u64,
    pub first: Vec<Pair<T>>,
}

impl<T> Default for Tally<T> {
    fn default() -> Tally<T> {
        Tally { equal: 0, changed: 0, only_old: 0, only_new: 0, first: Vec::new() }
    }
}

impl<T> Tally<T> {
    pub fn differing(&self) -> u64 {
        self.changed + self.only_old + self.only_new
    }

    /// Counts `pair`, and keeps it if there are fewer than `first_max`.
    fn differs(&mut self, pair: Pair<T>, first_max: usize) {
        match pair {
            Pair::Changed { .. } => self.changed += 1,
            Pair::OnlyOld(_) => self.only_old += 1,
            Pair::OnlyNew(_) => self.only_new += 1,
        }
        if self.first.len() < first_max {
            self.first.push(pair);
        }
    }
}
