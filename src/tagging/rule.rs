//! One rule: its type and attributes, with the defaults that docker/metadata-action gives them.

use super::matching::Matcher;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Schedule,
    Semver,
    Pep440,
    Match,
    Edge,
    Ref,
    Raw,
    Sha,
}

/// A rule by which tags are made.
#[derive(Debug)]
pub struct Rule {
    pub action: Action,
    /// Rules of a higher one come first.
    pub priority: f64,
    /// Comes to `true` or `false`.
    pub enable: String,
    /// In place of the flavor's.
    pub prefix: Option<String>,
    pub suffix: Option<String>,
    /// Of `match`, the type and the attribute.
    pub matcher: Option<Matcher>,
}

/// What a rule makes a tag of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Schedule { pattern: String },
    Semver(Versioned),
    Pep440(Versioned),
    Match { group: usize, value: String },
    Edge { branch: String },
    Ref(RefEvent),
    Raw { value: String },
    Sha { is_long: bool },
}

/// A version of the ref, or of `value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    pub pattern: String,
    pub value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefEvent {
    Branch,
    Tag,
    PullRequest,
}

impl Kind {
    pub const NAMES: [(&'static str, Self); 8] = [
        ("schedule", Self::Schedule),
        ("semver", Self::Semver),
        ("pep440", Self::Pep440),
        ("match", Self::Match),
        ("edge", Self::Edge),
        ("ref", Self::Ref),
        ("raw", Self::Raw),
        ("sha", Self::Sha),
    ];
    /// The attributes of every type.
    pub const COMMON: [&'static str; 4] = ["enable", "priority", "prefix", "suffix"];

    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// Its own attributes, the one that says most first.
    pub fn attributes(self) -> &'static [&'static str] {
        match self {
            Self::Schedule => &["pattern"],
            Self::Semver | Self::Pep440 => &["pattern", "value", "match"],
            Self::Match => &["pattern", "group", "value"],
            Self::Edge => &["branch"],
            Self::Ref => &["event"],
            Self::Raw => &["value"],
            Self::Sha => &["format"],
        }
    }

    /// Whether a rule is none without its first attribute.
    pub fn needs_its_attribute(self) -> bool {
        !matches!(self, Self::Schedule | Self::Edge | Self::Sha)
    }

    fn priority(self) -> f64 {
        match self {
            Self::Schedule => 1000.0,
            Self::Semver | Self::Pep440 => 900.0,
            Self::Match => 800.0,
            Self::Edge => 700.0,
            Self::Ref => 600.0,
            Self::Raw => 200.0,
            Self::Sha => 100.0,
        }
    }
}

impl Rule {
    /// `attribute` gives the attributes that are written. What is wrong is told with the attribute it is about.
    pub fn new(
        kind: Kind,
        attribute: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, (&'static str, String)> {
        let text = |name: &str| attribute(name).unwrap_or_default();
        let versioned = || Versioned { pattern: text("pattern"), value: text("value") };
        let mut prefix = attribute("prefix");
        let action = match kind {
            Kind::Schedule => Action::Schedule { pattern: attribute("pattern").unwrap_or("nightly".into()) },
            Kind::Semver => Action::Semver(versioned()),
            Kind::Pep440 => Action::Pep440(versioned()),
            Kind::Match => {
                let group = attribute("group").unwrap_or("0".into());
                let group = group.parse().map_err(|_| ("group", "`group` must be a number".to_string()))?;
                Action::Match { group, value: text("value") }
            }
            Kind::Edge => Action::Edge { branch: text("branch") },
            Kind::Ref => Action::Ref(match text("event").as_str() {
                "branch" => RefEvent::Branch,
                "tag" => RefEvent::Tag,
                "pr" => {
                    prefix.get_or_insert("pr-".into());
                    RefEvent::PullRequest
                }
                other => return Err(("event", format!("`event` cannot be `{other}`"))),
            }),
            Kind::Raw => Action::Raw { value: text("value") },
            Kind::Sha => {
                prefix.get_or_insert("sha-".into());
                Action::Sha {
                    is_long: match attribute("format").as_deref() {
                        None | Some("short") => false,
                        Some("long") => true,
                        Some(other) => return Err(("format", format!("`format` cannot be `{other}`"))),
                    },
                }
            }
        };
        let priority = match attribute("priority") {
            None => kind.priority(),
            Some(text) => {
                script_number(&text).ok_or(("priority", "`priority` must be a number".to_string()))?
            }
        };
        let enable = attribute("enable").unwrap_or("true".into());
        let matcher = match kind {
            Kind::Match => {
                Some(Matcher::parse(&text("pattern"), true).map_err(|message| ("pattern", message))?)
            }
            Kind::Semver | Kind::Pep440 => {
                of_version(&text("match")).map_err(|message| ("match", message))?
            }
            _ => None,
        };
        Ok(Self { action, priority, enable, prefix, suffix: attribute("suffix"), matcher })
    }

    /// How much there is to look at.
    pub fn size(&self) -> usize {
        let own = match &self.action {
            Action::Semver(own) | Action::Pep440(own) => own.pattern.len() + own.value.len(),
            Action::Schedule { pattern } => pattern.len(),
            Action::Match { value, .. } | Action::Raw { value } => value.len(),
            Action::Edge { branch } => branch.len(),
            Action::Ref(_) | Action::Sha { .. } => 0,
        };
        let affixes = [&self.prefix, &self.suffix].into_iter().flatten().map(String::len);
        own + self.enable.len() + affixes.sum::<usize>()
    }

    /// What metadata-action does where there are no rules.
    pub fn defaults() -> Vec<Self> {
        let of = |action, prefix: Option<&str>, priority| Self {
            action,
            priority,
            enable: "true".to_string(),
            prefix: prefix.map(str::to_string),
            suffix: None,
            matcher: None,
        };
        vec![
            of(Action::Schedule { pattern: "nightly".to_string() }, None, Kind::Schedule.priority()),
            of(Action::Ref(RefEvent::Branch), None, Kind::Ref.priority()),
            of(Action::Ref(RefEvent::Tag), None, Kind::Ref.priority()),
            of(Action::Ref(RefEvent::PullRequest), Some("pr-"), Kind::Ref.priority()),
        ]
    }
}

/// A finite number as JavaScript reads one: nothing is zero, and `0x1f` is one.
pub fn script_number(text: &str) -> Option<f64> {
    let text = text.trim();
    for (start, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = text.strip_prefix(start) {
            return u32::from_str_radix(digits, radix).ok().map(f64::from);
        }
    }
    match text {
        "" => Some(0.0),
        _ => text.parse().ok().filter(|number: &f64| number.is_finite()),
    }
}

/// Its first group is the version.
fn of_version(text: &str) -> Result<Option<Matcher>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let matcher = Matcher::parse(text, false)?;
    match matcher.groups() {
        0 | 1 => Err("`match` needs a group `(…)`, which is the version".to_string()),
        _ => Ok(Some(matcher)),
    }
}
