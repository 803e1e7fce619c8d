//! What may stand for several targets where one is named: wildcards, and labels.

use std::collections::BTreeMap;

use crate::pattern::{Glob, PatternError};

/// `api-*`, `label:KEY` or `label:KEY=VALUE`, the value with wildcards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPattern {
    Name(Glob),
    Label { key: String, value: Option<Glob> },
}

impl TargetPattern {
    /// `None` when `text` is a plain name.
    pub fn parse(text: &str) -> Option<Result<Self, PatternError>> {
        let glob = |text: &str| Glob::parse(text.as_bytes());
        if let Some(label) = text.strip_prefix("label:") {
            let (key, value) = match label.split_once('=') {
                Some((key, value)) => (key, Some(glob(value))),
                None => (label, None),
            };
            return Some(value.transpose().map(|value| Self::Label { key: key.to_string(), value }));
        }
        text.contains(['*', '?', '[']).then(|| glob(text).map(Self::Name))
    }

    pub fn asks_for_labels(&self) -> bool {
        matches!(self, Self::Label { .. })
    }

    pub fn matches(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::Name(glob) => glob.matches(name.as_bytes()),
            Self::Label { key, value } => labels.get(key).is_some_and(|own| match value {
                Some(value) => value.matches(own.as_bytes()),
                None => true,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names_and_labels() {
        let labels = BTreeMap::from([("team".to_string(), "payments".to_string())]);
        for (pattern, expected) in [
            ("api-web", None),
            ("api-*", Some(true)),
            ("*-x", Some(false)),
            ("label:team", Some(true)),
            ("label:team=payments", Some(true)),
            ("label:team=pay*", Some(true)),
            ("label:team=web", Some(false)),
            ("label:tea", Some(false)),
        ] {
            let found =
                TargetPattern::parse(pattern).map(|pattern| pattern.unwrap().matches("api-web", &labels));
            assert_eq!(found, expected, "{pattern}");
        }
        assert_eq!(TargetPattern::parse("[a"), Some(Err(PatternError)));
    }
}
