//! Writes the seeds that are real: `cargo run -p reelflow-fuzz --example seeds`. Those that are there stay: a format that has changed must go on
//! to read the old ones.

use std::{error::Error, fs};

use reelflow_core::{
    checkpoint::EpochRecord,
    column::{Packed, RowBuilder, Value},
    frame,
    letter::call::{DeadCall, Function, States},
    plugin::{Clock, TimeRead, Timer},
    stage::{Batch, Revision, aggregate::combine::MadeBy},
    time::{EventTime, WallTime, Watermark, Window},
    watermark::InputMark,
};
use reelflow_fuzz::{
    run::corpus,
    targets::{
        answer::BASE,
        frame::{partial_schema, schema},
        state,
    },
};
use reelflow_simulation::{
    input::{self, Event},
    shape::Kind,
    undisturbed,
};

#[path = "../../../host/wasm/tests/guests/written.rs"]
mod written;

/// Guests of `tests/guests/core` that are worth a mutation: they come close to a limit, or lie.
const GUESTS: [&str; 6] =
    ["answer_bad_variant", "answer_list_overflows", "jumps_by_table", "grows_table", "reject_bad_utf8", "lies_about_outputs"];

type Seeds = Vec<(String, Vec<u8>)>;

fn main() -> Result<(), Box<dyn Error>> {
    let targets: [(&str, Seeds); 7] = [
        ("answer", answers()),
        ("changelog", changelogs()),
        ("component", components()),
        ("frame", frames()),
        ("json", documents()),
        ("letter_call", calls()),
        ("state", states()),
    ];
    for (target, seeds) in targets {
        fs::create_dir_all(corpus(target))?;
        for (name, bytes) in seeds {
            let path = corpus(target).join(name);
            if !path.exists() {
                fs::write(path, bytes)?;
            }
        }
    }
    Ok(())
}

/// Bytes at addresses from [`BASE`] on.
struct Memory(Vec<u8>);

impl Memory {
    /// Room for `len` bytes; gives the address.
    fn reserve(&mut self, len: usize) -> u32 {
        let at = self.0.len().next_multiple_of(8);
        self.0.resize(at + len, 0);
        BASE + at as u32
    }

    fn put(&mut self, bytes: &[u8]) -> u32 {
        let at = self.reserve(bytes.len());
        self.set(at, bytes);
        at
    }

