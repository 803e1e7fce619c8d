//! Platforms by name: `[platforms]` declares sets, which nest, and lists of platforms name them.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::conditional::{self, Conditional};
use super::keys::{self, Section};
use super::table::{Reader, Role, Value};
use super::text::Text;
use crate::base::Platform;
use crate::base::platform::ParsePlatformError;
use crate::diag::{Located, Place, Problem, nearest};

/// Deeper nesting is refused.
const DEEPEST: usize = 64;

/// A set as it is written.
#[derive(Debug)]
pub struct PlatformSetDeclaration {
    pub place: Place,
    pub members: Vec<Text>,
}

/// The sets of the project, flat.
#[derive(Debug, Default)]
pub struct PlatformSets(BTreeMap<String, Vec<Platform>>);

/// What `--platform` takes: a platform, or the name of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlatformName {
    Platform(Platform),
    Set(String),
}

impl FromStr for PlatformName {
    type Err = ParsePlatformError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_name = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        match text.parse() {
            Ok(platform) => Ok(Self::Platform(platform)),
            Err(_) if is_name && !text.is_empty() => Ok(Self::Set(text.to_string())),
            Err(error) => Err(error),
        }
    }
}

impl PlatformName {
    /// The platforms of several names, where there are no sets.
    pub fn without_sets(names: &[Self]) -> Result<Vec<Platform>, Problem> {
        let platform = |name: &Self| match name {
            Self::Platform(platform) => Ok(platform.clone()),
            Self::Set(name) => Err(PlatformSets::default().unknown(name)),
        };
        names.iter().map(platform).collect()
    }
}

/// A member of a list: a platform or a set.
#[derive(Clone, Debug)]
pub struct PlatformEntry(pub Text);

/// One member of `[platforms]`.
pub fn read_set(reader: &mut Reader<'_>, place: Place, value: &Value<'_>) -> Option<PlatformSetDeclaration> {
    let members = reader.texts("platforms", value, Role::Plain)?;
    refuse_empty(reader, value).then_some(PlatformSetDeclaration { place, members })
}

