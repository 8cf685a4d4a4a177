use reelflow::prelude::*;

struct Play { id: i64 }
#[derive(Emit)]
struct Row { id: i64 }
#[derive(Config)]
struct Copy;
impl Transform for Copy {
    type Event<'a> = Play;
    type Output<'a> = Row;
    fn apply<'a>(&self, play: Play, out: &mut Out<Row>) -> Result<(), Reject> {
        Ok(out.emit(Row { id: play.id }))
    }
}

fn main() {}
