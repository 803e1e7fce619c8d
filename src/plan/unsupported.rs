//! What the selected targets ask for and no engine of this version does. Never passed over: a build that is
//! not what the file says has to be the user's own choice.

use super::select::Selection;
use crate::diag::{Place, Problem};
use crate::model::{Target, Variant};

/// One problem for each key of each target.
pub fn problems(selection: &Selection<'_>, has_workers: bool) -> Vec<Problem> {
    selection.all().flat_map(|target| of_target(target, has_workers)).collect()
}

fn of_target(target: &Target, has_workers: bool) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut add = |key: &str, what: &str, help: &str, place: Option<&Place>| {
        found.push(problem(target, key, what, help, place));
    };
    let attestation = target.attestations.iter().find(|one| !one.value.is_disabled);
    if let Some(attestation) = attestation.filter(|_| !has_workers) {
        let what = "the embedded engine does not write attestations yet";
        let help =
            "bake with `--builder NAME`: BuildKit workers do; or take it out, or give it `disabled=true`";
        add("attest", what, help, attestation.place.as_ref());
    }
    if let Some(policy) = target.policies.iter().find(|one| !one.value.is_disabled) {
        let what = "the embedded engine does not evaluate policies yet";
        add("policy", what, "take it out, or give it `disabled=true`", policy.place.as_ref());
    }
    for variant in &target.variants {
        for one in of_variant(target, variant, has_workers) {
            // What all platforms have in common is said once.
            if !found.contains(&one) {
                found.push(one);
            }
        }
    }
    found
}

fn of_variant(target: &Target, variant: &Variant, has_workers: bool) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut add = |key: &str, what: &str, help: &str, place: Option<&Place>| {
        found.push(problem(target, key, what, help, place));
    };
    if let Some(resources) = &variant.resources {
        let what = "the embedded engine does not limit the resources of RUN steps yet";
        add("resources", what, "take it out, or limit mab itself with a cgroup", resources.place.as_ref());
    }
    if let Some(allowed) = variant.allow_failure.as_ref().filter(|allowed| allowed.value) {
        let help = "take it out, or leave the platform out with `when`";
        add("allow-failure", "a platform that fails fails its target still", help, allowed.place.as_ref());
    }
    if let Some((_, label)) = variant.worker_labels.first_key_value().filter(|_| !has_workers) {
        let what = "the embedded engine's worker has no labels";
        let help = "bake with `--builder NAME`, or take `worker-labels` out to build the platform here";
        add("worker-labels", what, help, label.place.as_ref());
    }
    found
}

/// That several platforms would go into an archive that holds one, if they would.
pub fn archive(target: &Target, place: Option<&Place>) -> Option<Problem> {
    let platforms = target.variants.iter().map(|variant| format!("`{}`", variant.platform.value));
    let platforms: Vec<String> = platforms.collect();
    if platforms.len() < 2 {
        return None;
    }
    let platforms = platforms.join(", ");
    let message = format!(
        "an archive for `docker load` holds one platform, and target `{}` has {platforms}",
        target.name
    );
    let problem = Problem::input("output::several-platforms", message)
        .help("choose one with `--platform`, or write all of them with `type=oci`");
    Some(match place.or(target.place.as_ref()) {
        Some(place) => problem.at(place.clone(), "asked for here"),
        None => problem,
    })
}

fn problem(target: &Target, key: &str, what: &str, help: &str, place: Option<&Place>) -> Problem {
    let message = format!("target `{}` asks for `{key}`, but {what}", target.name);
    let problem = Problem::input("plan::unsupported", message).help(help);
    match place.or(target.place.as_ref()) {
        Some(place) => problem.at(place.clone(), "asked for here"),
        None => problem,
    }
}
