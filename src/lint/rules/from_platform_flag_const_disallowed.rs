//! `FromPlatformFlagConstDisallowed`.

use crate::lint::finding::within;
use crate::lint::{Finding, Level, Rule, View};

pub const RULE: Rule = Rule {
    name: "FromPlatformFlagConstDisallowed",
    summary: "`FROM --platform` is a constant",
    level: Level::Warning,
    url: Some("https://docs.docker.com/go/dockerfile/rule/from-platform-flag-const-disallowed/"),
    why: "A stage with a constant platform is the same for every target, so the file cannot be built for another one \
          by just asking for it. Leave the flag out and name the platform when building, or use `$BUILDPLATFORM`. A stage whose \
          name tells its platform (`build-amd64`) is taken to be meant.",
    bad: "FROM --platform=linux/amd64 scratch\n",
    good: "FROM scratch\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for variant in &view.variants {
        for (stage, from) in view.stages().iter().zip(&variant.trace.froms) {
            let (Some(written), Some(word)) = (&stage.from.platform, &from.platform) else { continue };
            let Some(platform) =
                from.parsed.as_ref().filter(|_| word.used.is_empty() && word.undefined.is_empty())
            else {
                continue;
            };
            let name = stage.name.as_deref().unwrap_or_default();
            if name.contains(&platform.os) || name.contains(&platform.architecture) {
                continue;
            }
            let flag = within(&stage.from.place, &format!("--platform={} ", written.value));
            findings.push(
                Finding::new(format!("the platform of this stage is always `{}`", word.value))
                    .at(written.place.clone().unwrap_or_else(|| stage.from.place.clone()), "a constant")
                    .help("remove the flag, or use `$BUILDPLATFORM`")
                    .edit(flag, ""),
            );
        }
    }
    findings
}
