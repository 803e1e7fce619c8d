//! Tags made by rules: docker/metadata-action's language and what it comes to, for any CI system and none.
//!
//! [`evaluate`] takes rules and an [`Occasion`], which is made of facts, and gives a version and tags. It knows no
//! build files, images or registries, and reads nothing. Where that action's ways are known to go wrong, a target
//! gets better ones unless it asks to be compatible: tags are valid, and a floating one belongs to the highest
//! version.

mod csv;
mod expression;
mod flavor;
mod matching;
mod metadata;
mod moment;
mod names;
mod occasion;
mod rule;
#[cfg(test)]
mod tests;
mod versions;

use std::sync::Arc;

pub use self::csv::{fields, pair};
pub use self::flavor::{Affix, Flavor, Latest};
pub use self::metadata::{Pairs, pairs};
pub use self::occasion::{Occasion, Reference};
pub use self::rule::{Action, Kind, RefEvent, Rule, Versioned};
pub use self::versions::{is_whole, order};

use self::expression::{Expression, render_text};
use self::matching::Matcher;
use self::names::{Globals, OfRelease, Times};
use self::versions::{Release, Scheme};

/// Who gets a tag that several versions would move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Floating {
    /// The highest of them, as far as git's tags say.
    #[default]
    Highest,
    /// The highest of them, as far as the registry's tags say when it moves.
    Registry,
    /// Whoever comes.
    Any,
}

/// What is asked for one target.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub rules: &'a [Arc<Rule>],
    pub flavor: &'a Flavor,
    pub floating: Floating,
    /// What git's tags of this target begin with: `service/`.
    pub prefix: &'a str,
    pub occasion: &'a Occasion,
}

/// What the rules come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The first tag.
    pub version: Option<String>,
    /// In their order, with the version first and `latest` last.
    pub tags: Vec<String>,
    /// Those of them that follow a branch, a pull request, a schedule or a commit, and no version.
    pub historical: Vec<String>,
    /// Rules that gave nothing though their ref was there, and why.
    pub notes: Vec<String>,
}

/// Tags of git that a rule's own expression is tried on.
const MOST_TAGS: usize = 20_000;
/// A tag is no longer.
const LONGEST_TAG: usize = 128;

/// What the rules come to; or which of them is wrong, and how.
pub fn evaluate(request: &Request<'_>) -> Result<Outcome, (usize, String)> {
    let reference = request.occasion.reference(request.prefix);
    let globals = Globals { occasion: request.occasion, reference: &reference };
    let mut evaluation = Evaluation {
        request,
        globals,
        reference: &reference,
        tags: Vec::new(),
        historical: Vec::new(),
        latest: None,
        notes: Vec::new(),
    };
    let mut order: Vec<usize> = (0..request.rules.len()).collect();
    order.sort_by(|one, other| request.rules[*other].priority.total_cmp(&request.rules[*one].priority));
    for at in order {
        evaluation.add(&request.rules[at]).map_err(|message| (at, message))?;
    }
    Ok(evaluation.finish())
}

struct Evaluation<'a> {
    request: &'a Request<'a>,
    globals: Globals<'a>,
    reference: &'a Reference,
    /// Each once.
    tags: Vec<String>,
    historical: Vec<String>,
    /// What the rule that gave the version says.
    latest: Option<Verdict>,
    notes: Vec<String>,
}

/// Whether a rule's tag may be `latest`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    No,
    Yes,
    /// Of a version than which none is known that is higher.
    Highest,
    /// There is this one.
    Below(String),
}

/// What a rule has made, before prefix and suffix.
struct Made {
    text: String,
    verdict: Verdict,
}

impl Made {
    fn plain(text: impl Into<String>) -> Option<Self> {
        Some(Self { text: text.into(), verdict: Verdict::No })
    }
}