    fn set(&mut self, at: u32, bytes: &[u8]) {
        let at = (at - BASE) as usize;
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn words(&mut self, at: u32, words: &[u32]) {
        self.set(at, &bytes_of(words));
    }
}

fn bytes_of(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Two rows of the output `out` in the layout of the canonical ABI, a reject, and nothing at all.
fn answers() -> Seeds {
    let mut memory = Memory(Vec::new());
    let root = memory.reserve(16);
    let routed = memory.reserve(24);
    let columns = memory.reserve(5 * 28);
    let ints = memory.put(&[7_i64.to_le_bytes(), (-1_i64).to_le_bytes()].concat());
    let floats = memory.put(&[0.5_f64.to_le_bytes(), 0_f64.to_le_bytes()].concat());
    let (text, text_ends) = (memory.put("é!".as_bytes()), memory.put(&bytes_of(&[2, 3])));
    let (data, data_ends) = (memory.put(&[0, 255]), memory.put(&bytes_of(&[0, 2])));
    let (bits, first) = (memory.put(&[2]), memory.put(&[1]));
    let columns_of: [(u32, [u32; 4], [u32; 2]); 5] = [
        (1, [ints, 2, 0, 0], [0, 0]),
        (2, [floats, 2, 0, 0], [first, 1]),
        (3, [text, 3, text_ends, 2], [0, 0]),
        (3, [data, 2, data_ends, 2], [0, 0]),
        (0, [bits, 1, 0, 0], [0, 0]),
    ];
    for (at, (kind, values, validity)) in (columns..).step_by(28).zip(columns_of) {
        memory.words(at, &[&[kind][..], &values, &validity].concat());
    }
    let origins = memory.put(&bytes_of(&[0, 0]));
    memory.words(routed, &[0, 2, columns, 5, origins, 2]);
    memory.words(root, &[routed, 1, 0, 0]);
    let mut reject = Memory(Vec::new());
    let root = reject.reserve(16);
    let message = reject.put(b"no play");
    let rejects = reject.put(&bytes_of(&[0, 7, message, 7]));
    reject.words(root, &[0, 0, rejects, 1]);
    vec![("rows".to_owned(), memory.0), ("reject".to_owned(), reject.0), ("nothing".to_owned(), vec![0; 16])]
}

fn components() -> Seeds {
    let mut seeds = vec![("honest".to_owned(), written::component(""))];
    seeds.extend(GUESTS.map(|name| (name.to_owned(), written::guest(name))));
    seeds
}

fn frames() -> Seeds {
    let mut builder = RowBuilder::new(schema().fields.iter().map(|field| field.field_type.kind()));
    let (text, bytes) = ("é".as_bytes(), &[0, 255][..]);
    builder.push([Value::Bytes(text), Value::Int(-7), Value::Float(0.5), Value::Bool(true), Value::Bytes(bytes)]);
    builder.push([Value::Bytes(b""), Value::Null, Value::Null, Value::Null, Value::Null]);
    let revisions = vec![Revision { rev: 0, is_final: false }, Revision { rev: 3, is_final: true }];
    let times = vec![EventTime(-1), EventTime(1_767_225_600_000)];
    let batch = |revisions| Batch::made(builder.clone().finish(), times.clone(), revisions);
    let marks = [Watermark::UNKNOWN, Watermark(5)];
    let body = |frame: &[u8]| [&frame[..1], &frame[5..]].concat();
    let rows = |revisions| body(&frame::encode_rows(&batch(revisions), &marks, 3)[0]);
    let mark = InputMark { watermark: Watermark(41), is_idle: true };
    let mut builder = RowBuilder::new(partial_schema().fields.iter().map(|field| field.field_type.kind()));
    builder.push([Value::Bytes(b"k"), Value::Bytes(b"\x01")]);
    let partials = Batch::made(builder.finish(), vec![EventTime(-2)], None);
    let made = MadeBy { state: "V".to_owned(), version: 7, terms: 0x0102_0304 };
    vec![
        ("rows".to_owned(), rows(None)),
        ("revised".to_owned(), rows(Some(revisions))),
        ("watermark".to_owned(), body(&frame::encode_watermark(mark, 7))),
        ("partials".to_owned(), body(&frame::encode_partials(&partials, &[Watermark(-9)], &made, 300)[0])),
        ("idle".to_owned(), body(&frame::encode_idle(Watermark(5), Watermark(-1), 300))),
    ]
}

fn documents() -> Seeds {
    let texts = [
        (
            "play",
            r#"{"a":1767225600000,"b":"é\n\ud83d\ude00","c":-0.5e-3,"d":true,"e":{"a":7,"é\"":"x","e":{"c":1}},"unknown":[1,{"a":null}]}"#,
        ),
        ("nulls", r#" { "a" : null , "e" : { "e" : null } , "b":"" }"#),
        ("twice", r#"{"a":1,"a":2,"e":{},"e":{"a":3}}"#),
        ("numbers", r#"{"a":-9223372036854775808,"c":1e308,"e":{"a":0,"e":{"c":123456789012345678901234567890}}}"#),
        ("not_an_object", r#"[{"a":1}]"#),
    ];
    texts.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).into()
}

/// A call of each function.
fn calls() -> Seeds {
    let mut states = Packed::default();
    [&b"one"[..], b"", b"three"].iter().for_each(|state| states.push(state));
    let whole = States::Whole { name: "Sum".to_owned(), versions: vec![2, 3], states };
    let left_out = States::LeftOut { n_states: 1, n_bytes: 300_000 };
    let time = TimeRead { watermark: Watermark(-1), now: WallTime(1_767_225_600_000) };
    let timer = Timer { clock: Clock::WallTime, at: 64 };
    let window = Window::new(EventTime(-1_000), EventTime(1_767_225_600_000));
    let calls = [
        ("add", Function::Add, left_out),
        ("merge", Function::Merge, whole.clone()),
        ("emit", Function::Emit { window }, whole.clone()),
        ("take", Function::Take { time }, whole.clone()),
        ("fire", Function::Fire { timer, time }, whole),
        (
            "pair-right",
            Function::PairRight,
            States::Whole { name: String::new(), versions: Vec::new(), states: Packed::default() },
        ),
    ];
    calls.map(|(name, function, states)| (name.to_owned(), DeadCall { function, states }.encode())).into()
}

/// All records of the changelog of a run of each pipeline, with the number of the pipeline and of the fragment.
fn chunks() -> Vec<(usize, usize, EpochRecord, Vec<u8>)> {
    let mut all = Vec::new();
    for pipeline in 0..state::PIPELINES.len() {
        let shape = state::shape(pipeline);
        let event = |nth: i64, topic| input::of_profile(&shape, topic, format!("p{}", nth % 5), 700 * nth);
        let plays: Vec<Event> = (0..24).map(|nth| event(nth, "plays")).collect();
        let has_two = matches!(state::PIPELINES[pipeline].0, Kind::Join | Kind::Union);
        let shown: Vec<Event> = (0..24 * i64::from(has_two)).map(|nth| event(nth, "impressions")).collect();
        let given = undisturbed::run(&shape, &[&[plays, shown].concat()], None);
        for record in given.log.committed_records(&given.plan.changelog_topic).concat() {
            let (header, chunk) = EpochRecord::decode(record.value.as_deref().expect("a value")).expect("it is whole");
            let fragment = given.plan.fragments.iter().position(|fragment| fragment.name == header.fragment).expect("its own");
            all.push((pipeline, fragment, header, chunk.to_vec()));
        }
    }
    all
}

fn states() -> Seeds {
    let mut seeds = Vec::new();
    for (pipeline, fragment, header, chunk) in chunks() {
        // The longest of each fragment tells most.
        let name = format!("{pipeline}-{fragment}");
        let body = [&[pipeline as u8, fragment as u8][..], chunk.get(5..).unwrap_or_default()].concat();
        match seeds.iter_mut().find(|(found, _): &&mut (String, Vec<u8>)| *found == name) {
            Some((_, longest)) if longest.len() >= body.len() || header.n_parts > 1 => {}
            Some((_, longest)) => *longest = body,
            None => seeds.push((name, body)),
        }
    }
    seeds
}

fn changelogs() -> Seeds {
    let first = chunks().swap_remove(0);
    let (_, _, header, chunk) = first;
    let positions = vec![("plays".into(), 2, 41), ("beats".into(), 0, -1)];
    let several = EpochRecord { epoch: 300, incarnation: 9, parent: 8, is_base: true, n_parts: 2, positions, ..header.clone() };
    let sections = chunk.get(5..).unwrap_or_default().to_vec();
    vec![
        ("record".to_owned(), header.encode(&chunk)),
        ("part".to_owned(), several.encode(b"")),
        ("sections".to_owned(), sections),
    ]
}
