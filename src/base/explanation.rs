//! Why a node is built or not, in plain values that events carry: a hit and where it is from, or a miss and what
//! differs from an earlier run. Secrets have no place here.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::digest::Digest;
use super::platform::Platform;

/// How many reasons a line for people names.
const SHOWN: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Explanation {
    /// A base image: what it is for each platform, and who says so.
    Base { images: Vec<(Platform, Digest)>, told_by: String },
    /// An earlier result has the key.
    Hit { place: String, age: Duration },
    /// No earlier result has it.
    Miss { nearest: Nearest, reasons: Vec<Reason> },
    /// Not to be known before these are built.
    Open { waits_for: Vec<String> },
}

/// Which earlier run a miss is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nearest {
    /// There is none.
    None,
    /// The last one of the same target and platform.
    Own,
    /// The one that shares most, by its name.
    Other(String),
}

/// One thing that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    pub part: Part,
    /// Such as a path, or the name of an argument.
    pub name: String,
    pub change: Change,
}

/// What sort of thing it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The store has lost the result.
    Lost,
    /// Somebody asked for it to be built anyway.
    NoCache,
    /// What the engine makes of steps, or cannot do here.
    Engine,
    Emulator,
    Epoch,
    Base,
    File,
    /// Files that cannot be named, since nobody wrote them down.
    Files,
    /// From elsewhere.
    Source,
    Arg,
    Env,
    Step,
    /// Whether there is a secret or an agent.
    Secret,
    Label,
    Config,
    /// The order or the words of instructions.
    Text,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Added,
    Removed,
    /// From one value to another, where they may be shown.
    Changed(Option<(String, String)>),
}

impl Part {
    pub fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::NoCache => "no-cache",
            Self::Engine => "engine",
            Self::Emulator => "emulator",
            Self::Epoch => "epoch",
            Self::Base => "base",
            Self::File => "file",
            Self::Files => "files",
            Self::Source => "source",
            Self::Arg => "arg",
            Self::Env => "env",
            Self::Step => "step",
            Self::Secret => "secret",
            Self::Label => "label",
            Self::Config => "config",
            Self::Text => "text",
        }
    }
}

impl Reason {
    pub fn new(part: Part, name: impl Into<String>, change: Change) -> Self {
        Self { part, name: name.into(), change }
    }

    pub fn changed(
        part: Part,
        name: impl Into<String>,
        old: impl Into<String>,
        new: impl Into<String>,
    ) -> Self {
        Self::new(part, name, Change::Changed(Some((old.into(), new.into()))))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            Part::Lost => return f.write_str("the store has lost the earlier image"),
            Part::NoCache => return write!(f, "{} is asked for", self.name),
            Part::File => f.write_str(&self.name)?,
            Part::Files => write!(f, "files of {}", self.name)?,
            Part::Source => f.write_str(&self.name)?,
            Part::Step => write!(f, "`{}`", self.name)?,
            Part::Text => f.write_str(&self.name)?,
            part => write!(f, "{} {}", part.name(), self.name)?,
        }
        match &self.change {
            Change::Added => f.write_str(" added"),
            Change::Removed => f.write_str(" removed"),
            Change::Changed(None) => f.write_str(" changed"),
            Change::Changed(Some((old, new))) => write!(f, " changed ({} → {})", shown(old), shown(new)),
        }
    }
}

/// A value is long sometimes, and empty sometimes.
fn shown(value: &str) -> String {
    const LONGEST: usize = 60;
    match value.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None if value.is_empty() => "nothing".to_string(),
        None => value.to_string(),
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base { images, told_by } => {
                let images: Vec<String> = images
                    .iter()
                    .map(|(platform, digest)| format!("{platform} is sha256:{}", digest.short()))
                    .collect();
                write!(f, "{told_by} says {}", images.join(", "))
            }
            Self::Hit { place, age } => write!(f, "hit: {place}, made {} ago", span(*age)),
            Self::Miss { nearest, reasons } => {
                f.write_str("miss: ")?;
                match nearest {
                    Nearest::None if reasons.is_empty() => return f.write_str("no earlier run is known"),
                    Nearest::None | Nearest::Own => {}
                    Nearest::Other(name) => write!(f, "nothing is known of an earlier run; unlike {name}, ")?,
                }
                let told: Vec<String> = reasons.iter().take(SHOWN).map(ToString::to_string).collect();
                f.write_str(&told.join(", "))?;
                match reasons.len().saturating_sub(SHOWN) {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
            Self::Open { waits_for } => {
                write!(f, "open: not to be known before {} is built", waits_for.join(", "))
            }
        }
    }
}

fn span(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

impl Explanation {
    /// For programs: a verdict and what belongs to it.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Base { images, told_by } => {
                let images: serde_json::Map<String, Value> =
                    images.iter().map(|(platform, digest)| (platform.to_string(), json!(digest))).collect();
                json!({ "verdict": "base", "told-by": told_by, "images": images })
            }
            Self::Hit { place, age } => json!({ "verdict": "hit", "place": place, "age": age.as_secs() }),
            Self::Miss { nearest, reasons } => {
                let nearest = match nearest {
                    Nearest::None => Value::Null,
                    Nearest::Own => json!("own"),
                    Nearest::Other(name) => json!(name),
                };
                let reasons: Vec<Value> = reasons.iter().map(reason_json).collect();
                json!({ "verdict": "miss", "nearest": nearest, "reasons": reasons })
            }
            Self::Open { waits_for } => json!({ "verdict": "open", "waits-for": waits_for }),
        }
    }
}

fn reason_json(reason: &Reason) -> Value {
    let (change, old, new) = match &reason.change {
        Change::Added => ("added", None, None),
        Change::Removed => ("removed", None, None),
        Change::Changed(None) => ("changed", None, None),
        Change::Changed(Some((old, new))) => ("changed", Some(old), Some(new)),
    };
    json!({ "part": reason.part.name(), "name": reason.name, "change": change, "old": old, "new": new })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_people_says_what_changed() {
        let reasons = vec![
            Reason::new(Part::File, "services/api/main.go", Change::Changed(None)),
            Reason::changed(Part::Arg, "VERSION", "1.2", "1.3"),
            Reason::changed(Part::Arg, "DEBUG", "", "1"),
            Reason::new(Part::Step, "RUN make", Change::Added),
        ];
        let miss = Explanation::Miss { nearest: Nearest::Own, reasons: reasons.clone() };
        assert_eq!(
            miss.to_string(),
            "miss: services/api/main.go changed, arg VERSION changed (1.2 → 1.3), arg DEBUG changed (nothing → 1), \
             `RUN make` added"
        );
        let many = Explanation::Miss {
            nearest: Nearest::Other("web linux/amd64".into()),
            reasons: reasons.iter().cycle().take(11).cloned().collect(),
        };
        assert!(
            many.to_string()
                .starts_with("miss: nothing is known of an earlier run; unlike web linux/amd64, ")
        );
        assert!(many.to_string().ends_with(" and 3 more"), "{many}");
        let first = Explanation::Miss { nearest: Nearest::None, reasons: Vec::new() };
        assert_eq!(first.to_string(), "miss: no earlier run is known");
    }
}
