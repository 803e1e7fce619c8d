//! What a target's rules come to: version, tags, and the labels and annotations that say where an image is from.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::Resolver;
use super::names::{MOST_NAMES, compatible_images};
use crate::base::Reference;
use crate::config::budget::Budget;
use crate::config::conditional::Conditional;
use crate::config::declare::{Compat, Layer};
use crate::config::entries::{EntryDeclaration, tag_rule};
use crate::config::fault::fault_of;
use crate::config::tagging::LEVELS;
use crate::config::text::Text;
use crate::diag::{Located, Place, Problem};
use crate::facts::Facts;
use crate::model::{Annotation, AnnotationLevel, Tagging};
use crate::tagging::{self, Flavor, Floating, Occasion, Pairs, Request, Rule};

/// What the run is about, in our ways and in metadata-action's, made when somebody asks.
pub struct Occasions<'a> {
    pub facts: &'a Facts,
    /// The project's word.
    pub default_branch: Option<&'a str>,
    own: OnceLock<Result<Occasion, String>>,
    compatible: OnceLock<Result<Occasion, String>>,
}

impl<'a> Occasions<'a> {
    pub fn new(facts: &'a Facts, default_branch: Option<&'a str>) -> Self {
        Self { facts, default_branch, own: OnceLock::new(), compatible: OnceLock::new() }
    }

    fn get(&self, is_compatible: bool) -> Result<&Occasion, String> {
        let made = if is_compatible { &self.compatible } else { &self.own };
        let made = made.get_or_init(|| Occasion::new(self.facts, self.default_branch, is_compatible));
        made.as_ref().map_err(String::clone)
    }
}

/// The rules of entries, read once however many targets have them.
#[derive(Default)]
pub struct KnownRules(Mutex<HashMap<(usize, bool), Arc<EntryRules>>>);

type EntryRules = Result<Vec<Located<Arc<Rule>>>, Vec<Problem>>;

/// What it takes to read a rule, to try its regular expression, and to evaluate it, in bytes of work.
const READING: usize = 64 << 10;
const COMPILING: usize = 512 << 10;
const MATCH: usize = 16 << 10;
const EVALUATION: usize = 1 << 10;

fn matching(rule: &Rule) -> usize {
    if rule.matcher.is_some() { MATCH } else { 0 }
}

impl KnownRules {
    /// Entries live as long as the run, so that where one is says which it is.
    fn of(&self, entry: &EntryDeclaration, is_compatible: bool, budget: &Budget) -> Arc<EntryRules> {
        let place = (std::ptr::from_ref(entry) as usize, is_compatible);
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known().get(&place) {
            return known.clone();
        }
        let rules = tag_rule::resolve(entry, is_compatible, &|has_expression| {
            budget.work(if has_expression { COMPILING } else { READING }).is_ok()
        });
        let wrap = |rule: Located<Rule>| Located { value: Arc::new(rule.value), place: rule.place };
        let rules = Arc::new(rules.map(|rules| rules.into_iter().map(wrap).collect()));
        known().entry(place).or_insert(rules).clone()
    }
}

/// Rules that were evaluated, and what they were about.
pub struct Ruled<'w> {
    pub version: Option<String>,
    tags: Vec<String>,
    historical: Vec<String>,
    is_unguarded: bool,
    asks_registry: bool,
    notes: Vec<String>,
    place: Option<Place>,
    occasion: &'w Occasion,
    reference: tagging::Reference,
}

/// Most lines of labels and annotations.
const MOST_LINES: usize = 1_000;

impl<'w> Resolver<'w, '_, '_> {
    pub(super) fn is_compatible(&self) -> bool {
        self.common.last("compat", |layer| layer.compat) == Some(Compat::MetadataAction)
    }

