//! `verify`: a word, or a table with the paths that may be strangers; and `require`, `allow-failure`.

use toml::de::DeValue;

use super::keys::Section;
use super::read::read_word;
use super::table::{Reader, Role, Value};
use crate::diag::{Located, Problem};
use crate::model::{Requirement, Verify, VerifyLevel};
use crate::pattern::Glob;

pub fn read(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Located<Verify>> {
    let place = reader.place(value.span());
    let verify = match value.get_ref() {
        DeValue::String(_) => {
            Verify { level: read_word(reader, "verify", value, &VerifyLevel::NAMES)?, allow: Vec::new() }
        }
        DeValue::Table(table) => {
            let mut verify = Verify { level: VerifyLevel::Error, allow: Vec::new() };
            for (key, value) in table {
                match key.get_ref().as_ref() {
                    "level" => {
                        let level = read_word(reader, "level", value, &VerifyLevel::NAMES);
                        verify.level = level.unwrap_or(VerifyLevel::Error);
                    }
                    "allow" => verify.allow = read_patterns(reader, value),
                    _ => reader.unknown_key(Section::Verify, key),
                }
            }
            verify
        }
        _ => {
            reader.mismatch("verify", value, "`error`, `warn`, `off` or a table");
            return None;
        }
    };
    Some(Located::new(verify, place))
}

fn read_patterns(reader: &mut Reader<'_>, value: &Value<'_>) -> Vec<String> {
    let mut patterns = Vec::new();
    for text in reader.texts("allow", value, Role::Plain).unwrap_or_default() {
        match Glob::parse(text.value.as_bytes()) {
            Ok(_) => patterns.push(text.value),
            Err(_) => reader.report(
                Problem::input("config::bad-value", format!("`{}` is not a pattern of paths", text.value))
                    .at(text.place(), "not closed"),
            ),
        }
    }
    patterns
}

/// The words of `require`, each once.
pub fn read_requirements(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Vec<Located<Requirement>>> {
    let members = reader.list("require", value, "a list of `clean`, `tag` and `branch`")?;
    let mut found: Vec<Located<Requirement>> = Vec::new();
    for member in members {
        let Some(word) = read_word(reader, "require", member, &Requirement::NAMES) else { continue };
        if !found.iter().any(|known| known.value == word) {
            found.push(Located::new(word, reader.place(member.span())));
        }
    }
    // Whether they hold is for git to say.
    reader.uses_git.facts |= !found.is_empty();
    Some(found)
}

pub fn read_allow_failure(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Located<bool>> {
    let allowed = reader.boolean("allow-failure", value)?;
    Some(Located::new(allowed, reader.place(value.span())))
}
