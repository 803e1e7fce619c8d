//! `args-shadow-platform`.

use crate::lint::arguments::is_platform_argument;
use crate::lint::{Finding, Level, Rule, View};
use crate::steps::{BuildArgs, Globals};

pub const RULE: Rule = Rule {
    name: "args-shadow-platform",
    summary: "`args` of a target give a platform argument one value for all platforms",
    level: Level::Warning,
    url: None,
    why: "Build arguments win over the automatic values. `args = { TARGETARCH = \"amd64\" }` makes every platform of the target \
          build for amd64, and only the name of the image says arm64. Remove the argument: every build has it anyway.",
    bad: "FROM busybox\nARG TARGETARCH\nRUN wget https://example.com/tool-$TARGETARCH\n\
          --- multiarch.toml\n[target.app]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\nargs = { TARGETARCH = \"amd64\" }\n",
    good: "FROM busybox\nARG TARGETARCH\nRUN wget https://example.com/tool-$TARGETARCH\n\
          --- multiarch.toml\n[target.app]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for variant in &view.variants {
        let automatic = Globals::new(variant.platform(), view.build, "default", &BuildArgs::new());
        for (name, given) in variant.model.args.iter().filter(|(name, _)| is_platform_argument(name)) {
            let Some(right) = automatic.get(name).filter(|right| *right != given.value) else { continue };
            let platform = variant.platform();
            let finding =
                Finding::new(format!("`{name}` is `{}` for {platform}, instead of `{right}`", given.value))
                    .help(format!("remove `{name}` from `args`: every build has the right value"))
                    .only_for(platform);
            findings.push(match &given.place {
                Some(place) => finding.at(place.clone(), "hides the automatic value"),
                None => finding,
            });
        }
    }
    findings
}
