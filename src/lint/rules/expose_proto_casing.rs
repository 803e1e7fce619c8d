//! `ExposeProtoCasing`.

use crate::dockerfile::{InstructionKind, parse_ports};
use crate::lint::finding::within;
use crate::lint::{Finding, Level, Rule, View};

pub const RULE: Rule = Rule {
    name: "ExposeProtoCasing",
    summary: "EXPOSE writes a protocol in capital letters",
    level: Level::Warning,
    url: Some("https://docs.docker.com/go/dockerfile/rule/expose-proto-casing/"),
    why: "The config has protocols in lower case, whatever the Dockerfile says.",
    bad: "FROM scratch\nEXPOSE 80/TCP\n",
    good: "FROM scratch\nEXPOSE 80/tcp\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (_, _, at) in view.uses() {
        if !matches!(at.instruction.kind, InstructionKind::Expose(_)) {
            continue;
        }
        for port in at.words.iter().map(|word| &word.value) {
            let Some(protocol) = parse_ports(port).ok().and_then(|ports| ports.written_protocol) else {
                continue;
            };
            if protocol != protocol.to_lowercase() {
                let place = within(at.place, port);
                let finding = Finding::new(format!("the protocol of `{port}` has capital letters"))
                    .at(place.clone(), "here")
                    .help(format!("write `{}`", port.to_lowercase()));
                let is_written = place != *at.place;
                findings.push(if is_written { finding.edit(place, port.to_lowercase()) } else { finding });
            }
        }
    }
    findings
}
