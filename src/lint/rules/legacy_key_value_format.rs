//! `LegacyKeyValueFormat`.

use crate::dockerfile::{InstructionKind, KeyValue};
use crate::lint::{Finding, Level, Rule, View};

pub const RULE: Rule = Rule {
    name: "LegacyKeyValueFormat",
    summary: "ENV or LABEL separates name and value by a blank",
    level: Level::Warning,
    url: Some("https://docs.docker.com/go/dockerfile/rule/legacy-key-value-format/"),
    why: "`ENV NAME value` takes the rest of the line as the value, quotes and all, and can set one name only. \
          `ENV NAME=value` says what belongs to what.",
    bad: "FROM scratch\nENV DIR /srv\n",
    good: "FROM scratch\nENV DIR=/srv\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (_, _, at) in view.uses() {
        let (pairs, is_legacy) = match &at.instruction.kind {
            InstructionKind::Env(env) => (&env.pairs, env.legacy),
            InstructionKind::Label(label) => (&label.pairs, label.legacy),
            _ => continue,
        };
        let ([KeyValue { key, value }], true) = (&pairs[..], is_legacy) else { continue };
        let keyword = &at.instruction.keyword;
        let is_word = !value.contains([' ', '\t', '"', '\'', '\\', '\n']);
        let finding = Finding::new(format!("{} separates name and value by a blank", keyword.to_uppercase()))
            .at(at.place.clone(), "here");
        findings.push(match is_word {
            true => finding
                .help(format!("write `{keyword} {key}={value}`"))
                .edit(at.place.clone(), format!("{keyword} {key}={value}")),
            false => finding.help(format!("write `{keyword} {key}=\"…\"`")),
        });
    }
    findings
}
