//! Parser directives: `# syntax=`, `# escape=`, `# check=` at the very top, before any other comment.

use std::sync::Arc;

use serde_json::Value;

use super::lines::physical_lines;
use crate::base::reference::Reference;
use crate::diag::{Located, Place, Problem, Source, nearest};

/// The version of the Dockerfile language that this module reads.
pub const LANGUAGE_VERSION: (u32, u32) = (1, 26);

/// What the directives of a file say.
#[derive(Clone, Debug)]
pub struct Directives {
    /// The frontend's reference, without what follows it.
    pub syntax: Option<Located<String>>,
    /// A backslash or a backtick.
    pub escape: char,
    pub check: Option<Located<CheckOptions>>,
}

/// Who defines the language of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frontend {
    /// `docker/dockerfile` in some version, or nothing named at all: the language of this module.
    Official { version: String },
    /// Another frontend's image.
    Other(String),
}

/// The value of `# check=`, or of the build argument `BUILDKIT_DOCKERFILE_CHECK` that replaces it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckOptions {
    pub skip: CheckRules,
    pub experimental: CheckRules,
    /// Whether a warning fails the build.
    pub error: bool,
}

/// A choice of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckRules {
    All,
    /// As written, in order.
    Named(Vec<String>),
}

impl Default for CheckRules {
    fn default() -> Self {
        Self::Named(Vec::new())
    }
}

impl CheckRules {
    fn parse(text: &str) -> Self {
        match text.trim() {
            "all" => Self::All,
            names => Self::Named(
                names
                    .split(',')
                    .map(|name| name.trim().to_string())
                    .filter(|name| !name.is_empty())
                    .collect(),
            ),
        }
    }

    pub fn contains(&self, rule: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.iter().any(|name| name == rule),
        }
    }
}

impl CheckOptions {
    /// Parses `skip=all|A,B;error=true;experimental=all|A,B`; the error is a message.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut options = Self::default();
        for option in text.split(';').map(str::trim).filter(|option| !option.is_empty()) {
            let (key, value) =
                option.split_once('=').ok_or_else(|| format!("check option `{option}` has no value"))?;
            match key.trim() {
                "skip" => options.skip = CheckRules::parse(value),
                "experimental" => options.experimental = CheckRules::parse(value),
                "error" => {
                    options.error = parse_bool(value.trim())
                        .ok_or_else(|| format!("check option `error` is true or false, not `{value}`"))?;
                }
                other => return Err(unknown_option(other)),
            }
        }
        Ok(options)
    }

    /// The options in a comment right above an instruction, where `error` has no place. A comment that
    /// only looks like options is a comment.
    pub(super) fn of_comments(comments: &[String]) -> Option<Self> {
        let (_, value) = comments
            .iter()
            .rev()
            .filter_map(|comment| named_value(comment))
            .find(|(name, _)| name == "check")?;
        Self::parse(value).ok().map(|options| Self { error: false, ..options })
    }
}

fn unknown_option(name: &str) -> String {
    let hint = nearest(name, ["skip", "error", "experimental"]);
    let hint = hint.map(|known| format!("; did you mean `{known}`?")).unwrap_or_default();
    format!("`{name}` is not a check option{hint}")
}

/// What Go's `strconv.ParseBool` accepts, which BuildKit uses for all such values.
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

impl Directives {
    pub fn frontend(&self) -> Frontend {
        self.syntax.as_ref().map_or_else(Frontend::built_in, |syntax| Frontend::of(&syntax.value))
    }
}

impl Frontend {
    fn built_in() -> Self {
        Self::Official { version: String::new() }
    }

    /// The frontend that a `syntax` directive or the build argument `BUILDKIT_SYNTAX` names: its first word.
    pub fn of(text: &str) -> Self {
        let text = text.trim().split(' ').next().unwrap_or_default();
        if text.is_empty() || text == "dockerfile.v0" {
            return Self::built_in();
        }
        match text.parse::<Reference>() {
            Ok(reference)
                if reference.registry() == "docker.io"
                    && matches!(
                        reference.repository(),
                        "docker/dockerfile" | "docker/dockerfile-upstream"
                    ) =>
            {
                Self::Official { version: reference.tag().unwrap_or_default().to_string() }
            }
            _ => Self::Other(text.to_string()),
        }
    }

    /// Whether the version is known to be newer than what this module reads.
    pub fn is_newer_than_known(&self) -> bool {
        let Self::Official { version } = self else { return false };
        let number = version.split('-').next().unwrap_or_default();
        let mut numbers = number.split('.').map(str::parse::<u32>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => (major, minor) > LANGUAGE_VERSION,
            (Some(Ok(major)), _) => major > LANGUAGE_VERSION.0,
            _ => false,
        }
    }
}

/// The directives of a text, how many of its lines hold them, and what is wrong with them.
pub(super) struct ReadDirectives {
    pub directives: Directives,
    pub lines: usize,
    pub problems: Vec<Problem>,
    pub warnings: Vec<Problem>,
}

struct Directive {
    name: String,
    value: String,
    place: Place,
}

