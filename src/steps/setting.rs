//! What a Dockerfile is lowered for.

use std::collections::BTreeMap;

use super::scope::BuildArgs;
use crate::base::{Platform, Reference};
use crate::diag::{Located, Place};
use crate::dockerfile::Dockerfile;
use crate::model::{Context, Entitlement, Network, Ulimit, Variant};

/// One stage of one Dockerfile for one platform, with everything that decides what it means.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    pub dockerfile: &'a Dockerfile,
    pub stage: Option<&'a Located<String>>,
    pub target: &'a Platform,
    /// The platform builds run on.
    pub build: &'a Platform,
    pub args: &'a BuildArgs,
    pub contexts: &'a BTreeMap<String, Located<Context>>,
    /// Added to the image's labels, last.
    pub labels: &'a [(String, String)],
    pub network: Network,
    pub shm_size: Option<u64>,
    pub extra_hosts: &'a BTreeMap<String, String>,
    /// What the build asks for beyond the sandbox.
    pub entitlements: &'a [Located<Entitlement>],
    pub ulimits: &'a [Ulimit],
}

/// An image that must be known before lowering can go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseRequest {
    /// The key of a named context, or an image name.
    pub name: String,
    pub platform: Platform,
    pub place: Place,
}

impl<'a> Setting<'a> {
    /// The setting of a target's variant, without labels. `build` is this machine's platform.
    pub fn new(dockerfile: &'a Dockerfile, variant: &'a Variant, build: &'a Platform) -> Self {
        Self {
            dockerfile,
            stage: variant.stage.as_ref(),
            target: &variant.platform.value,
            build: variant.build_platform.as_ref().unwrap_or(build),
            args: &variant.args,
            contexts: &variant.contexts,
            labels: &[],
            network: variant.network,
            shm_size: variant.shm_size,
            extra_hosts: &variant.extra_hosts,
            entitlements: &variant.entitlements,
            ulimits: &variant.ulimits,
        }
    }

    pub fn with_labels(self, labels: &'a [(String, String)]) -> Self {
        Self { labels, ..self }
    }

    pub(super) fn asks_for(&self, entitlement: Entitlement) -> bool {
        self.entitlements.iter().any(|known| known.value == entitlement)
    }

    /// The named context that `name` means: by the name itself, or as another spelling of one image.
    pub(super) fn context(&self, name: &str) -> Option<(&'a str, &'a Context)> {
        // Names with a meaning of their own, which BuildKit lets no context take.
        if ["scratch", "context"].iter().any(|own| own.eq_ignore_ascii_case(name)) {
            return None;
        }
        if self.contexts.is_empty() {
            return None;
        }
        let by_name =
            self.contexts.get_key_value(name).or_else(|| self.contexts.get_key_value(&name.to_lowercase()));
        let found = by_name.or_else(|| {
            // Few keys are spellings of one image, and parsing takes a while.
            let mut alike = self.contexts.iter().filter(|(key, _)| stem(key) == stem(name)).peekable();
            alike.peek()?;
            let wanted = name.parse::<Reference>().ok()?;
            alike.find(|(key, _)| key.parse::<Reference>().is_ok_and(|key| key == wanted))
        });
        found.map(|(key, context)| (key.as_str(), &context.value))
    }
}

/// The last word of an image's repository, which all spellings of the image share.
fn stem(reference: &str) -> &str {
    let name = reference.split('@').next().unwrap_or_default();
    let last = name.rsplit('/').next().unwrap_or_default();
    last.split(':').next().unwrap_or_default()
}
