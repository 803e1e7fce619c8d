//! Cases built by `mab`: all in one run, or each alone.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::case::Case;
use crate::image::{self, Base, Blobs};
use crate::record::Record;
use crate::support::Ran;
use crate::workshop::Workshop;

/// What `mab` made of every case, or why it did not.
pub fn build_all(workshop: &Workshop, cases: &[&Case]) -> BTreeMap<String, Result<Record, String>> {
    build_all_with(workshop, cases, &[])
}

/// The same with further arguments.
pub fn build_all_with(
    workshop: &Workshop,
    cases: &[&Case],
    arguments: &[&str],
) -> BTreeMap<String, Result<Record, String>> {
    workshop.project.write("multiarch.toml", workshop.build_file(cases.iter().copied()));
    let ran = bake(workshop, arguments);
    if ran.code == Some(0) {
        return records(workshop, cases);
    }
    // Which one it is shows when each is built alone; others that they need are in the same file.
    let alone = cases.iter().map(|case| (case.name.clone(), build_alone(workshop, case, cases, arguments)));
    alone.collect()
}

fn build_alone(
    workshop: &Workshop,
    case: &Case,
    cases: &[&Case],
    arguments: &[&str],
) -> Result<Record, String> {
    let needed: Vec<String> = case.image_names().into_iter().map(|(_, image)| image).collect();
    let needed =
        cases.iter().copied().filter(|other| other.name == case.name || needed.contains(&other.name));
    workshop.project.write("multiarch.toml", workshop.build_file(needed));
    let ran = bake(workshop, arguments);
    if ran.code != Some(0) {
        return Err(ran.errors());
    }
    Ok(records(workshop, &[case]).remove(&case.name).expect("it was asked for").expect("it was built"))
}

/// One bake of the project's file.
pub fn bake(workshop: &Workshop, arguments: &[&str]) -> Ran {
    let fixed = ["bake", "--metadata-file", "metadata.json", "--progress", "plain"];
    let allowed = ["--allow", "security.insecure", "--allow", "network.host"];
    workshop.project.mab(&fixed).with(&allowed).with(arguments).run()
}

/// The digests of the last bake, by case and platform.
pub fn digests(workshop: &Workshop) -> BTreeMap<(String, String), String> {
    let metadata: Value = serde_json::from_str(&workshop.project.read("metadata.json")).expect("it is JSON");
    let targets = metadata.as_object().expect("one key for each target");
    let platforms = targets.iter().flat_map(|(name, target)| {
        let platforms = target["mab.platforms"].as_object().expect("one key for each platform");
        platforms.iter().map(|(platform, image)| {
            let digest = image["containerimage.digest"].as_str().expect("a digest").to_string();
            ((name.clone(), platform.clone()), digest)
        })
    });
    platforms.collect()
}

fn records(workshop: &Workshop, cases: &[&Case]) -> BTreeMap<String, Result<Record, String>> {
    let digests = digests(workshop);
    let blobs = Blobs(vec![workshop.project.store(), workshop.base.clone()]);
    let base = Base::read(&workshop.base);
    let record = |case: &&Case| {
        let own = digests.iter().filter(|((name, _), _)| *name == case.name);
        let manifests: Vec<Value> = own.flat_map(|(_, digest)| blobs.manifests_of(digest)).collect();
        (case.name.clone(), Ok(workshop.settled(image::record(&manifests, &blobs, &base))))
    };
    cases.iter().map(record).collect()
}
