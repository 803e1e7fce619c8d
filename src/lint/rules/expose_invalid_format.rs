//! `ExposeInvalidFormat`.

use crate::dockerfile::{InstructionKind, parse_ports};
use crate::lint::finding::within;
use crate::lint::{Finding, Level, Rule, View};

pub const RULE: Rule = Rule {
    name: "ExposeInvalidFormat",
    summary: "EXPOSE names an address or a port of the host",
    level: Level::Warning,
    url: Some("https://docs.docker.com/go/dockerfile/rule/expose-invalid-format/"),
    why: "EXPOSE tells which ports the container listens on. Addresses and ports of the host belong to `docker run \
          --publish`; here they are dropped, and are announced to become an error.",
    bad: "FROM scratch\nEXPOSE 127.0.0.1:8080:80\n",
    good: "FROM scratch\nEXPOSE 80\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (_, _, at) in view.uses() {
        if !matches!(at.instruction.kind, InstructionKind::Expose(_)) {
            continue;
        }
        for port in at.words.iter().map(|word| &word.value) {
            if parse_ports(port).is_ok_and(|ports| ports.has_host_part) {
                findings.push(
                    Finding::new(format!("`{port}` names more than a port of the container"))
                        .at(within(at.place, port), "the part before the last `:` is dropped")
                        .help("write the port of the container alone"),
                );
            }
        }
    }
    findings
}
