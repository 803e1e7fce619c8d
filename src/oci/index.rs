//! The index over several platforms' images, and how platform images merge into one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Descriptor, Extra, media_type};
use crate::base::Platform;

/// Manifests by platform: an OCI image index, or Docker's manifest list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    pub schema_version: u32,
    #[serde(default = "default_media_type")]
    pub media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    #[serde(default)]
    pub manifests: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(flatten)]
    pub extra: Extra,
}

fn default_media_type() -> String {
    media_type::OCI_INDEX.to_string()
}

/// Why platform images do not merge.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    #[error("two images claim the platform `{0}`")]
    DuplicatePlatform(Platform),
    #[error("the image {0} names no platform")]
    NoPlatform(crate::base::Digest),
}

impl Index {
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: default_media_type(),
            artifact_type: None,
            manifests,
            annotations: BTreeMap::new(),
            extra: Extra::new(),
        }
    }

    /// The index of `images`, in their order; every one must name a platform, and each a different one.
    pub fn merge(images: Vec<Descriptor>) -> Result<Self, MergeError> {
        let mut seen = Vec::new();
        for image in &images {
            let platform = image.platform().ok_or(MergeError::NoPlatform(image.digest))?;
            if seen.contains(&platform) {
                return Err(MergeError::DuplicatePlatform(platform));
            }
            seen.push(platform);
        }
        Ok(Self::new(images))
    }

    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// The bytes to store and hash.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("indexes hold only strings, numbers and JSON values")
    }

    /// The platforms the index names, attestations left out.
    pub fn platforms(&self) -> Vec<Platform> {
        self.manifests.iter().filter_map(Descriptor::platform).collect()
    }

    /// The manifest that fits `wanted` best. One without a platform fits when it is the only one.
    pub fn select(&self, wanted: &Platform) -> Option<&Descriptor> {
        if let [only] = &self.manifests[..]
            && only.platform.is_none()
        {
            return Some(only);
        }
        let fitness = |descriptor: &Descriptor| descriptor.platform()?.fitness(wanted);
        let candidates = self.manifests.iter().filter_map(|d| Some((fitness(d)?, d)));
        // The first of equals wins, as in containerd.
        candidates.rev().max_by_key(|(fitness, _)| *fitness).map(|(_, descriptor)| descriptor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(platform: &str) -> Descriptor {
        let platform: Platform = platform.parse().unwrap();
        Descriptor::of(media_type::OCI_MANIFEST, platform.to_string().as_bytes()).with_platform(&platform)
    }

    #[test]
    fn a_platform_is_never_merged_twice() {
        let images = vec![image("linux/arm64"), image("linux/arm64/v8")];
        assert_eq!(Index::merge(images), Err(MergeError::DuplicatePlatform(Platform::linux("arm64"))));
    }

    #[test]
    fn selection_prefers_the_exact_variant() {
        let index =
            Index::merge(vec![image("linux/arm/v6"), image("linux/arm/v7"), image("linux/amd64")]).unwrap();
        let chosen = |wanted: &str| index.select(&wanted.parse().unwrap()).and_then(Descriptor::platform);
        assert_eq!(chosen("linux/arm/v7"), Some("linux/arm/v7".parse().unwrap()));
        assert_eq!(chosen("linux/arm/v8"), Some("linux/arm/v7".parse().unwrap()));
        assert_eq!(chosen("linux/arm/v5"), None);
        assert_eq!(chosen("linux/s390x"), None);
    }

    #[test]
    fn unknown_fields_survive() {
        let text = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"subject":{"x":1}}"#;
        assert_eq!(Index::parse(text).unwrap().to_bytes(), text);
    }
}
