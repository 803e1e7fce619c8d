//! `base-misses-platform`.

use crate::base::{Platform, Reference};
use crate::lint::bases::Offer;
use crate::lint::finding::first_line;
use crate::lint::trace::context_key;
use crate::lint::{Finding, Level, Rule, View};

pub const RULE: Rule = Rule {
    name: "base-misses-platform",
    summary: "the base image is not made for one of the target's platforms",
    level: Level::Error,
    url: None,
    why: "The build of that platform fails, and it does so late: after the other platforms were built. A digest that was taken \
          from one platform's manifest instead of the index has the same effect. Needs the base image to be at hand.",
    bad: "FROM example.com/no-arm64:1\n",
    good: "FROM example.com/all:1\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (variant, stage) in view.traced().filter(|(_, stage)| stage.is_root) {
        let Some(image) = &stage.image else { continue };
        let Some(base) = view.bases.get(&context_key(&variant.model.contexts, image)) else { continue };
        let wanted = &stage.platform;
        if base.offer.platforms().iter().any(|offered| offered.fitness(wanted).is_some()) {
            continue;
        }
        // Another variant of the same processor is told by `variant-drop`.
        let is_relative =
            |offered: &Platform| (&offered.os, &offered.architecture) == (&wanted.os, &wanted.architecture);
        if base.offer.platforms().iter().any(is_relative) {
            continue;
        }
        let is_pinned = image.parse::<Reference>().is_ok_and(|image| image.digest().is_some());
        let help = match &base.offer {
            Offer::Image(_) if is_pinned => {
                "the digest is that of one platform's manifest: take the digest of the index".to_string()
            }
            // Several platforms of one single image are told by `InvalidBaseImagePlatform`.
            Offer::Image(_) => continue,
            Offer::Index(platforms) => {
                let names: Vec<String> = platforms.iter().map(ToString::to_string).collect();
                format!("it has {}; choose another base, or drop the platform", names.join(", "))
            }
        };
        findings.push(
            Finding::new(format!("`{image}` has no image for {wanted}"))
                .at(first_line(&stage.stage.from.place), "this base")
                .help(help)
                .only_for(variant.platform()),
        );
    }
    findings
}
