//! A part of a release: what one machine built of it, in a folder that travels to the machine that joins the parts.
//!
//! ```text
//! linux-arm64-4f1c2d3e4a5b/     named by its platforms and its content: parts never overwrite each other
//!   part.json                   this document: what was built, and from what
//!   index.json, oci-layout      the images as OCI layout, for tools of others
//!   blobs/sha256/…              manifests, configs and statements; layers only where they are carried along
//! ```

mod agreement;
mod compared;
mod read;
mod write;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::base::{Digest, Parts, Platform, Reference};
use crate::oci::Descriptor;

pub use agreement::{Aspect, Joined, Own, join};
pub use read::{find, read};
pub use write::write;

/// Of this document. Another one is refused: parts are made and joined by one version anyway.
pub const FORMAT: u32 = 1;
const FILE_NAME: &str = "part.json";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Part {
    /// Of this document.
    pub format: u32,
    /// The version of `mab`.
    pub version: String,
    pub commit: Option<Commit>,
    /// Where it was built, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Of multiarch.lock.
    pub lock: Option<Digest>,
    /// Without those that are secret.
    pub variables: BTreeMap<String, String>,
    /// Of what its targets are built from, on all platforms.
    pub plan: Digest,
    /// The same in words, by target.
    pub plans: BTreeMap<String, Parts>,
    pub images: Vec<PartImage>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Commit {
    pub sha: String,
    /// Tracked files differ from it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dirty: bool,
}

/// One target's image for one platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PartImage {
    pub target: String,
    pub platform: Platform,
    /// Of the node that built it.
    pub key: Digest,
    /// As it was built.
    pub manifest: Descriptor,
    /// How each of its layers is compressed, where that is known.
    pub compressions: Vec<Option<String>>,
    /// The manifest in the forms that outputs ask for, by name.
    pub forms: BTreeMap<String, Descriptor>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attestations: Vec<Descriptor>,
    /// The repositories that have its layers. Without any the part has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<Reference>,
    /// What it has passed, such as `verify`. Without that it would not be here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed: Vec<String>,
}

/// A part on this machine's disk.
#[derive(Clone, Debug, PartialEq)]
pub struct PartFolder {
    pub path: PathBuf,
    /// What it is called in messages.
    pub shown: String,
    pub part: Part,
}

impl std::fmt::Display for Commit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.sha)?;
        if self.dirty { f.write_str(" with changes") } else { Ok(()) }
    }
}

impl PartImage {
    /// Every manifest of it, once.
    pub fn manifests(&self) -> Vec<&Descriptor> {
        let mut manifests = vec![&self.manifest];
        for form in self.forms.values() {
            if !manifests.iter().any(|known| known.digest == form.digest) {
                manifests.push(form);
            }
        }
        manifests
    }

    /// The layers are in the part.
    pub fn is_carried(&self) -> bool {
        self.repositories.is_empty()
    }
}

/// The digest over all of what targets are built from.
pub fn plan_digest(plans: &BTreeMap<String, Parts>) -> Digest {
    let mut all = Parts::new();
    for (target, parts) in plans {
        all.digest_of(target, parts.digest());
    }
    all.digest()
}
