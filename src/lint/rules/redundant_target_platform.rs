//! `RedundantTargetPlatform`.

use crate::lint::finding::within;
use crate::lint::{Finding, Level, Rule, View};

pub const RULE: Rule = Rule {
    name: "RedundantTargetPlatform",
    summary: "`--platform=$TARGETPLATFORM` says what holds anyway",
    level: Level::Warning,
    url: Some("https://docs.docker.com/go/dockerfile/rule/redundant-target-platform/"),
    why: "A stage is for the target's platform unless it says otherwise.",
    bad: "FROM --platform=$TARGETPLATFORM scratch\n",
    good: "FROM scratch\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for variant in &view.variants {
        for (stage, from) in view.stages().iter().zip(&variant.trace.froms) {
            let (Some(written), Some(platform)) = (&stage.from.platform, &from.platform) else { continue };
            let is_alone = platform.undefined.is_empty() && platform.used.iter().eq(["TARGETPLATFORM"]);
            let target = variant.model.args.get("TARGETPLATFORM").map(|given| given.value.clone());
            let target = target.unwrap_or_else(|| variant.platform().to_string());
            if is_alone && platform.value == target {
                let flag = within(&stage.from.place, &format!("--platform={} ", written.value));
                findings.push(
                    Finding::new(format!("`--platform={}` says what holds anyway", written.value))
                        .at(written.place.clone().unwrap_or_else(|| stage.from.place.clone()), "not needed")
                        .help("remove the flag")
                        .edit(flag, ""),
                );
            }
        }
    }
    findings
}
