//! The annotations of a target: those of every layer, the strongest of each level, platform and key.

use std::borrow::Cow;
use std::collections::HashSet;

use super::Resolver;
use super::tagging::Ruled;
use crate::base::Platform;
use crate::config::annotation;
use crate::config::declare::{AnnotationsDeclaration, Layer};
use crate::config::text::Text;
use crate::diag::{Located, Problem};
use crate::model::{Annotation, AnnotationLevel};

impl<'w> Resolver<'w, '_, '_> {
    /// Those that rules give are the weakest.
    pub(super) fn annotations(
        &mut self,
        ruled: Option<&Ruled<'_>>,
        platforms: &[Located<Platform>],
    ) -> Vec<Annotation> {
        let given = ruled.map(|ruled| self.oci_annotations(ruled, platforms.len())).unwrap_or_default();
        let mut annotations: Vec<Annotation> = Vec::new();
        let layers: Vec<&'w Layer> = self.common.iter().collect();
        for layer in layers {
            if layer.removes_all_of("annotations") {
                annotations.clear();
            }
            let removed: HashSet<&str> = layer.removed_entries("annotations").collect();
            annotations.retain(|known| !removed.contains(known.key.as_str()));
            if let Some(AnnotationsDeclaration::List(_)) = &layer.annotations {
                annotations.clear();
            }
            let added = layer.append.as_ref().and_then(|append| append.annotations.as_ref());
            for declaration in layer.annotations.iter().chain(added) {
                self.add_annotations(declaration, platforms, &mut annotations);
            }
        }
        let name = |one: &Annotation| (one.level, one.platform.clone(), one.key.clone());
        let mut all = given;
        all.retain(|given| !annotations.iter().any(|own| name(own) == name(given)));
        all.extend(annotations);
        all
    }

    /// Adds to `annotations`, in place of those of the same level, platform and key that stand there already.
    fn add_annotations(
        &mut self,
        declaration: &'w AnnotationsDeclaration,
        platforms: &[Located<Platform>],
        annotations: &mut Vec<Annotation>,
    ) {
        let mut found = Vec::new();
        match declaration {
            AnnotationsDeclaration::List(texts) => {
                let texts = self.holding(texts.iter().collect());
                for (text, value) in self.rendered_list(Some(texts)) {
                    let parsed = annotation::parse(&value);
                    let parsed = self.parsed("config::bad-annotation", text, parsed);
                    let parsed = parsed.map(|found| found.value).unwrap_or_default();
                    self.check_annotation_platforms(text, &parsed, platforms);
                    found.extend(parsed);
                }
            }
            AnnotationsDeclaration::Table(table) => {
                for (key, text) in table {
                    let Some(value) = self.render(text).map(Cow::into_owned) else { continue };
                    let level = AnnotationLevel::Manifest;
                    found.push(Annotation { level, platform: None, key: key.clone(), value });
                }
            }
        }
        fn name(one: &Annotation) -> (AnnotationLevel, Option<&Platform>, &str) {
            (one.level, one.platform.as_ref(), &one.key)
        }
        let names: HashSet<_> = found.iter().map(name).collect();
        annotations.retain(|known| !names.contains(&name(known)));
        annotations.extend(found);
    }

    fn check_annotation_platforms(
        &mut self,
        text: &Text,
        found: &[Annotation],
        platforms: &[Located<Platform>],
    ) {
        for platform in found.iter().filter_map(|annotation| annotation.platform.as_ref()) {
            if !platforms.iter().any(|known| known.value == *platform) {
                let message = format!("target `{}` is not built for `{platform}`", self.member.name);
                let problem = Problem::input("config::unknown-platform", message);
                self.problems.push(problem.at(text.place(), "for no platform of the target"));
            }
        }
    }
}
