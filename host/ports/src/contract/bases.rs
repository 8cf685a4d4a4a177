//! What every store of bases must do.

use crate::bases::BaseStore;

/// Tries all promises on an empty `store`. `other`: the same store, as another process has it.
pub fn bases(store: &dyn BaseStore, other: &dyn BaseStore) {
    assert_eq!((store.list("p/a/0/"), store.load("p/a/0/1.base")), (Ok(vec![]), Ok(None)), "nothing is there yet");
    assert_eq!(store.forget("p/a/0/1.base"), Ok(()), "what is not there need not go");
    let long: Vec<u8> = (0..20_000_000_u32).map(|nth| (nth.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let objects: [(&str, &[u8]); 5] = [
        ("p/a/0/2.base", b"two"),
        ("p/a/0/1.base", b""),
        ("p/a/1/1.base", b"one"),
        ("p/ab/0/1.base", b"ab"),
        ("q/a/0/1.base", &long),
    ];
    for (name, object) in objects {
        assert_eq!(store.put(name, object), Ok(()), "{name}");
        assert!(
            other.load(name).is_ok_and(|found| found.as_deref() == Some(object)),
            "{name} is what was put, for others as well"
        );
    }
    let list = |folder: &str| other.list(folder).expect("it was listed before");
    assert_eq!(list("p/a/0/"), ["p/a/0/1.base", "p/a/0/2.base"], "in order, and those of the folder alone");
    assert_eq!(
        (list("p/a/"), list("q/")),
        (["p/a/0/1.base", "p/a/0/2.base", "p/a/1/1.base"].map(str::to_owned).to_vec(), vec!["q/a/0/1.base".to_owned()])
    );
    assert_eq!(other.put("p/a/0/2.base", b"two"), Ok(()), "a zombie may come with the same once more");
    assert_eq!(store.forget("p/a/0/2.base"), Ok(()));
    assert_eq!((list("p/a/0/"), other.load("p/a/0/2.base")), (vec!["p/a/0/1.base".to_owned()], Ok(None)));
    assert_eq!(store.load("p/a/0/1.base"), Ok(Some(Vec::new())), "its neighbour stays");
    assert!(!store.describe().is_empty());
}
