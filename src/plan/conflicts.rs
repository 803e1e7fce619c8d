//! What two targets of one run must not share: tags, destinations, caches they write.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::base::Reference;
use crate::diag::{Located, Place, Problem};
use crate::model::{CacheEntry, Dest, Output};

/// More than anybody reads.
const MOST_PROBLEMS: usize = 100;
/// Targets that are named of those that claim one thing.
const MOST_NAMED: usize = 10;

/// What the targets of a run claim for themselves.
#[derive(Default)]
pub(super) struct Claims {
    tags: BTreeMap<String, Vec<Claim>>,
    destinations: BTreeMap<String, Vec<Claim>>,
    caches: BTreeMap<String, Vec<Claim>>,
}

struct Claim {
    target: String,
    place: Option<Place>,
}

impl Claims {
    pub fn tag(&mut self, target: &str, name: &Located<Reference>) {
        add(&mut self.tags, name.value.familiar(), target, name.place.clone());
    }

    pub fn output(&mut self, target: &str, output: &Located<Output>, directory: &Path) {
        if let Some(destination) = destination(&output.value, directory) {
            add(&mut self.destinations, destination, target, output.place.clone());
        }
    }

    pub fn cache(&mut self, target: &str, cache: &Located<CacheEntry>) {
        if let Some(destination) = cache.value.destination() {
            add(&mut self.caches, destination, target, cache.place.clone());
        }
    }

    /// Whatever more than one target claims; a destination also when one target claims it twice.
    pub fn problems(&self) -> Vec<Problem> {
        let help = |what: &str| {
            format!("give every target {what} of its own, for instance with `{{{{ target.name }}}}`")
        };
        let tags = self.tags.iter().filter(|(_, claims)| owners(claims).len() > 1).map(|(tag, claims)| {
            let message = format!("{} move the tag `{tag}`", would(claims));
            told("plan::duplicate-tag", message, claims).help(help("an image or a tag"))
        });
        let contested = self.destinations.iter().filter(|(_, claims)| claims.len() > 1);
        let destinations = contested.map(|(destination, claims)| {
            let message = format!("{} write to `{destination}`", would(claims));
            told("plan::duplicate-destination", message, claims).help(help("a `dest`"))
        });
        let shared = self.caches.iter().filter(|(_, claims)| owners(claims).len() > 1);
        let caches = shared.map(|(cache, claims)| {
            let message = format!("{} write the cache `{cache}`", would(claims));
            let help = "the last one would take the others' results away: give every target a place of its own, \
                        for instance with `{{ target.name }}`, or write `cache = [\"NAME\"]`";
            told("plan::duplicate-cache", message, claims).help(help)
        });
        tags.chain(destinations).chain(caches).take(MOST_PROBLEMS).collect()
    }
}

fn add(claims: &mut BTreeMap<String, Vec<Claim>>, what: String, target: &str, place: Option<Place>) {
    claims.entry(what).or_default().push(Claim { target: target.to_string(), place });
}

fn owners(claims: &[Claim]) -> BTreeSet<&str> {
    claims.iter().map(|claim| claim.target.as_str()).collect()
}

/// ``"`a` and `b` would both"``
fn would(claims: &[Claim]) -> String {
    let names: Vec<String> = owners(claims).into_iter().map(|name| format!("`{name}`")).collect();
    match &names[..] {
        [first @ .., _] if names.len() > MOST_NAMED => {
            let hidden = names.len() - MOST_NAMED;
            format!("{} and {hidden} more would all", first[..MOST_NAMED].join(", "))
        }
        [one] => format!("two outputs of {one} would"),
        [one, two] => format!("{one} and {two} would both"),
        [first @ .., last] => format!("{} and {last} would all", first.join(", ")),
        [] => String::new(),
    }
}

/// A place that several targets have of a template is told once, for all of them.
fn told(code: &'static str, message: String, claims: &[Claim]) -> Problem {
    let mut places: Vec<(&Place, Vec<&str>)> = Vec::new();
    for claim in claims.iter().take(MOST_NAMED) {
        let Some(place) = &claim.place else { continue };
        match places.iter_mut().find(|(known, _)| *known == place) {
            Some((_, targets)) => targets.push(&claim.target),
            None => places.push((place, vec![&claim.target])),
        }
    }
    places.into_iter().fold(Problem::input(code, message), |problem, (place, targets)| {
        let targets: Vec<String> = targets.into_iter().map(|target| format!("`{target}`")).collect();
        problem.at(place.clone(), format!("of {}", targets.join(", ")))
    })
}

/// The place an output owns alone. OCI layout directories are shared on purpose: each image adds itself.
fn destination(output: &Output, directory: &Path) -> Option<String> {
    let name = |path: &Path| path.strip_prefix(directory).unwrap_or(path).display().to_string();
    let dest = match output {
        Output::Oci { dest, tar: true, .. } | Output::Tar { dest, .. } => dest,
        Output::Docker { dest: Some(dest), .. } => dest,
        Output::Local { dest, .. } => return Some(name(dest)),
        Output::Oci { .. } | Output::Docker { .. } | Output::Image { .. } | Output::CacheOnly => return None,
    };
    Some(match dest {
        Dest::Path(path) => name(path),
        Dest::Stdout => "standard output".to_string(),
    })
}
