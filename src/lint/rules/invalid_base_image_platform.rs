//! `InvalidBaseImagePlatform`.

use crate::lint::bases::Offer;
use crate::lint::finding::first_line;
use crate::lint::trace::context_key;
use crate::lint::{Finding, Level, Rule, View};

pub const RULE: Rule = Rule {
    name: "InvalidBaseImagePlatform",
    summary: "the base image is for another platform",
    level: Level::Warning,
    url: None,
    why: "A name that leads to a single image instead of an index gives that image to every platform. For all but one \
          of them its programs are for the wrong machine. Use an image that is made for all platforms of the target, or name \
          the platform that is meant. Needs the base image to be at hand.",
    bad: "FROM example.com/amd64-only:1\n",
    good: "FROM example.com/all:1\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (variant, stage) in view.traced().filter(|(_, stage)| stage.is_root) {
        let Some(image) = &stage.image else { continue };
        let Some(base) = view.bases.get(&context_key(&variant.model.contexts, image)) else { continue };
        let Offer::Image(actual) = &base.offer else { continue };
        let expected = &stage.platform;
        if (&actual.os, &actual.architecture) != (&expected.os, &expected.architecture) {
            findings.push(
                Finding::new(format!("`{image}` is an image for {actual}, where {expected} is needed"))
                    .at(first_line(&stage.stage.from.place), "this base")
                    .help(format!("use a base that has an image for {expected}"))
                    .only_for(variant.platform()),
            );
        }
    }
    findings
}
