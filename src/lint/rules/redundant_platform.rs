//! `redundant-platform`.

use crate::lint::{Finding, Level, Rule, View};

pub const RULE: Rule = Rule {
    name: "redundant-platform",
    summary: "`FROM --platform` puts the target's platform together from its parts",
    level: Level::Warning,
    url: None,
    why: "`--platform=$TARGETOS/$TARGETARCH` is what holds without the flag, but for the variant: `linux/arm/v6` becomes \
          `linux/arm`, which means v7. Leave the flag out.",
    bad: "FROM --platform=linux/$TARGETARCH busybox\n",
    good: "FROM busybox\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (stage, froms) in view.stages().iter().enumerate().map(|(index, stage)| {
        (stage, view.variants.iter().map(move |variant| (variant.platform(), &variant.trace.froms[index])))
    }) {
        let Some(written) = &stage.from.platform else { continue };
        let mut wrong = None;
        let mut is_put_together = true;
        for (target, from) in froms {
            let Some(word) = &from.platform else { continue };
            is_put_together &= word.used.contains("TARGETARCH") && from.parsed.is_some();
            if from.parsed.as_ref() != Some(target) {
                wrong = Some((target, word.value.clone()));
            }
        }
        if !is_put_together {
            continue;
        }
        let place = written.place.clone().unwrap_or_else(|| stage.from.place.clone());
        let finding = match wrong {
            Some((target, value)) => {
                Finding::new(format!("for {target} this platform is `{value}`, which is another one"))
            }
            None => Finding::new(format!("`--platform={}` says what holds anyway", written.value)),
        };
        findings.push(finding.at(place, "put together from parts").help("remove the flag"));
    }
    findings
}
