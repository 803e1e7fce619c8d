//! `const-platform`.

use crate::lint::finding::first_line;
use crate::lint::trace::Runs;
use crate::lint::{Finding, Level, Rule, View};

pub const RULE: Rule = Rule {
    name: "const-platform",
    summary: "the image of one platform begins with another one's files",
    level: Level::Warning,
    url: None,
    why: "The stage that becomes the image, or one it begins with, has a constant platform. So every platform of the target \
          gets the files of that one, under its own name. Leave the flag out; if only some stages have a constant platform, \
          choose among them by `FROM build-$TARGETARCH`. A stage on the build machine as the image is the same mistake, unless \
          it only holds what was copied into it.",
    bad: "FROM --platform=linux/amd64 busybox AS base-amd64\nFROM base-amd64\n",
    good: "FROM --platform=linux/amd64 busybox AS base-amd64\nFROM --platform=linux/arm64 busybox AS base-arm64\n\
           FROM base-$TARGETARCH\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for variant in &view.variants {
        let platform = variant.platform();
        let Some(result) = variant.trace.result else { continue };
        let chain = variant.trace.chain(result);
        let Some(root) = chain.last() else { continue };
        let holds = match &root.runs {
            Runs::On(constant) => constant.clone(),
            Runs::OnBuildMachine if root.image.is_some() => view.build.clone(),
            Runs::OnBuildMachine | Runs::OnTarget | Runs::Somewhere => continue,
        };
        if holds.fitness(platform).is_some() {
            continue;
        }
        let written = root.stage.from.platform.as_ref();
        let place = written.and_then(|word| word.place.clone());
        findings.push(
            Finding::new(format!("the image begins with files for {holds}, whatever its own platform"))
                .at(
                    place.unwrap_or_else(|| first_line(&root.stage.from.place)),
                    "not the platform of the image",
                )
                .help("remove `--platform` from the stage that the image begins with")
                .only_for(platform),
        );
    }
    findings
}
