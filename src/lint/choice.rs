//! Which rules are looked at, and which of them fail a check: what files, comments and arguments say.

use std::collections::BTreeSet;

use super::rule::{Level, Rule};
use crate::dockerfile::{CheckOptions, CheckRules};

/// What a project says about rules, for all its Dockerfiles.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    pub skip: BTreeSet<String>,
    pub failing: Failing,
    /// Rules that are asked for although they are experimental.
    pub experimental: bool,
}

/// Whose warnings fail a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Failing {
    /// Errors alone.
    #[default]
    Errors,
    All,
    These(BTreeSet<String>),
}

impl Choice {
    pub(super) fn looks_at(&self, rule: &Rule) -> bool {
        !self.skip.contains(rule.name)
    }

    /// Whether `rule` is on for a file or instruction with these options.
    pub(super) fn takes(&self, rule: &Rule, options: &[&CheckOptions]) -> bool {
        let named = |rules: &CheckRules| rules.contains(rule.name);
        match rule.level {
            Level::Experimental => {
                self.experimental || options.iter().any(|options| named(&options.experimental))
            }
            Level::Warning | Level::Error => !options.iter().any(|options| named(&options.skip)),
        }
    }

    /// Whether a finding of `rule` fails the check.
    pub(super) fn fails(&self, rule: &Rule, file: Option<&CheckOptions>) -> bool {
        let said = match &self.failing {
            Failing::Errors => false,
            Failing::All => true,
            Failing::These(names) => names.contains(rule.name),
        };
        said || rule.level == Level::Error || file.is_some_and(|options| options.error)
    }
}
