use reelflow::prelude::*;

#[derive(Event)]
struct Play { id: i64 }
#[derive(State, Default)]
#[state(version = 1)]
struct Views { plays: u64 }
#[derive(Emit)]
struct Row { plays: u64 }
#[derive(Config)]
struct Count;
impl Aggregate for Count {
    type Event<'a> = Play;
    type State = Views;
    type Output<'a> = Row;
    fn add(&self, state: &mut Views, _: Play) -> Result<(), Reject> {
        Ok(state.plays += 1)
    }
    fn emit<'a>(&self, _: Window, _: Key<'a>, state: &'a Views, out: &mut Out<Row>) {
        out.emit(Row { plays: state.plays });
    }
}

fn main() {}
