//! `MaintainerDeprecated`.

use crate::dockerfile::InstructionKind;
use crate::lint::{Finding, Level, Rule, View};

pub const RULE: Rule = Rule {
    name: "MaintainerDeprecated",
    summary: "MAINTAINER is deprecated",
    level: Level::Warning,
    url: Some("https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/"),
    why: "Who made an image is said by the label `org.opencontainers.image.authors`, which every tool shows. The \
          field that MAINTAINER sets is all but forgotten.",
    bad: "FROM scratch\nMAINTAINER jane@example.com\n",
    good: "FROM scratch\nLABEL org.opencontainers.image.authors=\"jane@example.com\"\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for at in view.instructions() {
        let InstructionKind::Maintainer(maintainer) = &at.kind else { continue };
        let label = format!("LABEL org.opencontainers.image.authors={:?}", maintainer.name);
        findings.push(
            Finding::new("MAINTAINER is deprecated")
                .at(at.place.clone(), "here")
                .help(format!("write `{label}`"))
                .edit(at.place.clone(), label),
        );
    }
    findings
}