/// `platforms` of a target: platforms and sets, each alone or with a condition.
pub fn read_list(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Vec<Conditional<PlatformEntry>>> {
    let list = conditional::read_texts(
        reader,
        ("platforms", "platform"),
        Section::PlatformEntry,
        value,
        Role::Plain,
    )?;
    let list: Vec<_> = list
        .into_iter()
        .map(|entry| Conditional { value: PlatformEntry(entry.value), when: entry.when })
        .collect();
    refuse_empty(reader, value).then_some(list).filter(|list| !list.is_empty())
}

fn refuse_empty(reader: &mut Reader<'_>, value: &Value<'_>) -> bool {
    let is_empty = value.get_ref().as_array().is_some_and(|array| array.is_empty());
    if is_empty {
        let place = reader.place(value.span());
        reader.report(
            Problem::input("config::no-platform", "`platforms` is empty")
                .at(place, "no platform")
                .help("name at least one, or leave the key out for the default"),
        );
    }
    !is_empty
}

/// What would be taken for a platform cannot name a set.
pub fn check_set_name(reader: &mut Reader<'_>, name: &str, place: &Place) -> bool {
    let is_platform = name.parse::<Platform>().is_ok()
        || format!("{name}/amd64").parse::<Platform>().is_ok_and(|platform| platform.os == name);
    if is_platform {
        reader.report(
            Problem::input("config::bad-name", format!("`{name}` cannot be the name of a platform set"))
                .at(place.clone(), "reads as a platform")
                .help("give the set a name of its own, such as `servers`"),
        );
    }
    !is_platform
}

impl PlatformSets {
    /// The declared sets, flattened; members that are no platforms and circles are reported.
    pub fn resolve(declared: &BTreeMap<String, PlatformSetDeclaration>, problems: &mut Vec<Problem>) -> Self {
        let mut flattener = Flattener { declared, states: BTreeMap::new(), problems };
        for name in declared.keys() {
            flattener.visit(name, &mut Vec::new());
        }
        let states = flattener.states.into_iter();
        let done = states.filter_map(|(name, state)| match state {
            State::Done(platforms) => Some((name.to_string(), platforms)),
            State::Open => None,
        });
        Self(done.collect())
    }

    /// What `text` means: one platform, or those of a set.
    pub fn expand(&self, text: &Text) -> Result<Vec<Located<Platform>>, Problem> {
        let located = |platform: &Platform| Located::new(platform.clone(), text.place());
        match self.0.get(&text.value) {
            Some(platforms) => Ok(platforms.iter().map(located).collect()),
            None => {
                text.value.parse::<Platform>().map(|platform| vec![located(&platform)]).map_err(|error| {
                    let problem = Problem::input("config::bad-platform", error.to_string());
                    let problem = self.with_help(problem, &text.value).at(text.place(), "here");
                    match (problem.help.is_some(), help(&text.value)) {
                        (false, Some(help)) => problem.help(help),
                        _ => problem,
                    }
                })
            }
        }
    }

    /// The platforms that `--platform` names.
    pub fn wanted(&self, names: &[PlatformName], problems: &mut Vec<Problem>) -> Vec<Platform> {
        let mut wanted = Vec::new();
        for name in names {
            match name {
                PlatformName::Platform(platform) => wanted.push(platform.clone()),
                PlatformName::Set(name) => match self.0.get(name) {
                    Some(platforms) => wanted.extend(platforms.iter().cloned()),
                    None => problems.push(self.unknown(name)),
                },
            }
        }
        wanted
    }

    fn unknown(&self, name: &str) -> Problem {
        let message = format!("`--platform {name}`: there is no such platform, and no set of that name");
        let problem = self.with_help(Problem::input("config::unknown-platform", message), name);
        match problem.help {
            Some(_) => problem,
            None => problem.help("write a platform such as `linux/arm64`; `[platforms]` declares sets"),
        }
    }

    /// Adds which sets there are, when `word` may have meant one.
    fn with_help(&self, problem: Problem, word: &str) -> Problem {
        let names: Vec<&str> = self.0.keys().map(String::as_str).collect();
        if names.is_empty() || word.contains('/') {
            return problem;
        }
        let help = keys::suggestion(word, names.clone())
            .unwrap_or_else(|| format!("the platform sets are {}", keys::quoted_list(names)));
        problem.help(help)
    }
}

/// A list's platforms in its order, each once; one that is listed twice by its own name is a slip.
pub fn without_repeats(
    found: Vec<(&Text, Vec<Located<Platform>>)>,
) -> (Vec<Located<Platform>>, Vec<Problem>) {
    let (mut platforms, mut problems): (Vec<Located<Platform>>, _) = (Vec::new(), Vec::new());
    let mut plain: Vec<Platform> = Vec::new();
    for (text, expanded) in found {
        let is_plain = text.value.parse::<Platform>().is_ok();
        for platform in expanded {
            if is_plain && plain.contains(&platform.value) {
                let message = format!("platform `{}` is listed twice", platform.value);
                let problem = Problem::input("config::duplicate", message);
                problems.push(problem.at(text.place(), "the same platform again"));
            } else if is_plain {
                plain.push(platform.value.clone());
            }
            if !platforms.contains(&platform) {
                platforms.push(platform);
            }
        }
    }
    (platforms, problems)
}

/// What most images are built for.
const COMMON: [&str; 10] = [
    "linux/amd64",
    "linux/arm64",
    "linux/arm/v7",
    "linux/arm/v6",
    "linux/386",
    "linux/ppc64le",
    "linux/s390x",
    "linux/riscv64",
    "linux/loong64",
    "windows/amd64",
];

/// What somebody means whose platform is none.
pub fn help(word: &str) -> Option<String> {
    if word.contains(',') {
        let entries: Vec<String> = word.split(',').map(|entry| format!("\"{}\"", entry.trim())).collect();
        return Some(format!("write an entry for each: `{}`", entries.join(", ")));
    }
    nearest(word, COMMON).map(|near| format!("did you mean `{near}`?"))
}

enum State {
    Open,
    Done(Vec<Platform>),
}

struct Flattener<'a, 'p> {
    declared: &'a BTreeMap<String, PlatformSetDeclaration>,
    states: BTreeMap<&'a str, State>,
    problems: &'p mut Vec<Problem>,
}

impl<'a> Flattener<'a, '_> {
    fn visit(&mut self, name: &'a str, path: &mut Vec<&'a str>) {
        let Some(declaration) = self.declared.get(name).filter(|_| !self.states.contains_key(name)) else {
            return;
        };
        self.states.insert(name, State::Open);
        path.push(name);
        let mut platforms: Vec<Platform> = Vec::new();
        for member in &declaration.members {
            let found = self.member(member, path);
            platforms.extend(
                found.into_iter().filter(|platform| !platforms.contains(platform)).collect::<Vec<_>>(),
            );
        }
        path.pop();
        self.states.insert(name, State::Done(platforms));
    }

    fn member(&mut self, member: &'a Text, path: &mut Vec<&'a str>) -> Vec<Platform> {
        let name = member.value.as_str();
        if !self.declared.contains_key(name) {
            return match name.parse::<Platform>() {
                Ok(platform) => vec![platform],
                Err(error) => {
                    let names: Vec<&str> = self.declared.keys().map(String::as_str).collect();
                    let mut problem = Problem::input("config::bad-platform", error.to_string());
                    problem.help = keys::suggestion(name, names).filter(|_| !name.contains('/'));
                    self.problems.push(problem.at(member.place(), "neither a platform nor a set"));
                    Vec::new()
                }
            };
        }
        if matches!(self.states.get(name), Some(State::Open)) {
            let start = path.iter().position(|step| *step == name).unwrap_or(0);
            let chain: Vec<&str> = path[start..].iter().copied().chain([name]).collect();
            let message = format!("platform sets run in a circle: {}", chain.join(" → "));
            self.problems
                .push(Problem::input("config::cycle", message).at(member.place(), "closes the circle"));
            return Vec::new();
        }
        if path.len() >= DEEPEST {
            let message = format!("platform sets go deeper than {DEEPEST}");
            self.problems.push(Problem::input("config::too-deep", message).at(member.place(), "here"));
            return Vec::new();
        }
        self.visit(name, path);
        match self.states.get(name) {
            Some(State::Done(platforms)) => platforms.clone(),
            Some(State::Open) | None => Vec::new(),
        }
    }
}
