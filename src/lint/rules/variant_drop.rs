//! `variant-drop`.

use crate::base::Platform;
use crate::lint::finding::first_line;
use crate::lint::trace::context_key;
use crate::lint::{Finding, Level, Rule, View};

pub const RULE: Rule = Rule {
    name: "variant-drop",
    summary: "the base image is only made for newer processors than the target's",
    level: Level::Error,
    url: None,
    why: "`linux/arm/v6` is an older processor than `linux/arm/v7`: programs for v7 stop there with an illegal instruction. \
          The same holds for `linux/amd64/v3` against plain `linux/amd64`. An older variant of the base does for a newer target, \
          but not the other way round. Needs the base image to be at hand.",
    bad: "FROM example.com/armv7:1\n--- multiarch.toml\n[target.app]\nplatforms = [\"linux/arm/v6\"]\n",
    good: "FROM example.com/armv7:1\n--- multiarch.toml\n[target.app]\nplatforms = [\"linux/arm/v7\"]\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (variant, stage) in view.traced().filter(|(_, stage)| stage.is_root) {
        let Some(image) = &stage.image else { continue };
        let Some(base) = view.bases.get(&context_key(&variant.model.contexts, image)) else { continue };
        let wanted = &stage.platform;
        let offered = base.offer.platforms();
        if offered.iter().any(|offered| offered.fitness(wanted).is_some()) {
            continue;
        }
        let is_relative = |offered: &&Platform| {
            (&offered.os, &offered.architecture) == (&wanted.os, &wanted.architecture)
                && offered.variant != wanted.variant
        };
        let Some(newer) = offered.iter().find(is_relative) else { continue };
        findings.push(
            Finding::new(format!("`{image}` is for {newer}, which {wanted} cannot run"))
                .at(first_line(&stage.stage.from.place), "this base")
                .help(format!("choose a base that is made for {wanted}, or drop the platform"))
                .only_for(variant.platform()),
        );
    }
    findings
}
