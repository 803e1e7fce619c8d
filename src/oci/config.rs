//! The image config: how a container of the image starts, and how the image came to be.
//!
//! Field order as Docker and BuildKit write it. Go's `nil` for maps and lists (JSON `null`) reads as empty.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::Extra;
use crate::base::{Digest, Platform};

/// The config blob of one platform's image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    #[serde(default)]
    pub architecture: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    #[serde(default)]
    pub os: String,
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    #[serde(default, deserialize_with = "null_as_default")]
    pub config: ContainerConfig,
    pub rootfs: RootFs,
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    #[serde(flatten)]
    pub extra: Extra,
}

/// The part a container runtime reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerConfig {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Value>,
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args_escaped: Option<bool>,
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Value>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_build: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    #[serde(flatten)]
    pub extra: Extra,
}

/// The layers by their uncompressed digests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default, deserialize_with = "null_as_default")]
    pub diff_ids: Vec<Digest>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: "layers".to_string(), diff_ids: Vec::new() }
    }
}

/// How one layer, or one change of the config, came to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
    #[serde(flatten)]
    pub extra: Extra,
}

pub(super) fn null_as_default<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl ImageConfig {
    /// The config of an image without layers.
    pub fn empty(platform: &Platform) -> Self {
        let mut config = Self::default();
        config.set_platform(platform);
        config
    }

    pub fn set_platform(&mut self, platform: &Platform) {
        self.os.clone_from(&platform.os);
        self.architecture.clone_from(&platform.architecture);
        self.variant.clone_from(&platform.variant);
        self.os_version.clone_from(&platform.os_version);
    }

    /// Makes it the config of an image for `target`. What `target` leaves open stays as it is, if the
    /// architecture does.
    pub fn retarget(&mut self, target: &Platform) {
        let is_same = self.os == target.os && self.architecture == target.architecture;
        let variant = target.variant.clone().or_else(|| self.variant.take().filter(|_| is_same));
        let os_version = target.os_version.clone().or_else(|| self.os_version.take().filter(|_| is_same));
        let normal = Platform::new(&target.os, &target.architecture, variant.as_deref());
        self.set_platform(&Platform { os_version, ..normal });
    }

    pub fn platform(&self) -> Platform {
        let platform = Platform::new(&self.os, &self.architecture, self.variant.as_deref());
        Platform { os_version: self.os_version.clone(), ..platform }
    }

    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// The bytes to store and hash.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("configs hold only strings, numbers and JSON values")
    }
}

impl ContainerConfig {
    pub fn env(&self, name: &str) -> Option<&str> {
        self.env.iter().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='))
    }

    /// Sets a variable in place, or at the end when it is new.
    pub fn set_env(&mut self, name: &str, value: &str) {
        let entry = format!("{name}={value}");
        let is_name = |existing: &&mut String| existing.split('=').next() == Some(name);
        match self.env.iter_mut().find(is_name) {
            Some(existing) => *existing = entry,
            None => self.env.push(entry),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_writes_survives() {
        let text = r#"{"architecture":"amd64","os":"linux","config":{"Env":["A=1"],"Healthcheck":{"Test":["NONE"]},"OnBuild":["RUN x"],"Shell":["/bin/ash"],"Domainname":"d"},"rootfs":{"type":"layers","diff_ids":[]},"moby.extra":true}"#;
        assert_eq!(String::from_utf8(ImageConfig::parse(text.as_bytes()).unwrap().to_bytes()).unwrap(), text);
    }

    #[test]
    fn null_reads_as_empty() {
        let text = r#"{"architecture":"amd64","os":"linux","config":{"Env":null,"Labels":null,"Cmd":null},"rootfs":{"type":"layers","diff_ids":null},"history":null}"#;
        let config = ImageConfig::parse(text.as_bytes()).unwrap();
        assert_eq!((config.config.cmd, config.rootfs.diff_ids.len()), (None, 0));
    }

    #[test]
    fn a_target_keeps_what_it_leaves_open() {
        let check = |variant: Option<&str>, target: &str, expected: (Option<&str>, Option<&str>)| {
            let mut config = ImageConfig {
                os: "linux".into(),
                architecture: "amd64".into(),
                variant: variant.map(str::to_string),
                os_version: Some("1".into()),
                ..Default::default()
            };
            config.retarget(&target.parse().unwrap());
            assert_eq!((config.variant.as_deref(), config.os_version.as_deref()), expected, "{target}");
        };
        check(Some("v2"), "linux/amd64", (Some("v2"), Some("1")));
        check(Some("v1"), "linux/amd64", (None, Some("1")));
        check(Some("v2"), "linux/amd64/v3", (Some("v3"), Some("1")));
        check(Some("v2"), "linux/arm64", (None, None));
        check(Some("v2"), "linux/arm", (Some("v7"), None));
        check(None, "linux(2)/amd64", (None, Some("2")));
    }

    #[test]
    fn env_is_replaced_in_place() {
        let mut config =
            ContainerConfig { env: vec!["PATH=/bin".into(), "A=1".into()], ..Default::default() };
        config.set_env("PATH", "/usr/bin");
        config.set_env("B", "2");
        assert_eq!(config.env, ["PATH=/usr/bin", "A=1", "B=2"]);
        assert_eq!((config.env("A"), config.env("AB")), (Some("1"), None));
    }
}
