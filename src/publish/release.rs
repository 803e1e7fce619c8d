//! Which release an image is of, and which of two is the older one. Knows no registry.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use crate::facts::is_ancestor;
use crate::tagging;

const VERSION: &str = "org.opencontainers.image.version";
const REVISION: &str = "org.opencontainers.image.revision";
/// Longer texts are neither versions nor commits.
const LONGEST: usize = 256;

/// What an image is said to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Release {
    pub version: Option<String>,
    /// The commit.
    pub revision: Option<String>,
}

impl Release {
    /// As the annotations or labels of an image say it; what may not be shown counts as not said.
    pub fn of(said: &BTreeMap<String, String>) -> Self {
        let text = |key: &str| said.get(key).and_then(|text| plain(text));
        Self { version: text(VERSION), revision: text(REVISION) }
    }

    /// What the tags say where nobody else does: the only one that is a version as a whole.
    pub fn or_of_tags<'a>(mut self, tags: impl Iterator<Item = &'a str>) -> Self {
        if self.version.is_none() {
            let mut whole = tags.filter(|tag| tagging::is_whole(tag));
            self.version = whole.next().filter(|_| whole.next().is_none()).map(str::to_string);
        }
        self
    }

    pub fn is_known(&self) -> bool {
        self.version.is_some() || self.revision.is_some()
    }

    /// Whether both are made of the same commit for the same version.
    pub fn is_same(&self, other: &Self) -> bool {
        self.version.is_some() && self == other
    }

    /// By version.
    pub fn order(&self, other: &Self) -> Option<Ordering> {
        tagging::order(self.version.as_deref()?, other.version.as_deref()?)
    }

    /// Whether `other` is newer, as far as versions, or the history of a work tree, tell. What follows history has no
    /// versions.
    pub fn is_older_than(&self, other: &Self, follows_history: bool, checkout: Option<&Path>) -> bool {
        match self.order(other).filter(|_| !follows_history) {
            Some(order) => order.is_lt(),
            None => match (checkout, &self.revision, &other.revision) {
                (Some(checkout), Some(own), Some(others)) => {
                    own != others && is_ancestor(checkout, own, others)
                }
                _ => false,
            },
        }
    }
}

impl fmt::Display for Release {
    /// The version, or a commit as people write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.version, &self.revision) {
            (Some(version), Some(revision)) => {
                write!(f, "{version} ({})", revision.chars().take(7).collect::<String>())
            }
            (Some(version), None) => f.write_str(version),
            (None, Some(revision)) => f.write_str(&revision.chars().take(7).collect::<String>()),
            (None, None) => f.write_str("unknown"),
        }
    }
}

/// Whether a tag names one version, which does not move once it stands; others float.
pub fn is_version_tag(tag: &str, release: &Release) -> bool {
    tagging::is_whole(tag)
        || (release.version.as_deref() == Some(tag)
            && tag.bytes().filter(|byte| *byte == b'.').count() >= 2
            && tagging::order(tag, tag).is_some())
}

/// A text of a stranger that may be shown.
pub fn plain(text: &str) -> Option<String> {
    let fits = !text.is_empty() && text.len() <= LONGEST && !text.contains(char::is_control);
    fits.then(|| text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(version: &str) -> Release {
        Release { version: Some(version.to_string()), revision: None }
    }

    #[test]
    fn versions_decide_but_not_about_history() {
        for (own, others, expected) in [
            ("1.2.3", "1.10.0", true),
            ("1.10.0", "1.2.3", false),
            ("1.2.3", "1.2.3", false),
            ("main", "1.0.0", false),
        ] {
            assert_eq!(release(own).is_older_than(&release(others), false, None), expected, "{own} {others}");
            assert!(!release(own).is_older_than(&release(others), true, None));
        }
    }

    #[test]
    fn tags_are_versions_or_float() {
        for (tag, version, expected) in [
            ("1.2.3", "main", true),
            ("v1.2.3", "", true),
            ("1.2", "1.2", false),
            ("24.1.0.2", "24.1.0.2", true),
            ("latest", "latest", false),
            ("main", "main", false),
        ] {
            assert_eq!(is_version_tag(tag, &release(version)), expected, "{tag}");
        }
    }

    #[test]
    fn tags_say_the_version_where_nobody_does() {
        let of = |tags: &[&str]| Release::default().or_of_tags(tags.iter().copied()).version;
        assert_eq!(of(&["latest", "1.4.0", "1"]).as_deref(), Some("1.4.0"));
        assert_eq!(of(&["1.4.0", "1.5.0"]), None);
    }
}
