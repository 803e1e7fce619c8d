//! `[lint]`: what a project says about the rules of `mab check`. Which rules there are is not known here.

use toml::de::DeValue;

use super::keys::Section;
use super::table::{Reader, Role, Value};
use crate::diag::Located;
use crate::model::{Lint, LintFailing};

pub fn read(reader: &mut Reader<'_>, value: &Value<'_>) -> Lint {
    let mut lint = Lint::default();
    for (key, value) in reader.table("lint", value).into_iter().flatten() {
        match key.get_ref().as_ref() {
            "skip" => lint.skip = names(reader, "skip", value),
            "error" => match value.get_ref() {
                DeValue::Boolean(true) => lint.failing = LintFailing::All,
                DeValue::Boolean(false) => lint.failing = LintFailing::None,
                DeValue::Array(_) => lint.failing = LintFailing::Rules(names(reader, "error", value)),
                _ => reader.mismatch("error", value, "`true`, `false` or a list of rules"),
            },
            _ => reader.unknown_key(Section::Lint, key),
        }
    }
    lint
}

fn names(reader: &mut Reader<'_>, key: &str, value: &Value<'_>) -> Vec<Located<String>> {
    let texts = reader.texts(key, value, Role::Plain).unwrap_or_default();
    texts.iter().map(|text| Located::new(text.value.clone(), text.place())).collect()
}
