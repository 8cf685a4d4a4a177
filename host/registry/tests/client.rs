//! The client against a registry on loopback.

use reelflow_core::format::{Binary, SchemaAnswer};
use reelflow_ports::schemas::{Schemas, SchemasError};
use reelflow_registry::client::{Account, HttpRegistry};
use reelflow_registry_tests::TestRegistry;

const PLAY: &str = r#"{"type":"record","name":"Play","fields":[{"name":"at","type":"long"}]}"#;

fn client(url: &str, account: Option<Account>) -> HttpRegistry {
    HttpRegistry::new(url, account, None).expect("no certificates")
}

fn format_of(answer: Result<SchemaAnswer, SchemasError>) -> Binary {
    match answer {
        Ok(SchemaAnswer::Known(schema)) => schema.format(),
        other => panic!("not known: {other:?}"),
    }
}

fn why_unusable(answer: Result<SchemaAnswer, SchemasError>) -> String {
    match answer {
        Ok(SchemaAnswer::Unusable(why)) => why.to_string(),
        other => panic!("not unusable: {other:?}"),
    }
}

#[test]
fn schemas_are_asked_for_once() {
    let registry = TestRegistry::start();
    let avro = registry.register("plays-value", "AVRO", PLAY, &[]);
    let protobuf = registry.register("starts-value", "PROTOBUF", "syntax = \"proto3\"; message Play { int64 at = 1; }", &[]);
    let client = client(&registry.url(), None);
    for _ in 0..3 {
        assert_eq!(format_of(client.writer(avro)), Binary::Avro);
        assert_eq!(format_of(client.writer(protobuf)), Binary::Protobuf);
        assert_eq!(client.writer(99), Ok(SchemaAnswer::Unknown));
    }
    assert_eq!(registry.n_requests(), 3, "also what is not known is not asked for at every batch");
}

#[test]
fn schemas_may_refer_to_others() {
    let registry = TestRegistry::start();
    registry.register("device", "AVRO", r#"{"type":"enum","name":"reel.Device","symbols":["tv","web"]}"#, &[]);
    let place = r#"{"type":"record","name":"reel.Place","fields":[{"name":"device","type":"reel.Device"}]}"#;
    registry.register("the place", "AVRO", place, &[("reel.Device", "device", 1)]);
    let play = r#"{"type":"record","name":"Play","fields":[{"name":"place","type":"reel.Place"}]}"#;
    let avro = registry.register("plays-value", "AVRO", play, &[("reel.Place", "the place", 1)]);

    let common = "syntax = \"proto3\"; package reel; message Place { string device = 1; }";
    registry.register("common/place.proto", "PROTOBUF", common, &[]);
    let play = "syntax = \"proto3\"; import \"common/place.proto\"; import \"google/protobuf/timestamp.proto\";
        message Play { google.protobuf.Timestamp at = 1; reel.Place place = 2; }";
    let protobuf = registry.register("starts-value", "PROTOBUF", play, &[("common/place.proto", "common/place.proto", 1)]);
    let lost = registry.register("lost-value", "PROTOBUF", play, &[("common/place.proto", "common/place.proto", 7)]);

    let client = client(&format!("{}/", registry.url()), None);
    assert_eq!(format_of(client.writer(avro)), Binary::Avro);
    assert_eq!(format_of(client.writer(protobuf)), Binary::Protobuf);
    assert!(why_unusable(client.writer(lost)).contains("does not have \"common/place.proto\""));
}

#[test]
fn schemas_that_are_none_are_unusable() {
    let registry = TestRegistry::start();
    let cases = [
        (registry.register("a", "AVRO", "{\"type\":\"instant\"}", &[]), "instant"),
        (registry.register("b", "PROTOBUF", "message {", &[]), "identifier"),
        (registry.register("c", "JSON", "{\"type\":\"object\"}", &[]), "neither of Avro nor of Protobuf"),
        (registry.register("d", "PROTOBUF", "syntax = \"proto3\"; import \"other.proto\";", &[]), "other.proto"),
        (registry.register("deep", "PROTOBUF", &"message M {".repeat(100_000), &[]), "brackets"),
        (registry.register("also deep", "AVRO", &"[".repeat(100_000), &[]), "recursion limit"),
        (registry.register("e", "AVRO", r#"{"type":"record","name":"A","fields":[{"name":"b","type":"B"}]}"#, &[]), "B"),
    ];
    let client = client(&registry.url(), None);
    for (id, says) in cases {
        let why = why_unusable(client.writer(id));
        assert!(why.contains(says), "{id}: {why}");
    }
}

#[test]
fn who_is_asked_may_ask_who_it_is() {
    let registry = TestRegistry::start();
    let id = registry.register("plays-value", "AVRO", PLAY, &[]);
    registry.protect("reel", "hunter2");
    let account = |password: &str| Some(Account { user: "reel".to_owned(), password: password.to_owned() });
    assert_eq!(format_of(client(&registry.url(), account("hunter2")).writer(id)), Binary::Avro);
    for account in [None, account("hunter3")] {
        let error = client(&registry.url(), account).writer(id).expect_err("it is not let in");
        assert!(matches!(error, SchemasError::Denied(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("401") && !text.contains("hunter"), "{text}");
    }
}

#[test]
fn what_is_no_answer_is_none() {
    let registry = TestRegistry::start();
    let id = registry.register("plays-value", "AVRO", PLAY, &[]);
    let client = client(&registry.url(), None);
    let failures = [
        (503, "{\"error_code\":50302}", "503"),
        (500, "", "500"),
        (200, "<html>", "not as a registry does"),
        // Some proxy, or another program at that address.
        (404, "<html>", "not as a registry does"),
        (404, "{\"error_code\":404}", "not as a registry does"),
        (302, "", "location"),
    ];
    for (status, body, says) in failures {
        registry.fail(Some((status, body)));
        let error = client.writer(id).expect_err("no answer");
        assert!(matches!(&error, SchemasError::Unavailable(why) if why.contains(says)), "{status} {body}: {error:?}");
    }
    registry.fail(Some((200, "{\"schema\":7}")));
    assert!(why_unusable(client.writer(77)).contains("no text"));
    registry.fail(None);
    assert_eq!(format_of(client.writer(id)), Binary::Avro, "a failure is not kept");
}

#[test]
fn nobody_there_is_no_answer_and_a_bad_address_is_the_users() {
    let gone = TestRegistry::start().url();
    let error = client(&gone, None).writer(1).expect_err("nobody is there");
    assert!(matches!(error, SchemasError::Unavailable(_)), "{error:?}");
    for bad in ["", "not an address", "http://", "ftp://localhost"] {
        let error = client(bad, None).writer(1).expect_err("no address");
        assert!(matches!(error, SchemasError::BadUrl(_)), "{bad:?}: {error:?}");
    }
}

#[test]
fn what_is_no_certificate_is_said() {
    for bad in ["", "no PEM", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        let why = HttpRegistry::new("https://localhost", None, Some(bad)).map(drop).expect_err("it is no certificate");
        assert!(!why.is_empty(), "{bad}");
    }
}
