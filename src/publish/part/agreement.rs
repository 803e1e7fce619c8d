//! Whether parts make a whole: all of it, nothing twice, and all from the same commit, plan, lock, variables and version.

use std::collections::BTreeMap;

use super::compared::{self, Difference};
use super::{Commit, Part, PartFolder, PartImage};
use crate::base::{Digest, Parts, Platform};
use crate::diag::Problem;

/// What parts have to agree about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    Commit,
    Plan,
    Lock,
    Variables,
    Version,
}

impl Aspect {
    pub const ALL: [Self; 5] = [Self::Commit, Self::Plan, Self::Lock, Self::Variables, Self::Version];

    pub fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Plan => "plan",
            Self::Lock => "lock",
            Self::Variables => "variables",
            Self::Version => "version",
        }
    }
}

/// What the machine that joins the parts says itself.
#[derive(Clone, Debug)]
pub struct Own {
    pub version: String,
    /// Nothing without a work tree: then the parts have to agree with each other.
    pub commit: Option<Commit>,
    pub lock: Option<Digest>,
    pub variables: BTreeMap<String, String>,
    pub plans: BTreeMap<String, Parts>,
    /// What is to be joined: targets with their platforms.
    pub wanted: Vec<(String, Platform)>,
    /// What may differ, since a user knows better.
    pub allowed: Vec<Aspect>,
}

/// The images that are to be joined, each with its part.
#[derive(Debug)]
pub struct Joined<'a> {
    pub images: Vec<(&'a PartFolder, &'a PartImage)>,
    /// What is odd, and goes on.
    pub warnings: Vec<Problem>,
}

/// The images of `parts` that `own` wants, or everything that keeps them from being joined.
pub fn join<'a>(parts: &'a [PartFolder], own: &Own) -> Result<Joined<'a>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    for part in parts {
        for difference in differences(part, parts, own) {
            let is_allowed = own.allowed.contains(&difference.aspect);
            let told = if is_allowed { &mut warnings } else { &mut problems };
            told.push(disagreement(difference, is_allowed));
        }
    }
    let mut found: BTreeMap<(&str, &Platform), (&PartFolder, &PartImage)> = BTreeMap::new();
    for part in parts {
        for image in &part.part.images {
            match found.get(&(image.target.as_str(), &image.platform)) {
                Some((other, same)) if is_other(same, image) => {
                    problems.push(twice(other, part, same, image))
                }
                Some(_) => {}
                None => {
                    found.insert((&image.target, &image.platform), (part, image));
                }
            }
        }
    }
    let mut images = Vec::new();
    let mut missing: BTreeMap<&str, Vec<&Platform>> = BTreeMap::new();
    for (target, platform) in &own.wanted {
        match found.remove(&(target.as_str(), platform)) {
            Some(image) => images.push(image),
            None => missing.entry(target).or_default().push(platform),
        }
    }
    problems.extend(missing.into_iter().map(|(target, platforms)| incomplete(target, &platforms)));
    warnings.extend(found.into_values().map(|(part, image)| unwanted(part, image)));
    if problems.is_empty() { Ok(Joined { images, warnings }) } else { Err(problems) }
}

fn differences(folder: &PartFolder, parts: &[PartFolder], own: &Own) -> Vec<Difference> {
    let part = &folder.part;
    let mut found = Vec::new();
    // Without a work tree, the first part stands for all.
    let (commit, whose) = match (&own.commit, parts.first()) {
        (None, Some(first)) => (&first.part.commit, format!("`{}`", first.shown)),
        (commit, _) => (commit, "here".to_string()),
    };
    let mut differ = |aspect, what: String, theirs: String, ours: String, whose: &str| {
        let (part, whose) = (folder.shown.clone(), whose.to_string());
        found.push(Difference { aspect, what, part, theirs, whose, ours });
    };
    if part.version != own.version {
        let what = "the version of mab".to_string();
        differ(Aspect::Version, what, part.version.clone(), own.version.clone(), "here");
    }
    // Nobody knows whether two trees have the same changes.
    if part.commit != *commit {
        let text = |commit: &Option<Commit>| commit.as_ref().map_or("none".to_string(), Commit::to_string);
        differ(Aspect::Commit, "the commit".to_string(), text(&part.commit), text(commit), &whose);
    }
    if part.lock != own.lock {
        let text = |lock: Option<Digest>| lock.map_or("none".to_string(), |digest| digest.to_string());
        differ(Aspect::Lock, "`multiarch.lock`".to_string(), text(part.lock), text(own.lock), "here");
    }
    for (name, theirs, ours) in compared::variables(&part.variables, &own.variables) {
        differ(Aspect::Variables, format!("the variable `{name}`"), theirs, ours, "here");
    }
    for (target, what, theirs, ours) in plans(part, own) {
        differ(Aspect::Plan, format!("{what} of `{target}`"), theirs, ours, "here");
    }
    found
}

/// The first thing in which each target's plan differs.
fn plans<'a>(part: &'a Part, own: &Own) -> Vec<(&'a str, String, String, String)> {
    let mut found = Vec::new();
    for (target, theirs) in &part.plans {
        let ours = own.plans.get(target);
        // Of what is not asked for here nothing is taken.
        let Some(ours) = ours.filter(|ours| *ours != theirs) else { continue };
        if let Some((what, theirs, ours)) = compared::first(theirs, ours) {
            found.push((target.as_str(), what, theirs, ours));
        }
    }
    found
}

fn disagreement(difference: Difference, is_allowed: bool) -> Problem {
    let Difference { aspect, what, part, theirs, whose, ours } = difference;
    let aspect = aspect.name();
    let whose = if whose == "here" { whose } else { format!("in {whose}") };
    let message = format!("{what} is {theirs} in `{part}` and {ours} {whose}");
    if is_allowed {
        return Problem::warning("part::disagrees", message);
    }
    let help = format!("make the parts again from one checkout, or say `--allow-different {aspect}`");
    Problem::input("part::disagrees", message).help(help)
}

fn is_other(one: &PartImage, other: &PartImage) -> bool {
    (one.manifest.digest, &one.forms, &one.attestations)
        != (other.manifest.digest, &other.forms, &other.attestations)
}

fn twice(one: &PartFolder, other: &PartFolder, first: &PartImage, second: &PartImage) -> Problem {
    let message = format!(
        "`{}` for `{}` is in two parts: {} in `{}` and {} in `{}`",
        first.target, first.platform, first.manifest.digest, one.shown, second.manifest.digest, other.shown
    );
    Problem::input("part::twice", message).help("leave one of them out")
}

fn incomplete(target: &str, platforms: &[&Platform]) -> Problem {
    let names: Vec<String> = platforms.iter().map(|platform| format!("`{platform}`")).collect();
    let list = platforms.iter().map(|platform| platform.to_string()).collect::<Vec<_>>().join(",");
    Problem::input("part::incomplete", format!("no part has `{target}` for {}", names.join(", "))).help(format!(
        "`mab bake {target} --platform {list} --part FOLDER` makes it; `--platform` merges fewer platforms"
    ))
}

fn unwanted(part: &PartFolder, image: &PartImage) -> Problem {
    let message = format!(
        "`{}` for `{}` of `{}` is not asked for, and is left out",
        image.target, image.platform, part.shown
    );
    Problem::warning("part::not-asked-for", message)
}
