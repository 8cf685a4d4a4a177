//! How many rows? (For benchmarks.)
//!
//! Input: any rows, none of whose fields are read, keyed by one integer. Output: the key, the start of the window, the count. State: the count.

use reelflow::prelude::*;

#[derive(Event)]
pub struct Row {}

#[derive(State, Default)]
#[state(version = 1)]
pub struct Counted {
    rows: u64,
}

#[derive(Emit)]
pub struct Counts {
    key: i64,
    w_start: i64,
    count: u64,
}

#[derive(Config)]
pub struct Count;

impl Aggregate for Count {
    type Event<'a> = Row;
    type State = Counted;
    type Output<'a> = Counts;

    const KEY: &'static [KeyField] = &[KeyField::i64("key")];

    fn add(&self, state: &mut Counted, _: Row) -> Result<(), Reject> {
        state.rows += 1;
        Ok(())
    }

    fn merge(&self, into: &mut Counted, from: Counted) {
        into.rows += from.rows;
    }

    fn emit<'a>(&self, window: Window, key: Key<'a>, state: &'a Counted, out: &mut Out<Counts>) {
        out.emit(Counts { key: key.i64(), w_start: window.start, count: state.rows });
    }
}

reelflow::export!(Count as Aggregate);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted() {
        let run = reelflow::testing::aggregate(&Count, Window { start: 5, end: 10 }, "[7]", "{}{}{}");
        assert_eq!(run.out("out"), [r#"{"key":7,"w_start":5,"count":3}"#]);
    }
}
