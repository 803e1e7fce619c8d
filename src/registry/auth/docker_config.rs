//! The file format of `~/.docker/config.json` and podman's `auth.json`.
//!
//! Keys of `auths` are hosts, URLs of hosts as Docker once wrote them, or (podman) host and path, of which
//! the longest that fits wins; see containers-auth.json(5).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::Deserialize;

use super::credentials::Credential;
use crate::base::Secret;
use crate::registry::host::Host;

/// What one file says about credentials; everything else in it is Docker's own business.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default)]
    creds_store: Option<String>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
struct Entry {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    identitytoken: Option<String>,
    #[serde(default)]
    registrytoken: Option<String>,
}

impl DockerConfig {
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        serde_json::from_slice(bytes)
    }

    /// The registries that it names, perhaps with a folder of repositories.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.auths.keys().chain(self.cred_helpers.keys()).map(|key| {
            let key = Key::parse(key);
            if key.path.is_empty() {
                key.host.name().to_string()
            } else {
                format!("{}/{}", key.host.name(), key.path)
            }
        })
    }

    /// The helper that keeps the host's credentials: the host's own, else the general one.
    pub fn helper(&self, host: &Host) -> Option<&str> {
        let own =
            self.cred_helpers.iter().find(|(key, _)| Key::parse(key).is_for(host, "")).map(|(_, name)| name);
        own.or(self.creds_store.as_ref()).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// The namespace within the host whose entry is used for a repository; empty for the host's own entry.
    pub fn namespace(&self, host: &Host, repository: &str) -> &str {
        self.best(host, repository).map(|(key, _)| key.path).unwrap_or_default()
    }

    /// Whether the file knows the host, be it that a helper has its credential.
    pub fn has_entry(&self, host: &Host) -> bool {
        self.auths.keys().any(|key| is_entry_of(key, host))
    }

    /// The credential the file itself holds.
    pub fn stored(&self, host: &Host, repository: &str) -> Option<Credential> {
        self.best(host, repository).and_then(|(_, entry)| entry.credential())
    }

    fn best(&self, host: &Host, repository: &str) -> Option<(Key<'_>, &Entry)> {
        let fitting = self.auths.iter().filter(|(_, entry)| entry.credential().is_some());
        let fitting = fitting.map(|(key, entry)| (Key::parse(key), entry));
        fitting.filter(|(key, _)| key.is_for(host, repository)).max_by_key(|(key, _)| key.path.len())
    }
}

impl Entry {
    fn credential(&self) -> Option<Credential> {
        let filled = |value: &Option<String>| value.clone().filter(|text| !text.is_empty());
        if let Some(token) = filled(&self.registrytoken) {
            return Some(Credential::RegistryToken(Secret::new(token)));
        }
        let (username, password) = self.name_and_password();
        if let Some(token) = filled(&self.identitytoken) {
            return Some(Credential::IdentityToken { username, token: Secret::new(token) });
        }
        (!username.is_empty()).then(|| Credential::Basic { username, password: Secret::new(password) })
    }

    /// From `auth`, base64 of `name:password`, else from the fields of these names.
    fn name_and_password(&self) -> (String, String) {
        let decoded = self.auth.as_deref().filter(|text| !text.is_empty()).and_then(|text| {
            let text = text.trim();
            let bytes = STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok()?;
            let text = String::from_utf8(bytes).ok()?;
            let (name, password) = text.split_once(':')?;
            // Some old writers padded the password with zero bytes.
            Some((name.to_string(), password.trim_end_matches('\0').to_string()))
        });
        decoded.unwrap_or_else(|| {
            (self.username.clone().unwrap_or_default(), self.password.clone().unwrap_or_default())
        })
    }
}

/// Whether a key of `auths` is that of the whole host, however it is written.
pub fn is_entry_of(key: &str, host: &Host) -> bool {
    let key = Key::parse(key);
    key.path.is_empty() && key.host == *host
}

/// A key of `auths`: a host, and for podman a path within it.
struct Key<'a> {
    host: Host,
    path: &'a str,
}

impl<'a> Key<'a> {
    fn parse(text: &'a str) -> Self {
        let without_scheme = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let rest = without_scheme.unwrap_or(text).trim_end_matches('/');
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let is_endpoint = without_scheme.is_some() || matches!(path, "v1" | "v2");
        Self { host: Host::of(host), path: if is_endpoint { "" } else { path } }
    }

    fn is_for(&self, host: &Host, repository: &str) -> bool {
        let rest = repository.strip_prefix(self.path);
        self.host == *host
            && (self.path.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_for(config: &str, registry: &str, repository: &str) -> Option<String> {
        let config = DockerConfig::parse(config.as_bytes()).unwrap();
        match config.stored(&Host::of(registry), repository)? {
            Credential::Basic { username, password } => {
                Some(format!("{username}:{}", password.expose_str().unwrap()))
            }
            Credential::IdentityToken { username, token } => {
                Some(format!("{username}, identity {}", token.expose_str().unwrap()))
            }
            Credential::RegistryToken(token) => Some(format!("token {}", token.expose_str().unwrap())),
            Credential::Anonymous => None,
        }
    }

    #[test]
    fn entries_are_found_by_host_and_longest_path() {
        // `dTpw` is `u:p`, `bjpwOnE=` is `n:p:q`.
        let config = r#"{"auths":{
            "https://index.docker.io/v1/": {"auth":"dTpw"},
            "ghcr.io": {"auth":"bjpwOnE="},
            "quay.io": {"username":"host","password":"x"},
            "quay.io/team": {"username":"team","password":"x"},
            "http://localhost:5000": {"username":"local","password":"x"},
            "acr.example": {"auth":"dTo=","identitytoken":"refresh"},
            "ready.example": {"registrytoken":"bearer"},
            "empty.example": {}}}"#;
        for (registry, repository, expected) in [
            ("docker.io", "library/alpine", Some("u:p")),
            ("ghcr.io", "a/b", Some("n:p:q")),
            ("quay.io", "team/app", Some("team:x")),
            ("quay.io", "teams/app", Some("host:x")),
            ("localhost:5000", "a", Some("local:x")),
            ("localhost", "a", None),
            ("acr.example", "a", Some("u, identity refresh")),
            ("ready.example", "a", Some("token bearer")),
            ("empty.example", "a", None),
            ("ghcr.io.evil.example", "a", None),
        ] {
            assert_eq!(
                name_for(config, registry, repository).as_deref(),
                expected,
                "{registry}/{repository}"
            );
        }
    }

    #[test]
    fn a_hosts_own_helper_goes_first() {
        let text = r#"{"credsStore":"desktop","credHelpers":{"gcr.io":"gcloud","https://index.docker.io/v1/":"hub"}}"#;
        let config = DockerConfig::parse(text.as_bytes()).unwrap();
        for (registry, expected) in [("gcr.io", "gcloud"), ("docker.io", "hub"), ("ghcr.io", "desktop")] {
            assert_eq!(config.helper(&Host::of(registry)), Some(expected));
        }
        assert!(DockerConfig::parse(b" \n").unwrap().helper(&Host::of("x")).is_none());
        assert!(DockerConfig::parse(b"{").is_err());
    }
}