pub(super) fn read(source: &Arc<Source>) -> ReadDirectives {
    let mut result = ReadDirectives {
        directives: Directives { syntax: None, escape: '\\', check: None },
        lines: 0,
        problems: Vec::new(),
        warnings: Vec::new(),
    };
    let top = zone(source, "#", 0, Indent::Allowed);
    result.lines = top.len();
    result.refuse_duplicates(&top);
    if let Some(escape) = top.iter().find(|directive| directive.name == "escape") {
        result.set_escape(escape);
    }
    // A `#!` line ends the zone for `escape`, whereas the other two are looked for after it; in turn, an
    // indented line ends theirs.
    let shebang = usize::from(has_shebang(source));
    let top = zone(source, "#", shebang, Indent::None);
    if let Some(check) = top.iter().find(|directive| directive.name == "check") {
        result.set_check(check);
    }
    let slashes = || zone(source, "//", shebang, Indent::None);
    let syntax = find_syntax(top).or_else(|| find_syntax(slashes())).or_else(|| json_syntax(source));
    result.directives.syntax = syntax;
    result.warn_about_newer_language();
    result
}

impl ReadDirectives {
    fn refuse_duplicates(&mut self, directives: &[Directive]) {
        for (index, directive) in directives.iter().enumerate() {
            let first = directives[..index].iter().find(|earlier| earlier.name == directive.name);
            if let Some(first) = first {
                self.problems.push(
                    Problem::input(
                        "dockerfile::duplicate-directive",
                        format!("directive `{}` is given twice", directive.name),
                    )
                    .at(directive.place.clone(), "again here")
                    .at(first.place.clone(), "first given here")
                    .help("keep one of them"),
                );
            }
        }
    }

    fn set_escape(&mut self, directive: &Directive) {
        match directive.value.as_str() {
            "\\" => self.directives.escape = '\\',
            "`" => self.directives.escape = '`',
            other => self.problems.push(
                Problem::input(
                    "dockerfile::escape-directive",
                    format!("`{other}` cannot be the escape character"),
                )
                .at(directive.place.clone(), "in this directive")
                .help("use a backslash or a backtick"),
            ),
        }
    }

    fn set_check(&mut self, directive: &Directive) {
        match CheckOptions::parse(&directive.value) {
            Ok(options) => {
                self.directives.check = Some(Located::new(options, directive.place.clone()));
            }
            Err(message) => self.problems.push(
                Problem::input("dockerfile::check-directive", message)
                    .at(directive.place.clone(), "in this directive")
                    .help("write `# check=skip=RULE,RULE;error=true`"),
            ),
        }
    }

    fn warn_about_newer_language(&mut self) {
        let Some(syntax) = &self.directives.syntax else { return };
        if Frontend::of(&syntax.value).is_newer_than_known() {
            let (major, minor) = LANGUAGE_VERSION;
            let mut warning = Problem::warning(
                "dockerfile::newer-syntax",
                format!(
                    "`{}` is newer than version {major}.{minor}, which this file is read as",
                    syntax.value
                ),
            );
            if let Some(place) = &syntax.place {
                warning = warning.at(place.clone(), "named here");
            }
            self.warnings.push(warning);
        }
    }
}

fn has_shebang(source: &Source) -> bool {
    source.text.trim_start_matches('\u{feff}').starts_with("#!")
}

/// What may stand before the comment sign of a directive.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Indent {
    Allowed,
    None,
}

/// The directives that open the text behind `skip` lines, each on a line of its own that begins with
/// `comment`. Anything else ends them, an unknown name too.
fn zone(source: &Arc<Source>, comment: &str, skip: usize, indent: Indent) -> Vec<Directive> {
    let mut directives = Vec::new();
    for range in physical_lines(source).into_iter().skip(skip) {
        let line = source.text[range.clone()].trim_end();
        let line = if indent == Indent::Allowed { line.trim_start() } else { line };
        let Some((name, value)) = line.strip_prefix(comment).and_then(named_value) else { break };
        if !matches!(name.as_str(), "syntax" | "escape" | "check") {
            break;
        }
        let start = range.start + source.text[range].find(line).unwrap_or(0);
        let place = Place::new(source, start..start + line.len());
        directives.push(Directive { name, value: value.to_string(), place });
    }
    directives
}

/// `name = value`, the name in lower case.
fn named_value(text: &str) -> Option<(String, &str)> {
    let (name, value) = text.trim_start().split_once('=')?;
    let (name, value) = (name.trim_end(), value.trim());
    let is_name = name.starts_with(|char: char| char.is_ascii_alphabetic())
        && name.chars().all(|char| char.is_ascii_alphanumeric());
    (is_name && !value.is_empty()).then(|| (name.to_ascii_lowercase(), value))
}

fn find_syntax(directives: Vec<Directive>) -> Option<Located<String>> {
    let directive = directives.into_iter().find(|directive| directive.name == "syntax")?;
    let reference = directive.value.split(' ').next().unwrap_or_default().to_string();
    Some(Located::new(reference, directive.place))
}

/// `{"syntax": "…"}`, for files that are no Dockerfiles at all.
fn json_syntax(source: &Arc<Source>) -> Option<Located<String>> {
    let text = source.text.trim_start_matches('\u{feff}');
    let text = if text.starts_with("#!") { text.split_once('\n')?.1 } else { text };
    if !text.trim_start().starts_with('{') {
        return None;
    }
    let value: Value = serde_json::from_str(text).ok()?;
    let syntax = value.get("syntax")?.as_str()?;
    let start = source.text.find('{').unwrap_or(0);
    Some(Located::new(syntax.to_string(), Place::new(source, start..start + 1)))
}
