//! The structure of `mab check --format sarif`, held to what OASIS SARIF 2.1.0 says of each object: which properties
//! it may have, which it must have, and what they are.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::Project;

/// What a property's value is.
enum Is {
    Text,
    /// A reference as RFC 3986 has it.
    Uri,
    OneOf(&'static [&'static str]),
    /// No smaller than this.
    Number(i64),
    Bool,
    Object(&'static str),
    /// At least so many, and no two alike where that is asked for.
    Array(usize, bool, &'static str),
    Texts,
}

use Is::{Array, Bool, Number, Object, OneOf, Text, Texts, Uri};

const LEVELS: &[&str] = &["none", "note", "warning", "error"];

/// Of an object the properties that we write, those that must be there first, and how many of them must.
fn properties(kind: &str) -> (usize, &'static [(&'static str, Is)]) {
    match kind {
        "log" => (2, &[("version", OneOf(&["2.1.0"])), ("runs", Array(0, false, "run")), ("$schema", Uri)]),
        "run" => (
            1,
            &[
                ("tool", Object("tool")),
                ("columnKind", OneOf(&["utf16CodeUnits", "unicodeCodePoints"])),
                ("results", Array(0, false, "result")),
            ],
        ),
        "tool" => (1, &[("driver", Object("component"))]),
        "component" => (1, &[("name", Text), ("semanticVersion", Text), ("rules", Array(0, true, "rule"))]),
        "rule" => (
            1,
            &[
                ("id", Text),
                ("shortDescription", Object("description")),
                ("fullDescription", Object("description")),
                ("help", Object("description")),
                ("helpUri", Uri),
                ("defaultConfiguration", Object("configuration")),
            ],
        ),
        "description" => (1, &[("text", Text), ("markdown", Text)]),
        "configuration" => (0, &[("enabled", Bool), ("level", OneOf(LEVELS))]),
        "result" => (
            1,
            &[
                ("message", Object("description")),
                ("ruleId", Text),
                ("ruleIndex", Number(-1)),
                ("level", OneOf(LEVELS)),
                ("locations", Array(0, false, "location")),
                ("relatedLocations", Array(0, true, "location")),
                ("partialFingerprints", Texts),
                ("fixes", Array(0, true, "fix")),
            ],
        ),
        "location" => (0, &[("physicalLocation", Object("place")), ("message", Object("description"))]),
        "place" => (1, &[("artifactLocation", Object("artifact")), ("region", Object("region"))]),
        "artifact" => (0, &[("uri", Uri)]),
        "region" => (
            0,
            &[
                ("startLine", Number(1)),
                ("startColumn", Number(1)),
                ("endLine", Number(1)),
                ("endColumn", Number(1)),
            ],
        ),
        "fix" => {
            (1, &[("artifactChanges", Array(1, true, "change")), ("description", Object("description"))])
        }
        "change" => {
            (2, &[("artifactLocation", Object("artifact")), ("replacements", Array(1, false, "replacement"))])
        }
        "replacement" => (1, &[("deletedRegion", Object("region")), ("insertedContent", Object("content"))]),
        "content" => (0, &[("text", Text)]),
        other => panic!("there is no object `{other}`"),
    }
}

fn check(value: &Value, kind: &str, at: &str) {
    let object = value.as_object().unwrap_or_else(|| panic!("{at} is no object"));
    let (required, known) = properties(kind);
    for (name, _) in &known[..required] {
        assert!(object.contains_key(*name), "{at} has no {name}");
    }
    for (name, value) in object {
        let at = format!("{at}.{name}");
        let (_, is) =
            known.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("{at} is not known"));
        check_value(value, is, &at);
    }
    // A file without a region is a place as well, but its end is never before its beginning.
    if kind == "region" {
        let place = |line: &str, column: &str| (value[line].as_i64(), value[column].as_i64());
        assert!(
            place("startLine", "startColumn") <= place("endLine", "endColumn"),
            "{at} ends before it begins"
        );
    }
}

fn check_value(value: &Value, is: &Is, at: &str) {
    match is {
        Text => assert!(
            value.as_str().is_some_and(|text| !text.is_empty()) || at.ends_with("Content.text"),
            "{at}"
        ),
        Uri => {
            let text = value.as_str().unwrap_or_else(|| panic!("{at} is no text"));
            let is_allowed =
                |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte);
            assert!(text.bytes().all(is_allowed), "{at}: {text}");
        }
        OneOf(allowed) => {
            assert!(value.as_str().is_some_and(|text| allowed.contains(&text)), "{at}: {value}")
        }
        Number(least) => assert!(value.as_i64().is_some_and(|number| number >= *least), "{at}: {value}"),
        Bool => assert!(value.is_boolean(), "{at}"),
        Object(kind) => check(value, kind, at),
        Array(least, is_set, kind) => {
            let values = value.as_array().unwrap_or_else(|| panic!("{at} is no array"));
            assert!(values.len() >= *least, "{at} is too short");
            let different: BTreeSet<String> = values.iter().map(Value::to_string).collect();
            assert!(!is_set || different.len() == values.len(), "{at} has equals");
            for (number, value) in values.iter().enumerate() {
                check(value, kind, &format!("{at}[{number}]"));
            }
        }
        Texts => {
            let object = value.as_object().unwrap_or_else(|| panic!("{at} is no object"));
            assert!(object.values().all(Value::is_string), "{at}");
        }
    }
}

#[test]
fn every_report_is_built_as_the_standard_says() {
    let project = Project::of(
        "[project]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n\
         [target.a]\ndockerfile = \"odd ü name\"\n[target.b]\n[target.c]\ndockerfile = \"broken\"\n\
         [target.d]\ndockerfile = \"clean\"\n[target.e]\ndockerfile-inline = \"FROM scratch\\nCMD run\\n\"\n",
    )
    .file(
        "odd ü name",
        "FROM scratch AS Base\nfrom Base\nARG TARGETARCH=amd64\nENV a b\nENV PASSWORD=x\nCMD run\nCMD run\n",
    )
    .file(
        "Dockerfile",
        "ARG TARGETARCH\nFROM --platform=linux/amd64 busybox as one\nMAINTAINER me\nWORKDIR here\n\
                         COPY --from=onee a $b\nFROM one\nFROM two AS one\nEXPOSE 80/TCP\n",
    )
    .file("broken", "FROM scratch\nCOPPY a b\n")
    .file("clean", "FROM scratch\nCOPY a /a\n");
    let ran = project.mab(&["check", "--offline", "--format", "sarif"]).run();
    let document: Value = serde_json::from_str(&ran.stdout).expect("the answer is JSON");
    check(&document, "log", "log");
    let run = &document["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().expect("there are rules");
    let ids: BTreeSet<&str> = rules.iter().filter_map(|rule| rule["id"].as_str()).collect();
    assert_eq!(ids.len(), rules.len(), "rules have ids of their own");
    let results = run["results"].as_array().expect("there are results");
    let found: BTreeSet<&str> = results.iter().filter_map(|result| result["ruleId"].as_str()).collect();
    assert!(found.len() > 8 && found.contains("dockerfile"), "{found:?}");
    assert!(results.iter().any(|result| !result["relatedLocations"].as_array().is_none_or(Vec::is_empty)));
    assert!(results.iter().any(|result| result["fixes"].is_array()));

    let clean = Project::new().file("Dockerfile", "FROM scratch\nCOPY a /a\n");
    let ran = clean.mab(&["check", "--offline", "--format", "sarif"]).run().succeeded();
    check(&serde_json::from_str(&ran.stdout).expect("the answer is JSON"), "log", "log");
}
