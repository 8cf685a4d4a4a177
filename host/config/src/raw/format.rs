//! `format`, `schema` and `message` of a source, and `[registry]`.

use reelflow_core::format::Binary;

use super::pipeline::external;
use crate::{
    code::Code,
    config::{External, Registry, SourceFormat},
    problem::{At, Problem, Problems, Span},
    walk::Table,
};

/// What `format` says.
#[derive(Clone, Copy)]
enum Said {
    Json,
    Raw,
    Binary(Binary),
}

const FORMATS: [(&str, Said); 4] = [
    ("json", Said::Json),
    ("avro", Said::Binary(Binary::Avro)),
    ("protobuf", Said::Binary(Binary::Protobuf)),
    ("raw", Said::Raw),
];

/// How the values of a source are written; those of a table have fields to look up by, so they are not raw. `None`: something is wrong
/// with it.
pub(super) fn source_format(table: &mut Table<'_>, is_table: bool, problems: &mut Problems) -> Option<SourceFormat> {
    let is_said = table.peek("format").is_some();
    let key_of = |key: &str| table.peek(key).map(|entry| entry.key_span.clone());
    let (schema_key, message_key) = (key_of("schema"), key_of("message"));
    let formats = if is_table { &FORMATS[..3] } else { &FORMATS[..] };
    let format = table.choice("format", formats, problems);
    let schema = table.string("schema", problems);
    let message = table.string("message", problems);
    let binary = match format.as_ref().map(|format| format.value) {
        Some(Said::Binary(binary)) => binary,
        said => {
            // Which of the keys are right is not known where the format is not.
            if said.is_some() || !is_said {
                for (key, at) in [("schema", schema_key), ("message", message_key)] {
                    only_for(key, at, "sources whose format is \"avro\" or \"protobuf\"", table, problems);
                }
            }
            return match said {
                Some(Said::Raw) => Some(SourceFormat::Raw),
                None if is_said => None,
                _ => Some(SourceFormat::Json),
            };
        }
    };
    match (binary, &schema) {
        (Binary::Avro, _) => only_for("message", message_key, "sources whose format is \"protobuf\"", table, problems),
        (Binary::Protobuf, None) => only_for("message", message_key, "sources that name a schema file", table, problems),
        (Binary::Protobuf, Some(_)) if message_key.is_none() => table.missing("message", "\"Play\"", problems),
        (Binary::Protobuf, Some(_)) => {}
    }
    let at = format.expect("it was just looked at").span;
    Some(match schema {
        Some(schema) => SourceFormat::Bare { format: binary, schema, message },
        None => SourceFormat::Registry(At::new(binary, at)),
    })
}

/// A key that only `whose` have: `sources whose …`.
pub(super) fn only_for(key: &str, at: Option<Span>, whose: &str, table: &Table<'_>, problems: &mut Problems) {
    if let Some(at) = at {
        let message = format!("{} has no key \"{key}\"", table.what);
        problems.push(Problem::at(Code::KeyOfAnotherKind, at, message, format!("a key of {whose}")));
    }
}

pub(super) fn registry(root: &mut Table<'_>, problems: &mut Problems) -> Option<At<Option<Registry>>> {
    const WHAT: &str = "[registry]";
    let mut table = root.table("registry", WHAT, problems)?;
    let span = table.span.clone();
    if table.peek("url").is_none() {
        table.missing("url", "\"http://localhost:8081\"", problems);
    }
    for (key, other) in [("user", "password"), ("password", "user")] {
        if table.peek(key).is_some() && table.peek(other).is_none() {
            table.missing(other, "{ env = \"…\" }", problems);
        }
    }
    let url = table.take("url").and_then(|entry| external(&entry, WHAT, problems)).filter(|url| is_address(url, problems));
    let user = table.take("user").and_then(|entry| external(&entry, WHAT, problems));
    let password = table.take("password").and_then(|entry| external(&entry, WHAT, problems));
    let ca = table.take("ca").and_then(|entry| external(&entry, WHAT, problems));
    table.finish(&[], problems);
    let has_no_secret = match &password {
        Some(At { value: External::Inline(_), span }) => {
            let message = "\"password\" of [registry] is a secret and stands in the manifest";
            problems.push(Problem::at(Code::InlineSecret, span.clone(), message, "anyone who reads this file reads this").patch(
                "take it from the environment or from a file",
                span.clone(),
                "{ env = \"REGISTRY_PASSWORD\" }",
            ));
            false
        }
        _ => true,
    };
    let built = url.filter(|_| has_no_secret).map(|url| Registry { url, account: user.zip(password), ca });
    Some(At::new(built, span))
}

/// Whether it can be asked over HTTP. What comes from outside is looked at when it is there.
fn is_address(url: &At<External>, problems: &mut Problems) -> bool {
    let External::Inline(text) = &url.value else { return true };
    let Some(rest) = ["http://", "https://"].iter().find_map(|scheme| text.strip_prefix(scheme)) else {
        let message = "\"url\" of [registry] is not an address of HTTP";
        let problem = Problem::at(Code::BadUrl, url.span.clone(), message, "must begin with http:// or https://");
        problems.push(match text.contains("://") {
            true => problem,
            false => problem.patch("write", url.span.clone(), format!("\"http://{text}\"")),
        });
        return false;
    };
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    if host.contains('@') {
        let message = "\"url\" of [registry] holds a secret";
        problems.push(
            Problem::at(Code::InlineSecret, url.span.clone(), message, "anyone who reads this file reads this")
                .help("write `user` and `password = { env = \"REGISTRY_PASSWORD\" }` beside it"),
        );
        return false;
    }
    if host.is_empty() {
        let message = "\"url\" of [registry] is not an address of HTTP";
        problems.push(Problem::at(Code::BadUrl, url.span.clone(), message, "names no host"));
    }
    !host.is_empty()
}
