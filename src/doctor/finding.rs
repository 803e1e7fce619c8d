//! What a check found, as data, and the stable names of checks.

use std::path::PathBuf;

/// One thing that is tried. The names are interface: messages, JSON and `mab doctor NAME` use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    Kernel,
    Userns,
    Ids,
    Overlay,
    Mounts,
    Network,
    Cgroups,
    Binfmt,
    Platform,
    Store,
    Disk,
    Clock,
    Registry,
    Builder,
}

impl Check {
    /// In the order they are told.
    pub const ALL: [Self; 14] = [
        Self::Kernel,
        Self::Userns,
        Self::Ids,
        Self::Overlay,
        Self::Mounts,
        Self::Network,
        Self::Cgroups,
        Self::Binfmt,
        Self::Platform,
        Self::Store,
        Self::Disk,
        Self::Clock,
        Self::Registry,
        Self::Builder,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Userns => "userns",
            Self::Ids => "ids",
            Self::Overlay => "overlay",
            Self::Mounts => "mounts",
            Self::Network => "network",
            Self::Cgroups => "cgroups",
            Self::Binfmt => "binfmt",
            Self::Platform => "platform",
            Self::Store => "store",
            Self::Disk => "disk",
            Self::Clock => "clock",
            Self::Registry => "registry",
            Self::Builder => "builder",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|check| check.name() == name.strip_prefix("doctor::").unwrap_or(name))
    }

    /// Whether it is about other machines, which this one may not be able to put right.
    pub fn is_remote(self) -> bool {
        matches!(self, Self::Registry | Self::Builder)
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Good,
    /// Worth knowing; nothing that was asked for is missing.
    Note,
    /// Builds go on, with less.
    Warning,
    /// Builds that need it fail.
    Error,
}

impl Level {
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub check: Check,
    /// Which of several: a platform, a registry, a worker.
    pub subject: Option<String>,
    pub level: Level,
    /// The result, on one line.
    pub said: String,
    /// Of everything that is not as it should be.
    pub trouble: Option<Trouble>,
}

/// What is wrong, how that is known, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What builds suffer from it.
    pub symptom: String,
    /// What was tried, and what happened.
    pub test: String,
    /// What to do: commands as they are typed, one a line, or a sentence.
    pub remedy: String,
    /// What `--fix` does about it.
    pub fix: Option<Fix>,
}

/// What can be put right without a risk to anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fix {
    /// Lets this program, and no other, make user namespaces.
    AppArmorProfile { program: PathBuf },
    /// Removes from the store what no build used for two weeks.
    Prune,
}

impl Finding {
    pub fn good(check: Check, said: impl Into<String>) -> Self {
        Self { check, subject: None, level: Level::Good, said: said.into(), trouble: None }
    }

    /// Something that is as it is, with nothing to be done.
    pub fn note(check: Check, said: impl Into<String>) -> Self {
        Self { level: Level::Note, ..Self::good(check, said) }
    }

    pub fn bad(level: Level, check: Check, said: impl Into<String>, trouble: Trouble) -> Self {
        Self { level, trouble: Some(trouble), ..Self::good(check, said) }
    }

    pub fn of(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }
}

impl Trouble {
    pub fn new(symptom: impl Into<String>, test: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { symptom: symptom.into(), test: test.into(), remedy: remedy.into(), fix: None }
    }

    pub fn fixed_by(mut self, fix: Fix) -> Self {
        self.fix = Some(fix);
        self
    }
}

/// The check that tells more about a problem of this code.
pub fn explaining(code: &str) -> Option<Check> {
    Some(match code {
        "host::user-namespaces" => Check::Userns,
        "host::id-map" => Check::Ids,
        "host::overlay" => Check::Overlay,
        "host::emulation" => Check::Platform,
        "host::network" => Check::Network,
        "host::sandbox" => Check::Mounts,
        "store::unusable" | "store::nowhere" | "store::newer" | "store::database" | "store::io" => {
            Check::Store
        }
        "store::full" => Check::Disk,
        "registry::unreachable"
        | "registry::broken-connection"
        | "registry::unauthorized"
        | "registry::denied"
        | "registry::certificate"
        | "registry::plain"
        | "registry::credentials" => Check::Registry,
        "builder::unreachable" | "builder::no-match" | "builder::no-worker" | "builder::lost" => {
            Check::Builder
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_checks() {
        for check in Check::ALL {
            assert_eq!(Check::named(check.name()), Some(check));
            assert_eq!(Check::named(&format!("doctor::{}", check.name())), Some(check));
        }
        assert_eq!(Check::named("doctor"), None);
    }
}
