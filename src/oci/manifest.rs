//! The manifest of one platform's image.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::config::null_as_default;
use super::{Descriptor, Extra, media_type};

/// Config and layers of one image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub schema_version: u32,
    #[serde(default = "default_media_type")]
    pub media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    pub config: Descriptor,
    #[serde(default, deserialize_with = "null_as_default")]
    pub layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(flatten)]
    pub extra: Extra,
}

fn default_media_type() -> String {
    media_type::OCI_MANIFEST.to_string()
}

impl Manifest {
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: default_media_type(),
            artifact_type: None,
            config,
            layers,
            annotations: BTreeMap::new(),
            extra: Extra::new(),
        }
    }

    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// The bytes to store and hash.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("manifests hold only strings, numbers and JSON values")
    }

    /// What the manifest is about, of those that say so (image-spec 1.1, `subject`).
    pub fn subject(&self) -> Option<Descriptor> {
        serde_json::from_value(self.extra.get("subject")?.clone()).ok()
    }

    /// Compressed bytes of config and layers.
    pub fn content_size(&self) -> u64 {
        self.config.size + self.layers.iter().map(|layer| layer.size).sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Digest;

    #[test]
    fn an_image_of_nothing_has_no_layers() {
        let digest = Digest::of("{}");
        let text = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"{}","digest":"{digest}","size":2}},"layers":null}}"#,
            media_type::OCI_CONFIG
        );
        assert_eq!(Manifest::parse(text.as_bytes()).unwrap().layers, []);
    }
}
