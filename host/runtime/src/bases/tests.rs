use reelflow_core::checkpoint::stored::StoredBases;
use reelflow_ports::simulated::{BaseCall, BaseFault, SimulatedBases};

use super::*;
use crate::observe::Blind;

fn image(bases: &Bases, epoch: Epoch) -> Image {
    Image {
        pipeline: "p".into(),
        fragment: "f".into(),
        partition: 0,
        epoch,
        incarnation: 7,
        after: epoch as i64 * 10,
        taken: WallTime(1_000),
        chunks: vec![vec![epoch as u8; 100]],
        permit: bases.reserve().expect("there is room"),
    }
}

fn at(s: i64) -> WallTime {
    WallTime(s * 1_000)
}

#[test]
fn i_9_room_is_bounded_and_given_back() {
    let bases = Bases::new(Arc::new(SimulatedBases::new()), true);
    let writing = bases.write(image(&bases, 1));
    let second = bases.reserve();
    assert!(second.is_some() && bases.reserve().is_none(), "{ROOM} are on their way");
    assert_eq!((bases.work(at(0), &Blind), writing.done().map(|base| base.after)), (Worked::Done, Some(10)));
    assert!(bases.reserve().is_some() && bases.work(at(0), &Blind) == Worked::Nothing);
    let given_up = bases.write(image(&bases, 2));
    drop((second, given_up));
    bases.work(at(0), &Blind);
    assert_eq!((bases.summary().written, bases.store.list("p/").map(|names| names.len())), (1, Ok(1)), "nobody wants the other");
}

#[test]
fn a_store_that_fails_is_asked_again_and_less_and_less_often() {
    let store = SimulatedBases::new();
    let mut n_failures = 3;
    store.set_faults(Box::new(move |call| {
        assert_eq!(call, BaseCall::Put);
        n_failures -= 1;
        match n_failures {
            2 => BaseFault::FailBefore,
            1 => BaseFault::FailAfter,
            _ => BaseFault::None,
        }
    }));
    let bases = Bases::new(Arc::new(store.clone()), true);
    let writing = bases.write(image(&bases, 1));
    let worked: Vec<Worked> = [0, 0, 1, 2, 3].map(|s| bases.work(at(s), &Blind)).to_vec();
    assert_eq!(worked, [Worked::Done, Worked::Nothing, Worked::Done, Worked::Nothing, Worked::Done], "after 1 s, then 2 s");
    assert!(writing.done().is_some() && store.names().len() == 1, "what was put and not answered is put again");
    assert_eq!((bases.summary().failures, bases.summary().written), (2, 1));
}

/// One that leaves the store claims nothing, but may not sweep what is another's either.
#[test]
fn a_name_belongs_to_the_log_that_came_first() {
    let store = SimulatedBases::new();
    let [first, leaving] = [true, false].map(|is_written| Bases::new(Arc::new(store.clone()), is_written));
    assert_eq!((leaving.check("p", "a", "log 2"), store.names()), (Ok(()), vec![]), "nobody is there");
    assert_eq!((first.check("p", "a", "log 1"), store.names()), (Ok(()), vec!["p/.log".to_owned()]));
    assert_eq!(first.check("p", "b", "log 1"), Ok(()), "another process of it");
    for bases in [&first, &leaving] {
        let taken = BaseError::Taken { pipeline: "p".to_owned(), by: "log 1".to_owned(), log: "log 2".to_owned() };
        assert_eq!(bases.check("p", "a", "log 2"), Err(taken));
    }
    assert_eq!(first.check("q", "a", "log 2"), Ok(()), "another name");
}

/// Orphans of crashes go with what is not named any more; what somebody may name later stays.
#[test]
fn a_sweep_leaves_what_is_named_and_what_is_newer() {
    let store = SimulatedBases::new();
    let bases = Bases::new(Arc::new(store.clone()), true);
    let mut named = StoredBases::NONE;
    for epoch in [2, 4, 6, 8, 9] {
        let writing = bases.write(image(&bases, epoch));
        bases.work(at(0), &Blind);
        let base = writing.done().expect("it was put");
        if epoch == 4 || epoch == 8 {
            named.name(base);
        }
    }
    store.put("p/f/1/00000000000000000001-0-0.base", b"of another task").expect("nothing fails");
    store.put("p/f/0/notes", b"of somebody else").expect("nothing fails");
    bases.sweep(folder("p", "f", 0), named, 8);
    bases.work(at(0), &Blind);
    let epochs: Vec<Option<Epoch>> = store.names().iter().map(|name| epoch_of(name)).collect();
    assert_eq!(epochs, [Some(4), Some(8), Some(9), None, Some(1)]);
}
