//! `floating-tag`.

use crate::base::Reference;
use crate::diag::Place;
use crate::dockerfile::InstructionKind;
use crate::lint::finding::first_line;
use crate::lint::trace::{Trace, context_key};
use crate::lint::{Finding, Level, Rule, View};
use crate::lock::image_name;

pub const RULE: Rule = Rule {
    name: "floating-tag",
    summary: "an image without a digest, in a project with a lock that does not know it",
    level: Level::Warning,
    url: None,
    why: "`multiarch.lock` pins the images of a project, so that today's build and tomorrow's are the same. An image that is \
          neither in the lock nor named by digest can change under its tag at any time.",
    bad: "FROM example.com/base:1\n--- multiarch.lock\nversion = 1\n",
    good: "FROM example.com/base:1\n--- multiarch.lock\nversion = 1\n[image.\"example.com/base:1\"]\n\
           digest = \"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let Some(lock) = view.lock else { return Vec::new() };
    let mut findings = Vec::new();
    for variant in &view.variants {
        for (name, place) in images(&variant.trace) {
            let is_context =
                variant.model.contexts.contains_key(&context_key(&variant.model.contexts, &name));
            let Ok(reference) = name.parse::<Reference>() else { continue };
            let is_locked = lock.images.contains_key(&image_name(&reference));
            if is_context || is_locked || reference.digest().is_some() || name == "scratch" {
                continue;
            }
            findings.push(
                Finding::new(format!("`{name}` is neither in the lock nor named by digest"))
                    .at(place, "can change at any time")
                    .help("`mab lock` pins it; or name its digest"),
            );
        }
    }
    findings
}

/// The images that stages begin with or copy from.
fn images(trace: &Trace<'_>) -> Vec<(String, Place)> {
    let mut images = Vec::new();
    for stage in &trace.stages {
        images.extend(
            stage
                .image
                .clone()
                .filter(|_| stage.is_root)
                .map(|name| (name, first_line(&stage.stage.from.place))),
        );
        for at in &stage.uses {
            let InstructionKind::Copy(copy) = &at.instruction.kind else { continue };
            let from = copy.from.as_ref().filter(|from| trace.copied_stage(from).is_none());
            images.extend(from.map(|from| (from.value.clone(), first_line(at.place))));
        }
    }
    images
}