impl Evaluation<'_> {
    fn add(&mut self, rule: &Rule) -> Result<(), String> {
        match self.rendered(&rule.enable)?.as_str() {
            "true" => {}
            "false" => return Ok(()),
            other => return Err(format!("`enable` comes to `{other}`, which is neither `true` nor `false`")),
        }
        let Some(made) = self.made(rule)? else { return Ok(()) };
        let tag = self.with_affixes(rule, made.text)?;
        let follows_history = matches!(
            rule.action,
            Action::Edge { .. }
                | Action::Schedule { .. }
                | Action::Sha { .. }
                | Action::Ref(RefEvent::Branch | RefEvent::PullRequest)
        );
        self.put(tag, made.verdict, follows_history);
        Ok(())
    }

    fn rendered(&self, text: &str) -> Result<String, String> {
        render_text(text, &self.globals)
    }

    /// `None` where the rule is about something else.
    fn made(&mut self, rule: &Rule) -> Result<Option<Made>, String> {
        let occasion = self.request.occasion;
        let branch = self.reference.branch.as_deref();
        let tag = self.reference.tag.as_deref();
        Ok(match &rule.action {
            Action::Schedule { pattern } if occasion.is_scheduled => {
                Made::plain(render_text(pattern, &Times(occasion))?)
            }
            Action::Semver(own) => self.versioned(rule, own, Scheme::Semver)?,
            Action::Pep440(own) => self.versioned(rule, own, Scheme::Pep440)?,
            Action::Match { group, value } => self.matched(rule, *group, value)?,
            Action::Edge { branch: wanted } => {
                let wanted = if wanted.is_empty() {
                    occasion.default_branch.as_deref()
                } else {
                    Some(wanted.as_str())
                };
                branch.filter(|branch| wanted == Some(*branch)).and_then(|_| Made::plain("edge"))
            }
            Action::Ref(RefEvent::Branch) => branch.and_then(Made::plain),
            Action::Ref(RefEvent::Tag) => {
                tag.map(|tag| Made { text: tag.to_string(), verdict: self.verdict_of(tag) })
            }
            Action::Ref(RefEvent::PullRequest) => {
                let name = self.reference.pull_request.as_deref();
                name.and_then(|name| Made::plain(name.strip_suffix("/merge").unwrap_or(name)))
            }
            Action::Raw { value } => Made::plain(self.rendered(value)?),
            Action::Sha { is_long } if !occasion.sha.is_empty() => {
                Made::plain(if *is_long { &occasion.sha } else { &occasion.short_sha })
            }
            Action::Schedule { .. } | Action::Sha { .. } => None,
        })
    }

    /// The text that versions are looked for in: `value`, else the tag.
    fn source(&self, value: &str) -> Result<Option<String>, String> {
        match value.is_empty() {
            true => Ok(self.reference.tag.clone()),
            false => self.rendered(value).map(Some),
        }
    }

    fn versioned(&mut self, rule: &Rule, own: &Versioned, scheme: Scheme) -> Result<Option<Made>, String> {
        let Some(source) = self.source(&own.value)? else { return Ok(None) };
        let matcher = rule.matcher.as_ref();
        let text = match matcher {
            None => source.clone(),
            Some(matcher) => match version_in(matcher, &source)? {
                Some(version) => version,
                None => {
                    self.notes.push(format!("`{}` does not match `{source}`", matcher.text()));
                    source.clone()
                }
            },
        };
        let Some(release) = scheme.parse(&text.replace('/', "-")) else {
            self.notes.push(format!("`{text}` is not {}", scheme.title()));
            return Ok(None);
        };
        let pattern = Expression::parse(&own.pattern)?;
        let escapes = self.request.occasion.is_compatible;
        if release.is_preliminary {
            // All its patterns are the whole version: `1` and `1.2` are for releases.
            let text = if pattern.is_only("raw") { release.raw } else { release.version };
            return Ok(Made::plain(text));
        }
        let text = pattern.render(&OfRelease { release: &release, escapes })?;
        let higher = self.higher(scheme, &release, matcher)?;
        let gets_it = |higher: &&Release| {
            pattern.render(&OfRelease { release: higher, escapes }).is_ok_and(|other| other == text)
        };
        if let Some(higher) = higher.iter().find(gets_it) {
            let tag = self.with_affixes(rule, text)?;
            self.notes.push(format!("`{tag}` belongs to the higher version `{}`", higher.version));
            return Ok(None);
        }
        Ok(Some(Made { text, verdict: self.verdict_below(&higher) }))
    }

    fn verdict_below(&self, higher: &[Release]) -> Verdict {
        match higher.first() {
            _ if self.is_any() => Verdict::Yes,
            Some(higher) => Verdict::Below(higher.version.clone()),
            None => Verdict::Highest,
        }
    }

    /// Whether floating tags are whoever's.
    fn is_any(&self) -> bool {
        self.request.occasion.is_compatible || self.request.floating == Floating::Any
    }

    /// Known releases above `release`, if they matter.
    fn higher(
        &self,
        scheme: Scheme,
        release: &Release,
        matcher: Option<&Matcher>,
    ) -> Result<Vec<Release>, String> {
        let occasion = self.request.occasion;
        if self.is_any() || self.request.floating == Floating::Registry {
            return Ok(Vec::new());
        }
        let is_higher = |known: &Release| known.order(release).is_gt();
        let Some(matcher) = matcher else {
            let known = occasion.releases(scheme, self.request.prefix).unwrap_or_default();
            return Ok(known.into_iter().filter(is_higher).collect());
        };
        let mut found = Vec::new();
        for tag in occasion.tags().unwrap_or_default().iter().take(MOST_TAGS) {
            let Some(tag) = tag.strip_prefix(self.request.prefix) else { continue };
            let Some(version) = version_in(matcher, tag)? else { continue };
            found.extend(scheme.parse(&version).filter(|known| !known.is_preliminary && is_higher(known)));
        }
        Ok(found)
    }

    fn matched(&mut self, rule: &Rule, group: usize, value: &str) -> Result<Option<Made>, String> {
        let (Some(source), Some(matcher)) = (self.source(value)?, &rule.matcher) else { return Ok(None) };
        let Some(groups) = matcher.find(&source)? else {
            self.notes.push(format!("`{}` does not match `{source}`", matcher.text()));
            return Ok(None);
        };
        match groups.into_iter().nth(group).flatten() {
            Some(text) => Ok(Some(Made { text, verdict: self.verdict_of(&source) })),
            None => {
                self.notes.push(format!("`{}` has no group {group} in `{source}`", matcher.text()));
                Ok(None)
            }
        }
    }

    /// Of a tag that is taken as it is.
    fn verdict_of(&self, tag: &str) -> Verdict {
        if self.is_any() {
            return Verdict::Yes;
        }
        let schemes = [Scheme::Semver, Scheme::Pep440];
        match schemes.into_iter().find_map(|scheme| Some((scheme, scheme.parse(tag)?))) {
            Some((_, release)) if release.is_preliminary => Verdict::No,
            Some((scheme, release)) => {
                self.verdict_below(&self.higher(scheme, &release, None).unwrap_or_default())
            }
            None => Verdict::Yes,
        }
    }

    fn with_affixes(&self, rule: &Rule, text: String) -> Result<String, String> {
        let flavor = self.request.flavor;
        let prefix = self.rendered(rule.prefix.as_ref().unwrap_or(&flavor.prefix.text))?;
        let suffix = self.rendered(rule.suffix.as_ref().unwrap_or(&flavor.suffix.text))?;
        Ok(format!("{prefix}{text}{suffix}"))
    }

    fn put(&mut self, tag: String, verdict: Verdict, follows_history: bool) {
        if tag.is_empty() {
            return;
        }
        let Some(tag) = self.sanitised(&tag) else { return };
        self.latest.get_or_insert(verdict);
        if !self.tags.contains(&tag) {
            self.historical.extend(follows_history.then(|| tag.clone()));
            self.tags.push(tag);
        }
    }

    /// What may not stand in a tag becomes `-`; and what may not be a tag becomes one.
    fn sanitised(&mut self, text: &str) -> Option<String> {
        let mut tag = String::new();
        let mut in_gap = false;
        for letter in text.chars() {
            let fits = letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
            if fits {
                tag.push(letter);
            } else if !in_gap {
                tag.push('-');
            }
            in_gap = !fits;
        }
        if self.request.occasion.is_compatible {
            return Some(tag);
        }
        let whole = tag.trim_start_matches(['.', '-']);
        if whole.is_empty() {
            self.notes.push(format!("nothing of `{text}` can be a tag"));
            return None;
        }
        Some(whole[..whole.len().min(LONGEST_TAG)].to_string())
    }

    fn finish(mut self) -> Outcome {
        let flavor = self.request.flavor;
        let is_latest = match (flavor.latest, self.latest.take()) {
            (_, None) | (Latest::Never, _) | (Latest::Auto, Some(Verdict::No)) => false,
            (Latest::Always, _) | (Latest::Auto, Some(Verdict::Yes)) => true,
            (Latest::Auto, Some(Verdict::Below(higher))) => {
                self.notes.push(format!("`latest` belongs to the higher version `{higher}`"));
                false
            }
            (Latest::Auto, Some(Verdict::Highest)) => {
                let by_git = self.request.floating == Floating::Highest;
                if by_git && !self.request.occasion.knows_all_tags() {
                    let unknown = "whether there is a higher version is not known: there is no clone with all tags here";
                    self.notes.push(unknown.to_string());
                }
                true
            }
        };
        let version = self.tags.first().cloned();
        if is_latest {
            let of = |affix: &Affix| if affix.on_latest { affix.text.clone() } else { String::new() };
            let latest = format!("{}latest{}", of(&flavor.prefix), of(&flavor.suffix));
            // It is listed twice there where a rule makes it as well.
            let latest = self
                .sanitised(&latest)
                .filter(|latest| self.request.occasion.is_compatible || !self.tags.contains(latest));
            self.tags.extend(latest);
        }
        Outcome { version, tags: self.tags, historical: self.historical, notes: self.notes }
    }
}

/// The first group of a match.
fn version_in(matcher: &Matcher, text: &str) -> Result<Option<String>, String> {
    Ok(matcher.find(text)?.and_then(|groups| groups.into_iter().nth(1).flatten()))
}
