//! No text makes any part of the language panic, and what is rendered twice is the same.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::expression::{Call, Datum, Names, render_text};
use super::matching::Matcher;
use super::versions::Scheme;
use super::{Flavor, Kind, Rule, fields, moment, pair};

struct Everything;

impl Names for Everything {
    fn value(&self, call: &Call) -> Result<Option<Datum>, String> {
        Ok(Some(Datum::Text(call.name.clone())))
    }

    fn escapes(&self) -> bool {
        true
    }
}

/// Pieces that the language has a meaning for, and others.
fn text() -> impl Strategy<Value = String> {
    const PIECES: [&str; 15] = [
        "{{",
        "}}",
        "{{{",
        "#if a",
        "/if",
        "else",
        "~",
        "\\",
        "!--",
        "date 'YYYY'",
        "[",
        "\"",
        ",",
        "=",
        "1.2.3",
    ];
    let known = proptest::sample::select(&PIECES[..]).prop_map(str::to_string);
    let pieces = prop_oneof![4 => known, 1 => "[a-zA-Z]{1,6}", 1 => "\\PC{0,3}"];
    proptest::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_is_survived(text in text()) {
        let rendered = render_text(&text, &Everything);
        prop_assert_eq!(&rendered, &render_text(&text, &Everything));
        for scheme in [Scheme::Semver, Scheme::Pep440] {
            scheme.parse(&text);
        }
        let written = moment::format(&text, Timestamp::UNIX_EPOCH, &TimeZone::UTC);
        prop_assert!(written.is_ok());
        if let Ok(matcher) = Matcher::parse(&text, true) {
            let _ = matcher.find(&text);
        }
        let _ = Flavor::default().add(&text);
        for field in fields(&text).unwrap_or_default() {
            let (key, value) = pair(&field);
            for (_, kind) in Kind::NAMES {
                let _ = Rule::new(kind, |name| (key.as_deref() == Some(name)).then(|| value.clone()));
            }
        }
    }

    #[test]
    fn letters_stand_for_themselves(text in "[^{}\\\\]{0,30}") {
        prop_assert_eq!(render_text(&text, &Everything), Ok(text));
    }
}
