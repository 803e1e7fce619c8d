//! Where credentials are looked for, and what was found.
//!
//! The files are read once, when the client is made; helpers run when a registry asks who is there.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::docker_config::DockerConfig;
use super::helper;
use crate::base::Secret;
use crate::registry::error::RegistryError;
use crate::registry::host::Host;

/// What a client shows to a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    Anonymous,
    Basic {
        username: String,
        password: Secret,
    },
    /// An OAuth refresh token, which buys access tokens.
    IdentityToken {
        username: String,
        token: Secret,
    },
    /// A bearer token that is used as it is.
    RegistryToken(Secret),
}

/// The values of the environment that say where credentials are.
#[derive(Clone, Debug, Default)]
pub struct CredentialPlaces {
    /// `DOCKER_AUTH_CONFIG`: the content of a config file.
    pub docker_auth_config: Option<Secret>,
    /// `DOCKER_CONFIG`: the folder of `config.json`, else `.docker` in the home.
    pub docker_config: Option<PathBuf>,
    pub home: Option<PathBuf>,
    /// `REGISTRY_AUTH_FILE`, which replaces podman's own places.
    pub registry_auth_file: Option<PathBuf>,
    pub xdg_runtime_dir: Option<PathBuf>,
    pub xdg_config_home: Option<PathBuf>,
    /// `PATH`, to look up helpers in; `None`: this process's own.
    pub path: Option<OsString>,
}

/// All credentials of the user, in the order they are tried.
#[derive(Clone, Default)]
pub struct Credentials(Arc<Sources>);

#[derive(Default)]
struct Sources {
    fixed: Vec<(Host, Credential)>,
    /// Each with where it is.
    configs: Vec<(String, DockerConfig)>,
    path: Option<OsString>,
}

/// A credential, and what kept others from being used.
pub struct Found {
    pub credential: Credential,
    /// Who had it, where that is not the user of this run.
    pub source: Option<String>,
    pub obstacles: Vec<String>,
}

/// No honest config file is larger.
const LARGEST_FILE: u64 = 4 * 1024 * 1024;

impl Credentials {
    /// Nobody.
    pub fn none() -> Self {
        Self::default()
    }

    /// The same credential for one registry, whatever files say.
    pub fn fixed(registry: &str, credential: Credential) -> Self {
        let fixed = vec![(Host::of(registry), credential)];
        Self(Arc::new(Sources { fixed, ..Sources::default() }))
    }

    /// Reads the files that exist: Docker's first, then podman's, as other tools do.
    pub fn load(places: &CredentialPlaces) -> Result<Self, RegistryError> {
        let mut configs = Vec::new();
        if let Some(text) = &places.docker_auth_config {
            let place = "DOCKER_AUTH_CONFIG";
            configs.push((place.to_string(), parse(place, text.expose())?));
        }
        for path in places.files() {
            if let Some(bytes) = read(&path)? {
                let place = path.display().to_string();
                let config = parse(&place, &bytes)?;
                configs.push((place, config));
            }
        }
        Ok(Self(Arc::new(Sources { fixed: Vec::new(), configs, path: places.path.clone() })))
    }

    /// The registries that there are credentials for, perhaps with a folder of repositories.
    pub fn registries(&self) -> std::collections::BTreeSet<String> {
        let fixed = self.0.fixed.iter().map(|(host, _)| host.name().to_string());
        fixed.chain(self.0.configs.iter().flat_map(|(_, config)| config.names())).collect()
    }

    /// The part of a host's repositories that shares `repository`'s credential; empty for all of them.
    pub fn namespace(&self, host: &Host, repository: &str) -> String {
        let namespaces = self.0.configs.iter().map(|(_, config)| config.namespace(host, repository));
        namespaces.max_by_key(|namespace| namespace.len()).unwrap_or_default().to_string()
    }

    /// What `registry` has for a repository, for somebody who calls it `host`; nothing if that is another machine.
    pub async fn of(&self, registry: &str, host: &str, repository: &str) -> Option<Credential> {
        let known = Host::of(registry);
        if known != Host::of(host) {
            return None;
        }
        Some(self.find(&known, repository).await.credential)
    }

    /// The first credential any source has. A helper that cannot be asked does not stand in the way of public
    /// images, so it becomes an obstacle to be told of when the registry refuses.
    pub async fn find(&self, host: &Host, repository: &str) -> Found {
        let mut obstacles = Vec::new();
        if let Some((_, credential)) = self.0.fixed.iter().find(|(fixed, _)| fixed == host) {
            return Found { credential: credential.clone(), source: None, obstacles };
        }
        for (place, config) in &self.0.configs {
            if let Some(name) = config.helper(host) {
                match helper::ask(name, host.credential_key(), self.0.path.as_deref()).await {
                    Ok(Some(credential)) => {
                        let source = Some(format!("`docker-credential-{name}`"));
                        return Found { credential, source, obstacles };
                    }
                    Ok(None) => {}
                    Err(obstacle) => obstacles.push(obstacle),
                }
            }
            if let Some(credential) = config.stored(host, repository) {
                return Found { credential, source: Some(format!("`{place}`")), obstacles };
            }
        }
        Found { credential: Credential::Anonymous, source: None, obstacles }
    }
}

