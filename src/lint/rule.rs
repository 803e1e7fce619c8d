//! A rule: what it is called, what it means, and how it looks.

use super::finding::Finding;
use super::view::View;

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Only looked at when asked for by `experimental=`.
    Experimental,
    Warning,
    /// The build cannot work, or the image cannot be right.
    Error,
}

/// One thing that is looked for.
pub struct Rule {
    /// BuildKit's name for BuildKit's rules, so that `skip=` means the same to both.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    pub level: Level,
    /// The documentation of BuildKit's own rules.
    pub url: Option<&'static str>,
    /// What goes wrong, and what to do about it.
    pub why: &'static str,
    /// A Dockerfile with the mistake. A line `--- NAME` begins a further file.
    pub bad: &'static str,
    /// The same without it.
    pub good: &'static str,
    pub(super) check: fn(&View<'_>) -> Vec<Finding>,
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rule({})", self.name)
    }
}

impl Rule {
    /// Whether it is one of BuildKit's.
    pub fn is_buildkit(&self) -> bool {
        self.name.starts_with(|char: char| char.is_ascii_uppercase())
    }
}
