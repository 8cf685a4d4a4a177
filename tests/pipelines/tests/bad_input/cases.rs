//! The table.

pub struct Case {
    pub name: &'static str,
    /// (from, to) in the manifest.
    pub edit: (&'static str, &'static str),
    /// Written beside the manifest.
    pub file: (&'static str, &'static [u8]),
    pub args: &'static [&'static str],
    pub exit: i32,
    /// All of them must be said.
    pub says: &'static [&'static str],
}

pub const NO_EDIT: (&str, &str) = ("", "");
pub const NO_FILE: (&str, &[u8]) = ("", b"");
const CHECK: &[&str] = &["check"];
pub const RUN: &[&str] = &["run", "--until-end", "--give-up-after", "1"];

pub const fn manifest(name: &'static str, from: &'static str, to: &'static str, says: &'static [&'static str]) -> Case {
    Case { name, edit: (from, to), file: NO_FILE, args: CHECK, exit: 2, says }
}

const fn component(name: &'static str, bytes: &'static [u8], says: &'static [&'static str]) -> Case {
    Case { name, edit: ("plugins/clean_plays.wasm", "bad.wasm"), file: ("bad.wasm", bytes), args: CHECK, exit: 2, says }
}

const fn usage(name: &'static str, args: &'static [&'static str], exit: i32, says: &'static [&'static str]) -> Case {
    Case { name, edit: NO_EDIT, file: NO_FILE, args, exit, says }
}

const fn schema_file(name: &'static str, text: &'static [u8], exit: i32, says: &'static [&'static str]) -> Case {
    let edit = ("topic = \"plays\"", "topic = \"plays\"\nformat = \"avro\"\nschema = \"play.avsc\"");
    Case { name, edit, file: ("play.avsc", text), args: CHECK, exit, says }
}

pub const CASES: &[Case] = &[
    // The manifest.
    manifest("a table read as a stream", "[source.plays]", "[table.plays]", &["RF0214", "plays", "lookup"]),
    manifest(
        "a stream looked up as a table",
        "kind = \"transform\"",
        "kind = \"lookup\"\ntable = \"plays\"\non = [\"profile_id\"]",
        &["RF0214", "[table.…]"],
    ),
    manifest("a source for everybody", "bound = \"0s\"", "bound = \"0s\"\nbroadcast = true", &["RF0115", "broadcast"]),
    manifest(
        "an event time that no output has",
        "kind = \"transform\"",
        "kind = \"transform\"\nevent_time = { field = \"nothing\", behind = \"1h\" }",
        &["RF0409", "nothing"],
    ),
    manifest(
        "an event time of text",
        "kind = \"transform\"",
        "kind = \"transform\"\nevent_time = { field = \"playback_id\", behind = \"1h\" }",
        &["RF0409", "playback_id", "string"],
    ),
    manifest(
        "an event time that may go back as far as it likes",
        "kind = \"transform\"",
        "kind = \"transform\"\nevent_time = { field = \"event_ts\" }",
        &["RF0104", "behind"],
    ),
    manifest(
        "a tombstone by a field that is not there",
        "topic = \"clean\"",
        "topic = \"clean\"\ntombstone = \"gone\"",
        &["RF0405", "gone"],
    ),
    manifest(
        "a tombstone by a field that is no bool",
        "topic = \"clean\"",
        "topic = \"clean\"\ntombstone = \"playback_id\"",
        &["RF0421", "playback_id"],
    ),
    manifest("unknown key", "bound = \"0s\"", "bound = \"0s\"\nbund = \"1s\"", &["RF0102", "bund", "bound"]),
    manifest("unknown table", "[sink.clean]", "[sinks.clean]", &["RF0102", "sinks"]),
    manifest("wrong type", "topic = \"plays\"", "topic = 7", &["RF0103"]),
    manifest("missing key", "event_time = \"event_ts\"\n", "", &["RF0104", "event_time"]),
    manifest("no TOML", "[pipeline]", "[pipeline", &["RF0101", "reel.toml:2"]),
    manifest("bad duration", "bound = \"0s\"", "bound = \"soon\"", &["RF0106", "soon"]),
    manifest("bad name", "name = \"bad-input\"", "name = \"Bad Input\"", &["RF0109"]),
    manifest("bad topic", "topic = \"clean\"", "topic = \"cl ean\"", &["RF0110"]),
    manifest(
        "unknown guarantee",
        "name = \"bad-input\"",
        "name = \"bad-input\"\nguarantee = \"maybe-once\"",
        &["RF0112", "exactly-once"],
    ),
    manifest("unknown kind of stage", "kind = \"transform\"", "kind = \"transfrom\"", &["transform"]),
    manifest("unknown input", "input = \"plays\"", "input = \"play\"", &["RF0210", "plays"]),
    manifest("a cycle", "input = \"plays\"", "input = \"clean\"", &["RF0203"]),
    manifest("a source and a stage of one name", "[stage.clean]", "[stage.plays]", &["RF0202"]),
    manifest("two stages of one name", "[sink.clean]", "[stage.clean]\n[sink.clean]", &["RF0"]),
    manifest("unknown plugin", "plugin = \"clean\"", "plugin = \"clan\"", &["RF0207", "clean"]),
    manifest("a topic read and written", "topic = \"clean\"", "topic = \"plays\"", &["RF0209"]),
    manifest("an internal topic as sink", "topic = \"clean\"", "topic = \"reel.bad-input.changelog\"", &["RF0212"]),
    manifest("missing bound", "bound = \"0s\"\n", "", &["RF0305"]),
    manifest(
        "unknown sink key",
        "topic = \"clean\"\nkey = [\"profile_id\"]",
        "topic = \"clean\"\nkey = [\"profil_id\"]",
        &["RF0410", "profile_id"],
    ),
    manifest("unknown output", "[sink.clean]\ninput = \"clean\"", "[sink.clean]\ninput = \"clean.trailers\"", &["RF0408"]),
    manifest("event time that a plugin reads as text", "event_time = \"event_ts\"", "event_time = \"country\"", &["RF04"]),
    manifest(
        "an inline secret",
        "kind = \"embedded\"\npath = \"log\"",
        "kind = \"kafka\"\nbrokers = \"b:1\"\n[log.client]\n\"sasl.password\" = \"hunter2\"",
        &["RF0105"],
    ),
    manifest(
        "a config key that the plugin does not know",
        "path = \"plugins/clean_plays.wasm\"",
        "path = \"plugins/clean_plays.wasm\"\nconfig = { speed = 3 }",
        &["RF0417", "speed"],
    ),
    manifest(
        "limits of zero",
        "path = \"plugins/clean_plays.wasm\"",
        "path = \"plugins/clean_plays.wasm\"\nlimits = { call = \"0s\" }",
        &["RF0303"],
    ),
    // Formats.
    schema_file("a schema file that is not text", b"\xff\xfe", 3, &["RF0514", "play.avsc"]),
    schema_file("a schema that is none", b"{}", 2, &["RF0423"]),
    schema_file("a schema that is cut off", b"{\"type\":\"record\",\"name\":\"P\",\"fie", 2, &["RF0423"]),
    schema_file("a schema of deep brackets", &[b'['; 100_000], 2, &["RF0423"]),
    schema_file("a schema without the event time", br#"{"type":"record","name":"P","fields":[]}"#, 2, &["RF0422", "event_ts"]),
    Case {
        name: "a schema file that is not there",
        edit: ("topic = \"plays\"", "topic = \"plays\"\nformat = \"avro\"\nschema = \"gone.avsc\""),
        file: NO_FILE,
        args: CHECK,
        exit: 3,
        says: &["RF0514", "gone.avsc"],
    },
    manifest(
        "a registry's password in the manifest",
        "[pipeline]",
        "[registry]\nurl = \"http://localhost:1\"\nuser = \"reel\"\npassword = \"hunter2\"\n[pipeline]",
        &["RF0105"],
    ),
    // The world of the component against the stage.
    manifest("a component of the wrong world", "plugins/clean_plays.wasm", "plugins/trending.wasm", &["RF0401", "aggregate"]),
    Case {
        name: "a field that the stream does not have",
        edit: (
            "[sink.clean]",
            "[plugin.cap]\npath = \"plugins/clean_impressions.wasm\"\n[stage.cap]\nkind = \"transform\"\ninput = \"clean\"\nplugin = \"cap\"\n[sink.cap]\ninput = \"cap\"\ntopic = \"cap\"\n[sink.clean]",
        ),
        file: NO_FILE,
        args: CHECK,
        exit: 2,
        says: &["RF0402", "position"],
    },
    // Components.
    component("an empty file", b"", &["RF0417", "not a WebAssembly component"]),
    component("text", b"fn main() {}", &["RF0417", "not a WebAssembly component"]),
    component("a core module", b"\0asm\x01\0\0\0", &["RF0417", "reel build"]),
    component("a component that is cut off", b"\0asm\x0d\0\x01\0\x01", &["RF0417"]),
    component("an empty component", b"\0asm\x0d\0\x01\0", &["RF0417", "world"]),
    component("a length prefix of a gigabyte", b"\0asm\x0d\0\x01\0\x01\x80\x80\x80\x80\x04", &["RF0417"]),
    Case {
        name: "a component that is not there",
        edit: ("clean_plays.wasm", "cleen_plays.wasm"),
        file: NO_FILE,
        args: CHECK,
        exit: 3,
        says: &["RF0505", "reel build"],
    },
    // The environment.
    Case {
        name: "no manifest",
        edit: NO_EDIT,
        file: NO_FILE,
        args: &["run", "nothing.toml"],
        exit: 3,
        says: &["RF0504", "nothing.toml", "cannot be read"],
    },
    Case {
        name: "an environment variable that is not set",
        edit: ("kind = \"embedded\"\npath = \"log\"", "kind = \"kafka\"\nbrokers = { env = \"REEL_NOT_SET\" }"),
        file: NO_FILE,
        args: RUN,
        exit: 3,
        says: &["RF0506", "REEL_NOT_SET"],
    },
    Case {
        name: "a secret's file that is not there",
        edit: ("kind = \"embedded\"\npath = \"log\"", "kind = \"kafka\"\nbrokers = { file = \"nowhere\" }"),
        file: NO_FILE,
        args: RUN,
        exit: 3,
        says: &["RF0506", "nowhere"],
    },
    Case {
        name: "a broker that is down",
        edit: ("kind = \"embedded\"\npath = \"log\"", "kind = \"kafka\"\nbrokers = \"127.0.0.1:1\""),
        file: NO_FILE,
        // Longer than one attempt, which waits 10 s.
        args: &["run", "--until-end", "--give-up-after", "11"],
        exit: 3,
        says: &["trying again", "RF0503", "gave up after"],
    },
    Case {
        name: "a setting that the Kafka client does not know",
        edit: (
            "kind = \"embedded\"\npath = \"log\"",
            "kind = \"kafka\"\nbrokers = \"127.0.0.1:1\"\n[log.client]\n\"no.such.setting\" = \"1\"",
        ),
        file: NO_FILE,
        args: RUN,
        exit: 2,
        says: &["no.such.setting"],
    },
    Case {
        name: "a log folder that is a file",
        edit: ("path = \"log\"", "path = \"reel.toml\""),
        file: NO_FILE,
        args: RUN,
        exit: 3,
        says: &["RF0508", "reel.toml"],
    },
    // Topics.
    usage("a source topic that does not exist", RUN, 3, &["RF0501", "\"plays\" does not exist", "reel.toml:8"]),
    usage("reading a topic that does not exist", &["topic", "read", "plays"], 2, &["\"plays\" does not exist"]),
    usage("writing to a topic that does not exist", &["topic", "write", "plays", "reel.toml"], 2, &["--partitions"]),
    usage("a topic without partitions", &["topic", "create", "plays", "--partitions", "0"], 2, &["--partitions"]),
    // The command line.
    usage("no such command", &["rnu"], 2, &["rnu"]),
    usage("no such option", &["run", "--untilend"], 2, &["--until-end"]),
    usage("no workers", &["run", "--workers", "0"], 2, &["--workers"]),
    usage("no such code", &["explain", "RF9999"], 2, &["RF9999"]),
    usage("a bad log filter", &["--log", "reelflow=loud", "check"], 2, &["--log"]),
    usage("building what is no crate", &["build", "plugins"], 2, &["Cargo.toml"]),
    usage("a plugin's name in capitals", &["new", "Trending"], 2, &["Trending"]),
    usage("a plugin that exists", &["new", "plugins"], 2, &["exists already"]),
    usage("inspecting what is not there", &["plugin", "inspect", "nothing.wasm"], 3, &["nothing.wasm"]),
    usage("inspecting what is no component", &["plugin", "inspect", "reel.toml"], 2, &["is no plugin"]),
];