impl CredentialPlaces {
    fn files(&self) -> Vec<PathBuf> {
        let in_home = |name: &str| self.home.as_ref().map(|home| home.join(name));
        let mut files = Vec::new();
        files.extend(
            self.docker_config
                .clone()
                .or_else(|| in_home(".docker"))
                .map(|folder| folder.join("config.json")),
        );
        match &self.registry_auth_file {
            Some(file) => files.push(file.clone()),
            None => {
                let folders = [
                    self.xdg_runtime_dir.clone(),
                    self.xdg_config_home.clone().or_else(|| in_home(".config")),
                ];
                files.extend(folders.into_iter().flatten().map(|folder| folder.join("containers/auth.json")));
            }
        }
        files
    }
}

pub(super) fn parse(place: &str, bytes: &[u8]) -> Result<DockerConfig, RegistryError> {
    // serde_json's messages can quote a value of the file, so only the position is told.
    DockerConfig::parse(bytes).map_err(|cause| RegistryError::Credentials {
        place: place.to_string(),
        cause: format!("not the JSON of a Docker config (line {}, column {})", cause.line(), cause.column()),
    })
}

pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, RegistryError> {
    let failed = |cause: String| RegistryError::Credentials { place: path.display().to_string(), cause };
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(cause) if matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(cause) => return Err(failed(cause.to_string())),
    };
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(|cause| failed(cause.to_string()))?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(failed(format!("larger than {LARGEST_FILE} bytes")));
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str) {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    async fn username(places: &CredentialPlaces, registry: &str) -> Option<String> {
        match Credentials::load(places).unwrap().find(&Host::of(registry), "a/b").await.credential {
            Credential::Basic { username, .. } => Some(username),
            _ => None,
        }
    }

    #[tokio::test]
    async fn places_are_tried_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let entry = |host: &str, name: &str| {
            format!(r#"{{"auths":{{"{host}":{{"username":"{name}","password":"x"}}}}}}"#)
        };
        write(folder.path(), ".docker/config.json", &entry("a.example", "docker"));
        write(folder.path(), "other/config.json", &entry("a.example", "other"));
        write(folder.path(), "run/containers/auth.json", &entry("p.example", "podman"));
        write(folder.path(), "named.json", &entry("n.example", "named"));
        let home = CredentialPlaces { home: Some(folder.path().into()), ..Default::default() };
        let podman = CredentialPlaces { xdg_runtime_dir: Some(folder.path().join("run")), ..home.clone() };
        let named =
            CredentialPlaces { registry_auth_file: Some(folder.path().join("named.json")), ..podman.clone() };
        let other = CredentialPlaces { docker_config: Some(folder.path().join("other")), ..home.clone() };
        let given = CredentialPlaces {
            docker_auth_config: Some(Secret::new(entry("a.example", "given"))),
            ..home.clone()
        };
        for (places, registry, expected) in [
            (&home, "a.example", Some("docker")),
            (&home, "p.example", None),
            (&podman, "p.example", Some("podman")),
            (&named, "p.example", None),
            (&named, "n.example", Some("named")),
            (&other, "a.example", Some("other")),
            (&given, "a.example", Some("given")),
        ] {
            assert_eq!(username(places, registry).await.as_deref(), expected, "{registry}");
        }
    }

    #[test]
    fn a_broken_file_is_named_without_its_content() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "config.json", r#"{"auths":{"a":"hunter2"}}"#);
        let places = CredentialPlaces { docker_config: Some(folder.path().into()), ..Default::default() };
        let message = Credentials::load(&places).err().unwrap().to_string();
        assert!(message.contains("config.json") && !message.contains("hunter2"), "{message}");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn helpers_are_asked_for_the_servers_key() {
        let folder = tempfile::tempdir().unwrap();
        // Written by another process: a file this one had open for writing could not be executed while any
        // other test forks.
        let script = r#"printf '%s\n' '#!/bin/sh' 'read server; case $server in' \
            'broken.example) echo vault is locked; exit 1;; none.example) echo credentials not found; exit 1;;' \
            'esac; printf "{\"Username\":\"%s\",\"Secret\":\"s\"}" "$server"' >"$0" && chmod +x "$0""#;
        let helper = folder.path().join("docker-credential-probe");
        assert!(
            std::process::Command::new("sh").arg("-c").arg(script).arg(&helper).status().unwrap().success()
        );
        write(folder.path(), "config.json", r#"{"credsStore":"probe"}"#);
        let places = CredentialPlaces {
            docker_config: Some(folder.path().into()),
            path: Some(format!("{}:/usr/bin:/bin", folder.path().display()).into()),
            ..Default::default()
        };
        assert_eq!(username(&places, "docker.io").await.as_deref(), Some("https://index.docker.io/v1/"));
        assert_eq!(username(&places, "ghcr.io").await.as_deref(), Some("ghcr.io"));
        assert_eq!(username(&places, "none.example").await, None);
        let found = Credentials::load(&places).unwrap().find(&Host::of("ghcr.io"), "a").await;
        assert_eq!(found.source.as_deref(), Some("`docker-credential-probe`"));
        let found = Credentials::load(&places).unwrap().find(&Host::of("broken.example"), "a").await;
        assert_eq!(found.obstacles, ["`docker-credential-probe` failed: vault is locked"]);
    }
}
