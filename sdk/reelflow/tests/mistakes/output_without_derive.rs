use reelflow::prelude::*;

#[derive(Event)]
struct Play { id: i64 }
struct Row { id: i64 }
#[reelflow::transform]
fn copy(play: Play, out: &mut Out<Row>) {
    out.emit(Row { id: play.id });
}

fn main() {}
