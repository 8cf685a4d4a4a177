use super::*;

#[derive(Event)]
pub struct Number {
    n: i64,
}

#[derive(Emit)]
pub struct Even {
    half: i64,
}

#[derive(Emit)]
pub struct Odd<'a> {
    n: i64,
    why: &'a str,
}

#[derive(Outputs)]
pub enum Sorted<'a> {
    Out(Even),
    OddNumbers(Odd<'a>),
    #[output(name = "all")]
    Every(Even),
}

#[derive(Config)]
pub struct Limits {
    #[config(default = 100)]
    max: i64,
}

#[reelflow::transform]
pub fn sort<'a>(limits: &Limits, number: Number, out: &mut Out<Sorted<'a>>) -> Result<(), Reject> {
    let n = number.n;
    out.emit(Sorted::Every(Even { half: n / 2 }));
    if n % 2 == 0 {
        out.emit(Sorted::Out(Even { half: n / 2 }))
    } else {
        out.emit(Sorted::OddNumbers(Odd { n, why: "odd" }))
    }
    // Refused only now: what was emitted must be taken back.
    if n > limits.max { Err(Reject::from("too large").with_code(3)) } else { Ok(()) }
}

#[test]
fn each_row_goes_to_its_output_and_a_refused_one_to_none() {
    let sort = testing::configure::<Sort>("{}").unwrap();
    let run = testing::transform(&sort, r#"{"n":1}{"n":200}{"n":2}{"n":201}{"n":3}"#);
    assert_eq!(run.out("out"), [r#"{"half":1}"#]);
    assert_eq!(run.out("odd_numbers"), [r#"{"n":1,"why":"odd"}"#, r#"{"n":3,"why":"odd"}"#]);
    assert_eq!(run.out("all"), [r#"{"half":0}"#, r#"{"half":1}"#, r#"{"half":1}"#]);
    assert_eq!(run.rejects(), ["row 1: too large", "row 3: too large"]);
}

#[test]
fn settings_reach_the_function() {
    let sort = testing::configure::<Sort>(r#"{"max":1}"#).unwrap();
    assert_eq!(testing::transform(&sort, r#"{"n":2}"#).rejects(), ["row 0: too large"]);
}
