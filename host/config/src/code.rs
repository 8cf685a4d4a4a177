//! The codes of problems, and a page that explains each.

use std::{fmt, str::FromStr};

use crate::problem::Severity;

macro_rules! codes {
    ($($number:literal $name:ident $severity:ident $title:literal)*) => {
        /// What kind of problem it is. The first digit pair is the family: 01 the text and its fields, 02 wiring, 03 time,
        /// 04 plugin against manifest, 05 the environment.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $title] $name = $number,)*
        }

        impl Code {
            /// All codes, in order.
            pub const ALL: &'static [Code] = &[$(Code::$name),*];

            pub fn severity(self) -> Severity {
                match self { $(Code::$name => Severity::$severity,)* }
            }

            /// The kind of problem in a few words.
            pub fn title(self) -> &'static str {
                match self { $(Code::$name => $title,)* }
            }
        }
    };
}

codes! {
    101 Syntax Error "the text is not TOML"
    102 UnknownKey Error "a key that means nothing here"
    103 WrongType Error "a value of another type than the key takes"
    104 MissingKey Error "a key that must be there is missing"
    105 InlineSecret Error "a secret stands in the manifest"
    106 BadDuration Error "not a duration"
    107 BadSize Error "not a size in bytes"
    108 DuplicateKey Error "a key or table stands twice"
    109 BadName Error "not a name"
    110 BadTopic Error "not a topic's name"
    111 OutOfRange Error "a value out of range"
    112 UnknownValue Error "a value that is none of those allowed"
    113 BadFieldType Error "not the type of a field"
    114 BadList Error "a list that is empty or says something twice"
    115 KeyOfAnotherKind Error "a key that belongs to another kind"
    116 BadPath Error "not a folder that can be written"
    117 BadUrl Error "not an address of HTTP"
    118 BadShare Error "not a share"
    125 BadStore Error "not the address of a store of bases"
    130 BadTime Error "not a time"
    201 NothingToDo Error "a pipeline without source or without sink"
    202 NameTaken Error "a source and a stage share a name"
    203 Cycle Error "stages that read from each other in a circle"
    204 UnusedSource Warning "a source that nothing reads"
    205 UnusedPlugin Warning "a plugin that no stage uses"
    206 SinkWithoutInput Error "a sink that reads nothing"
    207 UnknownPlugin Error "a plugin that does not exist"
    208 UnusedStage Warning "a stage that nothing reads"
    209 TopicLoop Error "a topic that is both read and written"
    210 UnknownInput Error "an input that does not exist"
    211 TopicTwice Error "a topic that is used twice"
    212 ReservedTopic Error "a topic that Reelflow keeps for itself"
    213 PathTwice Error "a folder that two sinks write"
    214 TableOrStream Error "a table where a stream is read, or a stream where a table is"
    215 SchemaNowhere Error "a format whose schemas nobody has"
    216 UnusedRegistry Warning "a registry that nothing asks"
    217 NotCombined Error "rows that cannot be added up before they are moved"
    230 NothingTested Error "a test that gives nothing"
    231 UnknownInTest Error "a test of something that does not exist"
    301 NotAMultiple Error "a window that its slide does not divide"
    302 LatenessWithoutWindow Error "lateness where nothing waits"
    303 NotPositive Error "a length of time that must be above zero"
    304 HorizonTooShort Error "ids forgotten before late records have come"
    305 MissingBound Error "a source without a disorder bound"
    306 MissingHorizon Error "a dedup that cannot know how long to remember"
    307 SessionUpsert Error "sessions that would have to be taken back"
    308 UnknownTimeZone Error "a time zone that does not exist"
    309 LocalSize Error "a window that does not fit the days of a time zone"
    310 KeyOfAnotherMatch Error "a key that belongs to another way of matching"
    311 GlobalEmit Error "a global window whose results contradict its emit"
    320 WindowOfJoin Error "windows that two inputs cannot share"
    401 WrongWorld Error "a plugin of another kind than its stage"
    402 FieldMissing Error "a field that the stream does not have"
    403 FieldTypeDiffers Error "a field of another type than the plugin reads"
    404 FieldOptional Error "a field that may be null where a value is needed"
    405 UnknownColumn Error "a column that the stream does not have"
    406 FloatKey Error "a float as a key"
    407 KeyDiffers Error "a key other than the plugin's"
    408 UnknownOutput Error "an output that the stage does not have"
    409 EventTimeType Error "an event time that is not an i64"
    410 UnknownSinkKey Error "a sink's key that its stream does not have"
    411 FieldConflict Error "two readers want one field differently"
    412 TieType Error "a tie-breaker that cannot be ordered"
    413 IdType Error "an id that is not a string"
    414 ReservedField Error "a field called rev or final in an upsert stream"
    415 UnusedOutput Warning "an output that nothing reads"
    416 JoinTypes Error "join columns of two types"
    417 PluginRefused Error "a plugin that cannot be loaded"
    418 UnreadPartitionKey Warning "a partition key that nothing reads"
    419 InputsDiffer Error "inputs that cannot be read as one"
    420 NotTheTableKey Error "a lookup by other fields than the key of its table"
    421 TombstoneType Error "a tombstone that is not a bool, or without a key"
    422 FieldUnmapped Error "a field that the values of a source do not have so"
    423 BadSchema Error "a schema that is none"
    424 RightAlone Error "a plugin that takes no right row alone"
    425 SchemaUnfit Error "rows that a sink's schema has no place for"
    430 EndType Error "an end of sessions that is not a bool"
    440 BadTestRow Error "a row of a test that does not fit"
    501 MissingTopic Error "a topic that does not exist"
    502 PartitionMismatch Error "topics with different partition counts"
    503 BrokerUnreachable Error "no answer from the broker"
    504 ManifestUnreadable Error "a manifest that cannot be read"
    505 PluginFileUnreadable Error "a plugin file that cannot be read"
    506 ExternalMissing Error "a value from outside that is not there"
    507 BrokerTooOld Error "a broker too old for exactly-once"
    508 LogUnusable Error "an embedded log that cannot be opened"
    509 DataLoss Error "records that are gone before they were read"
    511 AccessDenied Error "the broker refuses access"
    512 PlanChanged Error "stored state of another plan"
    513 FilesUnusable Error "a folder that files cannot be published in"
    514 SchemaUnreadable Error "a schema file that cannot be read"
    515 RegistryUnreachable Error "no answer from the schema registry"
    516 RegistryDenied Error "the schema registry refuses access"
    517 SchemaRefused Error "the schema registry refuses a schema"
    520 NoHistory Error "a source without files to replay"
    521 HistoryUnusable Error "files that cannot be replayed"
    530 StoreUnusable Error "a store of bases that cannot be used"
    531 BasesLost Error "bases of the state that are gone"
    532 StoreUnnamed Error "state in a store that the manifest does not name"
    533 StoreTaken Error "a store of bases that another log's pipeline uses"
    540 StageFailed Error "a row that a stage shall not go on behind"
    541 TooManyErrors Error "more errors than a stage may have"
    550 PluginNotCompiled Error "a plugin that this machine could not compile"
}

