//! Which cache mount it is: an id, the platform of the step, and what it begins with.
//!
//! The store knows a cache by the digest of that, so its folder has the identity in words beside the content,
//! in `about.json`. What a cache holds and who uses it is not known here.

use std::fmt;
use std::io::{self, Write as _};
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::snapshots;
use crate::base::{Digest, Parts, Platform};

const FILE: &str = "about.json";

/// What tells a cache mount from others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CacheIdentity {
    pub id: String,
    pub platform: Platform,
    pub beginning: Beginning,
}

/// What is in a cache before its first use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Beginning {
    /// Nothing; the directory has this mode and owner: `755 0:0`.
    Empty(String),
    /// The files with this digest.
    Seed(Digest),
}

/// The document in the folder.
#[derive(Serialize, Deserialize)]
struct About {
    id: String,
    platform: Platform,
    beginning: String,
    /// Whether files on disk have other owners than they seem to have.
    mapped: bool,
}

impl CacheIdentity {
    /// The name of the cache in the store. Root and an ordinary user who share a store have different ones.
    pub fn key(&self) -> Digest {
        let mut parts = Parts::new();
        parts.text("id", &self.id);
        parts.text("platform", self.platform.to_string());
        parts.text("files", if snapshots::is_mapped() { "mapped" } else { "plain" });
        match &self.beginning {
            Beginning::Seed(seed) => parts.digest_of("seed", *seed),
            Beginning::Empty(access) => parts.text("access", access),
        };
        parts.digest()
    }

    /// Writes the identity into the folder of the cache, unless it is there.
    pub(super) fn describe(&self, folder: &Path) -> io::Result<()> {
        let path = folder.join(FILE);
        if path.exists() {
            return Ok(());
        }
        let about = About {
            id: self.id.clone(),
            platform: self.platform.clone(),
            beginning: self.beginning.to_string(),
            mapped: snapshots::is_mapped(),
        };
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec(&about)?)?;
        file.persist(path).map(drop).map_err(|failed| failed.error)
    }

    /// The identity of the cache in a folder, if it is of this user's kind and known.
    pub(super) fn of(folder: &Path) -> Option<Self> {
        let about: About = serde_json::from_slice(&std::fs::read(folder.join(FILE)).ok()?).ok()?;
        let beginning = about.beginning.parse().ok()?;
        (about.mapped == snapshots::is_mapped()).then_some(Self {
            id: about.id,
            platform: about.platform,
            beginning,
        })
    }
}

impl fmt::Display for CacheIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id: String = self.id.chars().filter(|character| !character.is_control()).collect();
        write!(f, "{id} {}", self.platform)
    }
}

impl fmt::Display for Beginning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty(access) => write!(f, "empty {access}"),
            Self::Seed(digest) => write!(f, "seed {digest}"),
        }
    }
}

/// The text is no beginning of a cache.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not of the form `empty MODE UID:GID` or `seed DIGEST`")]
pub struct ParseBeginningError(String);

impl FromStr for Beginning {
    type Err = ParseBeginningError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || ParseBeginningError(text.to_string());
        match text.split_once(' ').ok_or_else(malformed)? {
            ("seed", digest) => digest.parse().map(Self::Seed).map_err(|_| malformed()),
            ("empty", access) if is_access(access) => Ok(Self::Empty(access.to_string())),
            _ => Err(malformed()),
        }
    }
}

fn is_access(text: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let fields = text.split_once(' ').and_then(|(mode, owner)| Some((mode, owner.split_once(':')?)));
    fields.is_some_and(|(mode, (user, group))| is_number(mode) && is_number(user) && is_number(group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_read_as_it_is_written() {
        let check = |text: &str, is_one: bool| {
            let parsed = text.parse::<Beginning>();
            assert_eq!(parsed.is_ok(), is_one, "{text}");
            if let Ok(beginning) = parsed {
                assert_eq!(beginning.to_string(), text);
            }
        };
        check("empty 755 0:0", true);
        check(&format!("seed {}", Digest::of("x")), true);
        for wrong in ["", "empty", "empty 755", "empty 755 0", "empty a 0:0", "empty 755 0:", "seed x", "x y"]
        {
            check(wrong, false);
        }
    }

    #[test]
    fn a_folder_keeps_the_first_identity() {
        let folder = tempfile::tempdir().unwrap();
        let identity = |id: &str| CacheIdentity {
            id: id.into(),
            platform: Platform::linux("arm64"),
            beginning: Beginning::Empty("755 0:0".into()),
        };
        assert_eq!(CacheIdentity::of(folder.path()), None);
        identity("go").describe(folder.path()).unwrap();
        identity("other").describe(folder.path()).unwrap();
        assert_eq!(CacheIdentity::of(folder.path()), Some(identity("go")));
        assert_ne!(identity("go").key(), identity("other").key());
    }
}