    /// `None` for a target without rules.
    pub(super) fn ruled(&mut self) -> Option<Ruled<'w>> {
        let declared = self.common.list("tag-rules", |layer| layer.tag_rules.as_ref());
        let is_compatible = self.is_compatible();
        let wants_oci = self.wants("oci-labels", |layer| layer.has_oci_labels) == Some(true)
            || self.wants("oci-annotations", |layer| layer.has_oci_annotations) == Some(true);
        if declared.is_none() && !is_compatible && !wants_oci {
            return None;
        }
        let mut rules = self.rules(declared.unwrap_or_default());
        let has_tags =
            self.common.list("tags", |layer| layer.tags.as_ref()).is_some_and(|tags| !tags.is_empty());
        // There no rules are four.
        if rules.is_empty() && is_compatible && !has_tags {
            rules = Rule::defaults().into_iter().map(|rule| Located::unplaced(Arc::new(rule))).collect();
        }
        let place = rules.first().and_then(|rule| rule.place.clone());
        let occasion = match self.world.occasions.get(is_compatible) {
            Ok(occasion) => occasion,
            Err(message) => {
                self.report(Problem::input("config::bad-tag-rule", message));
                return None;
            }
        };
        let prefix = self.git_tag_prefix();
        let flavor = self.flavor();
        let plain: Vec<Arc<Rule>> = rules.iter().map(|rule| rule.value.clone()).collect();
        let floating = self.common.last("floating", |layer| layer.floating).unwrap_or_default();
        let request = Request { rules: &plain, flavor: &flavor, floating, prefix: &prefix, occasion };
        let outcome = match tagging::evaluate(&request) {
            Ok(outcome) => outcome,
            Err((at, message)) => {
                let problem = Problem::input("config::bad-tag-rule", message);
                self.report(match rules.get(at).and_then(|rule| rule.place.clone()) {
                    Some(place) => problem.at(place, "in this rule"),
                    None => problem,
                });
                return None;
            }
        };
        let reference = occasion.reference(&prefix);
        let tagging::Outcome { version, tags, historical, notes } = outcome;
        let is_unguarded = is_compatible || floating == Floating::Any;
        let asks_registry = !is_compatible && floating == Floating::Registry;
        Some(Ruled {
            version,
            tags,
            historical,
            is_unguarded,
            asks_registry,
            notes,
            place,
            occasion,
            reference,
        })
    }

    fn wants(&self, key: &str, field: impl Fn(&'w Layer) -> Option<bool>) -> Option<bool> {
        self.common.last(key, field)
    }

    fn rules(&mut self, declared: Vec<&'w Conditional<EntryDeclaration>>) -> Vec<Located<Arc<Rule>>> {
        let mut rules = Vec::new();
        let is_compatible = self.is_compatible();
        for entry in self.holding(declared) {
            match &*self.world.rules.of(entry, is_compatible, self.world.templates.budget()) {
                Ok(found) => rules.extend(found.iter().cloned()),
                Err(problems) => problems.iter().for_each(|problem| self.report(problem.clone())),
            }
        }
        // Each is work for every target that has it.
        let work = rules.iter().map(|rule| EVALUATION + 32 * rule.value.size() + matching(&rule.value)).sum();
        let budget = self.world.templates.budget();
        if budget.has_values(rules.len())
            && let Err(error) = budget.work(work)
        {
            let problem = Problem::input("config::template", fault_of(&error, &(0..0)).message);
            self.report(match rules.first().and_then(|rule| rule.place.clone()) {
                Some(place) => problem.at(place, "with this rule"),
                None => problem,
            });
            rules.clear();
        }
        rules
    }

    fn flavor(&mut self) -> Flavor {
        let mut flavor = Flavor::default();
        let declared = self.common.list("flavor", |layer| layer.flavor.as_ref()).unwrap_or_default();
        for entry in self.holding(declared) {
            for text in entry.texts() {
                if let Err(problem) = self.world.templates.copied(text) {
                    self.report(problem);
                    return flavor;
                }
            }
            if let Err(problem) = tag_rule::add_flavor(&mut flavor, entry) {
                self.report(*problem);
            }
        }
        flavor
    }

    fn git_tag_prefix(&mut self) -> String {
        let text = self.common.last("git-tag-prefix", |layer| layer.git_tag_prefix.as_ref());
        text.and_then(|text| self.render(text).map(Cow::into_owned)).unwrap_or_default()
    }

    /// The names that `ruled` gives the images, which are told as they are written.
    pub(super) fn tagging(
        &mut self,
        ruled: &Ruled<'_>,
        images: &[Located<Reference>],
        names: &mut Vec<Located<Reference>>,
    ) -> Tagging {
        let mut tagging = Tagging {
            version: ruled.version.clone(),
            tags: ruled.tags.clone(),
            historical: ruled.historical.clone(),
            is_unguarded: ruled.is_unguarded,
            asks_registry: ruled.asks_registry,
            ..Tagging::default()
        };
        let told = |message: String, is_error: bool| {
            let problem = match is_error {
                true => Problem::input("plan::bad-tag", message),
                false => Problem::warning("config::tag-rule", message),
            };
            match &ruled.place {
                Some(place) => problem.at(place.clone(), "made by these rules"),
                None => problem,
            }
        };
        tagging.problems.extend(ruled.notes.iter().map(|note| told(note.clone(), false)));
        let mut seen: BTreeSet<Reference> = BTreeSet::new();
        let written = self.written(images);
        for (image, written) in images.iter().zip(written) {
            for tag in &ruled.tags {
                tagging.names.push(format!("{written}:{tag}"));
                if names.len() > MOST_NAMES {
                    let message = format!("target `{}` has more than {MOST_NAMES} names", self.member.name);
                    let problem = Problem::input("config::too-many", message);
                    self.report(problem.help("each tag is a name of each image; take some out"));
                    break;
                }
                match image.value.with_tag(tag) {
                    Ok(name) if seen.insert(name.clone()) => {
                        names.push(Located { value: name, place: ruled.place.clone() });
                    }
                    Ok(_) => {}
                    Err(error) => tagging.problems.push(told(error.to_string(), true)),
                }
            }
        }
        if images.is_empty() {
            tagging.names.clone_from(&ruled.tags);
        }
        tagging.made = names.len();
        tagging
    }

    /// The images as they are told: compatible ones as they are written, others as people write them.
    fn written(&mut self, images: &[Located<Reference>]) -> Vec<String> {
        if !self.is_compatible() {
            return images.iter().map(|image| image.value.without_tag().familiar()).collect();
        }
        let texts = self.common.list("images", |layer| layer.images.as_ref());
        let mut written: Vec<String> = Vec::new();
        for (_, value) in self.rendered_list(texts) {
            for name in compatible_images(&value).unwrap_or_default() {
                written.extend((!written.contains(&name)).then_some(name));
            }
        }
        written
    }

    /// Labels that say where the image is from, where they are asked for: they make another image of every commit.
    pub(super) fn oci_labels(&mut self, ruled: &Ruled<'_>) -> Pairs {
        let is_on = self.wants("oci-labels", |layer| layer.has_oci_labels);
        if !is_on.unwrap_or(self.is_compatible()) {
            return Pairs::new();
        }
        let lines = self.common.list("oci-labels", |layer| layer.oci_labels.as_ref());
        self.pairs(ruled, lines.unwrap_or_default())
    }

    /// The same as annotations: by default of the index, or of the manifest where there is one alone.
    pub(super) fn oci_annotations(&mut self, ruled: &Ruled<'_>, platforms: usize) -> Vec<Annotation> {
        if !self.wants("oci-annotations", |layer| layer.has_oci_annotations).unwrap_or(true) {
            return Vec::new();
        }
        let lines = self.common.list("oci-annotations", |layer| layer.oci_annotations.as_ref());
        let pairs = self.pairs(ruled, lines.unwrap_or_default());
        let levels = self.levels(ruled, platforms);
        let of = |level: &AnnotationLevel| {
            let level = *level;
            pairs.iter().map(move |(key, value)| Annotation {
                level,
                platform: None,
                key: key.clone(),
                value: value.clone(),
            })
        };
        levels.iter().flat_map(of).collect()
    }

    fn levels(&mut self, ruled: &Ruled<'_>, platforms: usize) -> Vec<AnnotationLevel> {
        if let Some(levels) = self.common.list("oci-levels", |layer| layer.oci_levels.as_ref()) {
            return levels.into_iter().map(|level| level.value).collect();
        }
        match &ruled.occasion.levels {
            Some(levels) => {
                let mut found = Vec::new();
                for word in levels.split(',').map(str::trim).filter(|word| !word.is_empty()) {
                    match LEVELS.iter().find(|(known, _)| *known == word) {
                        Some((_, level)) => found.push(*level),
                        None => {
                            let message = format!(
                                "the environment's `DOCKER_METADATA_ANNOTATIONS_LEVELS` names `{word}`, which is no level"
                            );
                            self.report(Problem::input("config::bad-annotation", message));
                        }
                    }
                }
                found
            }
            None if ruled.occasion.is_compatible || platforms < 2 => vec![AnnotationLevel::Manifest],
            None => vec![AnnotationLevel::Index],
        }
    }

    fn pairs(&mut self, ruled: &Ruled<'_>, texts: Vec<&'w Text>) -> Pairs {
        for text in &texts {
            if let Err(problem) = self.world.templates.copied(text) {
                self.report(problem);
                return Pairs::new();
            }
        }
        let lines = texts.iter().flat_map(|text| tag_rule::lines(text).map(move |line| (*text, line)));
        let lines: Vec<(&Text, &str)> = lines.take(MOST_LINES).collect();
        let plain: Vec<&str> = lines.iter().map(|(_, line)| *line).collect();
        match tagging::pairs(ruled.occasion, &ruled.reference, ruled.version.as_deref(), &plain) {
            Ok(pairs) => pairs,
            Err((at, message)) => {
                let problem = Problem::input("config::bad-annotation", message);
                self.report(match lines.get(at) {
                    Some((text, _)) => problem.at(text.place(), "in this line"),
                    None => problem,
                });
                Pairs::new()
            }
        }
    }
}