impl Code {
    pub fn number(self) -> u16 {
        self as u16
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RF{:04}", self.number())
    }
}

/// Not the name of a code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no code \"{0}\"")]
pub struct UnknownCode(String);

impl FromStr for Code {
    type Err = UnknownCode;

    /// Reads `RF0210`; also `rf0210` and `210`.
    fn from_str(text: &str) -> Result<Code, UnknownCode> {
        let digits = text.trim().trim_start_matches(['R', 'r']).trim_start_matches(['F', 'f']);
        let number = digits.parse::<u16>().ok();
        Code::ALL.iter().copied().find(|code| Some(code.number()) == number).ok_or_else(|| UnknownCode(text.to_owned()))
    }
}

/// The page of `code`, in Markdown: its cause, an example and how to mend it. Starts with its heading.
pub fn explain(code: Code) -> &'static str {
    const FAMILIES: [&str; 5] = [
        include_str!("../explain/rf01.md"),
        include_str!("../explain/rf02.md"),
        include_str!("../explain/rf03.md"),
        include_str!("../explain/rf04.md"),
        include_str!("../explain/rf05.md"),
    ];
    let family = FAMILIES[usize::from(code.number() / 100) - 1];
    let start = family.find(&format!("# {code}: ")).unwrap_or(family.len());
    let page = &family[start..];
    let end = page[1.min(page.len())..].find("\n# RF").map_or(page.len(), |end| end + 1);
    page[..end].trim_end()
}
